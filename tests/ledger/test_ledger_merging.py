"""What merging takes in and what it leaves, and that every change carries its epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowstead.ledger import Ledger
from flowstead.ledger import statements as sql
from flowstead.ledger.merging import IncomingRun, Merged, merge_files, merge_runs, put_specs
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import OwnershipLost, StaleWriter
from flowstead.model.run import RunRequest


def incoming(run_id: str, version: tuple[int, int], status: str = "succeeded", **more: Any) -> IncomingRun:
    values = {
        "id": run_id,
        "flow": "daily",
        "group_name": "Sales",
        "version": "v1",
        "status": status,
        "trigger": "manual",
        "attempt": 1,
        "losses": 0,
        "params": "{}",
        "due_at": 1,
        "queued_at": 1,
        "metadata": "{}",
        "epoch": version[0],
        **more,
    }
    steps = values.pop("steps", [])
    artifacts, files = values.pop("artifacts", []), values.pop("files", None)
    return IncomingRun(tuple(values.get(name) for name in sql.PUBLISHED_RUN), version[1], steps, artifacts, files)


def step(run_id: str, number: int, attempt: int = 1, status: str = "succeeded", finished: int = 5) -> tuple[Any, ...]:
    values = {"run_id": run_id, "step": number, "attempt": attempt, "status": status, "finished_at": finished}
    return tuple(values.get(name) for name in sql.PUBLISHED_STEP)


def merge(ledger: Ledger, *runs: IncomingRun) -> Merged:
    return ledger.write(lambda tx: merge_runs(tx, runs))


def version(ledger: Ledger, run_id: str) -> tuple[int, int, str]:
    (row,) = ledger.reader.rows("SELECT epoch, generation, status FROM runs WHERE id = ?", (run_id,))
    return row


def status(ledger: Ledger, run_id: str) -> str:
    return version(ledger, run_id)[2]


def changes(ledger: Ledger, after: int) -> list[tuple[str, str, str]]:
    return [row[2:] for row in ledger.reader.events(after)]


# -- the later stands -------------------------------------------------------------------------------------------


def test_a_new_run_is_taken_whole(ledger: Ledger) -> None:
    artifact = ("artifacts/a.md", 0, "a", "report", "{}", 7)
    run = incoming("r_1", (3, 9), steps=[step("r_1", 0), step("r_1", 1, status="failed")], artifacts=[artifact])
    spec = (
        '{"name": "daily", "group": "Sales", "label": "", "trigger": {}, "steps":'
        ' [{"index": 0, "name": "a", "label": "a", "kind": "step"}]}'
    )
    ledger.write(lambda tx: put_specs(tx, [("v1", "daily", spec)]))
    before = ledger.last_event
    assert merge(ledger, run) == Merged(["r_1"], [])
    assert version(ledger, "r_1") == (3, 9, "succeeded")
    shown = ledger.reader.run("r_1")
    assert [(each.name, each.status) for each in shown.steps] == [("a", "succeeded")]
    assert [each.path for each in shown.artifacts] == ["artifacts/a.md"]
    assert changes(ledger, before) == [
        ("step", "r_1/0/1", "succeeded"),
        ("step", "r_1/1/1", "failed"),
        ("artifact", "r_1/artifacts/a.md", "added"),
        ("run", "r_1", "succeeded"),
    ]
    assert merge(ledger, run) == Merged([], [])
    assert ledger.last_event == before + 4


@pytest.mark.parametrize(
    ("here", "there", "taken"),
    [((3, 9), (3, 10), True), ((3, 9), (4, 1), True), ((3, 9), (3, 8), False), ((3, 9), (2, 99), False)],
)
def test_the_later_of_two_stands(ledger: Ledger, here: tuple[int, int], there: tuple[int, int], taken: bool) -> None:
    merge(ledger, incoming("r_1", here, "running"))
    assert bool(merge(ledger, incoming("r_1", there, "interrupted")).taken) == taken
    assert status(ledger, "r_1") == ("interrupted" if taken else "running")


def test_only_what_changed_is_told(ledger: Ledger) -> None:
    first = [step("r_1", 0), step("r_1", 1, status="running")]
    merge(ledger, incoming("r_1", (1, 1), "running", steps=first, artifacts=[("x", 0, "x", "report", "{}", 1)]))
    before = ledger.last_event
    then = [step("r_1", 0), step("r_1", 1), step("r_1", 2, status="running")]
    merge(ledger, incoming("r_1", (1, 2), "running", steps=then, artifacts=[("y", 0, "y", "report", "{}", 1)]))
    assert sorted(changes(ledger, before)) == [
        ("artifact", "r_1/x", "dropped"),
        ("artifact", "r_1/y", "added"),
        ("run", "r_1", "running"),
        ("step", "r_1/1/1", "succeeded"),
        ("step", "r_1/2/1", "running"),
    ]


# -- what this machine did itself --------------------------------------------------------------------------------


def own_run(ledger: Ledger, epoch: int, request: RunRequest) -> Fence:
    """A run of this machine that is under way in an epoch of its own."""
    fence = Fence(request.id, "t", epoch)

    def begin(tx: Any) -> None:
        tx.begin_epoch(epoch)
        tx.enqueue(request)
        assert tx.claim(fence, "w-1", first_step=True)

    ledger.write(begin)
    return fence


def test_an_own_publication_read_back_changes_nothing(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    fence = own_run(ledger, 5, request_run())
    assert merge(ledger, incoming(fence.run_id, (5, 3), "queued")).taken == []
    assert status(ledger, fence.run_id) == "running"
    assert ledger.write(lambda tx: tx.end_run(fence, "succeeded"))


def test_a_successor_knows_better(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    fence = own_run(ledger, 5, request_run())
    assert merge(ledger, incoming(fence.run_id, (6, 3), "interrupted", steps=[step(fence.run_id, 0)])).taken
    assert version(ledger, fence.run_id) == (6, 3, "interrupted")
    assert not ledger.write(lambda tx: tx.end_run(fence, "succeeded"))
    assert ledger.write(lambda tx: tx.abandoned()) == []


def test_an_end_is_not_undone(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    fence = own_run(ledger, 5, request_run())
    ledger.write(lambda tx: tx.end_run(fence, "succeeded"))
    before = ledger.last_event
    assert merge(ledger, incoming(fence.run_id, (6, 3), "interrupted")) == Merged([], [fence.run_id])
    assert status(ledger, fence.run_id) == "succeeded"
    assert changes(ledger, before) == [("run", fence.run_id, "succeeded")]
    # Published under the next own epoch it is later than what it withstood.
    ledger.write(lambda tx: tx.begin_epoch(8))
    assert version(ledger, fence.run_id) == (8, 0, "succeeded")
    assert changes(ledger, before)[1:] == [("run", fence.run_id, "succeeded")]
    ledger.write(lambda tx: tx.begin_epoch(9))
    assert version(ledger, fence.run_id)[0] == 8


def test_another_end_that_came_later_stands(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    fence = own_run(ledger, 5, request_run())
    ledger.write(lambda tx: tx.end_run(fence, "succeeded"))
    assert merge(ledger, incoming(fence.run_id, (6, 3), "failed")).taken
    assert status(ledger, fence.run_id) == "failed"


def test_own_epochs_are_remembered(ledger: Ledger) -> None:
    for epoch in (3, 4, 5, 9, 20, 21):
        ledger.write(lambda tx, epoch=epoch: tx.begin_epoch(epoch))
    own = ledger.write(lambda tx: tx.own_epochs())
    assert [epoch for epoch in range(30) if own(epoch)] == [3, 4, 5, 9, 20, 21]
    assert ledger.reader.meta("own_epochs") == "[[3, 5], [9, 9], [20, 21]]"


def test_checkpoints_of_unchanged_steps_stay(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    fence = own_run(ledger, 5, request_run())
    run_id = fence.run_id
    ledger.write(
        lambda tx: tx.put_items(fence, 0, 1, [(0, "succeeded", 1, "1", None, None)], total=1, done=1, failed=0)
    )
    (mine,) = ledger.reader.rows(f"SELECT {', '.join(sql.PUBLISHED_STEP)} FROM step_runs")
    with_checkpoint = "UPDATE step_runs SET checkpoint = '{}'"
    ledger.write(lambda tx: tx.execute(with_checkpoint))
    merge(ledger, incoming(run_id, (6, 1), "interrupted", steps=[mine, step(run_id, 1)]))
    assert [row[12] for row in ledger.reader.step_rows(run_id)] == ["{}", None]
    assert len(ledger.reader.items(run_id, 0)) == 1
    changed = (*mine[:3], "interrupted", *mine[4:])
    merge(ledger, incoming(run_id, (6, 2), "interrupted", steps=[changed, step(run_id, 0, attempt=2)]))
    assert [row[12] for row in ledger.reader.step_rows(run_id)] == [None, None]
    assert ledger.reader.items(run_id, 0) == []


# -- one key ----------------------------------------------------------------------------------------------------


def test_a_slot_that_ran_elsewhere_does_not_run_here(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    waiting = request_run(key="slot")
    ledger.write(lambda tx: tx.begin_epoch(5))
    ledger.write(lambda tx: tx.enqueue(waiting))
    assert merge(ledger, incoming("r_b", (6, 1), key="slot")) == Merged(["r_b"], [waiting.id])
    assert status(ledger, waiting.id) == "cancelled"
    here = ledger.reader.run(waiting.id)
    assert here.key is None
    assert here.error is not None and here.error["code"] == "run-elsewhere"
    assert "r_b" in here.error["message"]
    assert ledger.write(lambda tx: tx.enqueue(request_run(key="slot"))) == ("r_b", False)


def test_an_old_run_of_a_key_that_is_taken_comes_without_it(
    ledger: Ledger, request_run: Callable[..., RunRequest]
) -> None:
    mine = own_run(ledger, 8, request_run(key="slot"))
    assert merge(ledger, incoming("r_old", (6, 1), "queued", key="slot")) == Merged(["r_old"], ["r_old"])
    assert (status(ledger, mine.run_id), status(ledger, "r_old")) == ("running", "cancelled")
    assert merge(ledger, incoming("r_older", (6, 1), "failed", key="slot")) == Merged(["r_older"], ["r_older"])
    assert status(ledger, "r_older") == "failed"
    assert ledger.reader.run(mine.run_id).key == "slot"


# -- files ------------------------------------------------------------------------------------------------------


def file_row(path: str, version: tuple[int, int], state: str = "succeeded", size: int = 1) -> tuple[Any, ...]:
    return ("daily", "in", path, size, 2, state, "r_1", 3, *version)


def test_the_later_state_of_a_file_stands(ledger: Ledger) -> None:
    assert ledger.write(lambda tx: merge_files(tx, [file_row("a", (3, 5)), file_row("b", (3, 5), "failed")])) == 2
    before = ledger.last_event
    later = [file_row("a", (3, 4), size=9), file_row("b", (3, 6), size=9), file_row("c", (1, 1))]
    assert ledger.write(lambda tx: merge_files(tx, later)) == 2
    assert ledger.reader.file_state("daily", "in") == {
        "a": (1, 2, "succeeded"),
        "b": (9, 2, "succeeded"),
        "c": (1, 2, "succeeded"),
    }
    assert [each[:2] for each in changes(ledger, before)] == [("files", "daily")]


def test_the_state_of_a_file_has_the_epoch_of_its_run(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    ledger.write(lambda tx: merge_files(tx, [file_row("a", (3, 5))]))
    fence = own_run(ledger, 7, request_run(source_root="in", source_path="a"))
    ledger.write(lambda tx: tx.put_run_files(fence, [("a", 8, 8)]))
    ledger.write(lambda tx: tx.end_run(fence, "succeeded", flow="daily", source_root="in"))
    assert ledger.reader.rows("SELECT size, epoch, generation FROM file_state") == [(8, 7, 0)]
    assert ledger.write(lambda tx: merge_files(tx, [file_row("a", (7, 9))])) == 0
    assert ledger.write(lambda tx: merge_files(tx, [file_row("a", (8, 1))])) == 1


def test_files_that_an_open_run_read_come_along(ledger: Ledger) -> None:
    files = [("a", 1, 2)]
    merge(ledger, incoming("r_1", (1, 1), "running", source_root="in", source_path="a", files=files))
    merge(ledger, incoming("r_1", (1, 2), "interrupted", source_root="in", source_path="a"))
    assert ledger.reader.interrupted_files("daily", "in") == {"a": (1, 2)}
    merge(ledger, incoming("r_1", (1, 3), "failed", source_root="in", source_path="a"))
    assert ledger.reader.rows("SELECT * FROM run_files") == []


# -- every change has its epoch ---------------------------------------------------------------------------------


def test_every_change_of_a_run_has_the_epoch_in_which_it_was_made(
    ledger: Ledger, request_run: Callable[..., RunRequest]
) -> None:
    def begin(epoch: int) -> None:
        ledger.write(lambda tx: tx.begin_epoch(epoch))

    begin(4)
    queued, idle = request_run(), request_run()
    ledger.write(lambda tx: (tx.enqueue(queued), tx.enqueue(idle)))
    assert version(ledger, queued.id) == (4, 0, "queued")
    begin(5)
    assert ledger.write(lambda tx: tx.cancel(idle.id)) == "cancelled"
    assert version(ledger, idle.id) == (5, 0, "cancelled")
    assert ledger.write(lambda tx: tx.claim(Fence(queued.id, "t", 5), "w", first_step=True))
    begin(6)
    ledger.write(lambda tx: tx.abandon(queued.id, "interrupted", None))
    assert version(ledger, queued.id) == (6, 0, "interrupted")
    begin(7)
    assert ledger.write(lambda tx: tx.resume(queued.id))
    assert version(ledger, queued.id) == (7, 0, "queued")


@pytest.mark.parametrize("change", ["cancel", "resume", "abandon", "claim"])
def test_what_is_changed_here_is_not_what_was_merged(ledger: Ledger, change: str) -> None:
    before = {"cancel": "queued", "resume": "interrupted", "abandon": "running", "claim": "queued"}[change]
    merge(ledger, incoming("r_1", (3, 9), before))
    ledger.write(lambda tx: tx.begin_epoch(4))
    operation: Callable[[Any], object] = {
        "cancel": lambda tx: tx.cancel("r_1"),
        "resume": lambda tx: tx.resume("r_1"),
        "abandon": lambda tx: tx.abandon("r_1", "interrupted", None),
        "claim": lambda tx: tx.claim(Fence("r_1", "t", 4), "w"),
    }[change]
    ledger.write(operation)
    assert version(ledger, "r_1")[:2] == (4, 0)


def test_runs_of_another_machine_are_abandoned_without_its_workers(ledger: Ledger) -> None:
    merge(ledger, incoming("r_1", (3, 9), "running"), incoming("r_2", (3, 9), "cancelling"))
    assert sorted(ledger.write(lambda tx: tx.abandoned())) == [
        ("r_1", "running", None, "daily"),
        ("r_2", "cancelling", None, "daily"),
    ]


def test_an_engine_of_an_earlier_epoch_prepares_nothing(ledger: Ledger, claimed: Callable[..., Fence]) -> None:
    fence = claimed(ledger)
    ledger.write(lambda tx: tx.begin_epoch(2))
    writes: list[Callable[[Any], object]] = [
        lambda tx: tx.resume_at(fence, 0, keep_items=False),
        lambda tx: tx.drop_checkpoint(fence, 0),
        lambda tx: tx.put_run_files(fence, [("a", 1, 1)]),
    ]
    for write in writes:
        with pytest.raises(StaleWriter):
            ledger.write(write)


def test_the_guard_is_asked_before_each_commit(tmp_path: Path, request_run: Callable[..., RunRequest]) -> None:
    asked: list[int] = []

    def guard() -> None:
        asked.append(len(asked))
        if len(asked) > 2:
            raise OwnershipLost("It is another's.")

    ledger = Ledger(tmp_path / "l.sqlite3", guard=guard)
    try:
        ledger.write(lambda tx: tx.enqueue(request_run()))
        ledger.write(lambda tx: tx.enqueue(request_run()))
        with pytest.raises(OwnershipLost):
            ledger.write(lambda tx: tx.enqueue(request_run()))
        assert len(ledger.reader.runs()) == 2
        assert ledger.last_event == 2
        ledger.guard = None
        ledger.write(lambda tx: tx.enqueue(request_run()))
        assert len(ledger.reader.runs()) == 3
    finally:
        ledger.close()


def test_a_snapshot_is_of_one_moment(ledger: Ledger, request_run: Callable[..., RunRequest]) -> None:
    with ledger.reader.snapshot():
        assert ledger.reader.last_event() == 0
        ledger.write(lambda tx: tx.enqueue(request_run()))
        assert ledger.reader.runs() == []
    assert len(ledger.reader.runs()) == 1
