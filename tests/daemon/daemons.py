"""Daemons as processes of their own, each in a home of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowstead.client import MachineClient
from flowstead.client.finding import DaemonInfo, daemon_pid, find_daemon, transport_to

SECONDS = 60


@dataclass
class Daemon:
    """A daemon that was started; `told` is the line in which it said how that went."""

    process: subprocess.Popen[str]
    home: Path
    told: dict[str, Any]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def info(self) -> DaemonInfo:
        return DaemonInfo(**self.told["daemon"])

    def machine(self) -> MachineClient:
        return MachineClient(transport_to(self.info, self.home))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.terminate()
        return self.process.wait(SECONDS)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.home / "daemon.log").read_text().splitlines()]


@dataclass
class Daemons:
    """Starts daemons, and ends them with the test."""

    _started: list[subprocess.Popen[str]] = field(default_factory=list)
    _homes: set[Path] = field(default_factory=set)

    def begin(self, home: Path, **environment: str) -> subprocess.Popen[str]:
        """Starts one and does not wait for it."""
        self._homes.add(home)
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flowstead.daemon", "--tell"],
            env={**os.environ, "FLOWSTEAD_HOME": str(home), **environment},
            cwd="/" if os.name == "posix" else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def start(self, home: Path, **environment: str) -> Daemon:
        """Starts one and waits until it serves, or says why not."""
        process = self.begin(home, **environment)
        assert process.stdout is not None
        return Daemon(process, home, json.loads(process.stdout.readline()))

    def close(self) -> None:
        # Those that commands started are nobody's children.
        for home in self._homes:
            pid = daemon_pid(home)
            if pid is not None and pid not in {each.pid for each in self._started}:
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=SECONDS)

    def owns(self, home: Path) -> Path:
        """Lets a daemon of this home, that a command starts, end with the test."""
        self._homes.add(home)
        return home


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits until `condition()` is true and returns it."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)
    return found


def serving(home: Path) -> DaemonInfo:
    """Waits until a daemon serves the home."""
    return until(lambda: find_daemon(home), "a daemon serves")
