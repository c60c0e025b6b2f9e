"""Cancelling: at any moment, by anyone, with nothing left behind."""

import json
import os
import signal
import subprocess
import sys

import pytest
from engine_bench import ended, log_of, run_flow, start_one, wait_for_death, wait_until

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.model.errors import RunNotFound, TransitionRefused

THREE = """
import os, signal, subprocess, sys, time
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def a(context):
    note("A")
    BODY

def b(context):
    note("B")

def c(context):
    note("C")

def build():
    return Flow("Test").step(a).step(b).step(c)
"""


@pytest.fixture
def three(workspace):
    def write(body: str) -> None:
        workspace.module("three", THREE.replace("BODY", "\n    ".join(body.strip().splitlines())))

    return write


def statuses(run):
    return [step.status for step in run.steps]


def test_cancel_between_steps(bench, three, signals, gate):
    three('say("in A")\nstop_at_gate()')
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "three")
    signals.line()
    assert engine.cancel(run_id).status == "cancelling"
    assert engine.cancel(run_id).status == "cancelling"  # once more changes nothing
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    assert run.actions == ["retry"]
    assert statuses(run) == ["succeeded", "pending", "pending"]
    assert bench.notes == ["A"]
    with pytest.raises(TransitionRefused):
        engine.cancel(run_id)
    events = [line["event"] for line in log_of(bench, run_id)]
    assert events.count("run.cancelling") == 1
    # The worker obeyed, so it is kept.
    gate.open_gate()
    again = run_flow(engine, "three", new=True)
    assert again.status == "succeeded"


def test_a_step_may_look_for_the_cancellation_itself(bench, three, signals):
    three('say("in A")\nwhile True:\n    context.check_cancelled()\n    time.sleep(0.01)')
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "three")
    signals.line()
    engine.cancel(run_id)
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    assert statuses(run) == ["cancelled", "pending", "pending"]


@pytest.mark.parametrize(
    "stubborn", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"], ids=["deaf", "ignores SIGTERM too"]
)
def test_a_step_that_ignores_it_is_killed_after_the_grace_with_its_children(bench, three, signals, stubborn):
    three(
        f"""
{stubborn}
child = subprocess.Popen(["sleep", "600"])
apart = subprocess.Popen(["sleep", "600"], start_new_session=True)
say(f"{{os.getpid()}} {{child.pid}} {{apart.pid}}")
try:
    child.wait()
finally:
    say("A ended by itself")
"""
    )
    engine = bench.engine(cancel_grace=0.3)
    run_id = start_one(engine, "three")
    pids = [int(pid) for pid in signals.line().split()]
    assert engine.cancel(run_id).status == "cancelling"
    # The engine answers meanwhile.
    assert engine.ledger.reader.run(run_id).status == "cancelling"
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    assert statuses(run) == ["cancelled", "pending", "pending"]
    for pid in pids:
        wait_for_death(pid)
    assert bench.notes == ["A"]
    assert log_of(bench, run_id)[-1]["data"]["status"] == "cancelled"


def test_other_runs_go_on_while_a_stubborn_one_is_cancelled(bench, three, workspace, signals):
    three('signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsay("in A")\ntime.sleep(600)')
    workspace.module("quick", "from flowstead import Flow\ndef build(): return Flow('Other').step(lambda context: 1)\n")
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "three")
    signals.line()
    engine.cancel(run_id)
    assert run_flow(engine, "quick").status == "succeeded"
    assert engine.ledger.reader.run(run_id).status == "cancelling"


def test_a_worker_that_obeys_late_but_ignores_signals_does_not_stay(bench, three, signals):
    three(
        """
signal.signal(signal.SIGTERM, lambda *given: say("terminated"))
say(f"{os.getpid()}")
while True:
    try:
        context.check_cancelled()
    except BaseException:
        time.sleep(0.4)
        raise
"""
    )
    engine = bench.engine(cancel_grace=0.1)
    run_id = start_one(engine, "three")
    pid = int(signals.line())
    engine.cancel(run_id)
    assert ended(engine, run_id)[0].status == "cancelled"
    assert signals.line() == "terminated"
    wait_for_death(pid)


