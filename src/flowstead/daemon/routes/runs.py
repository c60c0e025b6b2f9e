"""Requests about runs: lists, one run, its log, and what may be done with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import orjson

from flowstead.daemon.routes.route import SECONDS_BETWEEN_HEARTBEATS, Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.inbox import Inbox
from flowstead.engine.retrying import retry
from flowstead.engine.runlog import lines_from
from flowstead.model.errors import TransitionRefused, UsageError, WorkspaceBusy
from flowstead.model.run import ENDED

MOST_ROWS = 1000


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
    last, patience, position = "", 4 if follow else 0, 0
    while True:
        ended = not follow or host.as_seen([host.reader.run(full_id)])[0].status in (*ENDED, "interrupted")
        for line, end in lines_from(folder, position):
            entry: dict[str, Any] = orjson.loads(line)
            last, position = entry["event"], end
            if entry["seq"] > after:
                after = entry["seq"]
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


ROUTES = (
    Route("GET", "/runs", list_runs),
    Route("POST", "/runs/by-id", runs_by_id),
    Route("POST", "/runs/resume", resume_all),
    Route("GET", "/runs/{run_id}", show_run),
    Route("GET", "/runs/{run_id}/log", read_log, streams=True),
    Route("POST", "/runs/{run_id}/cancel", cancel_run),
    Route("POST", "/runs/{run_id}/retry", retry_run),
    Route("POST", "/runs/{run_id}/resume", resume_run),
)
