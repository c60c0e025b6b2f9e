"""Publishing: what comes into a segment, when it counts, and that it costs what changed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from machines import SPEC, Machine

from flowstead.engine import publishing
from flowstead.engine.published_logs import FIRST_LINES, LAST_LINES
from flowstead.engine.runlog import RunLog
from flowstead.ledger import LedgerReader
from flowstead.model.errors import OwnershipLost, StorageError
from flowstead.workspace.segments import TABLES, Segment

Machines = Callable[..., Machine]


def published(machine: Machine, after: int = 0) -> list[dict[str, list[dict[str, Any]]]]:
    """The rows of each segment, by table and column."""
    found: list[dict[str, list[dict[str, Any]]]] = []
    for segment in machine.segments.read(after, machine.claims.announced, machine.claims.counting()):
        assert isinstance(segment, Segment) and not segment.gaps
        found.append(
            {
                table: [dict(zip(TABLES[table], row, strict=True)) for row in rows]
                for table, rows in segment.tables.items()
            }
        )
    return found


# -- what comes into it -----------------------------------------------------------------------------------------


def test_a_run_is_published_whole(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue(key="k", params={"n": 1}, source_root="in", source_path="a.csv")
    fence = owner.begin(run_id, files=[("a.csv", 7, 8)])
    info = '{"rows": 3}'
    owner.ledger.write(
        lambda tx: tx.put_artifact(fence, step=0, name="a", kind="table", path="artifacts/a.parquet", info=info)
    )
    assert owner.publish() == 1
    (tables,) = published(owner)
    (run,) = tables["runs"]
    assert (run["id"], run["status"], run["key"], run["params"]) == (run_id, "running", "k", '{"n": 1}')
    assert (run["epoch"], run["generation"]) == (1, 1)
    assert json.loads(run["artifacts"])[0][:4] == ["artifacts/a.parquet", 0, "a", "table"]
    assert json.loads(run["files"]) == [["a.csv", 7, 8]]
    assert run["spec"] == SPEC
    assert [(each["step"], each["status"]) for each in tables["step_runs"]] == [(0, "running")]
    assert [each["event"] for each in tables["logs"]] == ["run.started"]
    assert "file_state" not in tables
    owner.end(fence, flow="daily", source_root="in")
    assert owner.publish() == 2
    (tables,) = published(owner, 1)
    assert [each["status"] for each in tables["runs"]] == ["succeeded"]
    assert tables["runs"][0]["files"] is None
    assert [each["event"] for each in tables["logs"]] == ["run.finished"]
    (state,) = tables["file_state"]
    assert (state["path"], state["size"], state["status"], state["epoch"]) == ("a.csv", 7, "succeeded", 1)


def test_a_run_on_a_folder_publishes_all_its_files(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    for name in ("old", "new"):
        run_id = owner.enqueue(source_root="in")
        fence = owner.begin(run_id, files=[(f"{name}-{each}.csv", 1, 2) for each in range(3)])
        owner.end(fence, flow="daily", source_root="in")
        owner.publish()
    (tables,) = published(owner, 1)
    assert [each["path"] for each in tables["file_state"]] == [f"new-{each}.csv" for each in range(3)]


def test_without_a_change_there_is_no_segment(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    assert owner.publish() == 0
    owner.complete()
    assert [owner.publish(), owner.publish()] == [1, 1]
    assert len(owner.segments.ranges()) == 1
    # What is an event, but of no run, is none either.
    owner.ledger.write(lambda tx: tx.put_version("v2", "daily", "Sales", "{}"))
    assert owner.publish() == 1


def test_a_step_that_goes_on_is_a_change(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    fence = owner.begin(owner.enqueue())
    owner.publish()
    owner.ledger.write(lambda tx: tx.put_items(fence, 0, 1, [], total=10, done=4, failed=1))
    assert owner.publish() == 2
    (tables,) = published(owner, 1)
    assert [(each["items_total"], each["items_done"], each["items_failed"]) for each in tables["step_runs"]] == [
        (10, 4, 1)
    ]


def test_much_is_published_in_parts(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "RUNS_AT_ONCE", 4)
    monkeypatch.setattr(publishing, "EVENTS_AT_ONCE", 15)
    owner = machines("a")
    owner.own()
    ids = [owner.complete() for _ in range(10)]
    assert owner.publish() >= 3
    parts = published(owner)
    assert max(len(part["runs"]) for part in parts) <= 4
    assert {run["id"]: run["status"] for part in parts for run in part["runs"]} == dict.fromkeys(ids, "succeeded")


def test_of_a_long_history_some_is_published_at_once(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "RUNS_AT_ONCE", 2)
    owner = machines("a")
    owner.own()
    for _ in range(9):
        owner.complete()
    assert owner.publisher is not None
    assert [owner.publisher.publish(at_most=2) for _ in range(4)] == [2, 4, 5, 5]


def test_history_from_before_it_was_shared_is_published(machines: Machines) -> None:
    owner = machines("a")
    owner.epoch = 1
    owner.ledger.write(lambda tx: tx.put_meta("epoch", "1"))
    run_id = owner.complete()
    owner.own()
    owner.publish()
    assert machines("b").follow().runs == 1
    assert machines("b").runs() == {run_id: "succeeded"}


# -- logs -------------------------------------------------------------------------------------------------------


def test_of_a_flood_of_lines_the_first_and_the_last_come(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue()
    owner.begin(run_id)
    owner.log(run_id, "output", FIRST_LINES + LAST_LINES + 500)
    owner.publish()
    (tables,) = published(owner)
    seqs = [each["seq"] for each in tables["logs"]]
    assert seqs[:FIRST_LINES] == list(range(1, FIRST_LINES + 1))
    total = FIRST_LINES + LAST_LINES + 501
    assert seqs[-LAST_LINES:] == list(range(total - LAST_LINES + 1, total + 1))
    note = tables["logs"][FIRST_LINES]
    assert (note["event"], note["seq"]) == ("log.shortened", FIRST_LINES + 1)
    assert note["message"].startswith("501 lines are left out")
    assert len(seqs) <= FIRST_LINES + LAST_LINES + 2


def test_of_a_very_long_log_only_the_ends_are_read(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue()
    owner.begin(run_id)
    log = RunLog(owner.layout.run_folder(run_id), {"run_id": run_id})
    for number in range(12_000):
        log.add("output", f"{number} " + "x" * 1000)
    log.close()
    owner.publish()
    (tables,) = published(owner)
    assert len(tables["logs"]) == FIRST_LINES + LAST_LINES + 1
    assert tables["logs"][-1]["seq"] == 12_001
    owner.log(run_id, "output")
    owner.publish()
    assert [each["seq"] for each in published(owner, 1)[0]["logs"]] == [12_002]


def test_what_a_step_prints_is_published_before_it_ends(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue()
    owner.begin(run_id)
    assert owner.publish() == 1
    owner.log(run_id, "output", 2)
    assert [owner.publish(), owner.publish()] == [2, 2]
    assert [each["message"] for each in published(owner, 1)[0]["logs"]] == ["output 0 on a", "output 1 on a"]


@pytest.mark.parametrize("restarted", [False, True])
def test_the_last_line_may_come_after_the_end(machines: Machines, restarted: bool) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue()
    fence = owner.begin(run_id)
    owner.ledger.write(lambda tx: tx.end_run(fence, "failed"))
    assert owner.publish() == 1
    if restarted:
        owner.own()
    owner.log(run_id, "run.finished")
    assert [owner.publish(), owner.publish()] == [2, 2]
    lines = [each["event"] for each in published(owner, 1)[0]["logs"]]
    assert lines[-1] == "run.finished"
    # Nothing more can come, so nobody looks at it again.
    owner.log(run_id, "output")
    assert owner.publish() == 2


def test_a_damaged_or_torn_line_stops_nothing(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.enqueue()
    owner.begin(run_id)
    path = owner.layout.run_folder(run_id) / "events.ndjson"
    with path.open("ab") as file:
        file.write(b'\x00garbage\n{"seq": "x"}\n[1]\n{"seq": 9, "message": 5}\n{"seq": 10, "mess')
    owner.publish()
    assert [(each["seq"], each["message"]) for each in published(owner)[0]["logs"]][1:] == [(9, "5")]
    path.write_bytes(path.read_bytes().rpartition(b"\n")[0] + b"\n")
    owner.log(run_id, "output")
    owner.publish()
    assert [each["seq"] for each in published(owner, 1)[0]["logs"]] == [10]


# -- when it counts ---------------------------------------------------------------------------------------------


def test_what_came_too_late_does_not_count_and_comes_again(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    run_id = owner.complete()

    def lost() -> None:
        raise OwnershipLost("It is another's.")

    owner.ledger.guard = lost
    with pytest.raises(OwnershipLost):
        owner.publish()
    assert owner.publisher is not None and owner.publisher.generation == 0
    owner.ledger.guard = None
    other = machines("b")
    owner.claims.accepted[1] = 0
    other.claims.accepted[2] = 0  # it looked before that segment arrived
    other.epoch = 2
    other.follow()
    assert other.runs() == {}
    owner.own()
    assert owner.publish() == 1
    assert other.follow().gaps == []
    assert other.runs() == {run_id: "succeeded"}


def test_a_share_that_is_away_loses_nothing(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = machines("a")
    owner.own()
    owner.complete()

    def away(name: str, data: bytes) -> None:
        raise StorageError("The share is away.")

    with monkeypatch.context() as patched:
        patched.setattr(owner.folder, "replace", away)
        with pytest.raises(StorageError):
            owner.publish()
    owner.complete()
    assert owner.publish() == 2
    assert [len(each["runs"]) for each in published(owner)] == [1, 1]


def test_what_a_successor_accepted_is_not_written_anew(machines: Machines) -> None:
    """The segment was put, but could not be counted; then another took over, and this machine goes on, too late."""
    a, b = machines("a"), machines("b")
    a.own()
    first = a.complete()

    def full() -> None:
        raise StorageError("The disk is full.")

    a.ledger.guard = full
    with pytest.raises(StorageError):
        a.publish()
    a.ledger.guard = None
    a.complete()
    b.own()
    assert b.runs() == {first: "succeeded"}
    a.ledger.guard = full
    with pytest.raises(StorageError):
        a.publish()
    a.ledger.guard = None
    newcomer = machines("c")
    assert newcomer.follow().gaps == []
    assert newcomer.runs() == {first: "succeeded"}


def test_what_others_published_is_not_published_again(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    done, open_run = a.complete(), a.enqueue()
    a.begin(open_run)
    a.publish()
    a.lose()
    b.own()
    assert b.publish() == 2
    assert [(run["id"], run["status"], run["epoch"]) for run in published(b, 1)[0]["runs"]] == [
        (open_run, "interrupted", 2)
    ]
    assert b.run(done).status == "succeeded"


# -- what it costs ----------------------------------------------------------------------------------------------


def fill(path: Path, runs: int) -> None:
    """History, published long ago."""
    connection = sqlite3.connect(path)
    with connection:
        ids = [f"r_{number:032d}" for number in range(runs)]
        connection.executemany(
            "INSERT INTO runs (id, flow, group_name, version, status, trigger, due_at, queued_at, finished_at)"
            " VALUES (?, 'daily', 'Sales', 'v1', 'succeeded', 'manual', 1, 1, 1)",
            [(each,) for each in ids],
        )
        connection.executemany(
            "INSERT INTO step_runs (run_id, step, attempt, status) VALUES (?, ?, 1, 'succeeded')",
            [(each, step) for each in ids for step in (0, 1)],
        )
        connection.executemany(
            "INSERT INTO file_state VALUES ('daily', 'in', ?, 1, 1, 'succeeded', ?, 1, 0, 0)",
            [(f"{number}.csv", each) for number, each in enumerate(ids)],
        )
        connection.executemany("INSERT INTO events VALUES (?, 1, 'run', ?, 'succeeded')", list(enumerate(ids, 1)))
        connection.execute("INSERT INTO meta VALUES ('published_seq', ?)", (str(runs),))
    connection.close()


def steps_of(connection: sqlite3.Connection, work: Callable[[], object]) -> int:
    """How many steps SQLite's machine takes for `work`, in tens."""
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    connection.set_progress_handler(step, 10)
    try:
        work()
    finally:
        connection.set_progress_handler(None, 0)
    return count