def test_cancel_a_queued_run(bench, three, signals, gate):
    three('say("in A")\nstop_at_gate()')
    engine = bench.engine(worker_slots=1)
    first = start_one(engine, "three")
    signals.line()
    second = start_one(engine, "three", new=True)
    assert engine.cancel(second).status == "cancelled"
    gate.open_gate()
    assert ended(engine, first)[0].status == "succeeded"
    run = engine.ledger.reader.run(second)
    assert (run.status, run.attempt, run.actions) == ("cancelled", 0, ["retry"])
    assert signals.silent()
    assert [line["event"] for line in log_of(bench, second)] == ["run.finished"]


def test_cancel_an_interrupted_run(bench, three, signals, gate):
    three('say("in A")\nstop_at_gate()')
    engine = bench.engine()
    run_id = start_one(engine, "three")
    signals.line()
    engine.close()
    engine = bench.engine()
    assert engine.cancel(run_id).status == "cancelled"
    assert [line["data"].get("status") for line in log_of(bench, run_id)[-2:]] == ["interrupted", "cancelled"]


def test_cancel_while_the_worker_still_loads(bench, workspace, signals, gate):
    workspace.module(
        "slow",
        """
        import os
        from flowstead import Flow
        from flow_helpers.marks import note, say, stop_at_gate

        if "FLOWSTEAD_WORKER" in os.environ:
            say(f"{os.getpid()}")
            stop_at_gate()

        def build():
            return Flow("Test").step(lambda context: note("A"))
        """,
    )
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "slow")
    pid = int(signals.line())
    engine.cancel(run_id)
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    wait_for_death(pid)
    assert bench.notes == []
    # The next run of it gets a worker that works.
    second = start_one(engine, "slow", new=True)
    signals.line()
    gate.open_gate()
    assert ended(engine, second)[0].status == "succeeded"


def test_a_long_resumed_run_whose_module_hangs_can_be_cancelled(bench, workspace, signals):
    workspace.module(
        "hanging",
        """
        import os
        from flowstead import Flow
        from flow_helpers.marks import note, say, stop_at_gate

        if "FLOWSTEAD_WORKER" in os.environ and os.path.exists("../hang"):
            say(f"{os.getpid()}")
            stop_at_gate()

        def made(context):
            return "x" * 10_000

        def killed(context):
            say(f"{os.getpid()}")
            stop_at_gate()

        def build():
            flow = Flow("Test")
            for number in range(20):
                flow = flow.step(made, save_as=f"waypoint_{number}")
            return flow.step(killed)
        """,
    )
    bench.fifo("gate")
    engine = bench.engine()
    run_id = start_one(engine, "hanging")
    pid = int(signals.line())
    workspace.file("hang")
    os.kill(pid, signal.SIGKILL)
    pid = int(signals.line())  # loading again, with more to be told than a pipe takes at once
    engine.cancel(run_id)
    assert ended(engine, run_id)[0].status == "cancelled"
    wait_for_death(pid)


def test_cancel_of_a_run_whose_worker_is_lost_at_that_moment(bench, three, signals, monkeypatch):
    three('say(f"{os.getpid()}")\ntime.sleep(600)')
    engine = bench.engine()
    run_id = start_one(engine, "three")
    pid = int(signals.line())
    session = engine.dispatcher._sessions[run_id]

    def lose_the_worker_first(reason):
        os.kill(pid, signal.SIGKILL)
        session.worker.join(30)

    monkeypatch.setattr(type(session), "cancel", lambda self, reason: lose_the_worker_first(reason))
    engine.cancel(run_id)
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    assert engine.dispatcher.active == []


