"""One run in detail: every attempt, every item, and the author's own line at which it failed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from looking import Looking
from serving import until

from flowstead.ledger.transaction import Fence, StepOutcome
from flowstead.model.errors import RunNotFound, UsageError
from flowstead.model.run import ENDED, RunRequest

FLOW = """
    from flowstead import Flow
    from flow_helpers.months import check

    def build():
        return (
            Flow("G")
            .step(first, save_as="rows")
            .step(flaky, retries=2, retry_delay="1ms")
            .map(each, use="rows", on_error="collect")
            .step(book)
        )

    def first(context):
        return list(range(25))

    def flaky(context):
        marks = context.database("marks.txt")
        marks.parent.mkdir(exist_ok=True)
        with marks.open("a") as file:
            file.write("x")
        if len(marks.read_text()) < 3:
            raise OSError("not yet")

    def each(item):
        if item % 10 == 3:
            raise ValueError(f"item {item} is odd")
        return item

    def book(context):
        check(13)
"""
HELPER = """
    def check(month):
        # Months are counted from 1.
        if not 1 <= month <= 12:
            raise ValueError(f"There is no month {month}.")
"""


@pytest.fixture
def failed(looking: Looking, workspace: Any) -> str:
    """A run whose second step needed three attempts, three of whose items failed, and whose last step failed."""
    workspace.module("month", FLOW)
    workspace.module("flow_helpers/months", HELPER)
    (run_id,) = looking.call("POST", "/flows/month/start")["started"]
    run = until(lambda: (run := looking.host.reader.run(run_id)).status in ENDED and run, "it has ended")
    assert run.status == "failed", run.error
    return run_id


def test_a_timeline_has_every_attempt(looking: Looking, failed: str) -> None:
    shown = looking.call("GET", f"/runs/{failed}/steps")
    assert (shown["id"], shown["status"]) == (failed, "failed") and shown["started_at"] and shown["finished_at"]
    first, flaky, each, book = shown["steps"]
    assert [attempt["status"] for attempt in flaky["attempts"]] == ["failed", "failed", "succeeded"]
    assert [attempt["attempt"] for attempt in flaky["attempts"]] == [1, 2, 3]
    assert flaky["attempts"][0]["error"]["message"] == "not yet" and flaky["attempts"][2]["error"] is None
    times = [time for attempt in flaky["attempts"] for time in (attempt["started_at"], attempt["finished_at"])]
    assert times == sorted(times)
    assert first["attempts"][0]["checkpoint"] and not book["attempts"][0]["checkpoint"]
    (mapped,) = each["attempts"]
    assert (mapped["items_total"], mapped["items_done"], mapped["items_failed"]) == (25, 25, 3)
    assert each["kind"] == "map" and book["attempts"][0]["status"] == "failed"


def test_items_that_failed_come_first_and_pages_have_all(looking: Looking, failed: str) -> None:
    def pages(**fields: Any) -> list[Any]:
        found: list[Any] = []
        cursor = None
        while True:
            page = looking.call("GET", f"/runs/{failed}/items", step=2, cursor=cursor, **fields)
            found += page["items"]
            cursor = page["next"]
            assert (page["items_total"], page["items_failed"]) == (25, 3)
            if cursor is None:
                return found

    numbers = [3, 13, 23]
    good = [n for n in range(25) if n not in numbers]
    for limit in (1, 2, 3, 7, 100):
        assert [item["item"] for item in pages(limit=limit)] == [*numbers, *good]
        assert [item["item"] for item in pages(limit=limit, status="failed")] == numbers
        assert [item["item"] for item in pages(limit=limit, status="succeeded")] == good
    assert pages()[0]["error"]["message"] == "item 3 is odd" and pages()[5]["error"] is None
    empty = looking.call("GET", f"/runs/{failed}/items", step=0)
    assert (empty["items"], empty["next"]) == ([], None)
    for fields in ({"limit": 0}, {"cursor": "2-1"}, {"cursor": "0-x"}, {"cursor": "0-" + "9" * 40}):
        with pytest.raises(UsageError):
            looking.call("GET", f"/runs/{failed}/items", step=2, **fields)


def test_an_error_shows_the_authors_own_lines_as_they_were(looking: Looking, workspace: Any, failed: str) -> None:
    shown = looking.call("GET", f"/runs/{failed}/error", around=2)
    assert shown["error"]["message"] == "There is no month 13." and "Traceback" in shown["error"]["traceback"]
    assert shown["step"] == {"index": 3, "name": "book", "label": "Book"}
    source = shown["source"]
    assert (source["file"], source["line"], source["first"]) == ("flow_modules/flow_helpers/months.py", 4, 2)
    assert source["lines"][source["line"] - source["first"]].strip().startswith("raise ValueError")
    assert len(source["lines"]) == 3
    assert [step["name"] for step in shown["retry_from"]] == ["first", "flaky", "each", "book"]
    assert not shown["changed"] and shown["actions"] == ["retry"]
    # Whoever has mended it sees it as it was, and what stands at another place cannot be kept.
    workspace.module("flow_helpers/months", "def check(month):\n    pass\n")
    workspace.module("month", FLOW.replace(".step(flaky", ".step(flaky, save_as='marks'"))
    again = looking.call("GET", f"/runs/{failed}/error", around=2)
    assert again["source"] == source and again["changed"]
    assert [step["name"] for step in again["retry_from"]] == ["first", "flaky"]
    workspace.module("month", "def build(:\n")
    broken = looking.call("GET", f"/runs/{failed}/error")
    assert broken["changed"] and broken["retry_from"] == []
    (workspace.flow_modules / "month.py").unlink()
    gone = looking.call("GET", f"/runs/{failed}/error")
    assert len(gone["retry_from"]) == 4, "a module that is gone is run as it was"


def test_a_notebook_shows_the_cell(looking: Looking, workspace: Any) -> None:
    texts = ["from flowstead import Flow\n", "def build():\n    return Flow('G').step(go)\n"]
    texts.append("# before\ndef go(context):\n    return 1 / 0\n")
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": text} for text in texts]
    cells.insert(1, {"cell_type": "markdown", "metadata": {}, "source": "# Words"})
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    workspace.file("flow_modules/book.ipynb", json.dumps(notebook))
    (run_id,) = looking.call("POST", "/flows/book/start")["started"]
    until(lambda: looking.host.reader.run(run_id).status == "failed", "it has failed")
    source = looking.call("GET", f"/runs/{run_id}/error")["source"]
    assert (source["cell"], source["line"], source["first"]) == (3, 3, 1)
    assert source["lines"] == ["# before", "def go(context):", "    return 1 / 0"]


def test_what_did_not_fail_has_no_error(looking: Looking, workspace: Any) -> None:
    workspace.module(
        "fine", "from flowstead import Flow\ndef build(): return Flow('G').step(go)\ndef go(context): pass\n"
    )
    run_id = looking.run("fine")
    shown = looking.call("GET", f"/runs/{run_id}/error")
    assert (shown["error"], shown["step"], shown["source"]) == (None, None, None)
    assert [step["name"] for step in shown["retry_from"]] == ["go"]
    with pytest.raises(UsageError, match="around is"):
        looking.call("GET", f"/runs/{run_id}/error", around=1000)
    with pytest.raises(RunNotFound):
        looking.call("GET", "/runs/r_absent/steps")


def test_a_run_leads_to_those_before_and_after_it(looking: Looking, workspace: Any) -> None:
    source = "from flowstead import Flow\ndef build(): return Flow('G').step(go)\ndef go(context): pass\n"
    workspace.module("fine", source)
    workspace.module("other", source)
    first, _, second, third = (looking.run(flow) for flow in ("fine", "other", "fine", "fine"))
    as_told = {run_id: {"id": run_id, "status": "succeeded"} for run_id in (first, second, third)}
    for run_id, previous, following in ((first, None, second), (second, first, third), (third, second, None)):
        told = looking.call("GET", f"/runs/{run_id}/neighbours")
        assert told == {"previous": as_told.get(previous), "next": as_told.get(following)}
    with pytest.raises(RunNotFound):
        looking.call("GET", "/runs/r_absent/neighbours")


def test_an_error_cannot_name_a_file_elsewhere(looking: Looking, workspace: Any, failed: str) -> None:
    """What a step said of its error is not believed: only texts of the version are shown."""
    workspace.file("secret.txt", "secret\n" * 9)
    ledger = looking.host.engine.ledger
    version = looking.host.reader.run(failed).version
    for name in ("secret.txt", "../../secret.txt", "flow_modules/flow_helpers/../../spec.json", "/etc/passwd", "\0"):
        request = RunRequest(flow="absent", group="G", version=version, trigger="manual")
        fence = Fence(request.id, "t", 1_000_000)
        error = json.dumps({"code": "step-failed", "message": "no", "file": name, "line": 1})

        def record(tx: Any, request: RunRequest = request, fence: Fence = fence, error: str = error) -> None:
            tx.enqueue(request)
            tx.claim(fence, "w", first_step=True)
            tx.finish_step(fence, StepOutcome(0, 1, "failed", 1, 2, error=error))
            tx.end_run(fence, "failed", error=error)

        ledger.write(record)
        shown = looking.call("GET", f"/runs/{request.id}/error")
        assert shown["error"]["file"] == name and shown["source"] is None
