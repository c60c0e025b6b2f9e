"""Rows about the daemon's API: what a request costs beyond its answer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from flowstead.client.machine_client import MachineClient, daemon_transport
from flowstead.model.home import home

LONGEST_START = 60.0
CALLS = 200

_ECHO = """
import socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[1])
    while data := connection.recv(64):
        connection.sendall(data)
"""


@contextmanager
def daemon(**variables: str) -> Iterator[MachineClient]:
    """A daemon of this process's home, in a process of its own, and a client of it; without a pool, unless
    `variables` (of its environment) say so."""
    without_pool = {"FLOWSTEAD_POOL_UV": "0", "FLOWSTEAD_POOL_CONDA": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flowstead.daemon"],
        env={**os.environ, **without_pool, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("The daemon did not start.")
        with MachineClient(daemon_transport(home())) as client:
            client.workspaces()  # waits until all of it is loaded
            yield client
    finally:
        process.terminate()
        process.wait(LONGEST_START)


def milliseconds(call: Callable[[], object], calls: int) -> float:
    """Of one call, on average."""
    begun = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - begun) / calls * 1e3


def health(setting: Setting) -> Samples:
    calls = setting.size(CALLS, 20)
    with daemon() as client, _echo(setting.folder / "echo.sock") as send:
        while True:
            yield (Sample(milliseconds(client.health, calls), milliseconds(send, calls)),)


@contextmanager
def _echo(path: Path) -> Iterator[Callable[[], object]]:
    """Sends a byte to another process over a Unix socket, and waits for it to come back."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        process = subprocess.Popen([sys.executable, "-c", _ECHO, str(path)])
        connection, _ = listener.accept()

    def send() -> object:
        connection.sendall(b"x")
        return connection.recv(64)

    try:
        with connection:
            yield send
    finally:
        process.wait(LONGEST_START)


MEASUREMENTS = (
    Measurement(
        (
            Row(
                "api-health",
                "the smallest request to the daemon, over its Unix socket",
                "ms",
                "a byte to a process and back",
                Reach(2),
            ),
        ),
        health,
    ),
)
