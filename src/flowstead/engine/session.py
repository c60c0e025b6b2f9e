"""One run in one worker: the worker's frames become ledger writes, each committed before the worker goes on.

dispatch → begin → (frames → commit → go)* → ended
"""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.engine.resuming import ResumePoint, resume_point
from flowstead.engine.runlog import RunLog
from flowstead.ledger import StepOutcome, Transaction
from flowstead.ledger.transaction import Fence

if TYPE_CHECKING:
    from flowstead.catalog import FlowVersion
    from flowstead.engine.dispatcher import Dispatcher
    from flowstead.engine.worker_process import WorkerProcess

_CRASHES = {"SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGXCPU", "SIGXFSZ"}
SECONDS_FROM_TERMINATE_TO_KILL = 2.0

_Operation = Callable[[Transaction], bool]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A run as it was claimed from the ledger."""

    id: str
    flow: str
    group: str
    version: str
    source_root: str | None
    source_path: str | None
    params: dict[str, Any]
    metadata: dict[str, Any]
    summary: str | None
    attempt: int
    retry_of: str | None

    @property
    def fresh(self) -> bool:
        """Whether nothing of it is recorded yet: no attempt before this one, no steps taken over."""
        return self.attempt == 1 and self.retry_of is None


class Session:
    """Conducts one attempt at one run. Frames and the worker's end arrive on the worker's thread."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        run: Claimed,
        fence: Fence,
        version: FlowVersion,
        worker: WorkerProcess,
        *,
        first_step_begun: bool,
    ) -> None:
        self.run = run
        self.fence = fence
        self.worker = worker
        self.ended = False
        self._dispatcher = dispatcher
        self._version = version
        self._spec = version.spec
        self._steps = version.spec.steps
        self._folder: Path = dispatcher.layout.run_folder(run.id)
        self._point = ResumePoint()
        self._first_step_begun = first_step_begun
        self._attempts: dict[int, int] = {}
        self._step: int | None = None
        self._timed_out: tuple[int | None, float] | None = None
        self._step_alarm: int | None = None
        self._run_alarm: int | None = None
        self._grace_alarm: int | None = None
        self._load_alarm: int | None = None
        self._cancelling = False
        self._waiting_frame: dict[str, Any] | None = None
        self._handed_over = False
        self._log: RunLog | None = None
        self.max_parallel = version.spec.trigger.max_parallel
        # A cancellation and an alarm come from other threads than the frames do.
        self._lock = threading.RLock()

    # -- beginning ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Plans from where the run goes on, when it was begun before, and hands it to its worker."""
        run = self.run
        with self._lock:
            # Race: it may have been cancelled, or its worker lost, since it was claimed.
            if self.ended or self._cancelling:
                return
            if not run.fresh:
                self._point = resume_point(self._dispatcher.ledger.reader, run.id, self._steps, self._folder)
                first, keep = self._point.first_step, self._point.items is not None
                dropped = self._dispatcher.ledger.write(lambda tx: tx.resume_at(self.fence, first, keep_items=keep))
                self._remove_artifacts(dropped)
            point = self._point
            self._attempts = dict(point.attempts)
            if self._first_step_begun:
                self._next_attempt(0)
            if self._spec.timeout:
                self._run_alarm = self._dispatcher.alarms.set(self._spec.timeout, self._run_timed_out)
            self._hand_over(
                {
                    "type": "run",
                    "id": run.id,
                    "attempt": run.attempt,
                    "folder": str(self._folder),
                    "params": run.params,
                    "secrets": self._dispatcher.secrets.get(run.id, {}),
                    "source_root": None if run.source_root is None else self._absolute(run.source_root),
                    "source_path": run.source_path,
                    "first_step": point.first_step,
                    "begun": self._first_step_begun,
                    "failures": point.failures,
                    "current": point.current,
                    "objects": point.objects,
                    "items": point.items,
                    "metadata": run.metadata,
                    "summary": run.summary,
                }
            )
            # After that, for the worker already works while the log is opened.
            log = self._open_log()
            begun = f"Run of {run.flow} started" if run.attempt == 1 else f"Run of {run.flow} goes on"
            data: dict[str, Any] = {"attempt": run.attempt, "source": run.source_path}
            if not run.fresh:
                data["first_step"] = self._step_name(point.first_step)
            log.add("run.started", begun, data=data)
            if self._first_step_begun:
                self._say_started(0, 1, None)
            log.flush()

    def _absolute(self, source_root: str) -> str:
        return str(self._dispatcher.layout.root_path(source_root))

    def _remove_artifacts(self, dropped: list[tuple[str, str]]) -> None:
        # The steps that kept them run again and keep their own.
        for path, info in dropped:
            file = self._folder / path
            page = json.loads(info).get("html")
            for each in (file, file.with_name(page)) if isinstance(page, str) else (file,):
                each.unlink(missing_ok=True)

    def _hand_over(self, frame: dict[str, Any]) -> None:
        # A worker that still loads does not read: a long frame would block here, for ever where the module hangs.
        if self.worker.ready:
            self._handed_over = True
            self.worker.send(frame)
        else:
            self._waiting_frame = frame
            self._load_alarm = self._dispatcher.alarms.set(self._dispatcher.settings.load_timeout, self._load_timed_out)

    def _worker_ready(self) -> None:
        self.worker.ready = True
        self._dispatcher.alarms.unset(self._load_alarm)
        if self._waiting_frame is not None:
            frame, self._waiting_frame = self._waiting_frame, None
            self._hand_over(frame)

    def _open_log(self) -> RunLog:
        if self._log is None:
            self._log = RunLog(self._folder, {"run_id": self.run.id, "flow": self.run.flow})
        return self._log

    # -- frames ------------------------------------------------------------------------------------------------

    def on_output(self, data: bytes) -> None:
        with self._lock:
            if not self.ended:
                log = self._open_log()
                log.add_output(data, self._step_name(self._step))
                log.flush()  # a step may have nothing more to say for hours

    def on_frames(self, frames: list[dict[str, Any]]) -> None:
        """Commits what the frames say in one transaction, answers them, then writes the log."""
        with self._lock:
            if self.ended:
                return
            operations: list[_Operation] = []
            answers = 0
            ends: Callable[[], None] | None = None
            lines: list[Callable[[], None]] = []
            for frame in frames:
                if ends is not None:
                    break  # a thread that a step left behind may still tell of something
                match frame["type"]:
                    case "step_finished":
                        ends = self._step_finished(frame, operations, lines)
                        answers += ends is None
                    case "step_started":
                        self._step_started(frame, operations, lines)
                    case "items":
                        self._items(frame, operations)
                        answers += 1
                    case "progress":
                        self._progress(frame, operations)
                    case "log":
                        lines.append(lambda frame=frame: self._log_line(frame))
                        answers += 1
                    case "artifact":
                        self._artifact(frame, operations, lines)
                    case "run_cancelled":
                        ends = self._worker_cancelled
                    case "checkpoint_damaged":
                        ends = self._checkpoint_damaged(frame)
                    case "broken":
                        ends = self._broken(frame)
                    case "ready":
                        self._worker_ready()
                    case _:
                        self.refused(f"a frame of type {frame['type']}")
                        return
            if operations and not self._dispatcher.ledger.write(lambda tx: all([each(tx) for each in operations])):  # noqa: C419
                self.refused("an outcome of what was not under way")
                return
            for _ in range(answers):
                self.worker.send({"type": "go"})
            for line in lines:
                line()
            if ends is not None:
                ends()
            elif self._log is not None:
                self._log.flush()

    def _step_started(self, frame: dict[str, Any], operations: list[_Operation], lines: list[Any]) -> None:
        step, at = frame["step"], frame["at"]
        attempt = self._next_attempt(step)
        fence = self.fence
        operations.append(lambda tx: tx.start_step(fence, step, attempt, at))
        lines.append(lambda: self._say_started(step, attempt, at))

    def _next_attempt(self, step: int) -> int:
        self._step = step
        self._attempts[step] = attempt = self._attempts.get(step, 0) + 1
        self._dispatcher.alarms.unset(self._step_alarm)
        timeout = self._steps[step].timeout
        self._step_alarm = (
            self._dispatcher.alarms.set(timeout, lambda: self._step_timed_out(step, attempt)) if timeout else None
        )
        return attempt

    def _say_started(self, step: int, attempt: int, at: int | None) -> None:
        data = {"attempt": attempt} if attempt > 1 else None
        label = self._steps[step].label
        self._open_log().add("step.started", f"{label} started", step=self._step_name(step), data=data, at=at)

    def _step_finished(
        self, frame: dict[str, Any], operations: list[_Operation], lines: list[Any]
    ) -> Callable[[], None] | None:
        step, fence, failed = frame["step"], self.fence, frame["status"] != "succeeded"
        error = frame.get("error")
        outcome = StepOutcome(
            step=step,
            attempt=self._attempts[step],
            status=frame["status"],
            started_at=frame["started_at"],
            finished_at=frame["finished_at"],
            output_kind=frame.get("output_kind"),
            output_path=frame.get("output_path"),
            rows=frame.get("rows"),
            checkpoint=frame.get("checkpoint"),
            error=json.dumps(error) if error else None,
        )
        self._dispatcher.alarms.unset(self._step_alarm)
        lines.append(lambda: self._say_finished(frame))
        metadata, summary = frame.get("metadata"), frame.get("summary")
        ends: str | None = frame["ends"]
        following: tuple[int, int] | None = None
        if ends is None and not failed and not self._cancelling:
            following = (step + 1, self._next_attempt(step + 1))
            lines.append(lambda: self._say_started(*following, None))  # type: ignore[misc]
        operations.append(
            lambda tx: tx.finish_step(fence, outcome, following=following, metadata=metadata, summary=summary)
        )
        if ends is None:
            return None
        # The end of the run rides in the same commit as its last step.
        status = "cancelled" if self._cancelling else ends
        text = json.dumps(error) if error else None
        operations.append(lambda tx: self._end_in(tx, status, text))
        return lambda: self._ended(status, error)

    def _say_finished(self, frame: dict[str, Any]) -> None:
        index: int = frame["step"]
        step, label = self._step_name(index), self._steps[index].label
        milliseconds = round((frame["finished_at"] - frame["started_at"]) / 1000, 1)
        log = self._open_log()
        log.finish_output(step)
        if frame["status"] == "succeeded":
            data = {key: frame[key] for key in ("rows", "output_path") if frame.get(key) is not None}
            message, level = f"{label} succeeded in {milliseconds} ms", "info"
            data["duration_ms"] = milliseconds
        else:
            data, level = {"error": frame["error"]}, "error"
            message = f"{label} failed: {frame['error']['message']}"
            if frame["retry_in"] is not None:
                message += f" (next attempt in {frame['retry_in']:.1f} s)"
                level = "warning"
        log.add("step.finished", message, level=level, step=step, data=data, at=frame["finished_at"])

    def _items(self, frame: dict[str, Any], operations: list[_Operation]) -> None:
        step, fence, attempt = frame["step"], self.fence, self._attempts.get(frame["step"], 0)
        file, in_file = frame.get("file"), set(frame.get("in_file") or ())
        rows = [
            (index, status, duration, value, file if index in in_file else None, error)
            for index, status, duration, value, error in frame["rows"]
        ]
        total, done, failed = frame["total"], frame["done"], frame["failed"]
        operations.append(lambda tx: tx.put_items(fence, step, attempt, rows, total=total, done=done, failed=failed))

    def _progress(self, frame: dict[str, Any], operations: list[_Operation]) -> None:
        step: int | None = frame["step"]
        fence = self.fence
        if step is None or self._steps[step].kind == "map":
            return  # a map's own counts are its progress
        attempt, done, total = self._attempts.get(step, 0), frame["done"], frame["total"]
        operations.append(lambda tx: tx.put_items(fence, step, attempt, (), total=total or 0, done=done, failed=0))

    def _log_line(self, frame: dict[str, Any]) -> None:
        step = self._step_name(self._step)
        self._open_log().add("log", frame["message"], level=frame["level"], step=step, data=frame["data"])

    def _artifact(self, frame: dict[str, Any], operations: list[_Operation], lines: list[Any]) -> None:
        fence, step = self.fence, frame["step"]
        name, kind, path, info = frame["name"], frame["kind"], frame["path"], frame["info"]
        operations.append(lambda tx: tx.put_artifact(fence, step=step, name=name, kind=kind, path=path, info=info))
        data = {"kind": kind, "path": path}
        lines.append(lambda: self._open_log().add("artifact", f"Kept {name}", step=self._step_name(step), data=data))

    def refused(self, what: str) -> None:
        """What the worker told was not taken: someone else has the run, or it cannot be true. The worker must stop."""
        with self._lock:
            self.worker.kill("refused")
            if not self.ended:
                self._end("failed", self._garbled(what))

    def _garbled(self, what: str) -> dict[str, Any]:
        message = f"The worker process told its engine what cannot be: {what}."
        hint = "A step must not write into pipes that it did not open, nor go on with the flow in a forked process."
        return self._error("worker-garbled", message, hint=hint)

    # -- cancelling and timeouts -------------------------------------------------------------------------------

    def cancel(self, reason: str) -> None:
        """Asks the worker to stop between steps and items; after the grace time it is ended by force."""
        with self._lock:
            if self._cancelling or self.ended:
                return
            self._cancelling = True
            if not self._handed_over:
                self.worker.kill("cancelled")  # it has nothing of this run to lose
                return
            self.worker.send({"type": "cancel", "reason": reason})
            if self._log is not None:
                self._log.add("run.cancelling", "Cancellation requested", level="warning")
                self._log.flush()
            self._grace_alarm = self._dispatcher.alarms.set(self._dispatcher.settings.cancel_grace, self._grace_over)

    def _grace_over(self) -> None:
        with self._lock:
            if self.ended:
                return
            self.worker.terminate("cancelled")
            self._grace_alarm = self._dispatcher.alarms.set(SECONDS_FROM_TERMINATE_TO_KILL, self._kill_cancelled)

    def _kill_cancelled(self) -> None:
        with self._lock:
            if not self.ended:
                self.worker.kill("cancelled")

    def _step_timed_out(self, step: int, attempt: int) -> None:
        with self._lock:
            # Race: the step may have ended while this alarm was on its way.
            if not self.ended and self._step == step and self._attempts.get(step) == attempt:
                self._timed_out = (step, self._steps[step].timeout or 0)
                self.worker.kill("timeout")

    def _load_timed_out(self) -> None:
        with self._lock:
            if not self.ended and not self.worker.ready:
                self.worker.kill("load-timeout")

    def _run_timed_out(self) -> None:
        with self._lock:
            if not self.ended:
                self._timed_out = (None, self._spec.timeout or 0)
                self.worker.kill("timeout")

    # -- ends --------------------------------------------------------------------------------------------------

    def _end_in(self, tx: Transaction, status: str, error: str | None) -> bool:
        return tx.end_run(self.fence, status, error=error, flow=self.run.flow, source_root=self.run.source_root)

    def _end(self, status: str, error: dict[str, Any] | None = None) -> None:
        text = json.dumps(error) if error else None
        if self._dispatcher.ledger.write(lambda tx: self._end_in(tx, status, text)):
            self._ended(status, error)
        else:
            self.worker.kill("refused")  # someone else has the run by now
            self._close()

    def _ended(self, status: str, error: dict[str, Any] | None = None) -> None:
        log = self._open_log()
        log.finish_output(self._step_name(self._step))
        log.finish_run(self.run.flow, status, error)
        self._close(over=status != "interrupted")

    def _requeue(self, *, step_status: str, error: dict[str, Any] | None, delay: float, losses: int) -> None:
        text = json.dumps(error) if error else None
        due_at = self._dispatcher.clock.now() + int(delay * 1_000_000)
        fence = self.fence
        accepted = self._dispatcher.ledger.write(
            lambda tx: tx.requeue(fence, due_at=due_at, step_status=step_status, error=text, losses=losses)
        )
        if not accepted:
            # Race: it was cancelled, and the one who did so has not reached this session yet.
            self._end("cancelled")
            return
        why = error["message"] if error else "The worker was lost."
        self._open_log().add("run.requeued", f"{why} The run goes on in a new worker.", level="warning")
        self._close(over=False)
        self._dispatcher.dispatch_at(due_at)

    def _close(self, *, over: bool = True) -> None:
        self.ended = True
        for alarm in (self._step_alarm, self._run_alarm, self._grace_alarm, self._load_alarm):
            self._dispatcher.alarms.unset(alarm)
        log, self._log = self._log, None
        try:
            if log is not None:
                log.close()
        finally:
            self._dispatcher.session_ended(self, over=over)

    def give_up(self) -> None:
        """Leaves the run as it is on record, for a later engine to find."""
        with self._lock:
            self.ended = True
            log, self._log = self._log, None
            if log is not None:
                try:
                    log.close()
                except OSError:
                    pass  # the disk that could not take the run's end

    def _worker_cancelled(self) -> None:
        self._end("cancelled")

    def _checkpoint_damaged(self, frame: dict[str, Any]) -> Callable[[], None]:
        step: int = frame["step"]

        def ends() -> None:
            self._dispatcher.ledger.write(lambda tx: tx.drop_checkpoint(self.fence, step))
            message = f"The checkpoint of {self._steps[step].label} cannot be used ({frame['message']})."
            self._requeue(
                step_status="interrupted", error=self._error("checkpoint-damaged", message), delay=0, losses=0
            )

        return ends

    def _broken(self, frame: dict[str, Any]) -> Callable[[], None]:
        error = {**frame["error"], "step": None}
        if not self.worker.ready:
            self.worker.kill("broken")  # it ends by itself, but until that is seen it would get another run
        return lambda: self._end("failed", error)

    def worker_lost(self, returncode: int) -> None:
        """The worker ended while it had this run: by us, by someone's signal, or by a crash of the step."""
        with self._lock:
            if self.ended:
                return
            if self._log is not None:
                self._log.finish_output(self._step_name(self._step))
            if self._cancelling:
                self._end("cancelled")
            elif self._dispatcher.interrupting:
                self._end(
                    "interrupted", self._error("interrupted", "Flowstead was stopped while the run was under way.")
                )
            elif self.worker.lost_cause == "garbled":
                self._end("failed", self._garbled("a line that is no frame"))
            elif self.worker.lost_cause == "load-timeout":
                seconds = self._dispatcher.settings.load_timeout
                message = f"The module was not imported within {seconds:g} s."
                hint = "Do the work in steps, not at import; or give it more time with the setting load_timeout."
                self._end("failed", self._error("load-timeout", message, hint=hint))
            elif self._timed_out is not None and self._timed_out[0] in (None, self._step):
                self._fail_by_timeout(*self._timed_out)
            else:
                self._crashed_or_killed(returncode)

    def _fail_by_timeout(self, step: int | None, seconds: float) -> None:
        what = f"Step {self._steps[step].label!r}" if step is not None else f"The run of {self.run.flow}"
        code = "step-timeout" if step is not None else "run-timeout"
        error = self._error(
            code,
            f"{what} was not done within its time limit of {seconds:g} s and was ended.",
            hint="Make it faster, or give it more time with timeout=.",
        )
        self._fail_step(error, may_retry=step is not None)

    def _crashed_or_killed(self, returncode: int) -> None:
        name = _signal_name(returncode)
        doing = f"in {self._steps[self._step].label!r}" if self._step is not None else "before its first step"
        if name is None:
            message = f"The worker process ended {doing} with exit code {returncode}."
            hint = "A step must not end its process (os._exit); raise an exception instead."
            self._fail_step(self._error("worker-exited", message, hint=hint), may_retry=True)
        elif name in _CRASHES:
            message = f"The worker process crashed {doing} ({name})."
            hint = "Native code of a library failed; the last lines of its output are in: flowstead logs"
            self._fail_step(self._error("worker-crashed", message, hint=hint), may_retry=True)
        else:
            self._killed(name, doing)

    def _killed(self, name: str, doing: str) -> None:
        message = f"The worker process was killed {doing} ({name})."
        policy, limit = self._spec.resume, self._dispatcher.settings.resume_limit
        losses = self._dispatcher.ledger.reader.losses(self.run.id) + 1
        if policy != "auto":
            self._end(
                "interrupted", self._error("worker-killed", message, hint=f"Go on with: flowstead resume {self.run.id}")
            )
        elif losses < limit:
            self._requeue(step_status="interrupted", error=self._error("worker-killed", message), delay=0, losses=1)
        else:
            hint = "Often the system was out of memory: work on smaller pieces, or run fewer workers (worker_slots)."
            message = f"{message[:-1]} {losses} times in a row."
            self._end("failed", self._error("worker-killed", message, hint=hint))

    def _fail_step(self, error: dict[str, Any], *, may_retry: bool) -> None:
        """Fails the step under way; one with retries left goes on in another worker, after its delay."""
        step = None if self._step is None else self._steps[self._step]
        failures = self._failures(self._step) + 1
        if may_retry and step is not None and step.kind != "map" and failures <= step.retries:
            from flowstead.flow.execution import retry_delay

            self._requeue(step_status="failed", error=error, delay=retry_delay(step.retry_delay, failures), losses=0)
        else:
            self._end("failed", error)

    def _failures(self, step: int | None) -> int:
        rows = self._dispatcher.ledger.reader.step_rows(self.run.id)
        return sum(1 for row in rows if row[1] == step and row[3] == "failed")

    def _error(self, code: str, message: str, hint: str = "") -> dict[str, Any]:
        step = None if self._step is None else self._steps[self._step]
        return {
            "code": code,
            "type": None,
            "message": message,
            "step": step.label if step else None,
            "file": self._version.origin.relative_to(self._dispatcher.layout.root).as_posix(),
            "line": step.line if step else None,
            "hint": hint,
        }

    def _step_name(self, step: int | None) -> str | None:
        return self._steps[step].name if step is not None and step < len(self._steps) else None


def _signal_name(returncode: int) -> str | None:
    if returncode >= 0:
        return None
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"
