"""Requests about runs: lists, one run, its log, and what may be done with it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from flowstead.daemon.routes.route import SECONDS_BETWEEN_HEARTBEATS, Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.inbox import Inbox
from flowstead.engine.log_windows import position_after
from flowstead.engine.retrying import retry, retry_each
from flowstead.engine.runlog import lines_from
from flowstead.ledger.pages import SECONDS_TO_LOOK, RunFilters, count_runs, find_runs
from flowstead.model.errors import FlowsteadError, RunNotFound, TransitionRefused, UsageError, WorkspaceBusy
from flowstead.model.run import ENDED, OPEN, Run

MOST_ROWS = 1000
SECONDS_TO_CHOOSE = 1.0
SECONDS_TO_COUNT = 0.1
MOST_COUNTED = 1_000_000


def list_runs(
    host: WorkspaceHost,
    *,
    flow: str | None = None,
    status: str | None = None,
    group: str | None = None,
    trigger: str | None = None,
    text: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int = 50,
    cursor: int | None = None,
    offset: int = 0,
    steps: bool = True,
    count: bool = False,
) -> dict[str, Any]:
    """A page of runs, newest first, that pass every filter; `next` is the cursor of the page after it.

    `cursor` in the answer is the one that gives this page again, whatever has come since: with it and `offset`, how
    many to leave out, any page of a long list is had at once. `left` says how many were not yet left out when the time
    for that was over: go on from `next` with that offset.

    `status` is one or several with commas between; `text` is looked for in ids, source paths and summaries; `since` and
    `until` are times (ISO 8601) between which a run was queued. Where few of many runs pass, a page may be short, or
    even empty, and still have a `next`: go on from there. With `count`, `total` tells how many there are, or are at
    least where it is not `total_exact`, because counting takes too long. Without `steps` runs come without steps and
    artifacts.
    """
    _check_limit(limit)
    filters = _filters(flow, status, group, trigger, text, since, until)
    if offset < 0:
        raise UsageError(f"offset is {offset}.", hint="Give a number from 0.")
    seconds = SECONDS_TO_CHOOSE if offset else SECONDS_TO_LOOK
    found = find_runs(
        host.reader, filters, before=cursor, offset=offset, limit=limit, seconds=seconds, with_steps=steps
    )
    answer: dict[str, Any] = {
        "runs": [run.as_dict() for run in host.as_seen(found.runs)],
        "next": found.next,
        "cursor": found.top,
        "left": found.left,
    }
    if count:
        counted = count_runs(host.reader, filters, most=MOST_COUNTED, seconds=SECONDS_TO_COUNT)
        answer["total"], answer["total_exact"] = counted.total, counted.exact
    return answer


def _filters(
    flow: str | None,
    status: str | None,
    group: str | None,
    trigger: str | None,
    text: str | None,
    since: str | None,
    until: str | None,
) -> RunFilters:
    statuses = None if status is None else [each.strip() for each in status.split(",") if each.strip()]
    return RunFilters(flow, statuses, group, trigger, text, _moment("since", since), _moment("until", until))


def _moment(name: str, text: str | None) -> int | None:
    """A time in microseconds since 1970."""
    if text is None:
        return None
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000_000)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{name} is {text!r}.", hint="Give a time such as 2026-03-01T08:15:00Z.") from error


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_ROWS:
        raise UsageError(f"limit is {limit}.", hint=f"Give a number from 1 to {MOST_ROWS}.")


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
    last, patience, position = "", 4 if follow else 0, position_after(folder, after)
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


def cancel_runs(
    host: WorkspaceHost,
    *,
    ids: list[str] | None = None,
    flow: str | None = None,
    status: str | None = None,
    group: str | None = None,
    trigger: str | None = None,
    text: str | None = None,
    since: str | None = None,
    until: str | None = None,
    cursor: int | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """Cancels many runs in one commit: those of `ids`, or the newest that pass filters as in list_runs.

    Answers for each what came of it: `cancelled`, `cancelling` while it still works, `requested` of another process, or
    `refused` with the error. With filters, `next` says that there may be more: give it as `cursor`. Without `status`
    they choose among the runs that can be cancelled.
    """
    filters = _filters(flow, status, group, trigger, text, since, until)
    runs, more, results = _chosen(host, ids, filters, cursor, limit, among=(*OPEN, "interrupted"))
    able = [run for run in runs if "cancel" in run.actions or run.status == "cancelling"]
    outcomes: dict[str, str | None] = {}
    if able and (host.holder is None or host.open_engine is not None):
        engine = host.engine
        outcomes = engine.cancel_each(able)
    elif able:
        inbox = Inbox(host.layout.inbox)
        for run in able:
            inbox.put({"action": "cancel", "run_id": run.id})
            outcomes[run.id] = "requested"
    for run in runs:
        outcome = outcomes.get(run.id) or ("cancelling" if run.status == "cancelling" else None)
        if outcome is not None:
            results.append(_result(run.id, outcome))
            continue
        ended = TransitionRefused(f"Run {run.id} has ended ({run.status}); there is nothing to cancel.")
        results.append(_result(run.id, "refused", error=ended))
    return {"results": results, "next": more}


def retry_runs(
    host: WorkspaceHost,
    *,
    ids: list[str] | None = None,
    flow: str | None = None,
    status: str | None = None,
    group: str | None = None,
    trigger: str | None = None,
    text: str | None = None,
    since: str | None = None,
    until: str | None = None,
    cursor: int | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """Retries many runs in one commit, each from its first step without an outcome: those of `ids`, or the newest that
    pass filters as in list_runs.

    Answers for each what came of it: `started`, with the id of the new run, or `refused` with the error. `next` is as
    for cancel_runs: those that were retried stay what they are. Without `status` filters choose among the failed runs.
    """
    filters = _filters(flow, status, group, trigger, text, since, until)
    runs, more, results = _chosen(host, ids, filters, cursor, limit, among=("failed",))
    started = retry_each(host.engine, [run.id for run in runs]) if runs else []
    for run, outcome in zip(runs, started, strict=True):
        if isinstance(outcome, str):
            results.append(_result(run.id, "started", started=outcome))
        else:
            results.append(_result(run.id, "refused", error=outcome))
    return {"results": results, "next": more}


def _result(
    run_id: str, outcome: str, *, started: str | None = None, error: FlowsteadError | None = None
) -> dict[str, Any]:
    """What came of one of many runs."""
    return {"id": run_id, "outcome": outcome, "started": started, "error": None if error is None else error.as_dict()}


def _chosen(
    host: WorkspaceHost,
    ids: list[str] | None,
    filters: RunFilters,
    cursor: int | None,
    limit: int,
    *,
    among: Sequence[str],
) -> tuple[list[Run], int | None, list[dict[str, Any]]]:
    """The runs that are meant, whether there may be more, and results for ids that are none.

    Filters without a status choose among runs of those of `among`.
    """
    _check_limit(limit)
    if (ids is not None) == bool(filters.given):
        raise UsageError("Name runs by `ids`, or choose them by filters.", hint="Give the one or the other.")
    if ids is None:
        # Whoever cancels or retries all of something waits a little longer for it.
        chosen = filters if filters.statuses else filters._replace(statuses=among)
        found = find_runs(host.reader, chosen, before=cursor, limit=limit, seconds=SECONDS_TO_CHOOSE, with_steps=False)
        return host.as_seen(found.runs), found.next, []
    if len(ids) > MOST_ROWS:
        raise UsageError(f"There are {len(ids)} ids.", hint=f"Give at most {MOST_ROWS} at once.")
    runs = {run.id: run for run in host.as_seen(host.reader.runs_by_id(ids, with_steps=False))}
    missing = [each for each in dict.fromkeys(ids) if each not in runs]
    refused = [_result(each, "refused", error=RunNotFound(f"There is no run {each}.", run=each)) for each in missing]
    return [runs[each] for each in dict.fromkeys(ids) if each in runs], None, refused


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
    Route("POST", "/runs/cancel", cancel_runs),
    Route("POST", "/runs/retry", retry_runs),
    Route("GET", "/runs/{run_id}", show_run),
    Route("GET", "/runs/{run_id}/log", read_log, streams=True),
    Route("POST", "/runs/{run_id}/cancel", cancel_run),
    Route("POST", "/runs/{run_id}/retry", retry_run),
    Route("POST", "/runs/{run_id}/resume", resume_run),
)
