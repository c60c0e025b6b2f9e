"""Reading at size: what lists, dispatch and retention cost when there are many runs, and what retention takes along."""

import itertools
import sqlite3

import pytest

from flowstead.ledger import Ledger, StepOutcome
from flowstead.ledger import statements as sql
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import RunNotFound, UsageError

MANY = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO runs (id, flow, group_name, version, status, trigger, due_at, queued_at, started_at, finished_at)
SELECT printf('r_%08x', n), 'flow-' || (n % 5), 'Sales', 'v1', CASE WHEN n % 1000 = 7 THEN 'failed' ELSE ? END, 'file',
       n, n, n, n FROM numbers
"""


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A ledger of 100,000 runs of five flows; one in a thousand failed."""
    ledger = Ledger(tmp_path_factory.mktemp("many") / "ledger.sqlite3")
    ledger._connection.execute(MANY, (100_000, "succeeded"))
    yield ledger
    ledger.close()


def cost(connection: sqlite3.Connection, statement: str, parameters) -> int:
    """How many hundreds of instructions of SQLite's machine a statement takes."""
    taken = itertools.count()
    connection.set_progress_handler(lambda: next(taken) < 0, 100)
    connection.execute(statement, parameters).fetchall()
    connection.set_progress_handler(None, 0)
    return next(taken)


LISTINGS = [
    {},
    {"flow": "flow-1"},
    {"status": "succeeded"},
    {"status": "failed"},
    {"flow": "flow-1", "status": "succeeded"},
    {"flow": "flow-2", "status": "failed"},
]


@pytest.mark.parametrize("before", [None, 50_000], ids=["first page", "later page"])
@pytest.mark.parametrize("filters", LISTINGS, ids=lambda each: " and ".join(each) or "all")
def test_the_newest_fifty_of_many_runs_come_by_an_index(many, filters, before):
    if before:
        filters = {**filters, "before": before}
    connection = many._connection
    statement, parameters = sql.newest_runs(filters), (*filters.values(), 50)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert len(plan) == 1 and "TEMP B-TREE" not in plan[0], plan
    # Without a filter the table itself is in the order asked for, and its end is read.
    assert plan[0].startswith("SEARCH runs") or (plan[0] == "SCAN runs" and set(filters) <= {"before"}), plan
    assert cost(connection, statement, parameters) < 60, plan


def test_pages_are_whole_and_in_order(many):
    seen: list[int] = []
    before = None
    while page := many.reader.runs(flow="flow-3", status="failed", before=before, limit=7):
        seen += [run.number for run in page]
        before = seen[-1]
    rows = many.reader.rows("SELECT number FROM runs WHERE flow = 'flow-3' AND status = 'failed' ORDER BY number DESC")
    assert seen == [row[0] for row in rows]
    with pytest.raises(UsageError, match="There is no status 'lost'"):
        many.reader.runs(status="lost")


def test_a_run_is_found_by_its_id_its_beginning_or_its_end(ledger, request_run):
    for run_id in ("r_aaaa1111", "r_aaaa2222", "r_bbbb%_\\3"):
        ledger.write(lambda tx, run_id=run_id: tx.enqueue(request_run(id=run_id)))
    find = ledger.reader.run_id
    assert find("r_aaaa1111") == find("aaaa1111") == find("r_aaaa1") == find("1111") == "r_aaaa1111"
    assert find("%_\\3") == "r_bbbb%_\\3"
    with pytest.raises(UsageError, match="fits more than one run"):
        find("r_aaaa")
    for text in ("2", "____", "%%%%", "cccc1111"):
        with pytest.raises(RunNotFound):
            find(text)


