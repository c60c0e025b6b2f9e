"""Frames between an engine and its worker: JSON objects, one a line, over a pair of pipes."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from typing import Any

PROTOCOL = 1
"""Rises when a frame changes its meaning; engine and worker refuse each other's other numbers."""

_encode = json.JSONEncoder(separators=(",", ":"), default=str).encode


class Channel:
    """The worker's end. `send` may be called from any thread; `receive` and `ready` by one thread at a time."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd = read_fd
        self._write_fd = write_fd
        self._sending = threading.Lock()
        self._rest = b""
        self._frames: deque[bytes] = deque()

    def send(self, frame: dict[str, Any]) -> None:
        data = (_encode(frame) + "\n").encode()
        with self._sending:
            while data:
                data = data[os.write(self._write_fd, data) :]

    def receive(self) -> dict[str, Any]:
        """The next frame; blocks for it. Raises EOFError when the engine is gone."""
        while not self._frames:
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise EOFError
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
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
