"""Commands through the daemon: its own, and all others with the same output as without it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from calling import ACTING_ON_US, FAILS, FILES, SECONDS, THREE_STEPS, WAITS, CommandLine, read_until

from flowstead.cli.app import run
from flowstead.client import connect
from flowstead.client.finding import COMMAND, daemon_pid, find_daemon
from flowstead.model.lock import ProcessLock
from flowstead.workspace.layout import WorkspaceLayout


@pytest.fixture
def daemon(cli: CommandLine, home: Path) -> Iterator[CommandLine]:
    """The command line, with a daemon; it ends with the test."""
    yield cli
    pid = daemon_pid(home)
    if pid is not None:
        os.kill(pid, signal.SIGCONT)
        ended = cli("daemon", "kill")
        assert ended.code == 0, ended.err


def opened(cli: CommandLine) -> None:
    """Starts the daemon and lets it run the workspace."""
    assert cli("daemon", "start").code == 0
    with connect(cli.workspace.root) as client:
        client.resume()


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)
    return found


# -- its own commands ----------------------------------------------------------------------------------------------


def test_a_daemons_life(daemon: CommandLine, home: Path) -> None:
    cli = daemon
    assert (cli("daemon", "status").code, cli("daemon", "status", "--json").json["running"]) == (3, False)
    absent = cli("daemon", "ping")
    assert (absent.code, "error[daemon-unreachable]" in absent.err) == (1, True)
    assert "flowstead daemon start" in absent.err
    assert cli("daemon", "stop", "--json").json == {"stopped": None}
    assert cli("daemon", "kill", "--json").json == {"killed": None, "processes": 0}

    started = cli("daemon", "start", "--json")
    assert started.code == 0
    told = started.json["daemon"]
    assert find_daemon(home).as_dict() == told  # type: ignore[union-attr]
    second = cli("daemon", "start")
    assert (second.code, f"process {told['pid']}" in second.err) == (4, True)

    pinged = cli("daemon", "ping", "--json").json
    assert (pinged["pid"], pinged["version"]) == (told["pid"], told["version"])
    status = cli("daemon", "status")
    for said in (str(told["pid"]), told["version"], told["url"], str(home / "daemon.log"), "No workspace is open."):
        assert said in status.out
    with connect(cli.workspace.root):
        status = cli("daemon", "status", "--json").json
    assert [row["path"] for row in status["workspaces"]] == [str(cli.workspace.root)]
    assert status["memory_bytes"] > 10_000_000

    restarted = cli("daemon", "restart", "--json").json["daemon"]
    assert restarted["pid"] != told["pid"]
    assert restarted["url"] == told["url"]
    assert cli("daemon", "stop", "--json").json == {"stopped": restarted["pid"]}
    assert daemon_pid(home) is None


def test_the_log_as_people_read_it(daemon: CommandLine, home: Path) -> None:
    cli = daemon
    nothing = cli("daemon", "logs")
    assert (nothing.code, nothing.out) == (0, "")
    cli("daemon", "start")
    pid = daemon_pid(home)
    following = cli.start("daemon", "logs", "--follow")
    read_until(following, "The daemon serves.")
    with (home / "daemon.log").open("a") as log:
        log.write("a library's own words\n")
        entry = {"time": "2026-01-02T03:04:05.678Z", "level": "warning", "event": "It rains.", "where": "here"}
        log.write(json.dumps(entry) + "\n")
    seen = read_until(following, "It rains.")
    assert "a library's own words\n" in seen
    assert re.search(r"2026-01-0\d \d\d:\d\d:05\.678  warning   It rains\.  where=here\n", seen)
    # The log is moved aside while it is followed.
    (home / "daemon.log").rename(home / "daemon.log.1")
    (home / "daemon.log").write_text(json.dumps({**entry, "event": "It snows."}) + "\n")
    read_until(following, "It snows.")
    assert cli.interrupt(following).code == 130
    (home / "daemon.log").unlink()
    (home / "daemon.log.1").rename(home / "daemon.log")
    lines = cli("daemon", "logs", "--json", "--lines", "2").out.splitlines()
    assert (len(lines), json.loads(lines[1])["event"]) == (2, "It rains.")
    assert f"pid={pid}" in cli("daemon", "logs").out


def test_in_the_foreground(daemon: CommandLine, home: Path) -> None:
    process = daemon.start("daemon", "run")
    said = read_until(process, "serves")
    assert str(process.pid) in said
    assert daemon_pid(home) == process.pid
    process.send_signal(signal.SIGINT)
    assert daemon.end(process).code == 0
    assert not (home / "daemon.json").exists()


def test_a_silent_daemon_is_reported_and_killed(daemon: CommandLine, home: Path) -> None:
    cli = daemon
    cli.workspace.module("small", THREE_STEPS)
    opened(cli)
    pid = daemon_pid(home)
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    silent = cli("daemon", "ping", "--timeout", "0.2")
    assert (silent.code, "error[daemon-unresponsive]" in silent.err) == (1, True)
    refused = cli("run", "small")
    assert (refused.code, "error[daemon-unresponsive]" in refused.err) == (1, True)
    assert "flowstead daemon kill" in refused.err
    killed = cli("daemon", "kill", "--json").json
    assert (killed["killed"], killed["processes"]) == (pid, 1)
    assert "succeeded" in cli("run", "small").out


# -- watching ------------------------------------------------------------------------------------------------------


def test_ctrl_c_stops_watching_and_not_the_run(daemon: CommandLine) -> None:
    cli = daemon
    cli.workspace.module("slow", WAITS)
    opened(cli)
    process = cli.start("run", "slow")
    read_until(process, "✓ First")
    left = cli.interrupt(process)
    assert left.code == 130
    assert "goes on in the daemon" in left.err
    (run,) = cli("runs", "--json").json["runs"]
    assert (run["status"], run["attempt"]) == ("running", 1)
    follow = re.search(r"Watch it with: flowstead (logs \w+ --follow)", left.err)
    assert follow is not None
    log = cli.start(*follow[1].split())
    read_until(log, "first")
    cli.workspace.file("flow_modules/go")
    assert cli.end(log).code == 0
    assert cli("runs", "--json").json["runs"][0]["status"] == "succeeded"


def test_a_daemon_that_goes_away_is_told(daemon: CommandLine, home: Path) -> None:
    cli = daemon
    cli.workspace.module("slow", WAITS)
    opened(cli)
    process = cli.start("run", "slow")
    read_until(process, "✓ First")
    pid = daemon_pid(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    lost = cli.end(process)
    assert (lost.code, "error[daemon-" in lost.err) == (1, True)
    assert "flowstead daemon" in lost.err


def test_a_daemon_of_another_version_is_told(daemon: CommandLine, home: Path) -> None:
    cli = daemon
    opened(cli)
    path = home / "daemon.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": "0.0.9"}))
    listed = cli("list")
    assert listed.code == 0
    assert "0.0.9" in listed.err and "flowstead daemon restart" in listed.err
    assert "0.0.9" in cli("daemon", "status").out


# -- the same output -----------------------------------------------------------------------------------------------

SCENARIO: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("list", "--json"),
    ("check",),
    ("show", "texts"),
    ("show", "nothing"),
    ("resume",),
    ("resume",),
    ("run", "small"),
    ("run", "small", "--key", "monday", "--json"),
    ("run", "small", "--key", "monday", "--json"),
    ("run", "bad"),
    ("run", "texts"),
    ("run", "texts"),
    ("run", "texts", "--retry-failed"),
    ("run", "odd"),
    ("run", "nothing"),
    ("run", "small", "--param", "x=1"),
    ("runs",),
    ("runs", "--flow", "texts", "--status", "failed", "--json"),
    ("runs", "--limit", "2", "--json"),
    ("runs", "show", "{bad}"),
    ("runs", "show", "nowhere"),
    ("logs", "{bad}"),
    ("logs", "{bad}", "--follow"),
    ("logs", "{small}", "--json"),
    ("retry", "{bad}"),
    ("retry", "{small}", "--from", "The last"),
    ("retry", "{bad}", "--from", "no such step"),
    ("resume", "{small}"),
    ("cancel", "{small}"),
    ("preview", "small", "--use", "one"),
    ("preview", "bad"),
    ("preview", "small", "--use", "nothing"),
)


def normal(text: str, root: Path) -> str:
    """Without what differs from one time to the next."""
    seen: dict[str, str] = {}
    text = text.replace(str(root.parent), "COLLECTION")
    text = re.sub(r"\b(r_)?[0-9a-f]{8,64}\b", lambda each: seen.setdefault(each[0][-8:], f"ID{len(seen)}"), text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"\d\d:\d\d:\d\d(\.\d+)?", "TIME", text)
    text = re.sub(r"[\d.]+ (ms|s)\b( ago)?|just now", "TIME", text)
    text = re.sub(r'("duration_ms": ?)[\d.]+', r"\1N", text)
    return re.sub(r" +", " ", text)


def play(root: Path, capsys: pytest.CaptureFixture[str]) -> list[tuple[tuple[str, ...], int, str, str]]:
    """The scenario, in this process: what each command returned and printed."""
    names: dict[str, str] = {}
    told: list[tuple[tuple[str, ...], int, str, str]] = []
    for command in SCENARIO:
        capsys.readouterr()
        code = run([part.format(**names) for part in command])
        printed = capsys.readouterr()
        told.append((command, code, normal(printed.out, root), normal(printed.err, root)))
        if command[0] == "run" and command[1] in ("small", "bad") and command[1] not in names:
            found = re.search(r"Run (\w{8}) of", printed.out)
            assert found is not None, printed
            names[command[1]] = found[1]
    return told


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Commands that are called in this process find things as usual, and leave its signals as they were."""
    for name in ACTING_ON_US:
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_the_same_output_with_and_without(
    daemon: CommandLine, tmp_path: Path, in_process: None, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    cli = daemon
    modules = {"small": THREE_STEPS, "bad": FAILS, "texts": FILES, "slow": WAITS, "odd": "def build(:\n"}
    for name, source in modules.items():
        cli.workspace.module(name, source)
    for name, text in {"a": "a", "b": "bad"}.items():
        cli.workspace.file(f"inbox/{name}.txt", text)
    # Two workspaces that never heard of each other: the same folder would be shared by two machines.
    without, through = cli.workspace.root, tmp_path / "another" / "workspace"
    shutil.copytree(without, through)
    for root in (without, through):
        process = cli.start("run", "slow", cwd=root)
        read_until(process, "✓ First")
        assert cli.interrupt(process).code == 130
        assert cli("run", "small", "--key", "first", cwd=root).code == 0
        (root / "flow_modules" / "go").touch()
    assert cli("daemon", "start").code == 0
    with connect(through) as client:
        client.start("small", key="first")  # has run; but from now on the daemon runs the workspace
    assert ProcessLock(WorkspaceLayout.of(through).engine_lock).holder()["command"] == COMMAND
    told: list[Any] = []
    for root in (without, through):
        monkeypatch.chdir(root)
        told.append(play(root, capsys))
    for one, other in zip(*told, strict=True):
        assert other == one
    assert not ProcessLock(WorkspaceLayout.of(without).engine_lock).is_held()


# -- the kill switch of a workspace --------------------------------------------------------------------------------

DEAF = """
    import signal
    import time
    from pathlib import Path

    from flowstead import Flow

    def build():
        return Flow("Deaf").step(works)

    def works(context):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path("../reached").touch()
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass
"""


def test_a_workspace_is_killed_and_the_daemon_goes_on(daemon: CommandLine, home: Path, tmp_path: Path) -> None:
    cli = daemon
    cli.workspace.module("deaf", DEAF)
    cli.workspace.module("small", THREE_STEPS)
    other = tmp_path / "another" / "workspace"
    shutil.copytree(cli.workspace.root, other)
    assert cli("daemon", "start").code == 0
    pid = daemon_pid(home)
    with connect(cli.workspace.root) as client, connect(other) as elsewhere:
        (run_id,) = client.start("deaf")["started"]
        elsewhere.start("deaf")
        for root in (cli.workspace.root, other):
            until((root / "reached").exists, "the step began")

        unsaid = cli("workspace", "kill")
        assert (unsaid.code, "1 run under way becomes interrupted" in unsaid.err) == (2, True)
        assert "flowstead workspace kill --yes" in unsaid.err
        assert client.run(run_id)["status"] == "running"

        killed = cli("workspace", "kill", "--yes", "--json")
        assert (killed.code, killed.json["released"]) == (0, True), killed
        assert elsewhere.runs()["runs"][0]["status"] == "running"
    assert daemon_pid(home) == pid
    assert not ProcessLock(WorkspaceLayout.of(cli.workspace.root).engine_lock).is_held()
    assert cli("runs", "--json").json["runs"][0]["status"] == "interrupted"
    again = cli("workspace", "kill", "--yes", "--json")
    assert again.json["killed"] is None
    assert cli("run", "small").code == 0


def test_a_command_that_runs_a_workspace_is_killed(cli: CommandLine) -> None:
    cli.workspace.module("deaf", DEAF)
    process = cli.start("run", "deaf")
    until((cli.workspace.root / "reached").exists, "the step began")
    killed = cli("workspace", "kill", "--yes")
    assert (killed.code, "The workspace is free" in killed.out) == (0, True), killed
    assert cli.end(process).code == 130
    assert cli("runs", "--json").json["runs"][0]["status"] == "interrupted"


def test_what_a_command_runs_is_seen_running_by_a_daemon_that_comes_later(daemon: CommandLine) -> None:
    daemon.workspace.module("slow", WAITS)
    process = daemon.start("run", "slow")
    read_until(process, "✓ First")
    assert daemon("daemon", "start").code == 0
    with connect(daemon.workspace.root) as client:
        (row,) = client.runs()["runs"]
        overview = client.overview()
    assert row["status"] == "running"
    assert overview["needs_you"] == []
    assert [each["id"] for each in overview["flows"][0]["running"]] == [row["id"]]
    (daemon.workspace.root / "flow_modules" / "go").touch()
    process.communicate(timeout=SECONDS)
    assert process.returncode == 0
