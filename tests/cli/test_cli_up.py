"""`flowstead up` and `flowstead engine`: what runs by itself, told, stopped, killed and begun again."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter

import pytest
from calling import SECONDS, THREE_STEPS, read_until

from flowstead.ledger import LedgerReader
from flowstead.workspace.layout import WorkspaceLayout

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"

EACH = """
    from flowstead import Flow

    def build():
        return (
            Flow("Files")
            .watch(mode="poll", source="../inbox", interval="30s", extensions=[".txt"], max_parallel=2)
            .step(read)
        )

    def read(context):
        context.summary = context.source.path.read_text()
"""

GATED = """
    import time
    from pathlib import Path

    from flowstead import Flow

    def build():
        return (
            Flow("Files")
            .watch(mode="poll", source="../inbox", interval="1d", extensions=[".txt"], settle=0)
            .step(wait)
        )

    def wait(context):
        while not Path("go").exists():
            time.sleep(0.01)
"""


def wait_until(condition, what="it", seconds=SECONDS):
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in time"
        pause.wait(0.02)
    return found


def put(workspace, name, text):
    """As a careful program does: the file is there as a whole."""
    path = workspace.root / "inbox" / name
    beside = path.with_name(f".{name}.part")
    beside.write_text(text)
    os.replace(beside, path)


@pytest.fixture
def reader(workspace, home):
    reader = LedgerReader(WorkspaceLayout.of(workspace.root, home).ledger)
    yield reader
    reader.close()


def statuses(reader):
    return Counter(run.status for run in reader.runs(limit=100_000, with_steps=False))


def test_up_tells_what_it_watches_and_each_run_and_ends_with_ctrl_c(cli, workspace):
    workspace.module("each", EACH)
    workspace.module(
        "nightly", THREE_STEPS.replace('Flow("Small")', 'Flow("Small").watch(mode="schedule", time="03:00")')
    )
    workspace.module("broken", "def build(:")
    workspace.file("inbox/first.txt", "the first")
    up = cli.start("up")
    head = read_until(up, "Ctrl-C stops")
    lines = head.splitlines()
    assert lines[0].split() == ["FLOW", "STATE", "LAST", "RUN"]
    assert any(line.startswith("each ") and "watching inbox" in line for line in lines)
    assert any(line.startswith("nightly ") and "due " in line for line in lines)
    assert any("broken: invalid syntax" in line for line in lines)
    assert "the first" in read_until(up, "each first.txt")
    put(workspace, "second.txt", "the second")
    assert "the second" in read_until(up, "each second.txt")
    (workspace.root / "inbox").rename(workspace.root / "elsewhere")
    read_until(up, "does not exist")
    (workspace.root / "elsewhere").rename(workspace.root / "inbox")
    read_until(up, "each: watching inbox")
    ended = cli.interrupt(up)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "Stopped."


def test_up_tells_programs_the_same_a_line_each(cli, workspace):
    workspace.module("each", EACH)
    workspace.file("inbox/first.txt", "the first")
    up = cli.start("up", "--json")
    text = read_until(up, '"summary": "the first"')
    up.send_signal(signal.SIGTERM)
    ended = cli.end(up)
    assert ended.code == 0
    events = [json.loads(line) for line in (text + ended.out).splitlines()]
    assert [event["event"] for event in events if event["event"] != "change"] == ["status", "stopping", "stopped"]
    (flow,) = events[0]["flows"]
    assert (flow["flow"], flow["state"], events[0]["automated"]) == ("each", "watching", True)
    assert {event["row"]["status"] for event in events if event["event"] == "change"} >= {"succeeded"}


def test_ctrl_c_lets_what_has_started_finish_and_twice_interrupts(cli, workspace, reader):
    workspace.module("gated", GATED)
    for name in ("a.txt", "b.txt"):
        workspace.file(f"inbox/{name}", "1")
    up = cli.start("up")
    read_until(up, "Ctrl-C stops")
    wait_until(lambda: statuses(reader) == {"running": 1, "queued": 1})
    up.send_signal(signal.SIGINT)
    before = time.monotonic()
    said = read_until(up, "Stopping")
    assert time.monotonic() - before < 5  # the promise is a second; a busy machine may take longer to print
    assert "1 run under way finishes first and 1 waits in the queue" in said
    (workspace.flow_modules / "go").touch()
    ended = cli.end(up)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "Stopped.")
    assert statuses(reader) == {"succeeded": 1, "queued": 1}
    (workspace.flow_modules / "go").unlink()
    up = cli.start("up")
    read_until(up, "Ctrl-C stops")
    wait_until(lambda: statuses(reader) == {"succeeded": 1, "running": 1})
    up.send_signal(signal.SIGINT)
    read_until(up, "Stopping")
    ended = cli.interrupt(up)
    assert (ended.code, "Interrupted" in ended.out) == (130, True)
    assert statuses(reader) == {"succeeded": 1, "interrupted": 1}
    (workspace.flow_modules / "go").touch()
    up = cli.start("up")
    wait_until(lambda: statuses(reader) == {"succeeded": 2}, "that the interrupted run went on")
    cli.interrupt(up)


def test_engine_status_says_what_stands_and_who_runs_it(cli, workspace):
    workspace.module("each", EACH)
    (workspace.root / "inbox").mkdir()
    asked = cli("engine", "status", "--json").json
    assert (asked["automated"], asked["flows"][0]["state"], asked["holder"]) == (False, "off", None)
    up = cli.start("up")
    read_until(up, "Ctrl-C stops")
    assert f"in process {up.pid} (flowstead up)" in cli("engine", "status").out
    refused = cli("engine", "stop")
    assert (refused.code, f"process {up.pid}" in refused.err) == (1, True)
    second = cli("up", "--no-wait")
    assert (second.code, "in use by process" in second.err) == (4, True)
    cli.interrupt(up)


@pytest.fixture(params=["up", "daemon"] if COMPLETE_RUN else ["up"])
def killable(request, cli, home):
    """Begins to run the workspace by itself, in a process that is killed; returns the way to kill it."""
    first = True

    def begin_up():
        up = cli.start("up", "--json")
        threading.Thread(target=up.communicate, daemon=True).start()  # or it would wait for a reader

        def kill():
            up.kill()
            up.wait(SECONDS)

        return kill

    def begin_daemon():
        nonlocal first
        # The daemon that follows goes on by itself.
        assert cli("engine" if first else "daemon", "start").code == 0
        first = False
        pid = json.loads((home / "daemon.json").read_text())["pid"]
        return lambda: os.kill(pid, signal.SIGKILL)

    yield {"up": begin_up, "daemon": begin_daemon}[request.param]
    if request.param == "daemon":
        cli("daemon", "kill")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_files_that_arrive_while_it_is_killed_five_times_run_once_each(killable, workspace, reader, request):
    many = 10_000 if "daemon" in request.node.callspec.id else 500
    count = many if COMPLETE_RUN else 120
    again = count // 6
    workspace.module("each", EACH.replace("max_parallel=2", "max_parallel=4"))
    (workspace.root / "inbox").mkdir()
    expected = {(f"{number:05}.txt", f"{number} as it was") for number in range(count)}
    expected |= {(f"{number:05}.txt", f"{number} as it is now") for number in range(again)}

    def drop():
        pause = threading.Event()
        for number in range(count):
            put(workspace, f"{number:05}.txt", f"{number} as it was")
            if number % 50 == 0:
                pause.wait(0.1)
        for number in range(again):
            # A version that nobody has read yet would be lost, rightly: so the first one is waited for.
            path = f"{number:05}.txt"
            wait_until(lambda path=path: path in reader.file_state("each", "inbox", [path]), path)
            put(workspace, path, f"{number} as it is now")

    dropping = threading.Thread(target=drop)
    dropping.start()
    done = 0
    for _ in range(5):
        kill = killable()
        goal = done + len(expected) // 8
        wait_until(lambda goal=goal: statuses(reader)["succeeded"] >= goal, f"{goal} runs", 5 * SECONDS)
        kill()
        done = statuses(reader)["succeeded"]
    kill = killable()
    dropping.join(20 * SECONDS)
    wait_until(lambda: statuses(reader) == {"succeeded": len(expected)}, "all runs", 20 * SECONDS)
    kill()
    runs = reader.runs(limit=100_000, with_steps=False)
    assert Counter((run.source_path, run.summary) for run in runs) == Counter(expected)
