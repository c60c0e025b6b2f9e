"""Real engines on real workspaces: what tests of the engine share.

Flows signal through a fifo (`say`) and wait at another (`stop_at_gate`), so no test has to guess how long anything
takes; every wait has a deadline.
"""

import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowstead.engine.clock import Clock
from flowstead.engine.engine import Engine
from flowstead.engine.flow_environments import FlowEnvironments
from flowstead.engine.holding import Holding
from flowstead.engine.starting import Started, StartRequest, start_flow
from flowstead.model.run import ENDED, Run
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
DEADLINE = 60.0
DRIVER = Path(__file__).with_name("driver.py")

MARKS = """
import os

def say(text):
    fd = os.open("../signal", os.O_WRONLY)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)

def stop_at_gate():
    fd = os.open("../gate", os.O_RDONLY)
    os.read(fd, 1)
    os.close(fd)

def note(text):
    fd = os.open("../notes.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, (text + "\\n").encode())
    os.close(fd)
"""


class Fifo:
    """A named pipe that the test holds open at both ends, so that nobody ever waits for the other to open it."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = ""

    def line(self) -> str:
        """The next line that a flow has said."""
        deadline = time.monotonic() + DEADLINE
        while "\n" not in self._text:
            ready, _, _ = select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"nothing was said in time; so far: {self._text!r}"
            self._text += os.read(self._fd, 65536).decode()
        line, _, self._text = self._text.partition("\n")
        return line

    def lines(self, count: int) -> list[str]:
        return [self.line() for _ in range(count)]

    def silent(self) -> bool:
        """Whether nobody has said anything more."""
        return not self._text and not select.select([self._fd], [], [], 0)[0]

    def open_gate(self, times: int = 1) -> None:
        """Lets that many pass."""
        os.write(self._fd, b"x" * times)

    def close(self) -> None:
        os.close(self._fd)


class FakeClock(Clock):
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self._time = 1_000_000.0
        self._moved = threading.Condition()
        self._waiting: set[threading.Condition] = set()

    def now(self) -> int:
        return int(self._time * 1_000_000)

    def monotonic(self) -> float:
        return self._time

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        with self._moved:
            self._waiting.add(condition)
        condition.wait(DEADLINE)

    def advance(self, seconds: float) -> None:
        with self._moved:
            self._time += seconds
            waiting = list(self._waiting)
        for condition in waiting:
            with condition:
                condition.notify_all()


class AloneEngine(Engine):
    """An engine that takes the workspace when it begins, and leaves it when it is closed."""

    def __init__(
        self, layout: WorkspaceLayout, settings: Settings, *, only: tuple[str, ...] | None, clock: Clock | None
    ) -> None:
        self._alone = Holding(layout, settings, command="test", clock=clock)
        self._cache: Any = None
        try:
            super().__init__(self._alone, FlowEnvironments(layout, self._open_cache, builds=True), only=only)
        except BaseException:
            self._alone.close()
            raise

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._cache is not None:
                self._cache.close()
            self._alone.close()

    def _open_cache(self) -> Any:
        if self._cache is None:
            from flowstead.environments.cache import EnvironmentCache

            self._cache = EnvironmentCache(self.settings.environments_in(self.layout.local.parents[1]), self.settings)
        return self._cache


class Bench:
    """A workspace, and engines on it, one after the other."""

    def __init__(self, root: Path, home: Path) -> None:
        self.root = root
        self.home = home
        self._open: list[Engine] = []
        self._fifos: list[Fifo] = []
        self._drivers: list[Driver] = []

    @property
    def layout(self) -> WorkspaceLayout:
        return WorkspaceLayout.of(self.root, self.home)

    def fifo(self, name: str) -> Fifo:
        self._fifos.append(Fifo(self.root / name))
        return self._fifos[-1]

    @property
    def notes(self) -> list[str]:
        path = self.root / "notes.txt"
        return path.read_text().splitlines() if path.exists() else []

    def engine(self, *, clock: Clock | None = None, only: tuple[str, ...] | None = None, **settings: Any) -> Engine:
        engine = AloneEngine(self.layout, Settings(**{"worker_slots": 2, **settings}), only=only, clock=clock)
        self._open.append(engine)
        return engine

    def driver(self, flow: str, *, under: tuple[str, ...] = (), **fields: Any) -> "Driver":
        """Another process that starts `flow`; `under` are words of a command to start it with."""
        self._drivers.append(Driver(self.root, flow, fields, under))
        return self._drivers[-1]

    def close(self) -> None:
        for driver in self._drivers:
            driver.kill()
        for engine in self._open:
            engine.close()
        for fifo in self._fifos:
            fifo.close()


def start(engine: Engine, flow: str, **fields: Any) -> Started:
    return start_flow(engine, StartRequest(flow=flow, **{"params": {}, **fields}))


def start_one(engine: Engine, flow: str, **fields: Any) -> str:
    (run_id,) = start(engine, flow, **fields).started
    return run_id


def wait_until(engine: Engine, condition: Callable[[], Any], what: str = "it") -> Any:
    """Waits, from event to event, for `condition` to become true, and returns what it gave."""
    deadline = time.monotonic() + DEADLINE
    while True:
        seq = engine.ledger.last_event
        found = condition()
        if found:
            return found
        assert engine.failure is None, engine.failure
        left = deadline - time.monotonic()
        assert left > 0, f"{what} did not happen in time"
        # The time limit is for conditions that no event tells of.
        engine.ledger.wait_for_event(seq, min(left, 0.05))


def ended(engine: Engine, *run_ids: str, statuses: tuple[str, ...] = (*ENDED, "interrupted")) -> list[Run]:
    """Waits for the end of runs, and for their workers to be free."""

    def look() -> list[Run] | None:
        runs = engine.ledger.reader.runs_by_id(run_ids)
        done = all(run.status in statuses for run in runs) and not set(run_ids) & set(engine.dispatcher.active)
        return runs if done else None

    return wait_until(engine, look, f"the end of {run_ids}")


def run_flow(engine: Engine, flow: str, **fields: Any) -> Run:
    (run,) = ended(engine, start_one(engine, flow, **fields))
    return run


def log_of(bench: Bench, run_id: str) -> list[dict[str, Any]]:
    """The lines of a run's log, each of which must be whole, numbered without a gap."""
    text = (bench.layout.run_folder(run_id) / "events.ndjson").read_bytes()
    assert text.endswith(b"\n")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    return lines


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for_death(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ready, _, _ = select.select([fd], [], [], deadline - time.monotonic())
        assert ready, f"process {pid} still lives"
    finally:
        os.close(fd)


class Driver:
    """A process of its own that starts a flow and follows it to the end, as a command does."""

    def __init__(self, root: Path, flow: str, fields: dict[str, Any], under: tuple[str, ...]) -> None:
        self.process = subprocess.Popen(
            [*under, sys.executable, str(DRIVER), str(root), flow, json.dumps(fields)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def kill(self) -> None:
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.kill()
            out, error = self.process.communicate()
            print(out, error)

    def line(self) -> dict[str, Any]:
        """The next line that it prints."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], DEADLINE)
        assert ready, "it said nothing in time"
        return json.loads(self.process.stdout.readline())

    def result(self) -> dict[str, Any]:
        out, error = self.process.communicate(timeout=DEADLINE)
        assert out and not error, error
        return json.loads(out.splitlines()[-1])
