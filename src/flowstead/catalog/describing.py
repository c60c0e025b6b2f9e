"""The child processes that describe flow modules, one module after another; a broken one takes no other along."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowstead.model.errors import FlowsteadError

_START_LIMIT = 30.0
_ONE_CHILD_UP_TO = 20


@dataclass(frozen=True, slots=True)
class Job:
    """One module to describe: `folder` holds its text, `origin` is the authored file."""

    folder: Path
    helpers: Path | None
    origin: Path
    root: Path

    def as_line(self, limit: float) -> bytes:
        frame = {
            "folder": str(self.folder),
            "helpers": None if self.helpers is None else str(self.helpers),
            "origin": str(self.origin),
            "stem": self.origin.stem,
            "root": str(self.root),
            "limit": limit,
        }
        return json.dumps(frame).encode() + b"\n"


def describe_modules(
    jobs: Sequence[Job],
    answered: Callable[[Job, dict[str, Any]], None],
    *,
    python: str,
    time_limit: float,
    scratch: Path,
) -> None:
    """Calls `answered(job, {"plan": ...} or {"error": ...})` once for each job, possibly on two threads at once.

    `time_limit` is in seconds, for each module by itself. Raises FlowsteadError with code `describe-failed` when
    `python` cannot describe anything at all.
    """
    queue = deque(jobs)
    crew = [_Runner(queue, answered, python, time_limit, scratch / f"diary-{number}") for number in (1, 2)]
    if len(jobs) <= _ONE_CHILD_UP_TO:
        crew.pop()
    threads = [threading.Thread(target=runner.run, daemon=True) for runner in crew]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        # An interrupt arrives while we wait: the threads end when their children do.
        queue.clear()
        for runner in crew:
            runner.stop()
    for runner in crew:
        if runner.failure is not None:
            raise runner.failure


class _Runner:
    """Takes jobs from the shared queue to a child of its own, and starts another child when that one is lost."""

    def __init__(
        self,
        queue: deque[Job],
        answered: Callable[[Job, dict[str, Any]], None],
        python: str,
        time_limit: float,
        diary: Path,
    ) -> None:
        self.queue = queue
        self.answered = answered
        self.python = python
        self.time_limit = time_limit
        self.diary = diary
        self.child: _Child | None = None
        self.stopped = False
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while self.queue:
                try:
                    job = self.queue.popleft()
                except IndexError:  # the other runner took it
                    break
                answer = self._describe(job)
                if answer is None:
                    break
                self.answered(job, answer)
        except BaseException as error:
            self.failure = error
            self.queue.clear()
        finally:
            self.stop()

    def stop(self) -> None:
        self.stopped = True
        child, self.child = self.child, None
        if child is not None:
            child.kill()

    def _describe(self, job: Job) -> dict[str, Any] | None:
        """The answer for `job`; None when this runner was stopped over it."""
        while not self.stopped:
            fresh = self.child is None
            if self.child is None:
                self.child = _Child(self.python, job.origin.parent, self.diary)
            child = self.child
            answer = child.ask(job, self.time_limit)
            if answer is not None:
                return answer
            if self.stopped:
                break
            self.child = None
            status = child.end()
            diary = self.diary.read_text("utf-8", "replace")
            timed_out = child.killed or "Timeout (" in diary
            # A thread that an earlier module left behind may have ended the child: this one is told by a new child.
            if fresh or timed_out:
                return {"error": _lost(job, self.time_limit if timed_out else None, status, diary)}
        return None


class _Child:
    """One describing process. Its stderr goes to the file `diary`, which tells where it was when it was lost."""

    def __init__(self, python: str, folder: Path, diary: Path) -> None:
        group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            group = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
        command = [python, "-P", "-m", "flowstead.worker.describe"]
        self.killed = False
        self.ready = False
        self.diary = diary
        self.python = python
        try:
            with diary.open("wb") as errors:
                self.process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=_variables(python),
                    **group,
                )
        except OSError as error:
            raise _unusable(python, error.strerror or str(error)) from error

    def ask(self, job: Job, limit: float) -> dict[str, Any] | None:
        """The answer for `job`, or None when the process ended over it."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(job.as_line(limit))
            self.process.stdin.flush()
        except OSError:
            pass
        if not self.ready:
            # Starting the interpreter is not held against the module.
            if self._line(_START_LIMIT) is None:
                self.end()
                raise _unusable(self.python, self.diary.read_text("utf-8", "replace").strip()[-2000:])
            self.ready = True
        # The process ends itself at the limit, telling where it hangs; a stopped one has to be killed.
        return self._line(limit + 1.0)

    def end(self) -> int:
        """Waits a moment for the process to end, kills its group, and returns its exit status."""
        try:
            status = self.process.wait(2.0)
        except subprocess.TimeoutExpired:
            status = None
        self.kill()
        return self.process.wait() if status is None else status

    def kill(self) -> None:
        """Kills the process and what it started."""
        if sys.platform == "win32":
            tree = ["taskkill", "/T", "/F", "/PID", str(self.process.pid)]
            subprocess.run(tree, capture_output=True, check=False)
        else:
            import signal

            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    pass

    def _line(self, limit: float) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        watch = threading.Timer(limit, self._overdue)
        watch.daemon = True
        watch.start()
        try:
            line = self.process.stdout.readline()
            return json.loads(line) if line.endswith(b"\n") else None
        except ValueError:  # the pipe was closed by stop()
            return None
        finally:
            watch.cancel()

    def _overdue(self) -> None:
        self.killed = True
        self.process.kill()


