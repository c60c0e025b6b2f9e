"""Starting a flow by name: what goes on first, what is due, and the runs that come of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from flowstead.catalog import CatalogEntry
from flowstead.engine.freshness import Signature, Sources, compare, find_files, source_root
from flowstead.flow.errors import ParameterRefused
from flowstead.flow.params import REQUIRED, Ask, resolve_params
from flowstead.model.errors import BuildFailed, EnvironmentPending, FlowBroken, NotFound, ParameterError, UsageError
from flowstead.model.flow import FlowSpec
from flowstead.model.run import Run, RunRequest

if TYPE_CHECKING:
    from flowstead.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class StartRequest:
    """What was asked for: see `flowstead run --help` for each of these."""

    flow: str
    params: Mapping[str, Any]
    source: Path | None = None
    force: bool = False
    retry_failed: bool = False
    new: bool = False
    key: str | None = None
    prepared: bool = False
    """Whether whoever asks has just waited for the flow's environment: what still keeps it from running counts."""


@dataclass(frozen=True, slots=True)
class Started:
    """What came of it: ids of runs started now, of interrupted ones that go on, of ones that were waiting already.

    `files` counts the files seen in `source`, both None for a flow without one; `failed_before` those that wait for a
    change because their last run failed.
    """

    started: tuple[str, ...] = ()
    resumed: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    source: str | None = None
    files: int | None = None
    failed_before: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "started": list(self.started),
            "resumed": list(self.resumed),
            "waiting": list(self.waiting),
            "source": self.source,
            "files": self.files,
            "failed_before": self.failed_before,
        }


def start_flow(engine: Engine, request: StartRequest) -> Started:
    """Starts what `request` asks for; interrupted runs of the flow go on first.

    A flow without a source gets one run, unless an interrupted or waiting one stands for it. One with a source gets a
    run for each file that is due, or one for the whole source (`run_as="batch"`).
    Raises FlowNotFound, FlowBroken, ParameterError, UsageError, NotFound when the source is missing, and
    EnvironmentPending where the flow's environment has to be there first (see the route that prepares it).
    """
    entry = engine.catalog.entry(request.flow)
    if request.prepared and entry.error is not None and entry.error["type"] == BuildFailed.__name__:
        # It has no plan yet: nobody can read a module without what it imports.
        return Started((engine.start_failed(RunRequest(entry.name, "", entry.digest or "", "manual"), entry.error),))
    spec = working(entry)
    params, secrets = check_params(spec, request.params)
    reader = engine.ledger.reader
    # Before any is resumed: with that, those that wait begin to be dispatched, and are no longer queued.
    waiting = tuple(reader.open_runs(spec.name, ("queued",)))
    resumed = () if request.new else _resume_interrupted(engine, spec.name, request, params, secrets)
    root, only = _chosen_source(spec, entry.path.parent, request.source)
    digest = entry.digest or ""
    if root is None:
        requests: list[RunRequest] = []
        stands_for_it = bool(resumed) or any(_same(request, params, run) for run in reader.runs_by_id(waiting))
        if request.new or request.key is not None or not stands_for_it:
            requests.append(RunRequest(spec.name, spec.group, digest, "manual", params, key=request.key))
        started = [run_id for run_id, _ in engine.start_runs(requests, secrets)] if requests else []
        return Started(tuple(started), resumed, waiting)
    if request.key is not None:
        raise UsageError(
            f"{spec.name} starts a run for each source file; one key cannot stand for all of them.",
            hint="Leave --key out: a file that has not changed is not run again.",
        )
    files = _find_files(spec, root, request)
    everything = request.force or spec.trigger.mode != "poll"
    trigger = "file" if spec.trigger.mode == "poll" else "manual"
    # Race: someone else may be about to start runs of the same files.
    with engine.starting:
        recorded_root = engine.layout.root_key(root)
        sources = compare(spec, recorded_root, root, files, reader, force=everything, retry_failed=request.retry_failed)
        requests = [
            RunRequest(spec.name, spec.group, digest, trigger, params, source_root=sources.root, source_path=path)
            for path in _paths_to_run(spec, sources, only)
        ]
        started = [run_id for run_id, _ in engine.start_runs(requests, secrets)] if requests else []
    return Started(tuple(started), resumed, waiting, str(root), len(files), sources.failed_before)