def test_cancel_from_another_process(bench, three, home):
    signals, gate = bench.fifo("signal"), bench.fifo("gate")
    three('say("in A")\nstop_at_gate()')
    driver = bench.driver("three")
    signals.line()
    with Client(embedded(bench.root, command="canceller")) as client:
        (run,) = client.runs()["runs"]
        assert client.cancel(run["id"])["status"] == "cancelling"
        gate.open_gate()
    result = driver.result()
    assert [run["status"] for run in result["runs"]] == ["cancelled"]
    assert bench.notes == ["A"]
    with Client(embedded(bench.root, command="canceller")) as client, pytest.raises(TransitionRefused):
        client.cancel(run["id"])


def test_cancelled_by_another_process_without_a_pause_every_time(bench, workspace, signals, gate, home):
    """Requests that come at any moment of the engine's looking are all taken."""
    workspace.module(
        "waits",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate

        def a(context):
            say(context.run_id)
            while True:
                context.check_cancelled()

        def build():
            return Flow("Test").watch(max_parallel=1).step(a)
        """,
    )
    engine = bench.engine(worker_slots=1)
    for _ in range(5):
        run_id = start_one(engine, "waits", new=True)
        assert signals.line() == run_id
        code = (
            "import sys, json; from pathlib import Path; from flowstead.client import Client;"
            "from flowstead.daemon.embedded import embedded;"
            f"print(Client(embedded(Path({str(bench.root)!r}), command='x')).cancel({run_id!r})['status'])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert done.stdout.strip() in ("cancelling", "cancelled"), done.stderr
        assert ended(engine, run_id)[0].status == "cancelled"


def test_what_is_no_request_in_the_inbox_is_dropped(bench, three, signals, gate):
    three('say("in A")\nstop_at_gate()')
    engine = bench.engine()
    run_id = start_one(engine, "three")
    signals.line()
    inbox = bench.layout.inbox
    (inbox / "1.json").write_text("no json")
    (inbox / "2.json").write_text("[1]")
    (inbox / "3.json").write_text(json.dumps({"action": "cancel"}))
    (inbox / "4.json").write_text(json.dumps({"action": "cancel", "run_id": "r_unknown"}))
    (inbox / "5.json").write_text(json.dumps({"action": "cancel", "run_id": run_id}))
    wait_until(engine, lambda: engine.ledger.reader.run(run_id).status == "cancelling")
    gate.open_gate()
    ended(engine, run_id)
    assert engine.failure is None


def test_cancel_of_an_unknown_run(bench, three):
    three("pass")
    with pytest.raises(RunNotFound):
        bench.engine().cancel("r_unknown")


def test_items_are_not_begun_after_a_cancellation(bench, workspace, signals, gate):
    workspace.module(
        "mapping",
        """
        import time
        from flowstead import Flow
        from flow_helpers.marks import note, say, stop_at_gate

        def item(number):
            note(str(number))
            say(str(number))
            stop_at_gate()
            time.sleep(0.03)  # work: a cancellation is looked for every 20 ms

        def build():
            return Flow("Test").step(lambda context: list(range(100))).map(item, workers=2)
        """,
    )
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "mapping")
    signals.lines(2)
    engine.cancel(run_id)
    gate.open_gate(2)
    (run,) = ended(engine, run_id)
    assert run.status == "cancelled"
    assert sorted(bench.notes) == ["0", "1"]
    assert run.steps[1].items_done == 2


def test_a_waiting_retry_of_a_step_is_cancelled_at_once(bench, three, workspace, signals):
    workspace.module(
        "retrying",
        """
        from flowstead import Flow

        def a(context):
            raise ValueError("not yet")

        def build():
            return Flow("Test").step(a, retries=3, retry_delay="10m")
        """,
    )
    engine = bench.engine(cancel_grace=30.0)
    run_id = start_one(engine, "retrying")
    wait_until(engine, lambda: engine.ledger.reader.run(run_id).steps[0].status == "failed")
    engine.cancel(run_id)
    (run,) = ended(engine, run_id)
    assert (run.status, run.steps[0].attempt) == ("cancelled", 1)