def test_looking_for_due_runs_costs_by_the_flow_not_by_the_run(tmp_path, request_run):
    costs = []
    for count in (50, 50_000):
        ledger = Ledger(tmp_path / f"{count}.sqlite3", clock=lambda: 10**9)
        ledger._connection.execute(MANY, (count, "queued"))
        found = ledger.write(lambda tx: tx.waiting())
        assert [row[1] for row in found] == [f"flow-{n}" for n in (1, 2, 3, 4, 0)]
        assert [row[0] for row in found] == [f"r_{n:08x}" for n in range(1, 6)]
        costs.append(cost(ledger._connection, sql.WAITING, (10**9,)))
        plan = [row[3] for row in ledger._connection.execute(f"EXPLAIN QUERY PLAN {sql.WAITING}", (1,))]
        assert not [line for line in plan if line.startswith("SCAN runs")], plan
        ledger.close()
    assert costs[1] <= costs[0] * 2


def test_a_run_that_is_not_due_yet_hides_no_other(tmp_path, request_run, claimed):
    now = [1_000]
    ledger = Ledger(tmp_path / "ledger.sqlite3", clock=lambda: now[0])
    delayed = claimed(ledger, id="r_1")
    ledger.write(lambda tx: tx.requeue(delayed, due_at=5_000, step_status="failed", error=None, losses=0))
    ledger.write(lambda tx: tx.enqueue(request_run(id="r_2")))
    assert [row[0] for row in ledger.write(lambda tx: tx.waiting())] == ["r_2"]
    assert ledger.reader.next_due_time(now[0]) == 5_000
    now[0] = 5_000
    assert [row[0] for row in ledger.write(lambda tx: tx.waiting())] == ["r_1"], "the oldest of its flow"
    ledger.close()


def finish(ledger: Ledger, fence: Fence, finished_at: int, step: int = 0, attempt: int = 1, **more) -> None:
    outcome = StepOutcome(step, attempt, "succeeded", None, finished_at)
    assert ledger.write(lambda tx: tx.finish_step(fence, outcome, **more))


def test_losses_count_in_a_row(ledger, claimed):
    """A worker lost after a step succeeded is the first loss again, whatever was lost before that step."""
    fence = claimed(ledger)
    run_id = fence.run_id
    lose = {"step_status": "interrupted", "error": None, "losses": 1}

    def again(token: str, step: int, attempt: int) -> Fence:
        fence = Fence(run_id, token, 1)
        assert ledger.write(lambda tx: tx.claim(fence, "w-2"))
        assert ledger.write(lambda tx: tx.start_step(fence, step, attempt, tx.at))
        return fence

    (due,) = ledger.reader.rows("SELECT due_at FROM runs")[0]
    for losses in (1, 2):
        later = due + losses * 10
        assert ledger.write(lambda tx, fence=fence, later=later: tx.requeue(fence, due_at=later, **lose))
        assert ledger.reader.losses(run_id) == losses
        fence = again(f"t{losses + 1}", 0, losses + 1)
    finish(ledger, fence, due + 25, attempt=3, following=(1, 1))
    assert ledger.reader.losses(run_id) == 0
    assert ledger.write(lambda tx: tx.requeue(fence, due_at=due + 30, **lose))
    assert ledger.reader.losses(run_id) == 1
    fence = again("t9", 1, 2)
    assert ledger.write(lambda tx: tx.requeue(fence, due_at=due + 40, **lose))
    assert ledger.reader.losses(run_id) == 2


def test_a_resumed_run_shows_no_end(ledger, claimed):
    fence = claimed(ledger)
    assert ledger.write(lambda tx: tx.end_run(fence, "interrupted", error='{"code": "interrupted"}'))
    ended = ledger.reader.run(fence.run_id)
    assert ended.finished_at and ended.error == {"code": "interrupted"}
    assert ledger.write(lambda tx: tx.resume(fence.run_id))
    resumed = ledger.reader.run(fence.run_id)
    assert (resumed.status, resumed.finished_at, resumed.error) == ("queued", None, None)


# -- retention --------------------------------------------------------------------------------------------------


