"""The engine lock: one holder, who can be named, and gone with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from flowstead.model.lock import ProcessLock

HOLD = """
import sys
from pathlib import Path
from flowstead.model.lock import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
print(lock.acquire("holding on"), flush=True)
sys.stdin.read()
"""


def test_one_process_holds_it_and_says_who_it_is(tmp_path):
    path = tmp_path / "engine.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"True\n"
        lock = ProcessLock(path)
        assert lock.is_held()
        assert not lock.acquire("me")
        assert lock.holder()["pid"] == holder.pid
        assert lock.holder()["command"] == "holding on"
        holder.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        holder.wait(10)
        assert not lock.is_held()
        assert lock.acquire("me")
        assert lock.holder()["pid"] == os.getpid()
        lock.release()


def test_looking_changes_nothing(tmp_path):
    lock = ProcessLock(tmp_path / "engine.lock")
    assert not lock.is_held()
    assert lock.holder() == {}
    assert lock.acquire("a run")
    lock.release()
    assert not ProcessLock(lock.path).is_held()
    assert lock.holder()["command"] == "a run"
