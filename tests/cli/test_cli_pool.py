"""`flowstead pool`, against a real daemon whose pool uv fills from wheels that are made here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import SECONDS, CommandLine, Finished

from flowstead.client.finding import daemon_pid
from wheels import make_wheel


@pytest.fixture
def pool(cli: CommandLine, home: Path, tmp_path: Path) -> Iterator[CommandLine]:
    """The command line; a daemon that it starts has a pool of two, and ends with the test."""
    make_wheel(tmp_path / "wheels", "ipykernel")
    cli.environment.update(
        FLOWSTEAD_POOL_UV="2",
        UV_OFFLINE="1",
        UV_FIND_LINKS=str(tmp_path / "wheels"),
        UV_CACHE_DIR=str(tmp_path / "uv-cache"),
    )
    yield cli
    pid = daemon_pid(home)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)


def good(finished: Finished) -> Finished:
    assert finished.code == 0, finished.err
    return finished


def test_an_environment_is_taken_used_and_returned(pool: CommandLine) -> None:
    # The first take starts the daemon, and waits for the first environment to be built.
    taken = good(pool("pool", "take", "uv", "--pid", str(os.getpid())))
    path = taken.out.strip()
    assert "\n" not in path and Path(path, "bin", "python").exists()
    assert f"pool return {path}" in taken.err and "activate" in taken.err
    member = good(pool("pool", "take", "uv", "--json")).json
    assert member["holder"] == os.getpid(), "the one that called"
    shown = good(pool("pool", "status")).out
    assert re.search(r"^POOL +READY +OF +WARMING +LENT +STATE$", shown, re.MULTILINE)
    assert re.search(r"^uv +\d +2 +\d +2 +", shown, re.MULTILINE) and path in shown
    assert "off: pool_conda is 0 in the settings" in shown
    assert "Returned" in good(pool("pool", "return", path)).out
    again = pool("pool", "return", path, "--json")
    assert again.code == 1 and json.loads(again.err or again.out)["error"]["code"] == "pool-not-lent"
    # As it is spelled, seen from the folder in which the command is called.
    named = Path(member["path"])
    assert pool("pool", "return", f"../{named.parent.name}/.venv", cwd=named.parent).code == 1
    assert good(pool("pool", "return", ".venv", "--json", cwd=named.parent)).json["id"] == member["id"]


def test_what_is_taken_belongs_to_the_shell_that_called(pool: CommandLine) -> None:
    good(pool("daemon", "start"))
    script = f"flowstead pool take uv --json; {sys.executable} -c 'input()'"
    with subprocess.Popen(
        ["/bin/sh", "-c", script], env=pool.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdout is not None
        told = ""
        while not told.rstrip().endswith("}"):
            line = shell.stdout.readline()
            assert line, told
            told += line
        member = json.loads(told)
        assert member["holder"] == shell.pid
        states = {each["id"]: each["state"] for each in good(pool("pool", "status", "--json")).json["members"]}
        assert states[member["id"]] == "lent"
        shell.communicate("\n", timeout=SECONDS)
    deadline = time.monotonic() + SECONDS
    while Path(member["path"]).exists():
        assert time.monotonic() < deadline, "never reclaimed"


def test_flush_shutdown_and_ping(pool: CommandLine) -> None:
    assert good(pool("pool", "ping", "--json")).json["running"]
    assert "answers within" in good(pool("pool", "ping")).out
    good(pool("pool", "take", "uv"))
    assert good(pool("pool", "shutdown", "--json")).json["cleared"] >= 0
    off = pool("pool", "take", "uv")
    assert off.code == 1 and "it was shut down" in off.err and "flowstead pool status" in off.err
    assert "off: it was shut down" in good(pool("pool", "status")).out
    assert "New ones are made" in good(pool("pool", "flush", "uv")).out
    good(pool("pool", "take", "uv"))
    assert pool("pool", "take", "npm").code == 2


def test_a_package_that_cannot_be_had_is_shown(pool: CommandLine) -> None:
    pool.environment["FLOWSTEAD_POOL_UV_PACKAGES"] = "no-such-thing"
    taken = good(pool("pool", "take", "uv"))
    assert "packages of the settings are missing" in taken.err
    shown = good(pool("pool", "status")).out
    assert "no-such-thing cannot be installed; served without the packages of the settings" in shown
