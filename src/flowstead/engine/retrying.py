"""Retrying an ended run: a new run of the flow as it is by now, which takes over what is done already."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flowstead.catalog import FlowVersion
from flowstead.engine.dispatcher import coded
from flowstead.engine.starting import working
from flowstead.ledger import Transaction
from flowstead.model.errors import FlowNotFound, FlowsteadError, RunNotFound, TransitionRefused, UsageError
from flowstead.model.flow import StepSpec
from flowstead.model.run import Run, RunRequest

if TYPE_CHECKING:
    from flowstead.engine.engine import Engine

Versions = dict[tuple[str, str], FlowVersion]
"""What runs of a flow and a version are retried with, as far as that was looked up."""

_OF_THE_RUN = ("run_id", "started_at_utc")


def retry(engine: Engine, run_id: str, from_step: str | None = None) -> str:
    """Starts a new run, linked to an ended one, and returns its id.

    It runs the module as it is now, for whoever retries has mended it; a module that is gone is run as it was. Recorded
    outcomes are taken over up to the first step that has none, or whose place in the plan has changed, or up to
    `from_step` (a name, a label, or a number from 0). An interrupted run that could have gone on is cancelled.
    Raises RunNotFound, FlowBroken, UsageError (no such step), and TransitionRefused.
    """
    prepared = _prepare(engine, engine.ledger.reader.run(run_id), from_step, {})
    return _start(engine, [prepared])[0]


def retry_each(engine: Engine, run_ids: Sequence[str]) -> list[str | FlowsteadError]:
    """Retries many runs in one commit: for each of them the id of the new run, or why there is none."""
    found: list[str | FlowsteadError] = []
    prepared: list[Prepared] = []
    runs = {run.id: run for run in engine.ledger.reader.runs_by_id(run_ids)}
    versions: Versions = {}
    for run_id in run_ids:
        run = runs.pop(run_id, None)
        try:
            if run is None:
                raise RunNotFound(f"There is no run {run_id}, or it is named twice.", run=run_id)
            prepared.append(_prepare(engine, run, None, versions))
            found.append(prepared[-1].request.id)
        except FlowsteadError as error:
            found.append(error)
    if prepared:
        _start(engine, prepared)
    return found


def first_steps(run: Run, before: Sequence[StepSpec], now: Sequence[StepSpec]) -> list[StepSpec]:
    """The steps of the plan of `now` from which a run that was made by the plan `before` may be retried."""
    return list(now[: _finished(run, before, now) + 1])


class Prepared(NamedTuple):
    """A retry that can begin: what it gets from the run that it retries goes into the commit that queues it."""

    request: RunRequest
    take_over: Callable[[Transaction], None]


def _start(engine: Engine, retries: Sequence[Prepared]) -> list[str]:
    def take_over(tx: Transaction) -> None:
        for each in retries:
            each.take_over(tx)

    started = engine.start_runs([each.request for each in retries], take_over=take_over)
    return [run_id for run_id, _ in started]


def _prepare(engine: Engine, run: Run, from_step: str | None, versions: Versions) -> Prepared:
    """Plans the retry of a run and gives it its checkpoints; `versions` are those of flows that were looked at."""
    reader, run_id = engine.ledger.reader, run.id
    if "retry" not in run.actions:
        raise TransitionRefused(f"Run {run_id} is {run.status}; only an ended run can be retried.")
    key = run.flow, run.version
    version = versions[key] = versions.get(key) or _version(engine, run)
    steps = version.spec.steps
    taken = _finished(run, reader.spec(run.version).steps, steps)
    first = (0 if taken == len(steps) else taken) if from_step is None else _index(version, from_step)
    if first > taken:
        raise TransitionRefused(
            f"Step {steps[first].label!r} cannot be the first: an earlier step has no outcome.",
            hint=f"Start from {steps[taken].name} or earlier.",
        )
    request = RunRequest(
        flow=run.flow,
        group=version.spec.group,
        version=version.digest,
        trigger="retry",
        params=run.params,
        source_root=run.source_root,
        source_path=run.source_path,
        retry_of=run_id,
    )
    try:
        _copy_checkpoints(engine.layout.run_folder(run_id), engine.layout.run_folder(request.id), first)
    except OSError as error:
        raise coded(error) from error
    metadata = json.dumps({name: value for name, value in run.metadata.items() if name not in _OF_THE_RUN})
    outcomes = [(step.index, step.attempt) for step in run.steps[:first]]

    def take_over(tx: Transaction) -> None:
        if "resume" in run.actions:
            tx.cancel(run_id)  # or it would go on beside its retry
        tx.copy_steps(run_id, request.id, outcomes, up_to=first)
        tx.note(request.id, metadata)

    return Prepared(request, take_over)


def _version(engine: Engine, run: Run) -> FlowVersion:
    try:
        entry = engine.catalog.entry(run.flow)
    except FlowNotFound:
        return engine.dispatcher.version(run.version)
    working(entry)
    return engine.dispatcher.version(entry.digest or "")


def _finished(run: Run, before: Sequence[StepSpec], now: Sequence[StepSpec]) -> int:
    """How many of the first steps succeeded and stand in the plan as they did."""
    count = 0
    for done, old, new in zip(run.steps, before, now, strict=False):
        if done.status != "succeeded" or _place(old) != _place(new):
            break
        count += 1
    return count


def _place(step: StepSpec) -> tuple[str, str, str | None, str | None]:
    return step.name, step.kind, step.use, step.save_as


def _index(version: FlowVersion, wanted: str) -> int:
    for step in version.spec.steps:
        if wanted in (step.name, step.label, str(step.index)):
            return step.index
    known = ", ".join(step.name for step in version.spec.steps)
    raise UsageError(f"Flow {version.name} has no step {wanted!r}.", hint=f"Its steps are: {known}.")


def _copy_checkpoints(source: Path, target: Path, up_to: int) -> None:
    """Gives a retry its own copies (links where possible) of the checkpoints of the steps that it takes over."""
    folder = source / "checkpoints"
    if not folder.is_dir():
        return
    (target / "checkpoints").mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        step = file.stem.split("-")[1]
        if file.suffix == ".part" or not step.isdigit() or int(step) > up_to:
            continue
        copy = target / "checkpoints" / file.name
        try:
            os.link(file, copy)
        except OSError:
            shutil.copyfile(file, copy)
