"""What a question about a table means: a path, an artifact of a run, or the output of one of its steps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from flowstead.daemon.files.listing import look
from flowstead.daemon.files.opening import Place
from flowstead.daemon.files.places import resolve, shown
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError, NotFound, UsageError
from flowstead.model.run import Run, StepRun


class NotATable(FlowsteadError):
    code = "not-a-table"


class RunTable(NamedTuple):
    """A table of a run by the name that SQL knows it by; `artifact` or `step` says where it comes from."""

    name: str
    artifact: str | None
    step: int | None
    place: Place


def table_file(
    host: WorkspaceHost,
    *,
    path: str | None = None,
    run_id: str | None = None,
    artifact: str | None = None,
    step: str | int | None = None,
    sheet: str | None = None,
    table: str | None = None,
) -> dict[str, Any]:
    """The file as the child is told of it (see tables.File).

    Named by a path (with `run_id`: in that run's folder), by a run and an artifact's name, or by a run and a step's
    name, label or number. Raises UsageError, RunNotFound, NotFound, NotATable, and as `resolve` and open_file do.
    """
    given = [each is not None for each in (path, artifact, step)]
    if sum(given) != 1 or (path is None and run_id is None):
        raise UsageError(
            "Which table is meant was not said.", hint="Give a path, or run_id with either an artifact or a step."
        )
    if path is not None:
        place = resolve(host, path, run_id=run_id)
    else:
        assert run_id is not None
        run = host.reader.run(host.reader.run_id(run_id))
        place = _artifact(host, run, artifact) if artifact is not None else _output(host, run, _step(run, step))
    return described(host, place, sheet=sheet, table=table)


def described(host: WorkspaceHost, place: Place, *, sheet: str | None = None, table: str | None = None) -> Any:
    """The same for a place. Raises NotATable, and as open_file does."""
    kind, _ = look(place)
    if kind.format is None:
        raise NotATable(f"{shown(host, place)} holds no table.", hint="See what it is with: GET /files/info")
    return {
        "root": place.root,
        "relative": place.relative,
        "format": kind.format,
        "zipped": kind.media_type == "application/gzip",
        "sheet": _text(sheet, "sheet"),
        "table": _text(table, "table"),
    }


def run_tables(host: WorkspaceHost, run: Run) -> list[RunTable]:
    """The tables that a run has left: what it kept and what its steps gave out, as far as the files are still there.

    An artifact has its own name, an output that of its waypoint, else of its step; one that is taken gets a number.
    """
    tables: list[RunTable] = []
    names: set[str] = set()
    for name, artifact, step, place in _candidates(host, run):
        try:
            kind, _ = look(place)
        except FlowsteadError:
            continue
        if kind.kind != "table" or any(place == each.place for each in tables):
            continue
        free, number = name, 1
        while free.lower() in names:
            number += 1
            free = f"{name}_{number}"
        names.add(free.lower())
        tables.append(RunTable(free, artifact, step, place))
    return tables


def _candidates(host: WorkspaceHost, run: Run) -> Iterator[tuple[str, str | None, int | None, Place]]:
    for artifact in run.artifacts:
        try:
            yield artifact.name, artifact.name, None, resolve(host, artifact.path, run_id=run.id)
        except FlowsteadError:
            continue
    saved = {step.index: step.save_as for step in host.reader.spec(run.version).steps}
    for step in run.steps:
        try:
            yield saved.get(step.index) or step.name, None, step.index, _output(host, run, step)
        except FlowsteadError:
            continue


def _artifact(host: WorkspaceHost, run: Run, name: str) -> Place:
    for artifact in run.artifacts:
        if artifact.name == name:
            return resolve(host, artifact.path, run_id=run.id)
    raise NotFound(
        f"Run {run.id} kept nothing called {name!r}.",
        code="artifact-not-found",
        hint=f"It kept: {', '.join(artifact.name for artifact in run.artifacts) or 'nothing'}",
    )


def _step(run: Run, wanted: str | int | None) -> StepRun:
    for step in run.steps:
        if str(wanted) in (str(step.index), step.name, step.label):
            return step
    hint = f"Its steps: {', '.join(step.name for step in run.steps)}"
    raise NotFound(f"Run {run.id} has no step {wanted!r}.", code="step-not-found", hint=hint)


def _output(host: WorkspaceHost, run: Run, step: StepRun) -> Place:
    """The file that a step gave out, or the frame that was stored as its checkpoint."""
    if step.output_path is not None:
        return resolve(host, step.output_path)
    stored = [row[12] for row in host.reader.step_rows(run.id) if row[1] == step.index and row[12] is not None]
    checkpoint: dict[str, Any] = json.loads(stored[-1]) if stored else {"kind": "none"}
    match checkpoint["kind"]:
        case "arrow":
            return resolve(host, checkpoint["file"], run_id=run.id)
        case "none":
            why = "was not stored" if step.status == "succeeded" else f"is not there: it is {step.status}"
        case "pickle":
            why = "was pickled, and is read by nothing but the flow itself"
        case _:
            why = "is no table"
    raise NotATable(
        f"The output of {step.label} {why}.", hint="A step that returns the path of its file makes that visible."
    )


def _text(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise UsageError(f"{name} is {value!r}; it is a text."[:200])
