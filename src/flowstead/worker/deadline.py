"""Until when a worker may work: its engine's ownership of the workspace, as the engine last renewed it.

An engine that was stopped, or whose machine slept, may have lost the workspace to another one without knowing it, and
cannot end its workers. So each worker looks for itself.
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

# The same clock as workspace.machine.boottime, which an environment of a flow does not have.
if sys.platform == "win32":

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        import ctypes

        ticks = ctypes.windll.kernel32.GetTickCount64
        ticks.restype = ctypes.c_uint64
        return ticks() / 1000

elif sys.platform == "darwin":

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

elif hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    boottime = time.monotonic


def has_passed(path: Path) -> bool:
    """Whether the deadline in the file `path` (8 bytes, a double of `boottime`) has passed; no file, no deadline."""
    try:
        return boottime() > struct.unpack("<d", path.read_bytes())[0]
    except (OSError, struct.error):
        return False
