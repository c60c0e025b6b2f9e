"""The list of runs: its filters, counts and pages, and what is done with many runs at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from looking import Looking
from serving import until

from flowstead.ledger import Ledger
from flowstead.ledger.pages import RunFilters, count_runs, find_runs, id_at
from flowstead.model.errors import UsageError
from flowstead.model.run import iso, now_us

MANY = 30_000
DAY = 86_400_000_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs of ten flows in three groups, one a minute; one in a thousand failed, the last but one is queued."""
    ledger = Ledger(tmp_path_factory.mktemp("many") / "ledger.sqlite3")
    begun = now_us() - MANY * 60_000_000
    statuses = dict.fromkeys(range(7, MANY, 1000), "failed") | {MANY - 2: "queued", 11: "cancelled"}
    rows = []
    for n in range(MANY):
        at = begun + n * 60_000_000
        path = None if n % 3 else f"Inbox/file_{n}.csv"
        summary = "100% read" if n == 500 else None
        run_id = f"{id_at(at)}7{n:019x}"
        rows.append((run_id, f"flow-{n % 10}", f"G{n % 3}", statuses.get(n, "succeeded"), path, summary, at, at, at))
    ledger._connection.executemany(
        """INSERT INTO runs (id, flow, group_name, version, status, trigger, source_path, summary, due_at, queued_at,
                             finished_at) VALUES (?, ?, ?, 'v', ?, 'file', ?, ?, ?, ?, ?)""",
        rows,
    )
    ledger.begun = begun  # type: ignore[attr-defined]
    yield ledger
    ledger.close()


def passes(row: tuple[Any, ...], filters: RunFilters) -> bool:
    _, run_id, flow, group, status, path, summary, at = row
    texts = " ".join((run_id, path or "", summary or "")).lower()
    return (
        (filters.flow in (None, flow))
        and (not filters.statuses or status in filters.statuses)
        and (filters.group in (None, group))
        and (filters.trigger in (None, "file"))
        and (filters.since is None or at >= filters.since)
        and (filters.until is None or at < filters.until)
        and (not filters.text or filters.text.lower() in texts)
    )


FILTERS = {
    "none": RunFilters(),
    "flow": RunFilters(flow="flow-3"),
    "flow that is not": RunFilters(flow="flow-99"),
    "status": RunFilters(statuses=["failed"]),
    "statuses": RunFilters(statuses=["failed", "cancelled", "queued"]),
    "flow and statuses": RunFilters(flow="flow-7", statuses=["failed", "queued"]),
    "group": RunFilters(group="G2"),
    "group that is not": RunFilters(group="G9"),
    "trigger that is not": RunFilters(trigger="manual"),
    "text in a path": RunFilters(text="inbox/FILE_29"),
    "text in a summary": RunFilters(text="100%"),
    "wildcards": RunFilters(text="file_2%"),
    "underscore": RunFilters(text="inbox_file"),
    "all": RunFilters("flow-7", ["failed"], "G1", "file", "7"),
}


@pytest.mark.parametrize("seconds", [0.0, 9.0], ids=["span by span", "at once"])
@pytest.mark.parametrize("name", FILTERS)
def test_pages_have_every_run_that_passes_and_no_other(many: Ledger, name: str, seconds: float) -> None:
    filters = FILTERS[name]
    rows = many.reader.rows(
        "SELECT number, id, flow, group_name, status, source_path, summary, queued_at FROM runs ORDER BY number DESC"
    )
    expected = [row[0] for row in rows if passes(row, filters)]
    found: list[int] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = find_runs(many.reader, filters, before=cursor, limit=1000, seconds=seconds, with_steps=False)
        assert len(page.runs) <= 1000 and (cursor is None or page.next is None or page.next < cursor)
        found += [run.number for run in page.runs]
        cursor, pages = page.next, pages + 1
    assert found == expected
    counted = count_runs(many.reader, filters, seconds=9.0)
    most = 10_000 if filters.given else MANY  # without filters an index tells at once
    assert counted == (min(len(expected), most), len(expected) <= most)
    partial = count_runs(many.reader, filters, seconds=0.0)
    assert partial.total <= counted.total and (not partial.exact or partial == counted)


@pytest.mark.parametrize("seconds", [0.0, 9.0], ids=["span by span", "at once"])
def test_any_page_is_had_at_once(many: Ledger, seconds: float) -> None:
    filters = RunFilters(flow="flow-3")
    whole = [run.number for run in many.reader.runs(limit=MANY, with_steps=False) if run.flow == "flow-3"]
    top = find_runs(many.reader, filters, limit=1).top
    for offset in (0, 1, 700, 2990, len(whole) - 1, len(whole), len(whole) + 5):
        cursor, left, found = top, offset, list[int]()
        while cursor is not None and len(found) < 10:
            page = find_runs(
                many.reader, filters, before=cursor, offset=left, limit=10, seconds=seconds, with_steps=False
            )
            found += [run.number for run in page.runs]
            cursor, left = page.next, page.left
        assert found[:10] == whole[offset : offset + 10]


