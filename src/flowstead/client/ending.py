"""Ending a daemon: asked to, or by force."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.client.finding import clear_away, daemon_pid, find_daemon, transport_to
from flowstead.model.errors import FlowsteadError
from flowstead.model.lock_holder import try_lock

if TYPE_CHECKING:
    import psutil

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_TO_DIE = 5.0


def ask_to_end(folder: Path, pid: int) -> None:
    """Asks the daemon of the home `folder` to end; nothing happens when it has ended already."""
    if sys.platform != "win32":
        # By its number only while it holds the lock: nobody else can have that number then.
        if daemon_pid(folder) == pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        return
    info = find_daemon(folder)
    if info is not None:
        transport_to(info, folder, seconds=SECONDS_TO_DIE).request("POST", "/daemon/stop", {})


def await_end(folder: Path, pid: int, seconds: float) -> bool:
    """Waits until this daemon has given its lock free; tells whether it has within `seconds`."""
    return _await(lambda: daemon_pid(folder) != pid, seconds)


def kill_daemon(folder: Path, pid: int, *, patience: float) -> int:
    """Asks the daemon to end, and after `patience` seconds ends it and all that it started; returns how many that were.

    Other daemons are not touched. What it left behind is removed, as far as no other daemon serves the home by then.
    Raises FlowsteadError (`still-running`) when it does not die.
    """

    def ask() -> None:
        with contextlib.suppress(FlowsteadError):
            ask_to_end(folder, pid)

    killed = end_by_force(pid, ask, lambda: daemon_pid(folder) != pid, patience=patience)
    _clear_away(folder)
    return killed


def end_by_force(pid: int, ask: Callable[[], None], has_ended: Callable[[], bool], *, patience: float) -> int:
    """Calls `ask`, and after `patience` seconds kills the process and all that it started; returns how many that were.

    Raises FlowsteadError (`still-running`) when it does not die.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        started = process.children(recursive=True)
        ask()
        victims = started
        if not _await(has_ended, patience):
            started += [each for each in process.children(recursive=True) if each not in started]
            victims = [process, *started]
    except psutil.NoSuchProcess:
        victims = []
    # Counted before: a worker ends by itself once its daemon is gone.
    ended = [each for each in victims if _is_alive(each)]
    for each in ended:
        _kill_with_group(each)
    _await(lambda: not any(_is_alive(each) for each in ended), SECONDS_TO_DIE)
    if not _await(has_ended, SECONDS_TO_DIE):
        raise FlowsteadError(f"Process {pid} cannot be ended.", code="still-running", pid=pid)
    return len(ended)


def _await(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def _kill_with_group(process: psutil.Process) -> None:
    """Kills a process, and its process group where that is its own."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        if sys.platform != "win32" and os.getpgid(process.pid) == process.pid != os.getpgrp():
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _is_alive(process: psutil.Process) -> bool:
    """Whether it runs: its number is still its own, and not only kept until its parent takes note of its end."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clear_away(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "daemon.lock").open("r+b") as file:
        if try_lock(file.fileno()):  # race: the next one may be there already
            clear_away(folder)
