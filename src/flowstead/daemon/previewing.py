"""Previews: a flow run up to a waypoint in a worker of its own. Nothing of it is recorded."""

from __future__ import annotations

import codecs
import queue
import secrets
from collections.abc import Iterator
from typing import Any

from flowstead.catalog import read_version
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.starting import working
from flowstead.engine.worker_process import WorkerProcess
from flowstead.model.errors import EnvironmentPending, FlowsteadError, UsageError

SECONDS_BETWEEN_HEARTBEATS = 0.25
MOST_ROWS = 10_000


def preview_flow(
    host: WorkspaceHost, name: str, *, use: str | None = None, rows: int = 10, params: dict[str, Any] | None = None
) -> Iterator[dict[str, Any] | None]:
    """Runs a flow up to the waypoint `use`, or to its end, and tells what its value looks like.

    Gives `{"output": text}` for what the flow prints, as it comes, None while nothing happens, and at last
    `{"value": {...}}`, whose shape is told by flowstead.worker.preview. Raises FlowNotFound, FlowBroken, UsageError,
    and FlowsteadError with what went wrong in the flow.
    """
    if not 1 <= rows <= MOST_ROWS:
        raise UsageError(f"rows is {rows}.", hint=f"Give a number from 1 to {MOST_ROWS:,}.")
    entry = host.catalog.entry(name)
    working(entry)
    version = read_version(host.layout, entry.digest or "")
    found = host.environments.find_for(version)
    if found.python is None:
        raise EnvironmentPending(
            f"The environment of {name} is not there.", hint=f"Build it: flowstead env build {name}"
        )
    told = _Told()
    worker = WorkerProcess(
        worker_id=f"p-{secrets.token_hex(6)}",
        version=version,
        workspace_root=host.layout.root,
        python=found.python,
        environment=found.environment,
        memory_mb=host.settings.worker_memory_mb,
        listener=told,
    )
    try:
        worker.send({"type": "preview", "use": use, "rows": rows, "params": params or {}})
        yield from told.stream()
    finally:
        # Also when nobody listens any more: what the flow started must not outlive the question.
        worker.kill("done")
        worker.join(5)


class _Told:
    """What the worker tells, from its thread to the one that asked."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[dict[str, Any] | bytes | int] = queue.SimpleQueue()

    def on_frames(self, worker: WorkerProcess, frames: list[dict[str, Any]]) -> None:
        for frame in frames:
            self._queue.put(frame)

    def on_output(self, worker: WorkerProcess, data: bytes) -> None:
        self._queue.put(data)

    def on_exit(self, worker: WorkerProcess, returncode: int) -> None:
        self._queue.put(returncode)

    def stream(self) -> Iterator[dict[str, Any] | None]:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        while True:
            try:
                told = self._queue.get(timeout=SECONDS_BETWEEN_HEARTBEATS)
            except queue.Empty:
                yield None
                continue
            if isinstance(told, bytes):
                if text := decode(told):
                    yield {"output": text}
            elif isinstance(told, int):
                raise FlowsteadError(
                    f"The process that made the preview ended by itself (status {told}).",
                    code="preview-crashed",
                    hint="A library's native code crashed, or the step ended its process; run the flow for its log.",
                )
            elif "error" in told:
                error = dict(told["error"])
                message, code, hint = error.pop("message"), error.pop("code"), error.pop("hint", "")
                raise FlowsteadError(message, code=code, hint=hint, **error)
            elif told["type"] == "preview":
                yield {"value": told["value"]}
                return
