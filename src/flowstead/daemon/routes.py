"""Every request there is, as a function of a workspace: the same ones in-process and, later, over HTTP.

A handler takes the host, the values in the path, and the request's fields, and returns what goes out as JSON.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from flowstead.catalog import CatalogEntry
from flowstead.daemon.checking import warnings
from flowstead.daemon.doctor import diagnose
from flowstead.daemon.previewing import preview_flow
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.inbox import Inbox
from flowstead.engine.retrying import retry
from flowstead.engine.runlog import read_lines
from flowstead.engine.starting import StartRequest, start_flow
from flowstead.model.errors import NotFound, TransitionRefused, UsageError, WorkspaceBusy
from flowstead.model.run import ENDED, iso

SECONDS_BETWEEN_HEARTBEATS = 0.25
LONGEST_PAUSE = 0.05
MOST_ROWS = 1000

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` below `/api/v1`, with `{name}` for a value; `streams` when the answer is an iterator of JSON objects."""

    method: str
    path: str
    handler: Handler
    streams: bool = False


def find(method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The route of a request and the values in its path. Raises NotFound."""
    parts = path.strip("/").split("/")
    for route in ROUTES:
        pattern = route.path.strip("/").split("/")
        if route.method != method or len(pattern) != len(parts):
            continue
        values: dict[str, str] = {}
        for expected, given in zip(pattern, parts, strict=True):
            if expected.startswith("{"):
                values[expected[1:-1]] = given
            elif expected != given:
                break
        else:
            return route, values
    raise NotFound(f"There is no {method} {path}.", code="route-not-found")


# -- flows ------------------------------------------------------------------------------------------------------


def list_flows(host: WorkspaceHost, *, again: bool = False) -> dict[str, Any]:
    """All flows of the workspace, by name, the broken ones with what is wrong with them."""
    return {"flows": [_flow(host, entry) for entry in host.catalog.entries(again=again)]}


def show_flow(host: WorkspaceHost, name: str, *, runs: int = 5) -> dict[str, Any]:
    """One flow with its whole plan, its source text, and its last runs."""
    entry = host.catalog.entry(name)
    flow = _flow(host, entry)
    spec = entry.spec
    flow["plan"] = spec.as_dict() if spec else None
    flow["runs"] = [run.as_dict() for run in host.as_seen(host.reader.runs(flow=name, limit=runs))]
    try:
        flow["text"] = entry.path.read_text("utf-8", errors="replace")
    except OSError:
        flow["text"] = None
    return flow


def check_flows(host: WorkspaceHost, *, name: str | None = None) -> dict[str, Any]:
    """One flow, or all, with remembered errors looked at anew, and warnings for what will go wrong when it runs."""
    entries = host.catalog.entries(again=True) if name is None else [host.catalog.entry(name)]
    return {"flows": [{**_flow(host, entry), "warnings": warnings(entry)} for entry in entries]}


def _flow(host: WorkspaceHost, entry: CatalogEntry) -> dict[str, Any]:
    spec = entry.spec
    return {
        "name": entry.name,
        "label": spec.label if spec else entry.name,
        "group": spec.group if spec else None,
        "mode": spec.trigger.mode if spec else None,
        "status": "ok" if spec else "broken",
        "error": entry.error,
        "version": entry.digest,
        "description": spec.description if spec else None,
        "source": spec.trigger.source if spec else None,
        "file": entry.path.relative_to(host.layout.root).as_posix(),
        "trigger": spec.trigger.as_dict() if spec else None,
        "params": [each.as_dict() for each in spec.params] if spec else [],
        "steps": [
            {
                "index": step.index,
                "name": step.name,
                "label": step.label,
                "kind": step.kind,
                "use": step.use,
                "save_as": step.save_as,
            }
            for step in (spec.steps if spec else ())
        ],
    }


def start(
    host: WorkspaceHost,
    name: str,
    *,
    params: dict[str, Any] | None = None,
    source: str | None = None,
    force: bool = False,
    retry_failed: bool = False,
    new: bool = False,
    key: str | None = None,
) -> dict[str, Any]:
    """Starts a flow: which runs are new, which go on, which were waiting already; see Started."""
    request = StartRequest(
        flow=name,
        params=params or {},
        source=Path(source) if source else None,
        force=force,
        retry_failed=retry_failed,
        new=new,
        key=key,
    )
    host.catalog.entry(name)  # an unknown name is told before the workspace is waited for
    engine = host.engine
    after = engine.ledger.last_event
    started = start_flow(engine, request)
    engine.dispatcher.include([name])
    return {**started.as_dict(), "after": after}


# -- runs -------------------------------------------------------------------------------------------------------


def list_runs(
    host: WorkspaceHost,
    *,
    flow: str | None = None,
    status: str | None = None,
    limit: int = 50,
    cursor: int | None = None,
) -> dict[str, Any]:
    """A page of runs, newest first; `next` is the cursor of the page after it."""
    if not 1 <= limit <= MOST_ROWS:
        raise UsageError(f"limit is {limit}.", hint=f"Give a number from 1 to {MOST_ROWS}.")
    runs = host.reader.runs(flow=flow, status=status, before=cursor, limit=limit + 1)
    more = len(runs) > limit
    return {
        "runs": [run.as_dict() for run in host.as_seen(runs[:limit])],
        "next": runs[limit - 1].number if more else None,
    }


def show_run(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """One run, by its id or a part of it that fits no other."""
    (run,) = host.as_seen([host.reader.run(host.reader.run_id(run_id))])
    answer = run.as_dict()
    answer["folder"] = str(host.layout.run_folder(run.id))
    for step in answer["steps"]:
        if step["items_failed"]:
            step["failed_items"] = host.reader.failed_items(run.id, step["index"])
    return answer


def read_log(
    host: WorkspaceHost, run_id: str, *, after: int = 0, follow: bool = False
) -> Iterator[dict[str, Any] | None]:
    """The lines of a run's log above a number; with `follow`, also those to come, until the run has ended.

    None comes out while nothing happens.
    """
    full_id = host.reader.run_id(run_id)
    folder = host.layout.run_folder(full_id)
    last, patience = "", 4 if follow else 0
    while True:
        ended = not follow or host.as_seen([host.reader.run(full_id)])[0].status in (*ENDED, "interrupted")
        for line in read_lines(folder, after):
            entry: dict[str, Any] = orjson.loads(line)
            after, last = entry["seq"], entry["event"]
            yield entry
        # Race: the end of a run is on record a moment before the last lines of its log are.
        if ended and (last == "run.finished" or not patience):
            return
        patience -= ended
        yield None
        time.sleep(SECONDS_BETWEEN_HEARTBEATS)


def cancel_run(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """Cancels a run; one under way in another process is cancelled there, through that engine's inbox."""
    full_id = host.reader.run_id(run_id)
    run = host.reader.run(full_id)
    if "cancel" not in run.actions and run.status != "cancelling":
        raise TransitionRefused(f"Run {full_id} has ended ({run.status}); there is nothing to cancel.")
    if host.holder is None or host.open_engine is not None:
        return host.engine.cancel(full_id).as_dict()
    Inbox(host.layout.inbox).put({"action": "cancel", "run_id": full_id})
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        run = host.reader.run(full_id)
        if "cancel" not in run.actions:
            return run.as_dict()
        if host.holder is None:
            return host.engine.cancel(full_id).as_dict()
        time.sleep(0.02)
    raise WorkspaceBusy(
        f"The process that has the workspace did not take the cancellation of {full_id}.",
        hint="Is it suspended? See: flowstead doctor",
    )


def retry_run(host: WorkspaceHost, run_id: str, *, from_step: str | None = None) -> dict[str, Any]:
    """Starts a new run from an ended one; `from_step` is a step's name, label or number from 0."""
    full_id = host.reader.run_id(run_id)
    host.reader.run(full_id)  # an unknown run is told before the workspace is waited for
    engine = host.engine
    after = engine.ledger.last_event
    return {"started": [retry(engine, full_id, from_step)], "resumed": [], "waiting": [], "after": after}


def resume_run(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """Lets an interrupted run go on."""
    full_id = host.reader.run_id(run_id)
    engine = host.engine
    after = engine.ledger.last_event
    engine.resume(full_id)
    return {"started": [], "resumed": [full_id], "waiting": [], "after": after}


def resume_all(host: WorkspaceHost) -> dict[str, Any]:
    """Lets every interrupted run go on that may, and those that still wait in the queue."""
    engine = host.engine
    after = engine.ledger.last_event
    # Before any is resumed: with that, those that wait begin to be dispatched, and are no longer queued.
    waiting = host.reader.runs_by_id(host.reader.open_runs(statuses=("queued",)))
    interrupted = host.reader.runs_by_id(host.reader.open_runs())
    resumed = [run.id for run in interrupted if "resume" in run.actions]
    for run_id in resumed:
        engine.resume(run_id)
    engine.dispatcher.include({run.flow for run in waiting})
    return {"started": [], "resumed": resumed, "waiting": [run.id for run in waiting], "after": after}


def runs_by_id(host: WorkspaceHost, *, ids: list[str]) -> dict[str, Any]:
    """The runs of these ids, oldest first."""
    return {"runs": [run.as_dict() for run in host.as_seen(host.reader.runs_by_id(ids))]}


# -- events -----------------------------------------------------------------------------------------------------


def events(host: WorkspaceHost, *, after: int | None = None) -> Iterator[dict[str, Any] | None]:
    """Changes above a number, in order and without end: `{seq, at, kind, id, change, row}`; `row` as it is by now.

    A view is the fold `rows[kind][id] = row`. None comes out while nothing happens. Raises what stopped the engine.
    """
    seq = host.reader.last_event() if after is None else after
    began = time.monotonic()
    while True:
        batch = host.reader.events(seq)
        run_ids = {row_id.partition("/")[0] for _, _, kind, row_id, _ in batch if kind in ("run", "step", "artifact")}
        rows = {run.id: run.as_dict() for run in host.reader.runs_by_id(run_ids)} if run_ids else {}
        # Rows are sent as they are by now, so of several changes to one row the last tells everything.
        newest = {(kind, row_id): seq for seq, _, kind, row_id, _ in batch}
        for seq, at, kind, row_id, change in batch:
            if newest[kind, row_id] == seq:
                row = rows.get(row_id.partition("/")[0])
                yield {"seq": seq, "at": iso(at), "kind": kind, "id": row_id, "change": change, "row": row}
        engine = host.open_engine
        if engine is not None and engine.failure is not None:
            raise engine.failure
        if batch:
            # To wake at every commit of many short runs would take from their time; one run is told of at once.
            time.sleep(min(LONGEST_PAUSE, (time.monotonic() - began) / 10))
            continue
        yield None
        if engine is not None:
            engine.ledger.wait_for_event(seq, SECONDS_BETWEEN_HEARTBEATS)
        else:
            time.sleep(SECONDS_BETWEEN_HEARTBEATS)


ROUTES = (
    Route("GET", "/flows", list_flows),
    Route("GET", "/flows/{name}", show_flow),
    Route("POST", "/flows/{name}/start", start),
    Route("POST", "/flows/{name}/preview", preview_flow, streams=True),
    Route("GET", "/check", check_flows),
    Route("GET", "/doctor", diagnose),
    Route("GET", "/runs", list_runs),
    Route("POST", "/runs/by-id", runs_by_id),
    Route("POST", "/runs/resume", resume_all),
    Route("GET", "/runs/{run_id}", show_run),
    Route("GET", "/runs/{run_id}/log", read_log, streams=True),
    Route("POST", "/runs/{run_id}/cancel", cancel_run),
    Route("POST", "/runs/{run_id}/retry", retry_run),
    Route("POST", "/runs/{run_id}/resume", resume_run),
    Route("GET", "/events", events, streams=True),
)
