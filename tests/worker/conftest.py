"""A worker process driven over its own pipes, as an engine would, frame by frame."""

import json
import os
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

DEADLINE = 20.0
ENDS = ("run_cancelled", "broken", "checkpoint_damaged")

HEAD = """
import ctypes, json, os, subprocess, sys, threading, time
from pathlib import Path
from flowstead import Batch, Flow, RunCancelled
ROOT = Path(__file__).parents[1]

def gate(name):
    with open(ROOT / name, "rb", 0) as fifo:
        fifo.read(1)
"""


class Worker:
    """Speaks for the engine. `frame` waits for one; `conduct` answers all of a run until it ends."""

    def __init__(self, workspace, folder: Path, source: str, *, memory_mb=None, protocol=1, environment=None) -> None:
        self.root = workspace.root
        self.folder = folder
        version = folder / "version"
        version.mkdir(parents=True)
        text = HEAD + textwrap.dedent(source)
        origin = workspace.flow_modules / "flow_under_test.py"
        for path in (version / "module.py", origin):
            path.write_text(text, "utf-8")
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "flowstead.worker", "w-test"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        self._frames, self._output = self.process.stdout.fileno(), self.process.stderr.fileno()
        os.set_blocking(self._output, False)
        self._rest = b""
        self._ready: list[dict] = []
        self.output = b""
        self._gates: dict[str, int] = {}
        self.send(
            type="start",
            protocol=protocol,
            version=str(version),
            helpers=None,
            origin=str(origin),
            stem="flow_under_test",
            workspace_root=str(workspace.root),
            memory_mb=memory_mb,
        )

    def send(self, **frame) -> None:
        data = json.dumps(frame).encode() + b"\n"
        while data:
            data = data[os.write(self.process.stdin.fileno(), data) :]

    def go(self) -> None:
        self.send(type="go")

    def start(self, **fields) -> None:
        """Sends a run, a fresh one unless told otherwise."""
        frame = {
            "id": "r_1",
            "attempt": 1,
            "folder": str(self.folder / "run"),
            "params": {},
            "secrets": {},
            "source_root": None,
            "source_path": None,
            "first_step": 0,
            "begun": False,
            "failures": 0,
            "current": None,
            "objects": {},
            "items": None,
            "metadata": {},
            "summary": None,
        }
        self.send(type="run", **{**frame, **fields})

    def _drain(self) -> None:
        while True:
            try:
                data = os.read(self._output, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            self.output += data

    def frame(self) -> dict | None:
        """The next frame, with `printed`: all output that was in its pipe by then. None once the worker has gone."""
        if self._ready:
            return self._ready.pop(0)
        deadline = time.monotonic() + DEADLINE
        poll = select.poll()
        poll.register(self._frames, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        while time.monotonic() < deadline:
            ready = {fd for fd, _ in poll.poll(1000)}
            if self._output in ready:
                before = len(self.output)
                self._drain()
                if len(self.output) == before:
                    poll.unregister(self._output)
            if self._frames not in ready:
                continue
            data = os.read(self._frames, 1 << 16)
            if not data:
                return None
            lines = (self._rest + data).split(b"\n")
            self._rest = lines.pop()
            self._drain()
            # What is printed from here on belongs to later frames; strict JSON is what every reader takes.
            for line in lines:
                frame = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} in a frame"))
                if frame["type"] == "log":
                    self.go()
                self._ready.append({**frame, "printed": self.output.decode("utf-8", "replace")})
            if self._ready:
                return self._ready.pop(0)
        raise AssertionError(f"no frame within {DEADLINE} s; it printed: {self.output.decode('utf-8', 'replace')}")

    def until(self, kind: str, **fields) -> dict:
        """The next frame of a kind and with these fields; those before it are passed over, unanswered."""
        while (frame := self.frame()) is not None:
            if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                return frame
        raise AssertionError(f"the worker ended before a frame {kind}: {self.output.decode('utf-8', 'replace')}")

    def ready(self) -> "Worker":
        assert self.until("ready")["protocol"] == 1
        return self

    def conduct(self, **fields) -> list[dict]:
        """Starts a run, answers its frames as an engine that records each, and returns them up to the end."""
        self.start(**fields)
        return self.follow()

    def follow(self) -> list[dict]:
        frames: list[dict] = []
        while True:
            frame = self.frame()
            assert frame is not None, f"the worker ended; it printed: {self.output.decode('utf-8', 'replace')}"
            frames.append(frame)
            if frame["type"] in ENDS or frame.get("ends"):
                return frames
            if frame["type"] in ("step_finished", "items"):
                self.go()

    def gate(self, name: str) -> str:
        """Makes a gate for the flow to wait at, with `gate(name)` in its code."""
        os.mkfifo(self.root / name)
        self._gates[name] = os.open(self.root / name, os.O_RDWR)
        return name

    def open(self, name: str) -> None:
        os.write(self._gates[name], b"x")

    def close_pipes(self) -> None:
        """What the death of an engine is to its worker."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.stderr.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        for fd in self._gates.values():
            os.close(fd)


@pytest.fixture
def worker(workspace, tmp_path):
    """Starts a worker for a flow module whose text follows HEAD; every test ends the workers that it started."""
    started: list[Worker] = []

    def start(source: str, **options) -> Worker:
        started.append(Worker(workspace, tmp_path / f"worker-{len(started)}", source, **options))
        return started[-1]

    yield start
    for each in started:
        each.close()


def of(frames: list[dict], kind: str) -> list[dict]:
    return [frame for frame in frames if frame["type"] == kind]


@pytest.fixture
def frames_of():
    return of