def test_times_bound_what_is_looked_at(many: Ledger) -> None:
    begun = many.begun  # type: ignore[attr-defined]
    for first, last in ((0, 100), (15_000, 15_010), (29_900, MANY), (40_000, 50_000)):
        since, before = begun + first * 60_000_000, begun + last * 60_000_000
        rows = many.reader.rows("SELECT count(*) FROM runs WHERE queued_at >= ? AND queued_at < ?", (since, before))
        filters = RunFilters(since=since, until=before)
        # With no time at all one span of numbers is looked at, which is enough for a few hours anywhere.
        page = find_runs(many.reader, filters, limit=1000, seconds=0.0)
        assert (len(page.runs), page.next) == (rows[0][0], None)
        assert count_runs(many.reader, filters, seconds=0.0) == (rows[0][0], True)


def test_a_page_stays_as_it_was_while_runs_come(many: Ledger, request_run: Any) -> None:
    first = find_runs(many.reader, RunFilters(), limit=10)
    many.write(lambda tx: tx.enqueue(request_run(flow="flow-1")))
    second = find_runs(many.reader, RunFilters(), before=first.next, limit=10)
    numbers = [run.number for run in (*first.runs, *second.runs)]
    assert numbers == list(range(numbers[0], numbers[0] - 20, -1))
    many._connection.execute("DELETE FROM runs WHERE flow = 'flow-1' AND status = 'queued' AND version = 'v1'")


@pytest.fixture
def request_run() -> Any:
    from flowstead.model.run import RunRequest

    return lambda **more: RunRequest(**{"group": "G", "version": "v1", "trigger": "manual", **more})


FLOWS = {
    "asks": """
        from flowstead import Flow

        def build():
            return Flow("Asks").ask("day", int).step(first, save_as="day").step(second)

        def first(context):
            context.summary = f"day {context.params['day']}"
            return context.params["day"]

        def second(context):
            if context.params["day"] == 1:
                raise ValueError("no such day")
    """,
    "slow": """
        import time

        from flowstead import Flow

        def build():
            return Flow("Slow").step(first)

        def first(context):
            while True:
                context.check_cancelled()
                time.sleep(0.01)
    """,
}


@pytest.fixture
def page(looking: Looking, workspace: Any) -> Looking:
    for name, source in FLOWS.items():
        workspace.module(name, source)
    return looking


def started(page: Looking, flow: str, **fields: Any) -> str:
    (run_id,) = page.call("POST", f"/flows/{flow}/start", new=True, **fields)["started"]
    return run_id


def ended(page: Looking, run_id: str, status: str) -> Any:
    return until(lambda: (run := page.host.reader.run(run_id)).status == status and run, f"{run_id} is {status}")


def test_the_list_is_filtered_and_counted(page: Looking) -> None:
    before = now_us()
    good = [started(page, "asks", params={"day": day}) for day in (2, 3)]
    bad = started(page, "asks", params={"day": 1})
    for run_id in good:
        ended(page, run_id, "succeeded")
    ended(page, bad, "failed")

    def ids(**fields: Any) -> list[str]:
        return [run["id"] for run in page.call("GET", "/runs", **fields)["runs"]]

    assert ids() == [bad, *reversed(good)]
    assert ids(status="failed") == [bad] and ids(status="failed, succeeded") == ids() == ids(group="Asks")
    assert ids(text="DAY 3") == [good[1]] and ids(text=good[0][-8:]) == [good[0]]
    assert ids(trigger="manual", since=iso(before)) == ids() and ids(until=iso(before)) == []
    answer = page.call("GET", "/runs", count=True, limit=1, steps=False)
    assert (answer["total"], answer["total_exact"], answer["runs"][0]["steps"]) == (3, True, [])
    assert answer["next"] is not None and "total" not in page.call("GET", "/runs")
    for fields, told in (
        ({"status": "failed,lost"}, "no status 'lost'"),
        ({"since": "yesterday"}, "since is 'yesterday'"),
        ({"limit": 0}, "limit is 0"),
    ):
        with pytest.raises(UsageError, match=told):
            page.call("GET", "/runs", **fields)


