"""The worker's recorder: every outcome becomes a frame, and the next step waits until the engine has committed it."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.batch import Batch
from flowstead.flow.errors import StepFailure
from flowstead.flow.execution import Recorder
from flowstead.worker import checkpoints
from flowstead.worker.channel import Channel, encode
from flowstead.worker.exchange import Exchange
from flowstead.worker.item_batch import ItemBatch, recorded_items
from flowstead.worker.native_output import flush_native_output

if TYPE_CHECKING:
    from flowstead.flow.context import FlowContext
    from flowstead.flow.definition import Flow, Step

SECONDS_BETWEEN_PROGRESS = 0.1

_LARGEST = 2**63 - 1


def now_us() -> int:
    return time.time_ns() // 1000


class EngineRecorder(Recorder):
    """Records one run; also the sink behind its context (artifacts, progress, log, secrets).

    `frame` is the engine's `run` frame.
    """

    def __init__(self, channel: Channel, flow: Flow, frame: dict[str, Any], workspace_root: Path | None) -> None:
        self._exchange = Exchange(channel)
        self._flow = flow
        self._folder = Path(frame["folder"])
        self._root = workspace_root
        self._secrets: dict[str, str] = frame.get("secrets") or {}
        self._resumed_items: dict[str, Any] | None = frame.get("items")
        self._first_step: int = frame["first_step"]
        self.artifacts_dir: Path | None = self._folder / "artifacts"
        # The step that the engine has recorded as begun already.
        self._announced = frame["first_step"] if frame["begun"] else -1
        self._step: Step | None = None
        self._started_at = 0
        self._metadata = ""
        self._summary: str | None = frame.get("summary")
        self._next_progress = 0.0
        self._told: tuple[int, int | None] | None = None
        self._map: ItemBatch | None = None

    def remember(self, context: FlowContext) -> None:
        """Takes the context's metadata as already recorded."""
        self._metadata = encode(context.metadata)

    # -- steps -------------------------------------------------------------------------------------------------

    def step_started(self, step: Step) -> None:
        self._step = step
        self._started_at = now_us()
        if self._announced != step.index:
            # The first step and retries are announced; any other was begun by the commit of the one before it.
            self._exchange.tell({"type": "step_started", "step": step.index, "at": self._started_at})
        self._announced = -1

    def step_succeeded(self, step: Step, value: Any, context: FlowContext) -> None:
        finished_at = now_us()
        duration = finished_at - self._started_at
        output_kind, rows, output_path = _output(value)
        last = step.index == len(self._flow.steps) - 1
        frame: dict[str, Any] = {
            "type": "step_finished",
            "step": step.index,
            "status": "succeeded",
            "started_at": self._started_at,
            "finished_at": finished_at,
            "output_kind": output_kind,
            "output_path": output_path,
            "rows": rows,
            "checkpoint": None if last else self._checkpoint(step, value, duration),
            "ends": "succeeded" if last else None,
        }
        self._note(frame, context)
        self.flush_output()
        if last:
            self._exchange.end(frame)
            return
        self._exchange.ask(frame)
        self._announced = step.index + 1
        self._exchange.raise_if_cancelled()

    def _checkpoint(self, step: Step, value: Any, duration_us: int) -> str | None:
        if step.checkpoint is False:
            return None
        certain = step.checkpoint is True or step.save_as is not None
        return self._store(value, f"step-{step.index}", None if certain else checkpoints.auto_allowance(duration_us))

    def _store(self, value: Any, stem: str, allowance: float | None) -> str | None:
        try:
            saved = checkpoints.save(value, self._folder, stem, allowance=allowance)
        except OSError as error:
            # The run goes on: what could not be kept is made again if it has to be resumed.
            self.log("warning", f"A checkpoint could not be written: {error.strerror}.", {"code": "disk-full"})
            return None
        # Plain ASCII, in which every text and path comes back exactly.
        return None if saved is None else json.dumps(saved, separators=(",", ":"))

    def step_failed(self, step: Step, error: BaseException, context: FlowContext, retry_in: float | None) -> None:
        described = self.describe(error, "step-failed")
        described["step"] = step.label
        frame: dict[str, Any] = {
            "type": "step_finished",
            "step": step.index,
            "status": "failed",
            "started_at": self._started_at,
            "finished_at": now_us(),
            "error": described,
            "retry_in": retry_in,
            "ends": "failed" if retry_in is None else None,
        }
        self._note(frame, context)
        self.flush_output()
        if retry_in is None:
            self._exchange.end(frame)
            return
        self._exchange.ask(frame)
        self._exchange.raise_if_cancelled()

    def describe(self, error: BaseException, code: str) -> dict[str, Any]:
        # Imported only once something fails: it costs a worker a tenth of its start.
        try:
            from flowstead.flow.failures import describe_failure

            return describe_failure(error, self._root, code=code)
        except BaseException:
            # Parts of it raise themselves, or memory is still short.
            kind = type(error).__name__
            return {
                "code": "step-memory" if isinstance(error, MemoryError) else code,
                "type": kind,
                "message": f"{kind} (it cannot be described)",
                "file": None,
                "line": None,
                "source": None,
                "hint": "",
                "traceback": "",
            }

    def run_cancelled(self, reason: str) -> None:
        """Ends the run as cancelled."""
        self.flush_output()
        self._exchange.end({"type": "run_cancelled", "reason": reason})

    def run_broken(self, error: BaseException) -> None:
        """Ends the run, if it has not ended, by what was raised between its steps."""
        if not self._exchange.ended:
            self.flush_output()
            self._exchange.end({"type": "broken", "error": self.describe(error, "step-failed")})

    def _note(self, frame: dict[str, Any], context: FlowContext) -> None:
        given = context.metadata
        metadata = encode(given if isinstance(given, dict) else {"value": given})
        if metadata != self._metadata:
            frame["metadata"] = self._metadata = metadata
        if context.summary is not None:
            summary = _text(context.summary)
            if summary != self._summary:
                frame["summary"] = self._summary = summary

    @staticmethod
    def flush_output() -> None:
        # What a step printed must be in the pipe before the frame that ends it, or it would be logged after it.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass  # the flow closed its own stream, or put something else in its place
        flush_native_output()

    # -- maps --------------------------------------------------------------------------------------------------

    def map_started(self, step: Step, total: int) -> dict[int, Any]:
        known: dict[int, Any] = {}
        if step.index == self._first_step and self._resumed_items is not None:
            known = recorded_items(self._resumed_items, self._folder, total)
            self._resumed_items = None
        self._map = ItemBatch(self._exchange, step, total, len(known), self._store)
        return known

    def item_finished(self, index: int, status: str, duration_us: int, value: Any, error: BaseException | None) -> None:
        batch = self._map
        if batch is not None:
            described = None if error is None else encode(self.describe(error, "item-failed"))
            batch.add(index, status, duration_us, value, described)

    def map_finished(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def check_cancelled(self) -> None:
        self._exchange.check_cancelled()

    def wait(self, seconds: float) -> None:
        self._exchange.wait(seconds)

    # -- the sink behind the context ---------------------------------------------------------------------------

    def artifact(self, name: str, kind: str, path: Path, info: dict[str, Any]) -> None:
        relative = Path(path).relative_to(self._folder).as_posix()
        step = self._step.index if self._step else None
        frame = {"type": "artifact", "step": step, "name": name, "kind": kind, "path": relative, "info": encode(info)}
        self._exchange.tell(frame)

    def progress(self, done: float, total: float | None, message: str | None) -> None:
        now = time.monotonic()
        told = (_count(done), None if total is None else _count(total))
        finished = told[0] == told[1] and told != self._told
        if now >= self._next_progress or finished:
            self._next_progress, self._told = now + SECONDS_BETWEEN_PROGRESS, told
            step = self._step.index if self._step else None
            text = None if message is None else _text(message)
            frame = {"type": "progress", "step": step, "done": told[0], "total": told[1], "message": text}
            self._exchange.tell(frame)

    def log(self, level: str, message: str, data: dict[str, Any]) -> None:
        self.flush_output()
        # Asked, not told: what is printed next must not overtake this line, and the two travel in two pipes.
        self._exchange.ask({"type": "log", "level": level, "message": _text(message), "data": data})

    def secret(self, name: str) -> str:
        import os

        if name in self._secrets:
            return self._secrets[name]
        variable = f"FLOWSTEAD_SECRET_{name.upper().replace('-', '_')}"
        value = os.environ.get(variable)
        if value is None:
            raise StepFailure(
                f"There is no secret {name!r}.",
                code="secret-missing",
                hint=f"Set the environment variable {variable}, or start the run again with --param {name}=...",
            )
        return value


def _output(value: Any) -> tuple[str, int | None, str | None]:
    """What a step gave: the kind of value, its rows where it has some, its path where it is an existing file."""
    kind = type(value)
    if value is None:
        return "none", None, None
    if isinstance(value, Path):
        try:
            return "path", None, os.path.abspath(value) if value.exists() else None
        except OSError:
            return "path", None, None
    if isinstance(value, Batch):
        return "batch", len(value), None
    module = str(kind.__module__).partition(".")[0].lstrip("_")
    name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
    if module in ("polars", "pandas", "pyarrow"):
        try:
            return name, int(value.shape[0]), None
        except Exception:
            return name, None, None
    return name, len(value) if kind in (list, tuple, dict, set) else None, None


def _count(value: float) -> int:
    return max(-_LARGEST, min(_LARGEST, int(value)))


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"
