"""Sees the processes end that hold what the pool has lent."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
from collections.abc import Iterable

SECONDS_BETWEEN_LOOKS = 5.0
"""How often processes are looked for where the system does not tell that one ends."""


class Holders:
    """Waits until one of some processes ends, or somebody calls `wake`, which any thread may."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._watched: dict[int, int] = {}
        self._unwatched = False
        self._ended = False

    def watch(self, pids: Iterable[int]) -> None:
        """Waits for the end of these processes from now on, and of no others."""
        wanted = set(pids)
        for pid in self._watched.keys() - wanted:
            self._forget(pid)
        self._unwatched = self._ended = False
        for pid in wanted - self._watched.keys():
            try:
                descriptor = _descriptor(pid)
            except ProcessLookupError:
                self._ended = True
                continue
            if descriptor is None:
                self._unwatched = True
            else:
                self._watched[pid] = descriptor
                self._selector.register(descriptor, selectors.EVENT_READ, pid)

    def wait(self, seconds: float | None) -> None:
        """Returns when a process has ended, or is woken, or after `seconds` (None: never)."""
        if self._ended:
            seconds = 0.0
        elif self._unwatched:
            seconds = SECONDS_BETWEEN_LOOKS if seconds is None else min(seconds, SECONDS_BETWEEN_LOOKS)
        for key, _ in self._selector.select(seconds):
            if key.data is not None:
                self._forget(key.data)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    def wake(self) -> None:
        # A full buffer wakes as well, and a closed one waits no more.
        with contextlib.suppress(OSError):
            self._waker.send(b"x")

    def close(self) -> None:
        for pid in list(self._watched):
            self._forget(pid)
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def _forget(self, pid: int) -> None:
        descriptor = self._watched.pop(pid)
        self._selector.unregister(descriptor)
        os.close(descriptor)


def _descriptor(pid: int) -> int | None:
    """What becomes readable when the process ends; None where there is no such thing.

    Raises ProcessLookupError when it has ended.
    """
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):
        return None