def test_many_runs_are_retried_in_one_commit(page: Looking) -> None:
    bad = [started(page, "asks", params={"day": 1}) for _ in range(3)]
    good = started(page, "asks", params={"day": 2})
    for run_id in bad:
        ended(page, run_id, "failed")
    ended(page, good, "succeeded")
    slow = started(page, "slow")
    commits: list[int] = []
    ledger = page.host.engine.ledger
    write = ledger.write
    ledger.write = lambda operation: commits.append(1) or write(operation)  # type: ignore[method-assign]
    page.host.engine.dispatcher.hold()
    answer = page.call("POST", "/runs/retry", ids=[*bad, slow, "r_absent", bad[0]])
    ledger.write = write  # type: ignore[method-assign]
    outcomes = {each["id"]: each for each in answer["results"]}
    assert len(answer["results"]) == 5 and answer["next"] is None
    again = [outcomes[run_id]["started"] for run_id in bad]
    assert [page.host.reader.run(run_id).retry_of for run_id in again] == bad
    assert len({at for (at,) in ledger.reader.rows("SELECT queued_at FROM runs WHERE retry_of IS NOT NULL")}) == 1
    # What had an outcome is taken over.
    assert page.host.reader.run(again[0]).steps[0].status == "succeeded"
    assert outcomes[slow]["outcome"] == "refused" and outcomes[slow]["error"]["code"] == "transition-refused"
    assert outcomes["r_absent"]["error"]["code"] == "run-not-found"
    page.call("POST", "/runs/cancel", ids=[slow])


def test_many_runs_are_cancelled_in_one_commit(page: Looking) -> None:
    slow = [started(page, "slow") for _ in range(4)]
    until(lambda: page.host.reader.run(slow[0]).status == "running", "the first one runs")
    done = started(page, "asks", params={"day": 2})
    ended(page, done, "succeeded")
    answer = page.call("POST", "/runs/cancel", ids=[*slow, done])
    outcomes = {each["id"]: each["outcome"] for each in answer["results"]}
    assert outcomes == {slow[0]: "cancelling", **dict.fromkeys(slow[1:], "cancelled"), done: "refused"}
    finished = page.host.reader.rows("SELECT DISTINCT finished_at FROM runs WHERE status = 'cancelled' AND attempt = 0")
    assert len(finished) == 1
    for run_id in slow:
        ended(page, run_id, "cancelled")
        log = page.call("GET", f"/runs/{run_id}/log/lines", start=-1)["lines"]
        assert log[-1]["event"] == "run.finished" and log[-1]["data"]["status"] == "cancelled"


def test_filters_choose_what_is_cancelled_and_retried(page: Looking) -> None:
    bad = [started(page, "asks", params={"day": 1}) for _ in range(3)]
    for run_id in bad:
        ended(page, run_id, "failed")
    slow = [started(page, "slow") for _ in range(3)]
    answer = page.call("POST", "/runs/cancel", flow="slow", limit=2)
    assert [each["id"] for each in answer["results"]] == [slow[2], slow[1]] and answer["next"] is not None
    answer = page.call("POST", "/runs/cancel", flow="slow")
    assert slow[0] in [each["id"] for each in answer["results"]] and answer["next"] is None
    for run_id in slow:
        ended(page, run_id, "cancelled")
    answer = page.call("POST", "/runs/retry", flow="asks", limit=2)
    assert [each["id"] for each in answer["results"]] == [bad[2], bad[1]]
    # Those that were retried stay failed: the others come after them.
    answer = page.call("POST", "/runs/retry", flow="asks", limit=2, cursor=answer["next"])
    assert [each["id"] for each in answer["results"]] == [bad[0]] and answer["next"] is None
    for fields in ({}, {"ids": bad, "flow": "asks"}, {"ids": ["r_x"] * 1001}, {"flow": "asks", "limit": 5000}):
        for action in ("cancel", "retry"):
            with pytest.raises(UsageError):
                page.call("POST", f"/runs/{action}", **fields)
    assert page.call("POST", "/runs/retry", ids=[]) == {"results": [], "next": None}


def test_cancelling_for_another_process_is_asked_of_it(page: Looking, workspace: Any, home: Path) -> None:
    slow = [started(page, "slow") for _ in range(2)]
    until(lambda: page.host.reader.run(slow[0]).status == "running", "the first one runs")
    other = Looking(workspace.root)
    try:
        answer = other.call("POST", "/runs/cancel", ids=slow)
        assert [each["outcome"] for each in answer["results"]] == ["requested", "requested"]
    finally:
        other.close()
    for run_id in slow:
        ended(page, run_id, "cancelled")


def test_a_hundred_thousand_are_looked_through_within_bounds(many: Ledger) -> None:
    """However little passes, a page looks no longer than it may, and at each span once."""
    begun = time.monotonic()
    page = find_runs(many.reader, RunFilters(text="nothing like it"), seconds=0.0)
    assert page.runs == [] and page.next is not None
    assert page.next > MANY - 3000, "one span, and no more"
    assert time.monotonic() - begun < 5
