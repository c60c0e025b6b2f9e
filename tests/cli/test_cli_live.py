"""What a person sees on a terminal while runs are under way; a pseudo-terminal stands in for it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest
from calling import FILES, FLOWSTEAD, SECONDS, WAITS, CommandLine

if sys.platform == "win32":
    pytest.skip("Windows has no pseudo-terminals in the standard library", allow_module_level=True)

import fcntl
import pty
import select
import struct
import termios

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A command on a terminal of a given width."""

    def __init__(self, cli: CommandLine, *arguments: str, width: int = 80) -> None:
        mine, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, width, 0, 0))
        self.process = subprocess.Popen(
            [FLOWSTEAD, *arguments],
            cwd=cli.workspace.root,
            env={**cli.environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.file = mine
        self.raw = ""

    @property
    def text(self) -> str:
        """All that was written so far, without colours and movements."""
        return CODES.sub("", self.raw)

    def read_until(self, done: Callable[[str], bool]) -> str:
        while not done(self.text):
            assert select.select([self.file], [], [], SECONDS)[0], f"nothing more came after:\n{self.text}"
            try:
                data = os.read(self.file, 65536)
            except OSError:  # Linux tells the end of a terminal by an error
                data = b""
            if not data:
                raise AssertionError(f"it ended with:\n{self.text}")
            self.raw += data.decode("utf-8", "replace")
        return self.text

    def end(self) -> int:
        """Reads to the end; the exit code."""
        try:
            self.read_until(lambda text: False)
        except AssertionError:
            pass
        os.close(self.file)
        return self.process.wait(SECONDS)


def test_a_run_under_way_is_shown_and_makes_room(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    terminal = Terminal(cli, "run", "slow")
    terminal.read_until(lambda text: text.count("● Second") >= 3)  # redrawn by itself, while nothing happens
    assert "✓ First" in terminal.text
    cli.workspace.file("flow_modules/go")
    assert terminal.end() == 0
    assert "slow succeeded in" in terminal.text
    assert "\x1b[32m" in terminal.raw  # green
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h")  # the cursor is back


def test_progress_has_a_bar_and_numbers(cli: CommandLine) -> None:
    cli.workspace.module(
        "mapped",
        """
        import time
        from pathlib import Path
        from flowstead import Flow
        def build():
            return Flow("M").step(lambda context: range(10), save_as="numbers").map(work, use="numbers")
        def work(number):
            while number == 7 and not Path("go").exists():
                time.sleep(0.01)
        """,
    )
    terminal = Terminal(cli, "run", "mapped")
    terminal.read_until(lambda text: "7/10" in text)
    assert "━" in terminal.text
    cli.workspace.file("flow_modules/go")
    assert terminal.end() == 0
    assert "10 items" in terminal.text


def test_many_runs_have_one_summary_line(cli: CommandLine) -> None:
    cli.workspace.module(
        "texts", FILES.replace("def read(context):", "def read(context):\n        __import__('time').sleep(0.05)")
    )
    for number in range(30):
        cli.workspace.file(f"inbox/{number:02}.txt", "bad" if number == 5 else "good")
    terminal = Terminal(cli, "run", "texts")
    terminal.read_until(lambda text: re.search(r"30 runs +━.* done, 1 running, \d+ waiting", text) is not None)
    assert terminal.end() == 1
    assert "05.txt is bad" in terminal.text
    assert "29 succeeded, 1 failed" in terminal.text
    assert not re.search(r"✓ [0-9a-f]{8}", terminal.text)  # those that succeed have no line each


def test_control_c_on_a_terminal(cli: CommandLine) -> None:
    cli.workspace.module("slow", WAITS)
    terminal = Terminal(cli, "run", "slow")
    terminal.read_until(lambda text: "● Second" in text)
    os.killpg(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 130
    assert "1 run under way was interrupted" in terminal.text
    assert "Go on with: flowstead run slow" in terminal.text
    assert terminal.raw.count("\x1b[?25l") == terminal.raw.count("\x1b[?25h")


@pytest.mark.parametrize("width", [80, 120])
def test_tables_keep_to_the_width(width: int, cli: CommandLine) -> None:
    for name in ("a_rather_long_name_of_a_flow", "b"):
        cli.workspace.module(
            name, "DESCRIPTION = 'tells much, ' * 20\n" + FILES.replace("    ", "", 1).replace("\n    ", "\n")
        )
    cli.workspace.file("inbox/a_file_with_quite_a_long_name_for_a_table.txt", "summary " * 30)
    cli("run", "b")
    for command in (["list"], ["runs"]):
        terminal = Terminal(cli, *command, width=width)
        assert terminal.end() == 0
        lines = terminal.text.splitlines()
        assert max(len(line) for line in lines) <= width
        assert "…" in terminal.text
        if command == ["runs"]:
            assert "table.txt" in terminal.text  # the end of a name tells more
    assert ("tells much, " * 20).strip() in cli("list").out  # in a file, nothing is cut