def _variables(python: str) -> dict[str, str]:
    """What the child finds in its environment: an interpreter of a flow's own sees no packages from elsewhere."""
    left_out = () if python == sys.executable else ("PYTHONPATH", "PYTHONHOME")
    return {name: value for name, value in os.environ.items() if name not in left_out}


def _unusable(python: str, reason: str) -> FlowsteadError:
    return FlowsteadError(
        f"{python} cannot describe flow modules: {reason or 'it ended at once'}",
        code="describe-failed",
        hint="Check that this interpreter starts and has flowstead installed.",
    )


def _lost(job: Job, overdue: float | None, status: int, diary: str) -> dict[str, Any]:
    """The error of a module over which its process was lost; `status` is the process's exit status."""
    file, line, cell = _last_seen(diary, job.root)
    if overdue is not None:
        code, kind = "module-timeout", "TimeoutError"
        message = f"The module was not loaded within {overdue:g} s."
        hint = "Move slow work (queries, downloads, waiting) out of the module's top level and build(), into a step."
    elif 0 <= status < 256:
        code, kind = "module-exited", "SystemExit"
        message = f"The module ended its process with exit code {status} while it was loaded."
        hint = "Remove what ends the process (os._exit, a library's exit) from the module's top level and build()."
    else:
        code, kind = "module-crashed", _signal_name(status)
        message = f"The module crashed the process that loaded it ({kind})."
        hint = "A native library does this: import the module's libraries one by one in a terminal to see which."
    error: dict[str, Any] = {
        "code": code,
        "type": kind,
        "message": message,
        "file": file or job.origin.relative_to(job.root).as_posix(),
        "line": line,
        "hint": hint,
        "traceback": diary[-16_000:],
    }
    if cell is not None:
        error["cell"] = cell
    return error


def _last_seen(diary: str, root: Path) -> tuple[str | None, int | None, int | None]:
    """`(file, line, cell)` of the innermost frame of flow code in the stack that the process left."""
    folder = f"{root / 'flow_modules'}{os.sep}".encode("ascii", "backslashreplace").decode()
    for match in re.finditer(r'File "(.*?)(?:#cell-(\d+))?", line (\d+) in', diary):
        if match[1].startswith(folder):
            relative = match[1][len(folder) :].replace(os.sep, "/")
            return f"flow_modules/{relative}", int(match[3]), int(match[2]) if match[2] else None
    return None, None, None


def _signal_name(status: int) -> str:
    import signal

    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status:#x}"
