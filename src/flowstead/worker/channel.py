"""Frames between an engine and its worker: JSON objects, one a line, over a pair of pipes."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import threading
from collections import deque
from typing import Any

PROTOCOL = 1
"""Rises when a frame changes its meaning; engine and worker refuse each other's other numbers."""

_strict = json.JSONEncoder(separators=(",", ":"), default=str, ensure_ascii=False, allow_nan=False).encode
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEEPEST = 50


def encode(value: Any) -> str:
    """`value` as JSON that every reader takes, whatever an author put into it.

    NaN becomes null, an object its text, half of a surrogate pair its escape in words.
    """
    try:
        text = _strict(value)
    except Exception:
        text = _strict(_plain(value, 0))
    if not text.isascii():
        text = _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
    return text


def _plain(value: Any, depth: int) -> Any:
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int:
        return value if value.bit_length() < 2000 else hex(value)
    if type(value) is float:
        return value if math.isfinite(value) else None
    if depth < _DEEPEST:
        if isinstance(value, dict):
            return {_text(key): _plain(each, depth + 1) for key, each in list(value.items())}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(each, depth + 1) for each in value]
    return _text(value)


def _text(value: Any) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


class Channel:
    """The worker's end. `send` may be called from any thread; `receive` by one thread at a time."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._sending = threading.Lock()
        self._rest: list[bytes] = []
        self._frames: deque[bytes] = deque()
        if sys.platform != "win32":
            os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        # A child that a step forks is no worker: should it come back into our code, its frames go nowhere.
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (self.read_fd, self._write_fd):
            os.dup2(nothing, fd, inheritable=False)
        os.close(nothing)

    def send(self, frame: dict[str, Any]) -> None:
        data = memoryview((encode(frame) + "\n").encode())
        with self._sending:
            while data:
                data = data[os.write(self._write_fd, data) :]

    def receive(self) -> dict[str, Any]:
        """The next frame; blocks for it. Raises EOFError when the engine is gone."""
        while not self._frames:
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise EOFError
            first, *lines = data.split(b"\n")
            self._rest.append(first)
            if lines:
                self._frames.append(b"".join(self._rest))
                self._rest = [lines.pop()]
                self._frames.extend(lines)
        return json.loads(self._frames.popleft())

    def ready(self, timeout: float = 0.0) -> bool:
        """Whether `receive` would find something within `timeout` seconds."""
        return bool(self._frames) or readable(self.read_fd, timeout)


if sys.platform == "win32":
    import ctypes
    import msvcrt
    import time

    def readable(fd: int, timeout: float) -> bool:
        """Whether a pipe holds data or its writer is gone, within `timeout` seconds."""
        deadline = time.monotonic() + timeout
        available = ctypes.c_ulong()
        while True:
            handle = msvcrt.get_osfhandle(fd)
            if not ctypes.windll.kernel32.PeekNamedPipe(handle, None, 0, None, ctypes.byref(available), None):
                return True
            if available.value:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.005)

else:
    import select

    def readable(fd: int, timeout: float) -> bool:
        """Whether a pipe holds data or its writer is gone, within `timeout` seconds."""
        # poll, not select: a flow may hold more than 1,024 open files.
        poll = select.poll()
        poll.register(fd, select.POLLIN | select.POLLHUP)
        return bool(poll.poll(timeout * 1000))
