"""What the first page shows of a workspace, in one answer: what ran, what failed, what waits, and who owns it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from flowstead.catalog import CatalogEntry
from flowstead.daemon.routes.route import Route
from flowstead.daemon.standing import standing_as_seen
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.ledger import LedgerReader
from flowstead.ledger.pages import LatestRun, latest_runs, newest_in, outcomes, queued_by_flow, runs_since
from flowstead.model.run import ACTIVE, Run, iso, now_us

DAYS = 7
RUNS_OF_EACH = 20
MOST_NEEDS = 50
_DAY = 86_400 * 1_000_000
_AHEAD = frozenset(("queued", *ACTIVE))


def overview(host: WorkspaceHost) -> dict[str, Any]:
    """Everything the first page shows: counts, each flow with its last runs, what runs now, what needs somebody.

    It looks at the modules, and at nothing else of the shared folder. `needs_you` are broken modules, flows whose last
    run failed, and interrupted runs that do not go on by themselves.
    """
    reader = host.reader
    entries = host.catalog.entries_within()
    latest = latest_runs(reader, (entry.name for entry in entries), RUNS_OF_EACH)
    running = host.as_seen(reader.runs_by_id(reader.open_runs(statuses=ACTIVE)))
    active = {run.id: run for run in running if run.status in ACTIVE}
    stopped = frozenset(run.id for run in running if run.status not in ACTIVE)
    queued = queued_by_flow(reader)
    states = host.automated_flows()
    ended = {name: _newest_ended(runs, stopped) for name, runs in latest.items()}
    last = _outcomes(reader, {name: run for name, run in ended.items() if run is not None}, stopped)
    flows = [
        {
            **_flow(entry, active.values(), states),
            "last": last.get(entry.name),
            "runs": [_bar(run, stopped) for run in latest.get(entry.name, ())],
            "queued": queued.get(entry.name, 0),
        }
        for entry in entries
    ]
    needs, interrupted = _needs(host, flows)
    return {
        "counts": {
            "modules": len(entries),
            "groups": len({entry.spec.group for entry in entries if entry.spec is not None}),
            "flows": sum(entry.spec is not None for entry in entries),
            "runs": runs_since(reader, now_us() - DAYS * _DAY),
            "days": DAYS,
            "active": len(active),
            "queued": sum(queued.values()),
            "interrupted": interrupted,
        },
        "flows": flows,
        "needs_you": needs[:MOST_NEEDS],
        "needs_total": len(needs),
        "automated": host.is_automated,
        "standing": standing_as_seen(host),
        "after": reader.last_event(),
    }


def _flow(entry: CatalogEntry, active: Iterable[Run], states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec = entry.spec
    mode = spec.trigger.mode if spec else None
    at_rest = "broken" if spec is None else "manual" if mode == "manual" else "off"
    state = states.get(entry.name, {"state": at_rest, "condition": None, "since": None, "next_due": None})
    return {
        "name": entry.name,
        "label": spec.label if spec else entry.name,
        "group": spec.group if spec else None,
        "status": entry.status,
        "error": entry.error,
        "description": spec.description if spec else None,
        "trigger": spec.trigger.as_dict() if spec else None,
        "params": spec is not None and bool(spec.params),
        **state,
        "running": [progress(run) for run in active if run.flow == entry.name],
    }


def _bar(run: LatestRun, stopped: frozenset[str]) -> dict[str, Any]:
    # One that is under way by the ledger alone was cut off: who ran it is gone.
    return {**_drawn(run.id, "interrupted" if run.id in stopped else run.status, run.started_at, run.finished_at)}


@lru_cache(maxsize=4096)
def _drawn(run_id: str, status: str, began: int | None, ended: int | None) -> dict[str, Any]:
    """A run as a bar; of those that a page shows, few are others the next time."""
    duration = None if began is None or ended is None else max(0, (ended - began) // 1000)
    return {"id": run_id, "status": status, "finished_at": iso(ended), "duration_ms": duration}


def _newest_ended(runs: list[LatestRun], stopped: frozenset[str]) -> LatestRun | None:
    return next((run for run in runs if run.id in stopped or run.status not in _AHEAD), None)


def _outcomes(reader: LedgerReader, ended: dict[str, LatestRun], stopped: frozenset[str]) -> dict[str, dict[str, Any]]:
    """What came of these runs, by the flows they are of."""
    known = outcomes(reader, (run.number for run in ended.values()))
    found: dict[str, dict[str, Any]] = {}
    for flow, run in ended.items():
        if run.number not in known:
            continue  # it was tidied away in between
        queued_at, summary, error = known[run.number]
        found[flow] = {
            **_bar(run, stopped),
            "queued_at": iso(queued_at),
            "started_at": iso(run.started_at),
            "summary": summary,
            "error": {"message": error.get("message"), "step": error.get("step")} if error else None,
        }
    return found


def progress(run: Run) -> dict[str, Any]:
    """How far a run is: the step that is under way, or the last one that was."""
    begun = [step for step in run.steps if step.status != "pending"]
    step = next((step for step in begun if step.status in ("running", "waiting")), begun[-1] if begun else None)
    return {
        "id": run.id,
        "status": run.status,
        "started_at": iso(run.started_at),
        "steps": len(run.steps),
        "steps_done": sum(step.status == "succeeded" for step in run.steps),
        "step": None
        if step is None
        else {
            "index": step.index,
            "label": step.label,
            "status": step.status,
            "started_at": iso(step.started_at),
            "items_done": step.items_done,
            "items_total": step.items_total,
        },
        "actions": run.actions,
    }


def _needs(host: WorkspaceHost, flows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """What somebody has to look at, the newest first, and how many runs are interrupted."""
    reader = host.reader
    labels = {flow["name"]: flow["label"] for flow in flows}
    found: list[dict[str, Any]] = []
    interrupted, total = newest_in(reader, "interrupted", MOST_NEEDS)
    # Whoever was under way when its engine went is interrupted too, though the ledger does not say so yet.
    cut_off = [run["id"] for flow in flows for run in flow["runs"] if run["status"] == "interrupted"]
    known = {run.id for run in interrupted}
    cut_off = [run_id for run_id in cut_off if run_id not in known]
    lost = host.as_seen(reader.runs_by_id(cut_off, with_steps=False))
    for run in (*reversed(lost), *interrupted):
        if "resume" in run.actions and not (host.is_automated and _goes_on(host, run)):
            at = iso(run.finished_at or run.started_at or run.queued_at)
            label = labels.get(run.flow, run.flow)
            found.append(_need("interrupted", run.flow, label, at, run.id, run.error, run.actions))
    failed = [flow["last"]["id"] for flow in flows if flow["last"] and flow["last"]["status"] in ("failed", "rejected")]
    for run in reader.runs_by_id(failed, with_steps=False):
        found.append(_need("failed", run.flow, labels[run.flow], iso(run.finished_at), run.id, run.error, run.actions))
    for flow in flows:
        if flow["status"] == "broken":
            found.append(_need("broken", flow["name"], flow["label"], None, None, flow["error"], []))
    return sorted(found, key=lambda need: need["at"] or "", reverse=True), total + len(lost)


def _goes_on(host: WorkspaceHost, run: Run) -> bool:
    """Whether a workspace that is automated lets it go on by itself."""
    return run.resume == "auto" and not any(param.secret for param in host.reader.spec(run.version).params)


def _need(
    kind: str,
    flow: str,
    label: str,
    at: str | None,
    run_id: str | None,
    error: dict[str, Any] | None,
    actions: list[str],
) -> dict[str, Any]:
    return {"kind": kind, "flow": flow, "label": label, "at": at, "run": run_id, "error": error, "actions": actions}


ROUTES = (Route("GET", "/overview", overview),)
