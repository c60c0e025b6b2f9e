"""A lock that dies with its holder, and says who that is.

Of the well-kept file-lock libraries each costs as much to import as a whole command may take to start, and none
tells who holds the lock; the lock itself is one system call.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from flowstead.model.errors import HomeUnwritable
from flowstead.model.lock_holder import NOTE_AT, is_held, note_of, try_lock


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
            if try_lock(fd):
                break
            time.sleep(0.002)  # race: someone may only be looking whether it is held
        else:
            os.close(fd)
            return False
        self._fd = fd
        note = json.dumps({"pid": os.getpid(), "command": command, "since": int(time.time())}).encode()
        os.ftruncate(fd, 0)
        os.lseek(fd, NOTE_AT, os.SEEK_SET)
        try:
            os.write(fd, note)
        except OSError:
            pass  # a full disk: the lock holds all the same, only nameless
        return True

    def is_held(self) -> bool:
        """Whether a process holds the lock now."""
        return is_held(self.path)

    def holder(self) -> dict[str, Any]:
        """What the holder noted about itself; empty when that cannot be read."""
        return note_of(self.path)

    def is_in_place(self) -> bool:
        """Whether the file that this process holds is still the one at `path`: else others may hold another there."""
        try:
            return self._fd is not None and os.path.samestat(os.fstat(self._fd), os.stat(self.path))
        except OSError:
            return False

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
