"""A lock that dies with its holder, and says who that is.

Of the well-kept file-lock libraries each costs as much to import as a whole command may take to start, and none
tells who holds the lock; the lock itself is one system call.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from flowstead.model.errors import HomeUnwritable


class ProcessLock:
    """An exclusive lock on `path`, held by this process until `release` or its end.

    The file says who holds it: `{pid, command, since}`. Another process reads that with `holder`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self, command: str) -> bool:
        """Takes the lock if it is free. Raises HomeUnwritable when the file cannot be made."""
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise HomeUnwritable(f"Cannot write {self.path}: {error.strerror}.") from error
        for _ in range(5):
            if _lock(fd):
                break
            time.sleep(0.002)  # race: someone may only be looking whether it is held
        else:
            os.close(fd)
            return False
        self._fd = fd
        note = json.dumps({"pid": os.getpid(), "command": command, "since": int(time.time())}).encode()
        os.ftruncate(fd, 0)
        os.lseek(fd, _NOTE_AT, os.SEEK_SET)
        try:
            os.write(fd, note)
        except OSError:
            pass  # a full disk: the lock holds all the same, only nameless
        return True

    def is_held(self) -> bool:
        """Whether a process holds the lock now."""
        try:
            fd = os.open(self.path, os.O_RDWR)
        except OSError:
            return False
        try:
            return not _lock(fd, shared=True)
        finally:
            os.close(fd)

    def holder(self) -> dict[str, Any]:
        """What the holder noted about itself; empty when that cannot be read."""
        try:
            data = self.path.read_bytes()
            return json.loads(data[_NOTE_AT:] or b"{}")
        except (OSError, ValueError):
            return {}

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


if sys.platform == "win32":
    import msvcrt

    # Windows refuses reads of a locked byte, so the note begins after it.
    _NOTE_AT = 1

    def _lock(fd: int, *, shared: bool = False) -> bool:
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    _NOTE_AT = 0

    def _lock(fd: int, *, shared: bool = False) -> bool:
        import fcntl

        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
