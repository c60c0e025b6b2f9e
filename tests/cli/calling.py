"""The command line as a person has it: a process of its own, in a workspace of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Workspace

FLOWSTEAD = str(Path(sys.executable).with_name("flowstead.exe" if sys.platform == "win32" else "flowstead"))

SECONDS = 60
"""No command here takes a tenth of it."""


@dataclass
class Finished:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class CommandLine:
    """Calls `flowstead` in the workspace."""

    workspace: Workspace
    environment: dict[str, str]
    _started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """Starts a command and returns its process; it is ended with the test."""
        process = subprocess.Popen(
            [FLOWSTEAD, *map(str, arguments)],
            cwd=cwd or self.workspace.root,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._started.append(process)
        return process

    def __call__(self, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> Finished:
        """Calls a command and waits for its end."""
        return self.end(self.start(*arguments, cwd=cwd, **environment))

    def end(self, process: subprocess.Popen[str]) -> Finished:
        out, err = process.communicate(timeout=SECONDS)
        return Finished(process.returncode, out, err)

    def interrupt(self, process: subprocess.Popen[str]) -> Finished:
        """Ctrl-C."""
        process.send_signal(signal.SIGINT)
        return self.end(process)

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=SECONDS)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What a command prints, up to the line that has `text` in it."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"{text!r} was not printed; this was:\n{seen}\n{process.communicate()[1]}")


ACTING_ON_US = (
    "FLOWSTEAD_WORKSPACE",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "FLOWSTEAD_DEBUG",
    "UV_RUN_RECURSION_DEPTH",
)


THREE_STEPS = """
    from flowstead import Flow

    DESCRIPTION = "Three small steps."

    def build():
        return Flow("Small").step(first, save_as="one").step(second).step(third, label="The last")

    def first(context):
        print("first is here")
        return [1, 2, 3]

    def second(context):
        return sum(context.current)

    def third(context):
        context.summary = f"the sum is {context.current}"
"""

WAITS = """
    import time
    from pathlib import Path

    from flowstead import Flow

    def build():
        return Flow("Slow").step(first).step(second).step(third)

    def first(context):
        with Path("first.txt").open("a") as file:
            file.write("ran\\n")

    def second(context):
        while not Path("go").exists():
            context.check_cancelled()
            time.sleep(0.01)

    def third(context):
        context.summary = "went on"
"""
"""Its second step waits for the file `go` beside the module."""

FAILS = """
    from flowstead import Flow

    def build():
        return Flow("Bad").step(fine).step(divide)

    def fine(context):
        return 0

    def divide(context):
        return 1 / context.current
"""

FILES = """
    from flowstead import Flow

    def build():
        return (
            Flow("Files")
            .watch(mode="poll", source="../inbox", interval="1h", extensions=[".txt"])
            .step(read)
        )

    def read(context):
        text = context.source.path.read_text()
        if "bad" in text:
            raise ValueError(f"{context.source.path.name} is bad")
        context.summary = text
"""
