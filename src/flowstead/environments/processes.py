"""Which process a number means: numbers are given out again, so a process is its number and when it started."""

from __future__ import annotations

import os
import sys
from functools import cache


def start_of(pid: int) -> str | None:
    """When a process started, as a text that no later process of that number has; None when there is no such process.

    A process that has ended and that nobody has reaped counts as gone.
    """
    if sys.platform.startswith("linux"):
        # One small file tells what psutil needs an import of 15 ms for, and no change of the clock moves it.
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            return None
        return None if fields[0] in (b"Z", b"X") else f"{_boot()}-{fields[19].decode()}"
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return f"{process.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return ""  # there is one, of another user


def is_alive(pid: int, start: str) -> bool:
    """Whether that very process still runs; in doubt it does."""
    now = start_of(pid)
    return now is not None and (now == start or not now or not start)


@cache
def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read(8)
    except OSError:
        return ""


def kill_marked(variable: str, value: str) -> int:
    """Kills the processes that have `variable=value` in their environment, and waits for it; returns how many."""
    import psutil

    killed: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                process.kill()
                killed.append(process)
        except (psutil.Error, OSError):
            continue
    psutil.wait_procs(killed, timeout=5)
    return len(killed)
