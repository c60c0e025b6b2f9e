"""Several processes at one workspace: one runs it, the others wait or say who does."""

import json
import os
import sqlite3
from contextlib import closing

import pytest
from engine_bench import ended, start_one, wait_until

from flowstead.model.errors import StorageError, WorkspaceBusy
from flowstead.workspace.shared import SharedFolder

GATED = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def a(context):
    note("begin")
    say("here")
    stop_at_gate()
    note("end")

def build():
    return Flow("Test").step(a)
"""


def test_the_second_is_told_who_has_the_workspace(bench, workspace, signals, gate):
    workspace.module("gated", GATED)
    engine = bench.engine()
    with pytest.raises(WorkspaceBusy) as busy:
        bench.engine()
    assert f"process {os.getpid()} (test)" in busy.value.message
    assert busy.value.detail["pid"] == os.getpid()
    assert busy.value.hint
    refused = bench.driver("gated", wait=False).result()
    assert refused["error"]["code"] == "workspace-busy"
    assert refused["error"]["detail"]["pid"] == os.getpid()
    engine.close()
    assert bench.engine().failure is None


def test_the_second_waits_for_the_first(bench, workspace, signals, gate):
    workspace.module("gated", GATED)
    first = bench.driver("gated")
    signals.line()
    second = bench.driver("gated", new=True)
    assert second.line()["waiting_for"]["pid"] == first.pid
    with pytest.raises(WorkspaceBusy) as busy:
        bench.engine()
    assert busy.value.detail["pid"] == first.pid
    gate.open_gate(2)
    results = [first.result(), second.result()]
    assert [len(result["started"]) for result in results] == [1, 1]
    assert bench.notes == ["begin", "end", "begin", "end"]
    (waited,) = results[1]["waited_for"]
    assert waited["command"] == "driver"


def test_a_suspended_engine_keeps_the_workspace(bench, workspace, signals, gate):
    import signal

    workspace.module("gated", GATED)
    first = bench.driver("gated")
    signals.line()
    os.kill(first.pid, signal.SIGSTOP)
    try:
        with pytest.raises(WorkspaceBusy):
            bench.engine()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    gate.open_gate()
    assert first.result()["runs"][0]["status"] == "succeeded"


def test_twenty_processes_with_one_key_start_one_run(bench, workspace):
    workspace.module(
        "keyed",
        """
        from flowstead import Flow
        from flow_helpers.marks import note

        def build():
            return Flow("Test").step(lambda context: note("ran"))
        """,
    )
    drivers = [bench.driver("keyed", key="monday") for _ in range(20)]
    results = [driver.result() for driver in drivers]
    ids = {run["id"] for result in results for run in result["runs"]}
    assert len(ids) == 1, json.dumps(results)[:2000]
    assert bench.notes == ["ran"]
    assert all(result["runs"][0]["status"] == "succeeded" for result in results)


def test_a_key_gives_the_same_run_after_it_has_ended(bench, workspace):
    workspace.module("keyed", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    engine = bench.engine()
    first = start_one(engine, "keyed", key="k")
    ended(engine, first)
    assert start_one(engine, "keyed", key="k", new=True) == first
    assert start_one(engine, "keyed", key="other") != first


def test_an_engine_whose_epoch_is_over_writes_nothing_more(bench, workspace, signals, gate):
    """The lock makes this impossible on a sound file system; the epoch holds where it does not."""
    workspace.module("gated", GATED)
    engine = bench.engine()
    run_id = start_one(engine, "gated")
    signals.line()
    # Race: the step is reached a moment before it is on record that a worker which had to be started runs it.
    wait_until(engine, lambda: engine.ledger.reader.run(run_id).status == "running")
    worker = engine.dispatcher.session(run_id).worker
    with closing(sqlite3.connect(bench.layout.ledger)) as other, other:
        other.execute("UPDATE meta SET value = CAST(value AS INTEGER) + 1 WHERE key = 'epoch'")
        other.execute("UPDATE runs SET epoch = epoch + 1, token = 'taken over' WHERE id = ?", (run_id,))
    gate.open_gate()
    assert worker.join(30)
    run = engine.ledger.reader.run(run_id)
    assert run.status == "running"
    assert run.steps[0].status == "running"
    assert run_id not in engine.dispatcher.active


def test_an_owner_whose_last_changes_could_not_be_published_does_not_release(bench, workspace, monkeypatch):
    workspace.module("plain", "from flowstead import Flow\ndef build(): return Flow('A').step(print)\n")
    engine = bench.engine()
    replace = SharedFolder.replace

    def fails(folder: SharedFolder, name: str, data: bytes) -> None:
        if name.startswith("state/"):
            raise StorageError("The answer was lost.")
        replace(folder, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(SharedFolder, "replace", fails)
        run_id = start_one(engine, "plain")
        ended(engine, run_id)
        with pytest.raises(StorageError):
            engine.close()
    claims = workspace.root / ".workspace_state" / "claims"
    # What is half written may turn up later: only the claim after one that fell silent refuses it for ever.
    assert [path.name for path in claims.iterdir()] == ["00000001.json"]
    bench.engine().close()
    assert sorted(path.name for path in claims.glob("*.json")) == ["00000001.json", "00000002.json"]
