"""A child process that reads tables, as the daemon holds it: one question at a time, ended when it takes too long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import orjson

from flowstead.model import errors
from flowstead.model.errors import FlowsteadError, UsageError
from flowstead.worker.channel import readable

SECONDS_TO_YIELD = 0.5
"""How long a child may take to give up what it was asked to stop, before it is killed."""

SECONDS_BETWEEN_LOOKS = 0.1
"""How often the memory of a child is looked at while it works."""

LARGEST_QUESTION = 60_000
"""Bytes that a pipe takes in any case, so that asking never blocks on a child that does not read."""

LEAST_MEMORY_MB = 512
"""Less than this, and the libraries alone would not fit."""

_OUT_OF_MEMORY = (b"memory allocation of", b"bad_alloc", b"MemoryError", b"cannot allocate memory")


class PreviewTimeout(FlowsteadError):
    code = "preview-timeout"
    default_hint = "Ask for less: fewer columns, a filter, no sorting; or look at it in a flow."


class PreviewMemory(FlowsteadError):
    code = "preview-memory"
    default_hint = "Ask for less, or raise preview_memory_mb in settings.toml."


class PreviewCrashed(FlowsteadError):
    code = "preview-crashed"
    default_hint = "The file may be damaged. Other files can be looked at as before."


class PreviewSuperseded(FlowsteadError):
    code = "preview-superseded"
    default_hint = "A newer question of the same view took its place."


class Reader:
    """A running child. `scratch` is a folder of its own, which goes when it goes.

    `usable` is False once it must end. One question at a time; `stop` may come from any thread.
    """

    def __init__(self, scratch: Path, memory_mb: int) -> None:
        self.scratch = scratch
        self.memory_mb = memory_mb
        self._limit_mb = 0 if memory_mb == 0 else max(LEAST_MEMORY_MB, memory_mb)
        self.usable = True
        self.last_file: Any = None
        self.idle_since = 0.0
        self._sending = threading.Lock()
        self._stopping = threading.Lock()
        self._stopped: FlowsteadError | None = None
        self._asked = 0
        self._rest = b""
        scratch.mkdir(mode=0o700, parents=True)
        options: dict[str, Any] = {} if sys.platform == "win32" else {"start_new_session": True}
        with (scratch / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "flowstead.daemon.files", str(self._limit_mb)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                bufsize=0,
                cwd=scratch,
                # These reserve more address space than they use, which would count as memory.
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "2"},
                **options,
            )

    def ask(self, question: dict[str, Any], seconds: float) -> Any:
        """The answer. Raises what the child found wrong, PreviewTimeout, PreviewMemory, PreviewCrashed, what `stop` was
        given, and UsageError for a question that is too long."""
        with self._stopping:
            if self._stopped is not None:
                raise self._stopped
            self._asked += 1
        data = _line({**question, "number": self._asked})
        if len(data) > LARGEST_QUESTION:
            raise UsageError("What is asked for is too long.", hint="Give fewer columns, or shorter values.")
        deadline = time.monotonic() + seconds
        try:
            self._send(data)
            reply = self._receive(deadline)
            if reply is None:
                reply = self._give_up(PreviewTimeout(f"It took longer than {seconds:g} s."))
        except (OSError, EOFError):
            reply = None
        except PreviewMemory:
            self.usable = False
            self.process.kill()
            raise
        with self._stopping:
            stopped, self._stopped = self._stopped, None
        if reply is None:
            self.usable = False
            self.process.kill()
            raise stopped or self._crashed()
        if "error" not in reply:
            return reply["answer"]
        error = reply["error"]
        if error["code"] == PreviewMemory.code:
            self.usable = False  # what it holds on to is not known
        if stopped is not None:
            raise stopped
        kind = PreviewMemory if error["code"] == PreviewMemory.code else getattr(errors, reply["class"])
        raise kind(error["message"], code=error["code"], hint=error["hint"])

    def stop(self, cause: FlowsteadError) -> None:
        """Has the question under way end with `cause`; from any thread. Harmless when it has just been answered."""
        with self._stopping:
            self._stopped = self._stopped or cause
            number = self._asked
        try:
            self._send(_line({"stop": number}))
        except (OSError, ValueError):
            return
        timer = threading.Timer(SECONDS_TO_YIELD, self._kill_if_still_at, (number,))
        timer.daemon = True
        timer.start()

    def settle(self) -> None:
        """Before it is asked anew: a `stop` that came too late for the last question is forgotten."""
        with self._stopping:
            self._stopped = None

    @property
    def is_fresh(self) -> bool:
        """Whether it has not been asked anything yet."""
        return self._asked == 0

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def _kill_if_still_at(self, number: int) -> None:
        with self._stopping:
            # Race: a question that has ended clears the cause in the same lock.
            if self._stopped is not None and self._asked == number:
                self.process.kill()

    def _give_up(self, cause: FlowsteadError) -> Any:
        """Past the deadline: the reply that comes after all when the child can be stopped, else None."""
        with self._stopping:
            self._stopped = self._stopped or cause
        self._send(_line({"stop": self._asked}))
        return self._receive(time.monotonic() + SECONDS_TO_YIELD)

    def _send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with self._sending:
            while data:
                data = data[os.write(self.process.stdin.fileno(), data) :]

    def _receive(self, deadline: float) -> Any:
        """The reply to the last question; None when it does not come in time. Raises EOFError."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        chunks: list[bytes] = [self._rest]
        while True:
            if b"\n" in chunks[-1]:
                line, _, self._rest = b"".join(chunks).partition(b"\n")
                reply = orjson.loads(line)
                if reply["number"] == self._asked:
                    return reply
                chunks = [self._rest]
                continue
            left = deadline - time.monotonic()
            if not readable(descriptor, max(0.0, min(left, SECONDS_BETWEEN_LOOKS))):
                if 0 < self._limit_mb << 20 < memory_of(self.process.pid):
                    raise self._too_large()
                if left > 0:
                    continue
                self._rest = b"".join(chunks)
                return None
            data = os.read(descriptor, 1 << 18)
            if not data:
                raise EOFError
            chunks.append(data)

    def _crashed(self) -> FlowsteadError:
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            code = None
        try:
            said = (self.scratch / "stderr").read_bytes()[-4096:]
        except OSError:
            said = b""
        if any(words in said for words in _OUT_OF_MEMORY):
            return self._too_large()
        return PreviewCrashed(f"The process that read it ended by itself (status {code}).")

    def _too_large(self) -> PreviewMemory:
        return PreviewMemory(f"It takes more memory than the {self._limit_mb:,} MB that a preview may use.")

    def end(self) -> None:
        """Ends the child, and removes what it left."""
        self.usable = False
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def memory_of(pid: int) -> int:
    """Bytes of memory that a process has for itself; 0 when it is gone. Files it has mapped do not count on Linux."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith(b"RssAnon:"))
    except (OSError, StopIteration):
        pass
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


def _line(message: dict[str, Any]) -> bytes:
    return orjson.dumps(message) + b"\n"
