"""One run inside a worker: its context from the engine's frame, its steps, its end."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.context import FlowContext
from flowstead.flow.errors import RunCancelled
from flowstead.flow.execution import run_steps
from flowstead.flow.paths import MirrorPaths, SourcePaths
from flowstead.worker import checkpoints
from flowstead.worker.recording import EngineRecorder

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow
    from flowstead.worker.channel import Channel


def execute(channel: Channel, flow: Flow, frame: dict[str, Any], workspace_root: Path) -> None:
    """Executes the run that `frame` describes and sends its end.

    Frame fields: id, attempt, folder, params, secrets, source_root, source_path, mirror_root, first_step, failures,
    current, objects, items, metadata, summary.
    """
    recorder = EngineRecorder(channel, flow, frame, workspace_root)
    try:
        context = _context(flow, frame, workspace_root, recorder)
    except checkpoints.CheckpointDamaged as error:
        channel.send({"type": "checkpoint_damaged", "step": error.args[1], "message": str(error.args[0])})
        return
    except Exception as error:
        channel.send({"type": "broken", "error": recorder.describe(error, "run-not-started")})
        return
    streams = sys.stdin, sys.stdout, sys.stderr
    recorder.remember(context)
    try:
        run_steps(flow, context, recorder, first_step=frame["first_step"], failures=frame["failures"])
    except RunCancelled as cancelled:
        recorder.run_cancelled(str(cancelled))
    except BaseException as error:
        recorder.run_broken(error)
    finally:
        # What one run changed for the process must not reach the next.
        sys.stdin, sys.stdout, sys.stderr = streams
        os.chdir(_module_dir(flow))


def _context(flow: Flow, frame: dict[str, Any], workspace_root: Path, recorder: EngineRecorder) -> FlowContext:
    folder = Path(frame["folder"])
    source = mirror = None
    if frame["source_root"] is not None:
        source = SourcePaths.of(Path(frame["source_root"]), frame["source_path"])
    if flow.mirror_root is not None:
        mirror = MirrorPaths(_module_dir(flow) / flow.mirror_root, source)
    context = FlowContext(
        flow_name=flow.name or "",
        group=flow.group,
        run_id=frame["id"],
        attempt=frame["attempt"],
        params=_typed(flow, frame["params"]),
        module_dir=_module_dir(flow),
        workspace_root=workspace_root,
        source=source,
        mirror=mirror,
        sink=recorder,
    )
    context.metadata.update(frame["metadata"])
    context.summary = frame["summary"]
    for name, (step, checkpoint) in frame["objects"].items():
        context.objects[name] = _load(checkpoint, folder, step)
    if frame["current"] is not None:
        step, checkpoint = frame["current"]
        # One object under two names stays one object.
        same = [name for name, (other, _) in frame["objects"].items() if other == step]
        context.current = context.objects[same[0]] if same else _load(checkpoint, folder, step)
    return context


def _load(text: str, folder: Path, step: int) -> Any:
    try:
        return checkpoints.load(json.loads(text), folder)
    except checkpoints.CheckpointDamaged as error:
        raise checkpoints.CheckpointDamaged(str(error), step) from error


def _typed(flow: Flow, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as their declared types: the engine has checked them, but the wire only knows JSON."""
    asks = {ask.name: ask for ask in flow.params}
    return {
        name: value if value is None or name not in asks else asks[name].accept(value) for name, value in params.items()
    }


def _module_dir(flow: Flow) -> Path:
    return flow.module_dir or Path.cwd()
