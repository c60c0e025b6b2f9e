"""Requests about one flow in detail: how long its steps take, its versions, and what became of its source files."""

from __future__ import annotations

import json
from bisect import bisect_right
from statistics import median, quantiles
from typing import Any

from flowstead.catalog import CatalogEntry, read_texts
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.freshness import find_files, source_root
from flowstead.engine.source_looks import LOOKS, STATES, Look, SourceFile, look_at
from flowstead.ledger import statements as sql
from flowstead.ledger.pages import RunFilters, find_runs
from flowstead.model.errors import FlowBroken, FlowNotFound, FlowsteadError, NotFound, UsageError
from flowstead.model.run import iso

RUNS_MEASURED = 50
MOST_STEPS_MEASURED = 20_000
USES_COUNTED = 10_000
MOST_FILES = 1000
LONGEST_TEXT = 1 << 20


def flow_durations(host: WorkspaceHost, name: str) -> dict[str, Any]:
    """How long a flow and each of its steps took in its last runs that succeeded, in milliseconds.

    Steps are those of the version that ran last; a run of another plan counts as far as its steps stand where they do.
    """
    host.catalog.path(name)
    reader = host.reader
    runs = find_runs(reader, RunFilters(name, ["succeeded"]), limit=RUNS_MEASURED, with_steps=False).runs
    if not runs:
        return {"flow": name, "runs": 0, "run": None, "steps": []}
    plan = reader.spec(runs[0].version).steps
    # A flow of a thousand steps is measured by fewer runs.
    measured = runs[: max(3, MOST_STEPS_MEASURED // max(1, len(plan)))]
    same: list[str] = []
    names = [(step.name, step.kind) for step in plan]
    for run in measured:
        if [(step.name, step.kind) for step in reader.spec(run.version).steps] == names:
            same.append(run.id)
    found: dict[int, list[int]] = {}
    for step, duration in reader.rows(sql.STEP_DURATIONS, (json.dumps(same),)):
        found.setdefault(step, []).append(max(0, duration))
    whole = [run.finished_at - run.started_at for run in runs if run.started_at and run.finished_at]
    return {
        "flow": name,
        "runs": len(runs),
        "run": _spread(whole),
        "steps": [
            {"index": step.index, "name": step.name, "label": step.label, "took": _spread(found.get(step.index, []))}
            for step in plan
        ],
    }


def _spread(durations: list[int]) -> dict[str, Any] | None:
    """Durations in microseconds as their quantiles in milliseconds."""
    if not durations:
        return None
    tenths = quantiles(durations, n=10, method="inclusive") if len(durations) > 1 else durations * 9
    return {
        "count": len(durations),
        "median_ms": round(median(durations) / 1000, 1),
        "p10_ms": round(tenths[0] / 1000, 1),
        "p90_ms": round(tenths[8] / 1000, 1),
        "longest_ms": round(max(durations) / 1000, 1),
    }


def list_versions(host: WorkspaceHost, name: str) -> dict[str, Any]:
    """The versions of a flow that have run here, and the one that the workspace has now; the newest first.

    `runs` counts those of a version among the last 10,000 of the flow (`runs_exact` says that these are all).
    """
    reader = host.reader
    now = _entry(host, name)
    uses: dict[str, int] = dict(reader.rows(sql.VERSION_USES, (name, USES_COUNTED)))  # type: ignore[arg-type]
    versions: list[dict[str, Any]] = []
    for digest, recorded_at in reader.rows(sql.VERSIONS_OF_FLOW, (name,)):
        versions.append(_version(host, digest, iso(recorded_at), uses.get(digest, 0), now))
    if now is not None and now.digest is not None and all(each["digest"] != now.digest for each in versions):
        versions.insert(0, _version(host, now.digest, None, 0, now))
    if not versions and now is None:
        raise FlowNotFound(f"There is no flow {name}.", hint="See: flowstead flows")
    return {"versions": versions, "runs_exact": sum(uses.values()) < USES_COUNTED}


def _version(
    host: WorkspaceHost,
    digest: str,
    first_run_at: str | None,
    runs: int,
    now: CatalogEntry | None,
) -> dict[str, Any]:
    return {
        "digest": digest,
        "current": now is not None and now.digest == digest,
        "first_run_at": first_run_at,
        "runs": runs,
        "stored": (host.layout.versions / digest).is_dir(),
    }


def _entry(host: WorkspaceHost, name: str) -> CatalogEntry | None:
    return next((entry for entry in host.catalog.entries_within() if entry.name == name), None)


def show_version(host: WorkspaceHost, name: str, digest: str) -> dict[str, Any]:
    """The texts of a version of a flow as they were: its module first, then its helpers.

    Raises FlowNotFound (`version-missing`) for one that is not stored on this machine.
    """
    if not (digest.isalnum() and digest.isascii()):
        raise FlowNotFound(f"There is no version {digest!r}.", code="version-missing")
    known, files = read_texts(host.layout, digest)
    if known != name:
        raise FlowNotFound(f"Version {digest[:12]} is one of {known}.", code="version-missing")
    texts = [_text(file, path.read_bytes()) for file, path in files.items()]
    return {"digest": digest, "flow": name, "texts": texts}


def _text(file: str, source: bytes) -> dict[str, Any]:
    """A text; a notebook's as its code cells, one after the other."""
    if file.endswith(".ipynb"):
        from flowstead.flow.notebooks import code_cells

        cells = code_cells(source)
        return {
            "file": file,
            "text": "\n".join(f"# %% [{n}]\n{text}\n" for n, text in enumerate(cells, 1)),
            "cut": False,
        }
    return {
        "file": file,
        "text": source[:LONGEST_TEXT].decode("utf-8-sig", "replace"),
        "cut": len(source) > LONGEST_TEXT,
    }


def list_source_files(
    host: WorkspaceHost,
    name: str,
    *,
    state: str | None = None,
    text: str | None = None,
    limit: int = 100,
    cursor: str | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """The source files of a flow by path, and what became of each: fresh, changed, failed, never, queued, running or
    interrupted; `run` is the run that has it now, or had it last.

    `state` is one or several with commas between, `text` a part of the path. `counts` are those of all files. Pages of
    a large source are cut from one look, which is kept for half a minute; `again` looks anew. `problem` tells why the
    source cannot be looked at. Raises FlowBroken, FlowNotFound.
    """
    if not 1 <= limit <= MOST_FILES:
        raise UsageError(f"limit is {limit}.", hint=f"Give a number from 1 to {MOST_FILES}.")
    states = None if state is None else {each.strip() for each in state.split(",") if each.strip()}
    for each in states or ():
        if each not in STATES:
            raise UsageError(f"There is no state {each!r}.", hint="One of: " + ", ".join(STATES))
    entry = _entry(host, name)
    if entry is None:
        raise FlowNotFound(f"There is no flow {name}.", hint="See: flowstead flows")
    if entry.spec is None:
        raise FlowBroken(f"Flow {name} is {entry.status}: {(entry.error or {}).get('message', '')}")
    spec = entry.spec
    folder = source_root(spec, entry.path.parent)
    answer = {
        "source": None,
        "counts": dict.fromkeys(STATES, 0),
        "total": 0,
        "files": [],
        "next": None,
        "problem": None,
    }
    if folder is None:
        return answer
    answer["source"] = str(folder)

    def take() -> Look:
        return look_at(spec, host.layout.root_key(folder), find_files(spec, folder), host.reader)

    try:
        look = LOOKS.look((host.layout.root, name), take, again=again)
    except (NotFound, UsageError) as error:
        return {**answer, "problem": error.as_dict()}
    except OSError as error:
        why = error.strerror or str(error)
        told = FlowsteadError(f"The source {folder} cannot be read: {why}.", code="source-unreadable")
        return {**answer, "problem": told.as_dict()}
    page, more = _page(look, states, text, limit, cursor)
    return {
        **answer,
        "counts": {**dict.fromkeys(STATES, 0), **look.counts},
        "total": len(look.files),
        "files": [
            {
                "path": file.path,
                "state": file.state,
                "size": file.size,
                "modified_at": iso(file.mtime_ns // 1000),
                "run": file.run,
            }
            for file in page
        ],
        "next": page[-1].path if more else None,
    }


def _page(
    look: Look, states: set[str] | None, text: str | None, limit: int, cursor: str | None
) -> tuple[list[SourceFile], bool]:
    wanted = (text or "").lower()
    begin = 0 if cursor is None else bisect_right(look.files, cursor, key=lambda file: file.path)
    found: list[SourceFile] = []
    for number in range(begin, len(look.files)):
        file = look.files[number]
        if (states is None or file.state in states) and (not wanted or wanted in file.path.lower()):
            if len(found) == limit:
                return found, True
            found.append(file)
    return found, False


ROUTES = (
    Route("GET", "/flows/{name}/durations", flow_durations),
    Route("GET", "/flows/{name}/versions", list_versions),
    Route("GET", "/flows/{name}/versions/{digest}", show_version),
    Route("GET", "/flows/{name}/sources", list_source_files),
)
