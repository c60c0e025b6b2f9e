"""What the first page shows: true of a real workspace, and cheap when there is much of it."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from looking import Looking
from serving import Served, items, until

from flowstead.catalog import describing
from flowstead.ledger import Ledger
from flowstead.ledger import statements as sql
from flowstead.ledger.pages import latest_runs, queued_by_flow, runs_since
from flowstead.model.run import RunRequest, now_us

FLOWS = {
    "totals": """
        from flowstead import Flow

        def build():
            return (
                Flow("Reports", label="Daily totals")
                .watch(mode="schedule", cron="15 8 * * 1-5", timezone="Europe/Paris")
                .step(read)
                .step(total)
            )

        def read(context):
            context.summary = "3 rows"

        def total(context):
            return 1
    """,
    "fails": """
        from flowstead import Flow

        def build():
            return Flow("Reports").step(first)

        def first(context):
            raise ValueError("no such month")
    """,
    "slow": """
        import time

        from flowstead import Flow

        def build():
            return Flow("Slow", resume="manual").step(first).map(each)

        def first(context):
            return [1, 2, 3]

        def each(context, item):
            while item == 3:
                context.check_cancelled()
                time.sleep(0.01)
            return item
    """,
    "broken": "import nothing_of_that_name\n",
}


class Home:
    """The first page of a workspace that is served."""

    def __init__(self, served: Served, workspace: Any) -> None:
        for name, source in FLOWS.items():
            workspace.module(name, source)
        self.transport = served.transport()
        self.key = self.ask("POST", "/workspaces", {"path": str(workspace.root)})["workspace"]
        self.path = f"/workspaces/{self.key}"

    def ask(self, method: str, path: str, fields: dict[str, Any] | None = None) -> Any:
        return self.transport.request(method, path, fields or {})

    @property
    def shown(self) -> Any:
        return self.ask("GET", f"{self.path}/overview")

    def start(self, flow: str, *, end: bool = True) -> str:
        started = self.ask("POST", f"{self.path}/flows/{flow}/start")
        (run_id,) = started["started"]
        if end:
            for event in items(self.transport.stream("GET", f"{self.path}/events", {"after": started["after"]})):
                if event["id"] == run_id and event["row"]["status"] in ("succeeded", "failed"):
                    break
        return run_id


@pytest.fixture
def first(served: Served, workspace: Any) -> Any:
    home = Home(served, workspace)
    yield home
    home.transport.close()


def test_an_empty_workspace_has_an_overview(served: Served, workspace: Any) -> None:
    with served.transport() as transport:
        key = transport.request("POST", "/workspaces", {"path": str(workspace.root)})["workspace"]
        shown = transport.request("GET", f"/workspaces/{key}/overview", {})
    assert shown["counts"] == {
        "modules": 0,
        "groups": 0,
        "flows": 0,
        "runs": 0,
        "days": 7,
        "active": 0,
        "queued": 0,
        "interrupted": 0,
    }
    assert (shown["flows"], shown["needs_you"], shown["automated"]) == ([], [], False)
    assert shown["standing"]["state"] == "free" and not shown["standing"]["mine"]


def test_it_tells_what_ran_what_failed_and_what_is_broken(first: Home) -> None:
    succeeded, failed = first.start("totals"), first.start("fails")
    again = first.start("totals")
    shown = first.shown
    flows = {flow["name"]: flow for flow in shown["flows"]}
    counts = shown["counts"]
    assert (counts["modules"], counts["flows"], counts["groups"], counts["runs"]) == (4, 3, 2, 3)
    totals = flows["totals"]
    assert [run["id"] for run in totals["runs"]] == [again, succeeded]
    assert totals["last"]["id"] == again and totals["last"]["summary"] == "3 rows"
    assert totals["last"]["duration_ms"] >= 0 and totals["last"]["finished_at"] is not None
    assert totals["trigger"]["cron"] == "15 8 * * 1-5" and totals["state"] == "off" and totals["next_due"] is None
    assert flows["fails"]["last"]["error"] == {"message": "no such month", "step": "First"}
    broken = flows["broken"]
    assert broken["status"] == broken["state"] == "broken" and broken["error"]["line"] == 1
    needs = {(need["kind"], need["flow"], need["run"]) for need in shown["needs_you"]}
    assert needs == {("failed", "fails", failed), ("broken", "broken", None)}
    (need,) = [need for need in shown["needs_you"] if need["kind"] == "failed"]
    assert need["error"]["line"] == 7 and need["actions"] == ["retry"]
    assert shown["needs_total"] == 2
    assert shown["standing"]["state"] == "mine" and shown["standing"]["actions"] == ["release"]
    assert shown["standing"]["unchanged_seconds"] < 75


def test_what_runs_is_shown_with_its_progress_and_what_was_cut_off_needs_somebody(first: Home) -> None:
    run_id = first.start("slow", end=False)

    def half_way() -> Any:
        flow = next(flow for flow in first.shown["flows"] if flow["name"] == "slow")
        running = flow["running"]
        return flow if running and (running[0]["step"] or {}).get("items_done") == 2 else None

    (running,) = until(half_way, "two items are done")["running"]
    assert running["id"] == run_id and running["actions"] == ["cancel"]
    assert (running["steps"], running["steps_done"]) == (2, 1)
    assert (running["step"]["label"], running["step"]["items_total"]) == ("Each", 3)
    assert first.shown["counts"]["active"] == 1
    first.ask("POST", f"{first.path}/close")
    shown = first.shown
    (need,) = [need for need in shown["needs_you"] if need["kind"] == "interrupted"]
    assert need["run"] == run_id and "resume" in need["actions"]
    assert shown["counts"]["interrupted"] == 1 and shown["counts"]["active"] == 0


def test_what_starts_by_itself_says_when(first: Home) -> None:
    first.ask("POST", f"{first.path}/engine/start")

    def due() -> Any:
        flows = {flow["name"]: flow for flow in first.shown["flows"]}
        return flows["totals"]["next_due"] and flows

    flows = until(due, "the schedule has a next slot")
    assert flows["totals"]["state"] == "scheduled" and flows["fails"]["state"] == "manual"
    assert first.shown["automated"]


def test_what_cannot_be_imported_is_not_tried_at_every_look(
    looking: Looking, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.module("needs", "import nowhere_to_be_found\n")
    tried: list[str] = []
    real = describing.describe_modules
    monkeypatch.setattr(
        describing, "describe_modules", lambda *given, **more: (tried.append("it"), real(*given, **more))
    )
    for _ in range(3):
        (flow,) = looking.call("GET", "/flows")["flows"]
        assert flow["status"] == "broken" and "nowhere_to_be_found" in flow["error"]["message"]
        (flow,) = looking.call("GET", "/engine")["flows"]
        assert flow["state"] == "broken"
    assert tried == ["it"]
    looking.call("GET", "/flows", again=True)
    assert len(tried) == 2


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hundred thousand runs of a hundred flows, one of which has most of them."""
    ledger = Ledger(tmp_path_factory.mktemp("many") / "ledger.sqlite3")
    now = now_us()
    rows = []
    for n in range(100_000):
        flow = f"flow-{n % 100}" if n % 2 else "flow-0"
        at = now - (100_000 - n) * 60_000_000
        status = "succeeded" if n % 10 else "queued"
        rows.append((f"r_{at // 1000:012x}7{n:019x}", flow, "g", "v", status, "file", at, at))
    ledger._connection.executemany(
        "INSERT INTO runs (id, flow, group_name, version, status, trigger, due_at, queued_at) VALUES (?,?,?,?,?,?,?,?)",
        rows,
    )
    yield ledger
    ledger.close()


