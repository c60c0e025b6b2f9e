import pickle
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from flowstead import Batch, FileRef, ItemResult, RunCancelled
from flowstead.flow.errors import FlowDefinitionError, PathRefused, StepFailure
from flowstead.flow.execution import MapItemFailed


def test_a_batch_is_an_immutable_sequence():
    batch = Batch(range(5))
    assert (len(batch), batch[0], batch[-1], list(batch), batch.items) == (5, 0, 4, [0, 1, 2, 3, 4], (0, 1, 2, 3, 4))
    assert batch[1:3] == Batch([1, 2]) and batch != Batch([1]) and batch != (0, 1, 2, 3, 4)
    assert not Batch() and hash(Batch([1])) == hash(Batch((1,)))
    assert repr(batch) == "Batch([0, 1, 2, … 5 items])" and repr(Batch("ab")) == "Batch(['a', 'b'])"
    with pytest.raises(FrozenInstanceError):
        batch.items = ()
    assert pickle.loads(pickle.dumps(batch)) == batch


def test_a_file_ref_stands_for_its_path(tmp_path):
    ref = FileRef(tmp_path / "a.tar.gz")
    assert (ref.name, ref.stem, ref.suffix, ref.parent) == ("a.tar.gz", "a.tar", ".gz", tmp_path)
    assert not ref.exists()
    Path(ref).write_text("x")
    assert ref.exists()
    with open(ref) as file:
        assert file.read() == "x"
    assert pickle.loads(pickle.dumps(ref)) == ref == FileRef(str(ref)) and len({ref, FileRef(ref)}) == 1
    batch = Batch([ref])
    assert batch.paths() == (tmp_path / "a.tar.gz",) and batch.names() == ("a.tar.gz",)
    with pytest.raises(TypeError):
        Batch([1]).paths()


def test_an_item_result_tells_how_it_ended():
    assert ItemResult(0, "a", 1).ok
    failed = ItemResult(1, "b", error=ValueError("no"), status="failed")
    assert not failed.ok
    again = pickle.loads(pickle.dumps(failed))
    assert (again.index, again.item, again.status, str(again.error)) == (1, "b", "failed", "no")


@pytest.mark.parametrize("kind", [FlowDefinitionError, StepFailure, PathRefused])
def test_coded_errors_survive_pickling(kind):
    error = pickle.loads(pickle.dumps(kind("It broke.", code="it-broke", hint="Mend it.")))
    assert type(error) is kind
    assert (error.code, error.hint, error.message, str(error)) == (
        "it-broke", "Mend it.", "It broke.", "It broke. Mend it.")  # fmt: skip


def test_a_coded_error_of_another_shape_survives_pickling():
    error = pickle.loads(pickle.dumps(MapItemFailed(3, "x", ValueError("no"))))
    assert type(error) is MapItemFailed and error.code == "map-item-failed" and "no" in str(error)


def test_cancellation_passes_by_a_broad_except():
    assert not issubclass(RunCancelled, Exception)
