"""Requests about one run in detail: every attempt at its steps, the items of its maps, and what went wrong where."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any, Literal

from flowstead.catalog import read_version
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.retrying import first_steps
from flowstead.ledger import statements as sql
from flowstead.model.errors import FlowNotFound, FlowsteadError, UsageError
from flowstead.model.flow import StepSpec
from flowstead.model.run import Run, iso

MOST_ITEMS = 1000
MOST_AROUND = 100


def run_steps(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """Every attempt at every step of a run, for a timeline: the steps of its plan in order, each with its attempts.

    `checkpoint` says of an attempt that its output was kept. One that a later attempt made void is `superseded`.
    """
    run = _seen(host, run_id)
    cut_off = run.status == "interrupted"
    attempts: dict[int, list[dict[str, Any]]] = {}
    for row in host.reader.rows(sql.STEP_ATTEMPTS, (run.id,)):
        step, number, status, began, ended, kind, path, rows, total, done, failed, error, checkpoint = row
        attempts.setdefault(step, []).append(
            {
                "attempt": number,
                "status": "interrupted" if cut_off and status == "running" else status,
                "started_at": iso(began),
                "finished_at": iso(ended),
                "duration_ms": None if began is None or ended is None else max(0, (ended - began) // 1000),
                "items_total": total,
                "items_done": done,
                "items_failed": failed,
                "output_kind": kind,
                "output_path": path,
                "rows": rows,
                "checkpoint": bool(checkpoint),
                "error": None if error is None else json.loads(error),
            }
        )
    return {
        "id": run.id,
        "status": run.status,
        "queued_at": iso(run.queued_at),
        "started_at": iso(run.started_at),
        "finished_at": iso(run.finished_at),
        "steps": [
            {
                "index": step.index,
                "name": step.name,
                "label": step.label,
                "kind": step.kind,
                "attempts": attempts.get(step.index, []),
            }
            for step in host.reader.spec(run.version).steps
        ],
    }


def run_items(
    host: WorkspaceHost,
    run_id: str,
    *,
    step: int,
    status: Literal["failed", "succeeded"] | None = None,
    limit: int = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """The items of a map by pages, those that failed (or were left out) first; `step` is the number of the step.

    With `status` only those that succeeded, or only those that did not. Counts are those of the step's last attempt.
    """
    if not 1 <= limit <= MOST_ITEMS:
        raise UsageError(f"limit is {limit}.", hint=f"Give a number from 1 to {MOST_ITEMS}.")
    full_id = host.reader.run_id(run_id)
    counts = host.reader.rows(sql.STEP_COUNTS, (full_id, step))
    total, done, failed = counts[-1] if counts else (None, None, None)
    phase, after = _place(cursor, status)
    found: list[tuple[Any, ...]] = []
    while phase is not None and len(found) <= limit:
        rows = host.reader.rows(sql.ITEM_PAGE, (full_id, step, phase, after, limit + 1 - len(found)))
        found += rows
        # Those that failed come first; without a wish for either, the others follow.
        phase, after = (1, -1) if phase == 0 and status is None else (None, -1)
    page = found[:limit]
    last = page[-1] if page else None
    return {
        "items": [
            {
                "item": item,
                "status": state,
                "duration_ms": duration // 1000,
                "error": None if error is None else json.loads(error),
            }
            for item, state, duration, error in page
        ],
        "items_total": total,
        "items_done": done,
        "items_failed": failed,
        "next": f"{int(last[1] == 'succeeded')}-{last[0]}" if last and len(found) > limit else None,
    }


def _place(cursor: str | None, status: str | None) -> tuple[int | None, int]:
    """Whether items that succeeded are next (else those that did not), and after which number."""
    if cursor is None:
        return int(status == "succeeded"), -1
    phase, _, item = cursor.partition("-")
    if phase not in ("0", "1") or not (item.isascii() and item.isdecimal() and len(item) < 18):
        raise UsageError(f"There is no cursor {cursor!r}.", hint="Give the `next` of the page before.")
    return int(phase), int(item)


def run_error(host: WorkspaceHost, run_id: str, *, around: int = 5) -> dict[str, Any]:
    """What went wrong in a run, and where in the author's own text, as it was when the run was made.

    `source` has the line (`line`, from 1) with up to `around` lines before and after it; `changed` says that the module
    is another by now. `retry_from` are the steps from which a retry can begin, the last one without repeating anything.
    """
    if not 0 <= around <= MOST_AROUND:
        raise UsageError(f"around is {around}.", hint=f"Give a number from 0 to {MOST_AROUND}.")
    run = _seen(host, run_id)
    step = next((step for step in reversed(run.steps) if step.error is not None), None)
    error = run.error or (step.error if step is not None else None)
    current = _plan_of_now(host, run)
    steps = [] if current is None or "retry" not in run.actions else current[1]
    return {
        "id": run.id,
        "status": run.status,
        "error": error,
        "step": None if step is None else {"index": step.index, "name": step.name, "label": step.label},
        "source": None if error is None else _source(host, run, error, around),
        "changed": current is None or current[0] != run.version,
        "retry_from": [
            {"index": each.index, "name": each.name, "label": each.label}
            for each in first_steps(run, host.reader.spec(run.version).steps, steps)
        ],
        "actions": run.actions,
    }


def _seen(host: WorkspaceHost, run_id: str) -> Run:
    (run,) = host.as_seen([host.reader.run(host.reader.run_id(run_id))])
    return run


def _plan_of_now(host: WorkspaceHost, run: Run) -> tuple[str, tuple[StepSpec, ...]] | None:
    """The version and the steps with which a retry would be made; None while the module is broken."""
    try:
        entry = next((each for each in host.catalog.entries_within() if each.name == run.flow), None)
    except FlowsteadError:
        return None
    if entry is None:
        return run.version, host.reader.spec(run.version).steps
    return None if entry.spec is None or entry.digest is None else (entry.digest, entry.spec.steps)


def _source(host: WorkspaceHost, run: Run, error: dict[str, Any], around: int) -> dict[str, Any] | None:
    file, line = error.get("file"), error.get("line")
    if not isinstance(file, str) or not isinstance(line, int):
        return None
    text = version_text(host, run.version, file, error.get("cell"))
    if text is None:
        return None
    lines = text.splitlines()
    if not 1 <= line <= len(lines):
        return None
    first = max(1, line - around)
    return {
        "file": file,
        "cell": error.get("cell"),
        "version": run.version,
        "line": line,
        "first": first,
        "lines": lines[first - 1 : line + around],
    }


def version_text(host: WorkspaceHost, digest: str, file: str, cell: object = None) -> str | None:
    """The text of a module or a helper (`file` is relative to the workspace) in a stored version of its flow.

    Of a notebook, that of the code cell with the number `cell`, from 1. None when it is not stored on this machine.
    """
    try:
        version = read_version(host.layout, digest)
        path = PurePosixPath(file)
        if ".." in path.parts:
            return None
        if path == PurePosixPath(version.origin.relative_to(host.layout.root).as_posix()):
            source = (version.folder / f"module{version.origin.suffix}").read_bytes()
            if version.origin.suffix == ".ipynb":
                from flowstead.flow.notebooks import code_cells

                cells = code_cells(source)
                return cells[cell - 1] if isinstance(cell, int) and 1 <= cell <= len(cells) else None
        elif version.helpers is not None and path.parts[:2] == ("flow_modules", "flow_helpers"):
            source = version.helpers.joinpath(*path.parts[2:]).read_bytes()
        else:
            return None
    except (FlowNotFound, OSError, ValueError):
        return None
    return source.decode("utf-8-sig", "replace")


def run_neighbours(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """The runs of the same flow right before and right after a run: `{previous, next}`, null at either end."""
    run = host.reader.run(host.reader.run_id(run_id))
    before = host.reader.as_runs(host.reader.rows(sql.RUN_BEFORE, (run.flow, run.number)), with_steps=False)
    after = host.reader.as_runs(host.reader.rows(sql.RUN_AFTER, (run.flow, run.number)), with_steps=False)
    seen = {each.number: {"id": each.id, "status": each.status} for each in host.as_seen([*before, *after])}
    return {
        "previous": next((seen[each.number] for each in before), None),
        "next": next((seen[each.number] for each in after), None),
    }


ROUTES = (
    Route("GET", "/runs/{run_id}/neighbours", run_neighbours),
    Route("GET", "/runs/{run_id}/steps", run_steps),
    Route("GET", "/runs/{run_id}/items", run_items),
    Route("GET", "/runs/{run_id}/error", run_error),
)
