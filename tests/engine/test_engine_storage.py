"""Disks that are full or cannot be written, and files that are not what was written to them."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from engine_bench import DEADLINE, ended, log_of, run_flow, start, start_one, wait_for_death

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.ledger.connection import SCHEMA_VERSION
from flowstead.model.errors import HomeUnwritable, LedgerDamaged, LedgerTooNew

SOUND = "from flowstead import Flow\ndef build(): return Flow('Sound').step(lambda context: 1)\n"
FILLS = """
import os
from pathlib import Path
from flowstead import Flow
from flow_helpers.marks import note

def a(context):
    note("A")
    return {"made": "by a"}

def b(context):
    note("B")
    ballast = Path(os.environ["FLOWSTEAD_HOME"]) / "ballast"
    if bench_notes() < 3:
        with ballast.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass
    print("after the disk is full")
    return context.current["made"]

def c(context):
    note("C")
    context.summary = context.current

def bench_notes():
    return Path("../notes.txt").read_text().count("\\n")

def build():
    return Flow("Test").step(a).step(b).step(c)
"""


@pytest.fixture
def small_disk(bench, workspace, home):
    """Plays a scene of small_disk.py in a mount namespace of its own."""
    workspace.module("sound", SOUND)
    workspace.module("fills", FILLS)
    home.mkdir()
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount namespace for a small disk")

    def play(scene: str, megabytes: int = 3) -> dict:
        script = f'mount -t tmpfs -o size={megabytes}m none "$FLOWSTEAD_HOME" && exec "$@"'
        program = [sys.executable, str(Path(__file__).with_name("small_disk.py")), str(bench.root), scene]
        done = subprocess.run(
            ["unshare", "-rm", "sh", "-c", script, "sh", *program], capture_output=True, text=True, timeout=DEADLINE
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    return play


def test_a_disk_that_is_full_before_anything_ran(small_disk):
    scene = small_disk("full_before")
    error = scene["full"]["error"]
    assert error["code"] in ("disk-full", "home-unwritable", "storage-failed")
    assert error["hint"]
    assert "space" in error["message"] + error["hint"] or "full" in error["message"]
    assert scene["freed"]["run"]["status"] == "succeeded"


def test_a_disk_that_fills_up_during_a_run(small_disk, bench):
    scene = small_disk("full_during")
    error = scene["full"]["error"]
    assert error["code"] == "disk-full"
    assert "same command again" in error["hint"]
    (seen,) = scene["seen"]
    assert seen["steps"][0]["status"] == "succeeded"
    run = scene["freed"]["run"]
    assert run["id"] == seen["id"]
    assert run["status"] == "succeeded"
    assert run["summary"] == "by a"
    assert bench.notes == ["A", "B", "B", "C"]
    assert scene["freed"]["log"][-1] == "run.finished"


def test_a_home_that_cannot_be_written(small_disk):
    scene = small_disk("read_only")
    assert scene["first"]["run"]["status"] == "succeeded"
    error = scene["refused"]["error"]
    assert error["code"] == "home-unwritable"
    assert error["hint"]
    assert scene["again"]["run"]["status"] == "succeeded"


def test_a_home_that_cannot_be_made(workspace, tmp_path, monkeypatch):
    workspace.module("sound", SOUND)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLOWSTEAD_HOME", str(tmp_path / "file" / "home"))
    with Client(embedded(workspace.root, command="test")) as client, pytest.raises(HomeUnwritable) as refused:
        client.start("sound")
    assert "FLOWSTEAD_HOME" in refused.value.hint


def test_a_ledger_of_a_newer_version_is_left_alone(bench, workspace):
    workspace.module("sound", SOUND)
    engine = bench.engine()
    run = run_flow(engine, "sound")
    engine.close()
    with closing(sqlite3.connect(bench.layout.ledger)) as other, other:
        other.execute("PRAGMA user_version = 99")
    before = bench.layout.ledger.read_bytes()
    for _ in range(2):  # also the second time: the workspace was given free
        with pytest.raises(LedgerTooNew) as refused:
            bench.engine()
        assert "upgrade" in refused.value.hint
    assert bench.layout.ledger.read_bytes() == before
    with closing(sqlite3.connect(bench.layout.ledger)) as other, other:
        other.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    assert bench.engine().ledger.reader.run(run.id).status == "succeeded"


def test_a_damaged_ledger_is_kept_and_named(bench, workspace):
    workspace.module("sound", SOUND)
    engine = bench.engine()
    run_flow(engine, "sound")
    engine.close()
    bench.layout.ledger.write_bytes(b"no database at all" * 1000)
    for _ in range(2):
        with pytest.raises(LedgerDamaged) as refused:
            bench.engine()
        assert "keep it" in refused.value.hint
    bench.layout.ledger.rename(bench.layout.ledger.with_suffix(".kept"))
    assert run_flow(bench.engine(), "sound").status == "succeeded"


CHECKPOINTED = """
import os
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

class Made:
    def __init__(self, text): self.text = text
    def __setstate__(self, state):
        if os.path.exists("../unreadable"):
            raise RuntimeError("no longer")
        self.__dict__.update(state)

def first(context):
    note("first")
    return Made("first")

def second(context):
    note("second")
    return Made(context.current.text + " second")