def working(entry: CatalogEntry) -> FlowSpec:
    """The plan of a module that could be described.

    Raises FlowBroken with what is wrong with it, EnvironmentPending while it waits for its environment.
    """
    if entry.spec is None:
        error = entry.error or {}
        if error.get("type") in (EnvironmentPending.__name__, BuildFailed.__name__):
            raise EnvironmentPending(error["message"], hint=error["hint"])
        raise FlowBroken(
            f"Flow {entry.name} cannot run: {error.get('message', 'it could not be described')}",
            hint=error.get("hint") or f"See: flowstead check {entry.name}",
            **{key: value for key, value in error.items() if key not in ("hint", "message")},
        )
    return entry.spec


def check_params(spec: FlowSpec, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """The parameters of a run as JSON values, secrets apart. Raises ParameterError before anything runs."""
    asks = [
        Ask(
            each.name,
            each.type,
            tuple(each.choices),
            each.label or "",
            REQUIRED if each.required else each.default,
            each.secret,
        )
        for each in spec.params
    ]
    try:
        values = resolve_params(asks, given)
    except ParameterRefused as refused:
        hint = f"{refused.hint} As in: flowstead run {spec.name} --param name=value"
        raise ParameterError(refused.message, code=refused.code, hint=hint, parameter=refused.parameter) from refused
    secrets = {ask.name: str(values[ask.name]) for ask in asks if ask.secret and values[ask.name] is not None}
    params = {name: None if name in secrets else _json(value) for name, value in values.items()}
    return params, secrets


def _json(value: object) -> object:
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, PurePath) else value


def _same(request: StartRequest, params: dict[str, Any], run: Run) -> bool:
    """Whether `run` is what was asked for: any is, unless parameters were given."""
    return not request.params or run.params == params


def _resume_interrupted(
    engine: Engine, flow: str, request: StartRequest, params: dict[str, Any], secrets: dict[str, str]
) -> tuple[str, ...]:
    """Lets interrupted runs go on, those that are what was asked for. Secrets, which are never stored, come anew."""
    reader = engine.ledger.reader
    resumed: list[str] = []
    for run in reader.runs_by_id(reader.open_runs(flow)):
        if run.resume == "auto" and _same(request, params, run):
            if secrets:
                engine.dispatcher.secrets[run.id] = secrets
            engine.resume(run.id)
            resumed.append(run.id)
    return tuple(resumed)


def _chosen_source(spec: FlowSpec, module_dir: Path, chosen: Path | None) -> tuple[Path | None, str | None]:
    """The source root to look at, and the one file below it that was asked for.

    A chosen file below the flow's own source stays there, so that its freshness is that of the flow.
    """
    own = source_root(spec, module_dir)
    if chosen is None:
        return own, None
    chosen = source_root(spec, module_dir, chosen) or chosen
    if not chosen.is_file():
        return chosen, None
    if own is not None and own in chosen.parents:
        return own, chosen.relative_to(own).as_posix()
    return chosen, chosen.name


def _find_files(spec: FlowSpec, root: Path, request: StartRequest) -> dict[str, Signature]:
    try:
        return find_files(spec, root)
    except NotFound:
        if request.source is not None and spec.trigger.source is not None:
            raise NotFound(
                f"There is no source at {root}.", code="source-missing", hint="Name a file or folder that exists."
            ) from None
        raise


def _paths_to_run(spec: FlowSpec, sources: Sources, only: str | None) -> list[str | None]:
    """Source paths that get a run now, None standing for the whole source; those with a run ahead are left out."""
    ahead = sources.ahead
    if only is not None:
        return [only] if only in sources.due and only not in ahead else []
    if spec.trigger.run_as == "batch":
        return [None] if sources.due and None not in ahead else []
    return [path for path in sources.due if path not in ahead]