def connection_of(reader: LedgerReader) -> sqlite3.Connection:
    reader.last_event()
    connection = reader._connection
    assert connection is not None
    return connection


def run_ten(owner: Machine) -> None:
    for number in range(10):
        run_id = owner.enqueue(source_root="in", source_path=f"{number}.csv")
        owner.end(owner.begin(run_id, files=[(f"{number}.csv", 2, 2)]), flow="daily", source_root="in")


def test_publishing_ten_changes_costs_the_same_whatever_the_history(machines: Machines) -> None:
    costs: list[int] = []
    for name, runs in (("a", 100), ("b", 10_000)):
        owner = machines(name)
        owner.close()
        fill(owner.layout.ledger, runs)
        owner.open()
        owner.own()
        run_ten(owner)
        assert owner.publisher is not None
        costs.append(steps_of(connection_of(owner.publisher._reader), owner.publish))
        assert len(published(owner, owner.claims.announced - 1)[0]["runs"]) == 10
    assert costs[1] < costs[0] * 1.3 + 20, costs


def test_merging_ten_changes_costs_the_same_whatever_the_history(machines: Machines) -> None:
    owner = machines("owner")
    owner.own()
    run_ten(owner)
    owner.publish()
    costs: list[int] = []
    for name, runs in (("a", 100), ("b", 10_000)):
        observer = machines(name)
        observer.close()
        fill(observer.layout.ledger, runs)
        observer.open()
        connection = observer.ledger._connection
        costs.append(steps_of(connection, lambda observer=observer: observer.follow()))
        assert observer.runs().keys() > owner.runs().keys()
    assert costs[1] < costs[0] * 1.3 + 20, costs
