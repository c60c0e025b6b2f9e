"""Child processes of one build: their time is limited, and a build that is stopped ends them with all they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from flowstead.environments.processes import kill_marked
from flowstead.environments.provider import Finished
from flowstead.model.errors import BuildFailed

MARK = "FLOWSTEAD_BUILD"
"""Names the environment id of a build, in the environment variables of its processes."""

_LONGEST = 64_000
_FLAGS: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0) | getattr(subprocess, "CREATE_NO_WINDOW", 0)


class Children:
    """Runs the child processes of one build (a `provider.Run`), one at a time, for `seconds` in all (0: no limit).

    `mark` tells the build's processes, and what they start, from all others.
    """

    def __init__(self, mark: str, *, seconds: float) -> None:
        self._mark = mark
        self._seconds = seconds
        self._ends = time.monotonic() + seconds if seconds else None
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cause: BuildFailed | None = None

    def __call__(
        self,
        arguments: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        on_line: Callable[[str], None] | None = None,
        on_output: Callable[[str], None] | None = None,
    ) -> Finished:
        process = self._start(arguments, cwd, {**(os.environ if env is None else env), MARK: self._mark})
        errors: deque[str] = deque()
        chunks: list[bytes] = []
        output = threading.Thread(target=_read_output, args=(process.stdout, chunks, on_output), daemon=True)
        timer = threading.Timer(max(0.0, self._ends - time.monotonic()), self._time_is_over) if self._ends else None
        try:
            if timer is not None:
                timer.daemon = True
                timer.start()
            output.start()
            _feed(process.stdin, stdin)
            kept = 0
            assert process.stderr is not None
            for raw in process.stderr:
                line = raw.decode("utf-8", "replace").rstrip("\r\n")
                errors.append(line)
                kept += len(line) + 1
                while kept > _LONGEST and len(errors) > 1:
                    kept -= len(errors.popleft()) + 1
                if on_line is not None:
                    on_line(line)
            returncode = process.wait()
            output.join()
        except BaseException:
            self._kill(process)
            raise
        finally:
            if timer is not None:
                timer.cancel()
            with self._lock:
                self._process = None
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None and not output.is_alive():
                    _close(pipe)
        if self._cause is not None:
            # Race: whoever stopped it may still be looking for its children; that it ended is told once all are gone.
            self._kill(process)
            raise self._cause
        return Finished(returncode, b"".join(chunks), "\n".join(errors)[-_LONGEST:])

    def stop(self, cause: BuildFailed) -> None:
        """Kills what runs; it, and whatever is to be run after it, raises `cause`."""
        with self._lock:
            self._cause = self._cause or cause
            process = self._process
        if process is not None:
            self._kill(process)

    def check(self) -> None:
        """Raises BuildFailed when the build was stopped or its time is over: for work that is no child process."""
        if self._cause is None and self._ends is not None and time.monotonic() > self._ends:
            self._time_is_over()
        if self._cause is not None:
            raise self._cause

    def _start(
        self, arguments: Sequence[str | Path], cwd: Path | None, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        self.check()
        with self._lock:
            # Race: a stop that comes before this sees no process to kill, one that comes after it does.
            if self._cause is not None:
                raise self._cause
            try:
                self._process = subprocess.Popen(
                    [str(each) for each in arguments],
                    cwd=cwd,
                    env=dict(env),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=sys.platform != "win32",
                    creationflags=_FLAGS,
                )
            except OSError as error:
                raise BuildFailed(
                    f"Cannot start {arguments[0]}: {error.strerror}.",
                    code="installer-missing",
                    hint="Install Flowstead anew, or see: flowstead doctor",
                    program=str(arguments[0]),
                ) from error
            return self._process

    def _time_is_over(self) -> None:
        self.stop(
            BuildFailed(
                f"Building the environment took longer than {self._seconds:g} s and was ended.",
                code="environment-timeout",
                hint="Raise environment_build_timeout in settings.toml, then build it again.",
                seconds=self._seconds,
            )
        )

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        kill_group(process)
        # Its children may have left for a session of their own, with the pipes that are waited for.
        kill_marked(MARK, self._mark)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills a child that leads a process group, and the group; nothing happens when it was reaped."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        import psutil

        try:
            parent = psutil.Process(process.pid)
            for each in [*parent.children(recursive=True), parent]:
                each.kill()
        except psutil.NoSuchProcess:
            pass
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def _read_output(stream: IO[bytes], chunks: list[bytes], on_output: Callable[[str], None] | None) -> None:
    if on_output is None:
        chunks.append(stream.read())
        return
    for raw in stream:
        on_output(raw.decode("utf-8", "replace").rstrip("\r\n"))


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    try:
        if data:
            pipe.write(data)
        pipe.close()
    except OSError:
        pass  # it ended without reading all of it


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except OSError:
        pass
