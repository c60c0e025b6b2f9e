"""Starting a daemon beside this process, and ending one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from flowstead.client.finding import DaemonInfo, daemon_pid, find_daemon, ping
from flowstead.model import errors
from flowstead.model.errors import DaemonRunning, FlowsteadError, HomeUnwritable

SECONDS_TO_LISTEN = 30.0
SECONDS_BETWEEN_LOOKS = 0.02
MOST_LAST_WORDS = 2000


def start_daemon(folder: Path) -> DaemonInfo:
    """Starts the daemon of the home `folder` as a process of its own, and waits until it listens.

    Raises DaemonRunning when there is one already, FlowsteadError (`daemon-not-started`) with its last words when it
    ended, and what it says itself (HomeUnwritable, `port-taken`, `settings-invalid`).
    """
    pid = daemon_pid(folder)
    if pid is not None:
        raise DaemonRunning(f"A daemon serves {folder} already: process {pid}.", pid=pid)
    path = folder / "daemon.log"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    except OSError as error:
        raise HomeUnwritable(f"Cannot write {path}: {error.strerror}.") from error
    with log:
        begun_at = log.tell()
        with _spawn(folder, log) as process:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline() or "{}")
            if "daemon" in told:
                process.returncode = 0  # it lives on: nobody here waits for its end
    if "error" in told:
        raise _error(told["error"])
    if "daemon" not in told:
        raise _ended(process.returncode, path, begun_at)
    return DaemonInfo(**told["daemon"])


def running_daemon(folder: Path) -> DaemonInfo:
    """The daemon of the home `folder`, started when there is none. Raises as start_daemon, and DaemonUnresponsive."""
    info = find_daemon(folder)
    if info is None:
        try:
            return start_daemon(folder)
        except DaemonRunning:
            info = _await_listening(folder)
    ping(info, folder)
    return info


def _await_listening(folder: Path) -> DaemonInfo:
    """Race: another process has just started one, which does not listen yet."""
    deadline = time.monotonic() + SECONDS_TO_LISTEN
    while time.monotonic() < deadline:
        info = find_daemon(folder)
        if info is not None:
            return info
        if daemon_pid(folder) is None:
            return start_daemon(folder)
        time.sleep(SECONDS_BETWEEN_LOOKS)
    raise errors.DaemonUnresponsive(f"The daemon (process {daemon_pid(folder)}) holds its lock, and does not listen.")


def _spawn(folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    # Neither Ctrl-C in this terminal nor its closing is meant for it.
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return subprocess.Popen(
        # -P: nothing in the folder where it is called may shadow a module.
        [sys.executable, "-P", "-m", "flowstead.daemon", "--tell"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=Path(folder.anchor),
        env={**os.environ, "FLOWSTEAD_HOME": str(folder)},
        start_new_session=sys.platform != "win32",
        creationflags=flags,
    )


def _ended(code: int, path: Path, begun_at: int) -> FlowsteadError:
    with path.open("rb") as log:
        log.seek(begun_at)
        words = log.read().decode("utf-8", "replace").strip()[-MOST_LAST_WORDS:]
    how = f"signal {-code}" if code < 0 else f"code {code}"
    last = f" Its last words: {words}" if words else ""
    return FlowsteadError(
        f"The daemon ended with {how} before it served.{last}",
        code="daemon-not-started",
        hint="See: flowstead daemon logs",
    )


def _error(told: dict[str, Any]) -> FlowsteadError:
    """The error that the daemon raised, of the same class."""
    error: FlowsteadError = getattr(errors, told["kind"], FlowsteadError)(
        told["message"], hint=told["hint"], code=told["code"]
    )
    error.detail = told["detail"]
    return error
