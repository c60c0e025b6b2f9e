"""Segments in a shared folder: what counts, what is missing, and that compaction changes nothing that is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import duckdb
import polars
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstead.model.errors import StorageError
from flowstead.workspace import compaction
from flowstead.workspace.compaction import FANOUT, compact, covered, merged, next_group
from flowstead.workspace.segments import SPINE, TABLES, Accepted, Gap, Range, Row, Segment, Segments
from flowstead.workspace.shared import SharedFolder


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    (tmp_path / "flow_modules").mkdir()
    return SharedFolder(tmp_path / ".workspace_state")


@pytest.fixture
def segments(folder: SharedFolder) -> Segments:
    return Segments(folder)


def row(table: str, **values: Any) -> Row:
    assert values.keys() <= set(TABLES[table])
    return tuple(values.get(name) for name in TABLES[table])


def run_row(run_id: str, generation: int, status: str = "succeeded", **more: Any) -> Row:
    return row(SPINE, **{"id": run_id, "version": "v1", "status": status, "epoch": 1, "generation": generation, **more})


def tables(generation: int, *run_ids: str, **more: Any) -> dict[str, list[Row]]:
    """A publication of these runs, each with a step and a log line."""
    ids = run_ids or (f"r_{generation}",)
    return {
        SPINE: [run_row(run_id, generation, **more) for run_id in ids],
        "step_runs": [row("step_runs", run_id=each, step=0, attempt=1, generation=generation) for each in ids],
        "logs": [row("logs", run_id=each, seq=generation, message="told", generation=generation) for each in ids],
    }


def publish(segments: Segments, *generations: int, epoch: int = 1) -> None:
    for each in generations:
        segments.write(Range(epoch, each, each), tables(each))


def counting(generation: int, epoch: int = 1, bounds: dict[int, int] | None = None) -> Accepted:
    return Accepted(epoch, generation, (bounds or {}).get)


def runs_of(found: Iterable[Segment | Gap]) -> list[str]:
    return [each[0] for part in found if isinstance(part, Segment) for each in part.tables[SPINE]]


def gaps_of(found: Iterable[Segment | Gap]) -> list[Gap]:
    gaps: list[Gap] = []
    for part in found:
        gaps += [part] if isinstance(part, Gap) else part.gaps
    return gaps


def file(segments_root: SharedFolder, table: str, first: int, last: int | None = None, epoch: int = 1) -> Path:
    return segments_root.root / "state" / table / str(Range(epoch, first, last or first))


# -- reading ----------------------------------------------------------------------------------------------------


def test_what_is_published_is_read_in_order(segments: Segments) -> None:
    publish(segments, 1, 2, 3)
    found = list(segments.read(0, 3, counting(3)))
    assert runs_of(found) == ["r_1", "r_2", "r_3"]
    assert gaps_of(found) == []
    assert found[0].tables == tables(1)  # type: ignore[union-attr]
    assert runs_of(segments.read(2, 3, counting(3))) == ["r_3"]


def test_a_publication_of_nothing_is_no_gap(segments: Segments, folder: SharedFolder) -> None:
    segments.write(Range(1, 1, 1), {})
    found = list(segments.read(0, 1, counting(1)))
    assert found == [Segment(Range(1, 1, 1), {SPINE: []}, [])]
    assert [each.name for each in (folder.root / "state").iterdir()] == [SPINE]


def test_other_tools_read_the_tables(segments: Segments, folder: SharedFolder) -> None:
    segments.write(Range(1, 1, 1), {})
    publish(segments, 2, 3)
    runs = polars.read_parquet(folder.root / "state" / SPINE / "*.parquet")
    assert runs["id"].to_list() == ["r_2", "r_3"]
    with duckdb.connect() as connection:
        connection.execute(f"SELECT run_id, seq FROM '{folder.root}/state/logs/*.parquet' ORDER BY seq")
        assert connection.fetchall() == [("r_2", 2), ("r_3", 3)]


def remove(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [remove, cut, empty, flip])
@pytest.mark.parametrize("table", [SPINE, "step_runs"])
def test_what_cannot_be_read_is_told(
    segments: Segments, folder: SharedFolder, table: str, harm: Callable[[Path], None]
) -> None:
    publish(segments, 1, 2, 3, 4)
    harmed = [file(folder, table, each) for each in (2, 3)]
    whole = [each.read_bytes() for each in harmed]
    for each in harmed:
        harm(each)
    found = list(segments.read(0, 4, counting(4)))
    assert runs_of(found) == ["r_1", "r_4"]
    assert {each for gap in gaps_of(found) for each in range(gap.first, gap.last + 1)} == {2, 3}
    assert gaps_of(found)[0].reason.endswith(".")
    for path, data in zip(harmed, whole, strict=True):
        path.write_bytes(data)
    assert runs_of(segments.read(1, 3, counting(4))) == ["r_2", "r_3"]


@pytest.mark.parametrize("harm", [remove, cut, empty, flip])
def test_runs_are_read_without_their_log(
    segments: Segments, folder: SharedFolder, harm: Callable[[Path], None]
) -> None:
    publish(segments, 1, 2)
    harm(file(folder, "logs", 1))
    found = list(segments.read(0, 2, counting(2)))
    assert runs_of(found) == ["r_1", "r_2"]
    assert [gap[:2] for gap in gaps_of(found)] == [(1, 1)]
    assert "logs" in gaps_of(found)[0].file


def test_a_part_of_another_publication_is_noticed(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, 1, 2)
    file(folder, "step_runs", 1).write_bytes(file(folder, "step_runs", 2).read_bytes())
    assert [gap[:2] for gap in gaps_of(segments.read(0, 2, counting(2)))] == [(1, 1)]


def test_nothing_at_all_is_a_gap_too(segments: Segments) -> None:
    assert list(segments.read(0, 9, counting(9))) == [Gap(1, 9, "No file of it is there.")]


def test_files_of_others_are_left_alone(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, 1)
    for name in ("notes.txt", "1-2.parquet", "a-b-c.parquet", "00000001-00000002-00000001.parquet", "~$x.parquet"):
        (folder.root / "state" / SPINE / name).write_text("hello")
    assert runs_of(segments.read(0, 1, counting(1))) == ["r_1"]


# -- what counts ------------------------------------------------------------------------------------------------


def test_what_a_former_owner_wrote_late_never_counts(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, 1, 2)
    publish(segments, 3, 4, epoch=1)  # late: epoch 2 accepted 2
    segments.write(Range(1, 1, 4), tables(4, "r_late"))
    segments.write(Range(2, 3, 3), tables(3, "r_new"))
    seen = counting(3, epoch=2, bounds={1: 2})
    assert runs_of(segments.read(0, 3, seen)) == ["r_1", "r_2", "r_new"]
    remove(file(folder, SPINE, 3, epoch=2))
    found = list(segments.read(0, 3, seen))
    assert runs_of(found) == ["r_1", "r_2"]
    assert [gap[:2] for gap in gaps_of(found)] == [(3, 3)]


def test_what_was_not_announced_is_not_read_yet(segments: Segments) -> None:
    publish(segments, 1, 2, 3)
    assert runs_of(segments.read(0, 2, counting(2))) == ["r_1", "r_2"]
    segments.write(Range(1, 1, 3), tables(3, "r_wide"))
    assert runs_of(segments.read(0, 2, counting(2))) == ["r_1", "r_2"]


def test_an_epoch_whose_claim_is_not_seen_does_not_count() -> None:
    seen = counting(5, epoch=3, bounds={1: 2, 2: 9})
    assert [seen.bound(each) for each in range(5)] == [-1, 2, 5, 5, -1]


def test_the_last_visible_generation(segments: Segments) -> None:
    assert segments.last_visible(lambda epoch: None) == 0
    publish(segments, 1, 2)
    publish(segments, 3, 4, epoch=2)
    publish(segments, 3, epoch=1)
    assert segments.last_visible(lambda epoch: None) == 4
    assert segments.last_visible({1: 2, 2: 3}.get) == 3
    assert segments.last_visible({1: 2}.get) == 4


# -- writing ----------------------------------------------------------------------------------------------------


class Failing(SharedFolder):
    """A folder whose writes fail from the `after`th on."""

    after = 10**9

    def replace(self, name: str, data: bytes) -> None:
        self.after -= 1
        if self.after < 0:
            raise StorageError("The share is away.")
        super().replace(name, data)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_half_a_publication_is_none(folder: SharedFolder, after: int) -> None:
    failing = Failing(folder.root)
    segments = Segments(failing)
    failing.after = after
    with pytest.raises(StorageError):
        segments.write(Range(1, 1, 1), tables(1))
    assert list(segments.read(0, 1, counting(1))) == [Gap(1, 1, "No file of it is there.")]
    failing.after = 10
    segments.write(Range(1, 1, 1), tables(1, "r_again"))
    assert runs_of(segments.read(0, 1, counting(1))) == ["r_again"]


# -- compaction -------------------------------------------------------------------------------------------------


def everything(run_ids: list[str]) -> set[str]:
    return set(run_ids)


def test_neighbours_become_one_file(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, *range(1, FANOUT + 3))
    group = next_group(segments.ranges(), [])
    assert compact(segments, group, 7, everything) == Range(7, 1, FANOUT)
    names = sorted(each.name for each in (folder.root / "state" / SPINE).iterdir())
    assert names == sorted(map(str, [Range(7, 1, FANOUT), Range(1, FANOUT + 1, FANOUT + 1), Range(1, 18, 18)]))
    assert len(list((folder.root / "state" / "logs").iterdir())) == 3
    found = list(segments.read(0, FANOUT + 2, counting(FANOUT + 2, epoch=7, bounds={1: 18})))
    assert sorted(runs_of(found)) == sorted(f"r_{each}" for each in range(1, FANOUT + 3))
    assert gaps_of(found) == []
    assert next_group(segments.ranges(), []) == []


def test_a_file_that_is_not_whole_is_not_compacted(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, *range(1, FANOUT + 1))
    cut(file(folder, "logs", 3))
    assert compact(segments, next_group(segments.ranges(), []), 1, everything) is None
    assert len(segments.ranges()) == FANOUT
    assert next_group(segments.ranges(), [Gap(3, 3, "It is damaged.")]) == []


def test_a_crash_in_compaction_leaves_what_is_covered(segments: Segments) -> None:
    publish(segments, *range(1, FANOUT + 1))
    group = next_group(segments.ranges(), [])
    loaded = [segments.load(each) for each in group]
    segments.write(Range(1, 1, FANOUT), merged([each for each in loaded if each], everything))
    segments.remove(group[0])
    assert covered(segments.ranges()) == sorted(group[1:])
    assert next_group(segments.ranges(), []) == []
    assert len(runs_of(segments.read(0, FANOUT, counting(FANOUT)))) == FANOUT


def test_a_damaged_wide_file_is_made_good_by_narrow_ones(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, 1, 2)
    segments.write(Range(1, 1, 2), tables(2, "r_wide"))
    flip(file(folder, SPINE, 1, 2))
    assert runs_of(segments.read(0, 2, counting(2))) == ["r_1", "r_2"]
    remove(file(folder, SPINE, 2))
    found = list(segments.read(0, 2, counting(2)))
    assert runs_of(found) == ["r_1"]
    assert [gap[:2] for gap in gaps_of(found)] == [(2, 2)]
    assert "damaged" in gaps_of(found)[0].reason


def test_a_follower_reads_narrow_files_a_newcomer_wide_ones(segments: Segments) -> None:
    publish(segments, *range(1, 5))
    segments.write(Range(1, 1, 4), tables(4, "r_wide"))
    assert runs_of(segments.read(3, 4, counting(4))) == ["r_4"]
    assert runs_of(segments.read(0, 4, counting(4))) == ["r_wide"]


@pytest.mark.parametrize("table", list(TABLES))
def test_a_reader_that_races_with_compaction_reads_on(folder: SharedFolder, table: str) -> None:
    owner = Segments(folder)
    publish(owner, *range(1, FANOUT + 1))

    class Racing(SharedFolder):
        def read(self, name: str) -> bytes | None:
            if f"/{table}/" in name and f"-{3:08d}.parquet" in name and (group := next_group(owner.ranges(), [])):
                compact(owner, group, 1, everything)
            return super().read(name)

    found = list(Segments(Racing(folder.root)).read(0, FANOUT, counting(FANOUT)))
    assert gaps_of(found) == []
    assert set(runs_of(found)) == {f"r_{each}" for each in range(1, FANOUT + 1)}
    assert len(owner.ranges()) == (1 if table != "file_state" else FANOUT)


def test_many_generations_are_few_files(segments: Segments, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FANOUT", 4)
    written = 0
    for generation in range(1, 60):
        publish(segments, generation)
        while group := next_group(segments.ranges(), []):
            wide = compact(segments, group, 1, everything)
            assert wide
            written += wide.last - wide.first + 1
    assert len(segments.ranges()) <= 4 * 4
    assert written <= 59 * 4  # each row once a tier
    found = list(segments.read(0, 59, counting(59)))
    assert sorted(runs_of(found)) == sorted(f"r_{each}" for each in range(1, 60))
    assert gaps_of(found) == []


STATUSES = ["queued", "running", "interrupted", "succeeded", "failed"]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abc"), st.tuples(st.sampled_from(STATUSES), st.integers(1, 3)), max_size=3),
        min_size=1,
        max_size=8,
    ),
    st.integers(0, 7),
)
def test_compacting_in_two_steps_is_compacting_at_once(history: list[dict[str, tuple[str, int]]], at: int) -> None:
    loaded: list[Segment] = []
    for generation, runs in enumerate(history, 1):
        spec = f"plan {generation}"
        rows = [
            run_row(each, generation, status, epoch=epoch, files="[1]" if generation % 2 else None, spec=spec)
            for each, (status, epoch) in runs.items()
        ]
        steps = [row("step_runs", run_id=each, step=generation, attempt=1, generation=generation) for each in runs]
        lines = [row("logs", run_id=each, seq=generation // 2, message=spec, generation=generation) for each in runs]
        states = [
            row("file_state", flow="f", root="r", path=each, status=status, epoch=epoch, generation=generation)
            for each, (status, epoch) in runs.items()
        ]
        content = {SPINE: rows, "step_runs": steps, "logs": lines, "file_state": states}
        loaded.append(Segment(Range(1, generation, generation), content, []))
    at_once = merged(loaded, everything)
    first = Segment(Range(1, 1, at), merged(loaded[:at], everything), [])
    assert merged([first, *loaded[at:]], everything) == at_once
    for each in at_once[SPINE]:
        steps_of = [step for step in at_once["step_runs"] if step[0] == each[0]]
        assert [step[-1] for step in steps_of] == [each[TABLES[SPINE].index("generation")]]
    assert len({each[0] for each in at_once[SPINE]}) == len(at_once[SPINE])
    seen = {each for runs in history for each in runs}
    assert {each[0] for each in at_once[SPINE]} == seen
    assert {each[:2] for each in at_once["logs"]} == {
        (each, generation // 2) for generation, runs in enumerate(history, 1) for each in runs
    }


def test_forgotten_runs_drop_out(segments: Segments) -> None:
    publish(segments, *range(1, FANOUT + 1))
    compact(segments, next_group(segments.ranges(), []), 1, lambda run_ids: {"r_2", "r_5"})
    (found,) = segments.read(0, FANOUT, counting(FANOUT))
    assert isinstance(found, Segment)
    assert runs_of([found]) == ["r_2", "r_5"]
    assert {each[0] for table in ("step_runs", "logs") for each in found.tables[table]} == {"r_2", "r_5"}


def test_the_size_of_a_segment(segments: Segments, folder: SharedFolder) -> None:
    publish(segments, 1)
    assert segments.size(Range(1, 1, 1)) == sum(len(each.read_bytes()) for each in folder.root.rglob("*.parquet"))
    assert segments.size(Range(1, 2, 2)) is None
    cut(file(folder, SPINE, 1))
    with pytest.raises(ValueError):
        segments.size(Range(1, 1, 1))


def test_the_plan_of_a_version_is_there_once_a_file() -> None:
    rows = [run_row("a", 1, spec="plan"), run_row("b", 1)]
    again = [run_row("a", 2, spec="plan"), run_row("c", 2, version="v2", spec="other")]
    both = merged([Segment(Range(1, 1, 1), {SPINE: rows}, []), Segment(Range(1, 2, 2), {SPINE: again}, [])], everything)
    specs = {each[0]: each[TABLES[SPINE].index("spec")] for each in both[SPINE]}
    assert specs == {"a": "plan", "b": None, "c": "other"}


def test_names_of_files() -> None:
    assert str(Range(17, 3, 12)) == "00000017-00000003-00000012.parquet"
    assert Range.parse("00000017-00000003-00000012.parquet") == Range(17, 3, 12)
    assert Range.parse(str(Range(10**9, 10**9, 10**9))) == Range(10**9, 10**9, 10**9)
    assert json.loads(json.dumps(Range(1, 2, 3))) == [1, 2, 3]