def ended_run(ledger: Ledger, claimed, number: int, status: str = "succeeded") -> str:
    """A run with a step, an item, an artifact and a file's signature."""
    fence = claimed(ledger, token=f"t{number}", source_root="/in", source_path="a.csv")
    assert ledger.write(
        lambda tx: tx.put_items(fence, 0, 1, [(0, "succeeded", 5, "1", None, None)], total=1, done=1, failed=0)
    )
    assert ledger.write(lambda tx: tx.put_artifact(fence, step=0, name="a", kind="json", path="a.json", info="{}"))
    ledger.write(lambda tx: tx.put_run_files(fence, [("a.csv", 1, 2)]))
    finish(ledger, fence, 1)
    if status != "running":
        assert ledger.write(lambda tx: tx.end_run(fence, status, flow="daily", source_root="/in"))
    return fence.run_id


def held(ledger: Ledger) -> dict[str, set[str]]:
    tables = {"runs": "id", "step_runs": "run_id", "items": "run_id", "artifacts": "run_id"}
    return {
        table: {row[0] for row in ledger.reader.rows(f"SELECT {column} FROM {table}")}
        for table, column in tables.items()
    }


def test_retention_by_age_takes_all_of_a_run_along(tmp_path, claimed):
    now = [1_000]
    ledger = Ledger(tmp_path / "ledger.sqlite3", clock=lambda: now[0])
    old = {ended_run(ledger, claimed, n, status) for n, status in enumerate(("succeeded", "failed", "cancelled"))}
    working = ended_run(ledger, claimed, 8, "running")
    interrupted = ended_run(ledger, claimed, 9, "interrupted")
    now[0] = 2_000
    young = ended_run(ledger, claimed, 10)
    gone = ledger.write(lambda tx: tx.forget_expired(before=1_500, keep=1000, limit=500))
    assert set(gone) == old
    assert held(ledger) == {table: {working, interrupted, young} for table in held(ledger)}, (
        "only what has ended is forgotten"
    )
    assert ledger.reader.rows("SELECT run_id, path FROM run_files ORDER BY run_id") == sorted(
        [(working, "a.csv"), (interrupted, "a.csv")]
    )
    assert ledger.reader.file_state("daily", "/in") == {"a.csv": (1, 2, "succeeded")}, "freshness outlives the run"
    assert ledger.write(lambda tx: tx.forget_expired(before=1_500, keep=1000, limit=500)) == []
    ledger.close()


def test_retention_by_count_goes_by_the_oldest_in_portions(ledger, claimed):
    runs = [ended_run(ledger, claimed, n) for n in range(10)]
    forget = lambda: ledger.write(lambda tx: tx.forget_expired(before=0, keep=4, limit=4))  # noqa: E731
    assert forget() == runs[:4]
    assert forget() == runs[4:6]
    assert forget() == []
    assert [run.id for run in ledger.reader.runs()] == runs[:5:-1]


def test_numbers_of_events_are_never_given_twice(tmp_path, claimed):
    now = [1_000]
    ledger = Ledger(tmp_path / "ledger.sqlite3", clock=lambda: now[0])
    runs = [ended_run(ledger, claimed, n) for n in range(3)]
    newest = ledger.last_event
    now[0] = 10_000
    assert set(ledger.write(lambda tx: tx.forget_expired(before=9_000, keep=10, limit=500))) == set(runs)
    assert [event[2:] for event in ledger.reader.events(newest)] == [("run", each, "forgotten") for each in runs]
    now[0] = 100_000
    ledger.write(lambda tx: tx.forget_expired(before=99_000, keep=10, limit=500))
    assert len(ledger.reader.events(0)) == 1, "the last one stays"
    ledger.close()
    reopened = Ledger(tmp_path / "ledger.sqlite3")
    assert reopened.last_event == newest + 3
    ended_run(reopened, claimed, 4)
    assert [event[0] for event in reopened.reader.events(newest + 3)] == list(
        range(newest + 4, reopened.last_event + 1)
    )
    reopened.close()
