"""What a run is after its worker, or its whole engine, was killed."""

import os
import signal

import pytest
from engine_bench import ended, log_of, run_flow, start, start_one, wait_for_death, wait_until

from flowstead.ledger import LedgerReader

ABC = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def a(context):
    note("A")
    return {"made": "by a"}

def b(context):
    note("B")
    say(f"{__import__('os').getpid()}")
    stop_at_gate()
    return context.current["made"]

def c(context):
    note("C")
    context.summary = context.current

def build():
    return Flow("Test"RESUME).step(a).step(b).step(c)
"""


@pytest.fixture
def abc(workspace):
    def write(resume: str = "auto") -> None:
        workspace.module("abc", ABC.replace("RESUME", f', resume="{resume}"'))

    return write


def steps_of(run):
    return [(step.name, step.status, step.attempt) for step in run.steps]


def test_a_killed_worker_costs_only_the_step_under_way(bench, abc, signals, gate):
    abc()
    engine = bench.engine()
    run_id = start_one(engine, "abc")
    os.kill(int(signals.line()), signal.SIGKILL)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert run.status == "succeeded"
    assert run.attempt == 2
    assert steps_of(run) == [("a", "succeeded", 1), ("b", "succeeded", 2), ("c", "succeeded", 1)]
    assert bench.notes == ["A", "B", "B", "C"]
    assert run.summary == "by a"
    rows = [(row[1], row[2], row[3]) for row in engine.ledger.reader.step_rows(run_id)]
    assert rows == [(0, 1, "succeeded"), (1, 1, "interrupted"), (1, 2, "succeeded"), (2, 1, "succeeded")]
    events = [line["event"] for line in log_of(bench, run_id)]
    assert events.count("run.requeued") == 1
    assert events.count("run.started") == 2
    assert events[-1] == "run.finished"


def test_a_killed_engine_leaves_a_run_that_goes_on_with_the_next(bench, abc, signals, gate, home):
    abc()
    first = bench.driver("abc")
    worker = int(signals.line())
    first.kill()
    wait_for_death(worker)
    second = bench.driver("abc")
    signals.line()
    gate.open_gate()
    result = second.result()
    assert result["started"] == []
    (run,) = result["runs"]
    assert result["resumed"] == [run["id"]]
    assert run["status"] == "succeeded"
    assert run["attempt"] == 2
    assert [(step["name"], step["attempt"]) for step in run["steps"]] == [("a", 1), ("b", 2), ("c", 1)]
    assert bench.notes == ["A", "B", "B", "C"]
    log_of(bench, run["id"])


def test_a_worker_that_cannot_tell_its_engine_is_gone_is_killed_by_the_next(bench, abc, signals, gate, home):
    abc()
    first = bench.driver("abc")
    worker = int(signals.line())
    os.kill(worker, signal.SIGSTOP)  # so that it does not end by itself
    first.kill()
    engine = bench.engine()
    wait_for_death(worker)
    (run_id,) = engine.ledger.reader.open_runs()
    assert engine.ledger.reader.run(run_id).status == "interrupted"
    assert bench.notes == ["A", "B"]


def test_the_run_of_another_flow_waits_for_someone_to_ask(bench, abc, workspace, signals, gate):
    abc()
    workspace.module("other", "from flowstead import Flow\ndef build(): return Flow('Other').step(lambda context: 1)\n")
    first = bench.driver("abc")
    signals.line()
    first.kill()
    engine = bench.engine(only=())
    assert start(engine, "other").resumed == ()
    (run_id,) = engine.ledger.reader.open_runs()
    assert engine.ledger.reader.run(run_id).status == "interrupted"


def test_resume_manual_ends_interrupted_until_someone_resumes(bench, abc, signals, gate):
    abc("manual")
    engine = bench.engine()
    run_id = start_one(engine, "abc")
    os.kill(int(signals.line()), signal.SIGKILL)
    (run,) = ended(engine, run_id)
    assert run.status == "interrupted"
    assert run.error["code"] == "worker-killed"
    assert "resume" in run.actions
    # Another start does not touch it: it begins a run of its own.
    other = start(engine, "abc")
    assert other.resumed == ()
    signals.line()
    gate.open_gate()
    ended(engine, *other.started)
    engine.resume(run_id)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id, statuses=("succeeded", "failed"))
    assert (run.status, run.attempt) == ("succeeded", 2)
    assert bench.notes == ["A", "B", "A", "B", "C", "B", "C"]


def test_resume_never_ends_interrupted_for_good(bench, abc, signals, gate):
    from flowstead.model.errors import TransitionRefused

    abc("never")
    engine = bench.engine()
    run_id = start_one(engine, "abc")
    os.kill(int(signals.line()), signal.SIGKILL)
    (run,) = ended(engine, run_id)
    assert run.status == "interrupted"
    assert run.actions == ["retry"]
    with pytest.raises(TransitionRefused) as refused:
        engine.resume(run_id)
    assert "retry" in refused.value.hint
    assert start(engine, "abc").resumed == ()
    signals.line()


def test_a_run_that_loses_its_worker_again_and_again_ends_failed(bench, abc, signals, gate):
    abc()
    engine = bench.engine(resume_limit=3)
    run_id = start_one(engine, "abc")
    for _ in range(3):
        os.kill(int(signals.line()), signal.SIGKILL)
    (run,) = ended(engine, run_id)
    assert run.status == "failed"
    assert run.error["code"] == "worker-killed"
    assert "3 times" in run.error["message"]
    assert run.error["hint"]
    assert run.attempt == 3
    assert bench.notes == ["A", "B", "B", "B"]


def test_an_interrupted_engine_leaves_its_runs_interrupted(bench, abc, signals, gate):
    abc()
    engine = bench.engine()
    run_id = start_one(engine, "abc")
    worker = int(signals.line())
    engine.close()
    wait_for_death(worker)
    # By the engine itself, not only by the next one.
    reader = LedgerReader(bench.layout.ledger)
    assert reader.run(run_id).status == "interrupted"
    reader.close()
    engine = bench.engine()
    assert log_of(bench, run_id)[-1]["data"]["status"] == "interrupted"
    assert start(engine, "abc").resumed == (run_id,)
    signals.line()
    gate.open_gate()
    assert ended(engine, run_id)[0].status == "succeeded"


def test_a_flow_without_stored_outputs_begins_again(bench, workspace, signals, gate):
    workspace.module(
        "unstored",
        """
        from flowstead import Flow
        from flow_helpers.marks import note, say, stop_at_gate

        def a(context):
            note("A")
            return lambda: 7

        def b(context):
            note("B")
            say(f"{__import__('os').getpid()}")
            stop_at_gate()
            return context.current()

        def build():
            return Flow("Test").step(a).step(b)
        """,
    )
    engine = bench.engine()
    run_id = start_one(engine, "unstored")
    os.kill(int(signals.line()), signal.SIGKILL)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert run.status == "succeeded"
    assert bench.notes == ["A", "B", "A", "B"]
    rows = [(row[1], row[2], row[3]) for row in engine.ledger.reader.step_rows(run_id)]
    assert rows == [(0, 1, "superseded"), (0, 2, "succeeded"), (1, 1, "interrupted"), (1, 2, "succeeded")]


def test_secrets_reach_the_attempt_after_a_lost_worker(bench, workspace, signals, gate):
    workspace.module(
        "secretive",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate

        def a(context):
            say(f"{__import__('os').getpid()}")
            stop_at_gate()
            context.summary = str(len(context.secret("token")))

        def build():
            return Flow("Test").ask("token", str, secret=True).step(a)
        """,
    )
    engine = bench.engine()
    run_id = start_one(engine, "secretive", params={"token": "hunter22"})
    os.kill(int(signals.line()), signal.SIGKILL)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert run.summary == "8"
    assert engine.dispatcher.secrets == {}


def test_secrets_given_again_reach_a_run_that_goes_on(bench, workspace, signals, gate):
    workspace.module(
        "secretive",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate

        def a(context):
            say("here")
            stop_at_gate()
            context.summary = context.secret("token")[:2]

        def build():
            return Flow("Test").ask("token", str, secret=True).step(a)
        """,
    )
    engine = bench.engine()
    run_id = start_one(engine, "secretive", params={"token": "hunter22"})
    signals.line()
    engine.close()
    engine = bench.engine()
    assert start(engine, "secretive", params={"token": "hunter22"}).resumed == (run_id,)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert (run.status, run.summary) == ("succeeded", "hu")


def test_the_number_of_attempts_is_seen_by_the_flow(bench, workspace, signals):
    workspace.module(
        "counting",
        """
        import os, signal
        from flowstead import Flow

        def a(context):
            if context.attempt == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            context.summary = f"{context.attempt} {context.idempotency_key == context.run_id + ':0'}"

        def build():
            return Flow("Test").step(a)
        """,
    )
    engine = bench.engine()
    run = run_flow(engine, "counting")
    assert (run.status, run.summary) == ("succeeded", "2 True")
    wait_until(engine, lambda: not engine.dispatcher.active)
