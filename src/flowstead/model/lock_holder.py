"""Who holds a lock file, for those who only want to know; model/lock.py is how it is held."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def is_held(path: Path) -> bool:
    """Whether a process holds the lock now."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        return not try_lock(fd, shared=True)
    finally:
        os.close(fd)


def note_of(path: Path) -> dict[str, Any]:
    """What the holder noted about itself, `{pid, command, since}`; empty when that cannot be read.

    When nobody holds the lock, it is what the last holder noted.
    """
    try:
        return json.loads(path.read_bytes()[NOTE_AT:] or b"{}")
    except (OSError, ValueError):
        return {}


if sys.platform == "win32":
    import msvcrt

    # Windows refuses reads of a locked byte, so the note begins after it.
    NOTE_AT = 1

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Locks an open file until it is closed; tells whether that was possible."""
        try:
            os.lseek(fd, 0, os.SEEK_SET)
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    NOTE_AT = 0

    def try_lock(fd: int, *, shared: bool = False) -> bool:
        """Locks an open file until it is closed; tells whether that was possible."""
        import fcntl

        try:
            fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
