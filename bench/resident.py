"""Rows about a process that stays: how soon it is there again, and what it costs while nothing happens."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.api import daemon
from bench.floors import BARE_PYTHON, LONGEST_PROCESS, flowstead, seconds
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import THREE_STEPS, Workspace
from flowstead.client import connect
from flowstead.client.ending import await_end
from flowstead.client.finding import daemon_pid, find_daemon, ping
from flowstead.client.launching import start_daemon
from flowstead.model.home import home

# Ten times a second is how often a process looks that can only be told things by a file.
_IDLE_PYTHON = """
import time
print(flush=True)
while True:
    time.sleep(0.1)
"""


def restart(setting: Setting) -> Samples:
    folder = home()
    try:
        while True:
            pid = daemon_pid(folder)
            if pid is not None:
                os.kill(pid, 9)
                await_end(folder, pid, LONGEST_PROCESS)
            begun = time.perf_counter()
            ping(start_daemon(folder), folder)
            took = time.perf_counter() - begun
            yield (Sample(took * 1e3, seconds(BARE_PYTHON) * 1e3),)
    finally:
        seconds(flowstead("daemon", "kill"))


def ping_command(setting: Setting) -> Samples:
    with daemon():
        assert find_daemon(home()) is not None
        while True:
            yield (Sample(seconds(flowstead("daemon", "ping")) * 1e3, seconds(BARE_PYTHON) * 1e3),)


def idle(setting: Setting) -> Samples:
    length = setting.size(20, 1)
    workspace = Workspace(setting.folder)
    workspace.module("three_steps", THREE_STEPS)
    with daemon() as machine, connect(workspace.root) as client, _idle_python() as bare:
        after = client.start("three_steps")["after"]
        next(event for event in client.events(after=after) if event and event["change"] == "succeeded")
        ours = psutil.Process(machine.health()["pid"])
        while True:
            begun, before, floor_before = time.perf_counter(), _processor(ours), _processor(bare)
            time.sleep(length)
            took = time.perf_counter() - begun
            yield (
                Sample(ours.memory_info().rss / 1e6, bare.memory_info().rss / 1e6),
                # A tick is all that the system tells of very little.
                Sample(*(max(0.0001, each / took) * 100 for each in _since(ours, before, bare, floor_before))),
            )


def _since(ours: psutil.Process, before: float, bare: psutil.Process, floor_before: float) -> tuple[float, float]:
    return _processor(ours) - before, _processor(bare) - floor_before


def _processor(process: psutil.Process) -> float:
    """Seconds of a processor that it has used."""
    used = process.cpu_times()
    return used.user + used.system


@contextmanager
def _idle_python() -> Iterator[psutil.Process]:
    process = subprocess.Popen([sys.executable, "-c", _IDLE_PYTHON], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.communicate()


MEASUREMENTS = (
    Measurement(
        (
            Row(
                "daemon-restart",
                "a daemon was killed (kill -9): start of the next one to its answer",
                "ms",
                "bare python",
                Reach(1000),
            ),
        ),
        restart,
    ),
    Measurement(
        (
            Row(
                "daemon-ping",
                "`flowstead daemon ping`, the whole process",
                "ms",
                "bare python",
                Reach(250, above_floor=True),
            ),
        ),
        ping_command,
    ),
    Measurement(
        (
            Row("idle-daemon", "resident memory of an idle daemon with a workspace", "MB", "bare python", Reach(90)),
            Row("idle-daemon-cpu", "what it uses of a processor", "%", "waking 10 times a second", Reach(0.5)),
        ),
        idle,
    ),
)