def test_with_many_runs_it_costs_what_it_shows(many: Ledger) -> None:
    taken = itertools.count()
    flows = [f"flow-{n}" for n in range(100)]
    many.reader.last_event()  # opens its connection
    connection = many.reader._connection
    assert connection is not None
    connection.set_progress_handler(lambda: next(taken) < 0, 1000)
    found = latest_runs(many.reader, flows, 20)
    connection.set_progress_handler(None, 0)
    assert next(taken) < 500, "half a million instructions for two thousand rows"
    assert all(len(found[flow]) == 20 for flow in flows if flow in found) and len(found) == 51
    newest = [
        row[0] for row in many.reader.rows("SELECT id FROM runs WHERE flow = 'flow-7' ORDER BY number DESC LIMIT 20")
    ]
    assert [run.id for run in found["flow-7"]] == newest
    assert sum(queued_by_flow(many.reader).values()) == 10_000
    assert "COVERING INDEX" in str(many.reader.rows(f"EXPLAIN QUERY PLAN {sql.RUNS_SINCE}", ("r_0",)))


def test_runs_of_the_last_days_are_counted_by_their_ids(many: Ledger, tmp_path: Any) -> None:
    day = 86_400_000_000
    assert runs_since(many.reader, now_us() - day) == pytest.approx(1440, abs=5)
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    before = time.time_ns() // 1000 - 1000
    ledger.write(lambda tx: tx.enqueue(RunRequest(flow="a", group="g", version="v", trigger="manual")))
    assert (runs_since(ledger.reader, before), runs_since(ledger.reader, now_us() + 10_000_000)) == (1, 0)
    ledger.close()
