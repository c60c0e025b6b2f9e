"""Running a flow in this process, without a record: what an author does in a notebook or a script."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.context import FlowContext
from flowstead.flow.errors import FlowDefinitionError, StepFailure
from flowstead.flow.files import scan
from flowstead.flow.params import resolve_params
from flowstead.flow.paths import MirrorPaths, SourcePaths

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow


class LocalSink:
    """Shows log lines on standard error and keeps nothing. Secrets are what the run was given, or the environment's."""

    artifacts_dir: Path | None = None

    def __init__(self, secrets: Mapping[str, Any]) -> None:
        self._secrets = secrets

    def artifact(self, name: str, kind: str, path: Path, info: dict[str, Any]) -> None:
        """Never called: without a folder nothing is kept."""

    def progress(self, done: int, total: int | None, message: str | None) -> None:
        """Not shown: the author sees the values themselves."""

    def log(self, level: str, message: str, data: dict[str, Any]) -> None:
        facts = "".join(f" {name}={value!r}" for name, value in data.items())
        print(f"{level}: {message}{facts}", file=sys.stderr)

    def check_cancelled(self) -> None:
        """Ctrl-C ends what runs in the author's own process."""

    def secret(self, name: str) -> str:
        value = self._secrets.get(name, os.environ.get(name))
        if value is None:
            raise StepFailure(
                f"There is no secret {name!r}.",
                code="secret-missing",
                hint=f"Set the environment variable {name}, or give it with params={{{name!r}: ...}}.",
            )
        return str(value)


def preview(flow: Flow, use: str | None = None, *, params: Mapping[str, Any] | None = None) -> Any:
    """See Flow.preview."""
    from flowstead.flow.execution import run_steps

    waypoint = None if use == "current" else use
    known = [step.save_as for step in flow.steps if step.save_as is not None]
    if waypoint is not None and waypoint not in known:
        raise FlowDefinitionError(
            f"preview(use=...) is {use!r}, which no step saves.",
            code="waypoint-unknown",
            hint=f"Waypoints of this flow: {', '.join(dict.fromkeys(known))}." if known else "No step has save_as=.",
        )
    first = next(source_files(flow), None)
    if first is None and _runs_per_file(flow):
        raise StepFailure(
            f"There is no file to preview with in {flow.resolve(flow.trigger.source or '')}.",
            code="source-empty",
            hint=f"The flow takes {', '.join(flow.trigger.extensions) or 'any file'}; put one there.",
        )
    context = make_context(flow, first, params)
    run_steps(flow, context, stop_after=waypoint)
    return context.current if waypoint is None else context.objects[waypoint]


def run_once(flow: Flow, *, params: Mapping[str, Any] | None = None) -> list[FlowContext]:
    """See Flow.run_once."""
    from flowstead.flow.execution import run_steps

    contexts = []
    for relative in source_files(flow):
        context = make_context(flow, relative, params)
        run_steps(flow, context)
        contexts.append(context)
    return contexts


def source_files(flow: Flow) -> Iterator[str | None]:
    """What one round of runs is made on: each source file by its path relative to the root, sorted; or once None.

    Raises StepFailure (`source-missing`) when the source is not there.
    """
    if not _runs_per_file(flow):
        yield None
        return
    yield from sorted(scan_source(flow))


def scan_source(flow: Flow) -> dict[str, tuple[int, int]]:
    """The signatures of the flow's source files. Raises StepFailure (`source-missing`)."""
    source = flow.resolve(flow.trigger.source or "")
    try:
        return scan(source, flow.trigger.extensions)
    except FileNotFoundError:
        raise StepFailure(
            f"The source {source} is not there.",
            code="source-missing",
            hint="Make the folder, or correct watch(source=...).",
        ) from None


def make_context(
    flow: Flow, relative: str | None, params: Mapping[str, Any] | None, sink: LocalSink | None = None
) -> FlowContext:
    """The context of a run on the source file `relative`, or on the whole source.

    Raises ParameterRefused when `params` do not fit what the flow asks.
    """
    values = resolve_params(flow.params, params or {})
    trigger = flow.trigger
    source = None if trigger.source is None else SourcePaths.of(flow.resolve(trigger.source), relative)
    return FlowContext(
        flow_name=flow.name or "flow",
        group=flow.group,
        run_id=uuid.uuid4().hex,
        attempt=1,
        params=values,
        module_dir=flow.module_dir or Path.cwd(),
        workspace_root=flow.workspace_root,
        source=source,
        mirror=None if flow.mirror_root is None else MirrorPaths(flow.resolve(flow.mirror_root), source),
        sink=sink or LocalSink({ask.name: values[ask.name] for ask in flow.params if ask.secret}),
    )


def _runs_per_file(flow: Flow) -> bool:
    return flow.trigger.source is not None and flow.trigger.run_as == "individual"