def third(context):
    note("third")
    say(str(os.getpid()))
    stop_at_gate()
    context.summary = context.current.text

def build():
    return Flow("Test").step(first).step(second).step(third)
"""


@pytest.fixture
def interrupted(bench, workspace, signals, gate):
    """A run whose third step was under way when its engine went."""
    workspace.module("checkpointed", CHECKPOINTED)
    engine = bench.engine()
    run_id = start_one(engine, "checkpointed")
    signals.line()
    engine.close()
    gate.open_gate(3)
    return run_id


def resumed(bench, run_id):
    engine = bench.engine()
    assert start(engine, "checkpointed").resumed == (run_id,)
    (run,) = ended(engine, run_id)
    assert (run.status, run.summary) == ("succeeded", "first second")
    log_of(bench, run_id)
    return engine


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone"])
def test_a_damaged_checkpoint_moves_the_run_back(bench, interrupted, damage):
    path = bench.layout.run_folder(interrupted) / "checkpoints/step-1.pickle"
    content = path.read_bytes()
    match damage:
        case "truncated":
            path.write_bytes(content[:-3])
        case "changed":
            path.write_bytes(content[:-3] + b"???")
        case "gone":
            path.unlink()
    engine = resumed(bench, interrupted)
    assert bench.notes == ["first", "second", "third", "second", "third"]
    rows = [(row[1], row[2], row[3]) for row in engine.ledger.reader.step_rows(interrupted)]
    assert (1, 1, "superseded") in rows
    assert (1, 2, "succeeded") in rows


def test_all_checkpoints_gone(bench, interrupted):
    shutil.rmtree(bench.layout.run_folder(interrupted))
    resumed(bench, interrupted)
    assert bench.notes == ["first", "second", "third", "first", "second", "third"]


def test_a_checkpoint_that_can_no_longer_be_read_back(bench, workspace, interrupted):
    workspace.file("unreadable")
    engine = resumed(bench, interrupted)
    assert bench.notes == ["first", "second", "third", "first", "second", "third"]
    assert engine.ledger.reader.run(interrupted).attempt == 4


@pytest.mark.parametrize("tail", [b'{"seq": 7, "mess', b"\0" * 300, b"garbage\n", b'{"seq": null}\n{"a'])
def test_a_corrupt_end_of_the_log(bench, interrupted, tail):
    path = bench.layout.run_folder(interrupted) / "events.ndjson"
    before = path.read_bytes()
    with path.open("ab") as file:
        file.write(tail)
    engine = bench.engine()
    start(engine, "checkpointed")
    (run,) = ended(engine, interrupted)
    assert run.status == "succeeded"
    assert path.read_bytes().startswith(before)
    with Client(embedded(bench.root, command="test")) as client:
        lines = [line for line in client.log(interrupted) if line]
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[-1]["event"] == "run.finished"


def test_a_log_that_lost_its_last_lines_with_its_engine_is_finished_by_the_next(bench, workspace):
    workspace.module("sound", SOUND)
    engine = bench.engine()
    runs = [run_flow(engine, "sound", new=True).id for _ in range(2)]
    engine.close()
    path = bench.layout.run_folder(runs[0]) / "events.ndjson"
    whole = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(whole[:-2]) + whole[-2][:30])
    untouched = (bench.layout.run_folder(runs[1]) / "events.ndjson").read_bytes()
    bench.engine()
    last = log_of(bench, runs[0])[-1]
    assert (last["event"], last["data"]["status"]) == ("run.finished", "succeeded")
    assert (bench.layout.run_folder(runs[1]) / "events.ndjson").read_bytes() == untouched


def test_the_log_of_a_run_of_a_killed_engine_says_that_it_was_interrupted(bench, workspace, signals, gate):
    workspace.module("checkpointed", CHECKPOINTED)
    driver = bench.driver("checkpointed")
    pid = int(signals.line())
    os.kill(driver.pid, signal.SIGKILL)
    wait_for_death(pid)
    (run_id,) = bench.engine().ledger.reader.open_runs()
    last = log_of(bench, run_id)[-1]
    assert (last["event"], last["level"], last["data"]["status"]) == ("run.finished", "warning", "interrupted")
    assert last["data"]["error"]["code"] == "interrupted"


def test_a_log_is_followed_to_its_last_line(bench, workspace):
    workspace.module("sound", SOUND)
    with Client(embedded(bench.root, command="test")) as client:
        for _ in range(4):
            (run_id,) = client.start("sound", new=True)["started"]
            lines = [line for line in client.log(run_id, follow=True) if line]
            assert lines[-1]["event"] == "run.finished"


def test_what_a_step_prints_is_in_the_log_while_it_works(bench, workspace):
    workspace.module(
        "patient",
        """
        import time
        from pathlib import Path

        from flowstead import Flow

        def build():
            return Flow("Tests").step(wait)

        def wait(context):
            print("waiting")
            while not (Path(__file__).parent.parent / "go").exists():
                time.sleep(0.01)
        """,
    )
    with Client(embedded(bench.root, command="test")) as client:
        (run_id,) = client.start("patient", new=True)["started"]
        for line in client.log(run_id, follow=True):
            if line and line["message"] == "waiting":
                assert client.run(run_id)["status"] == "running"
                workspace.file("go")
        assert (workspace.root / "go").exists()
