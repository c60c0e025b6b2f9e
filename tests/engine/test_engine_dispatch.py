"""Which runs go on at once, in what order, and under which limits."""

import json
import shutil
import sys
import threading

from engine_bench import DEADLINE, FakeClock, ended, run_flow, start, start_one, wait_until

from flowstead.model.run import RunRequest

GATED = """
from flowstead import Flow
from flow_helpers.marks import say, stop_at_gate

def work(context):
    name = context.source.relative_path if context.source else ""
    say(f"begin {context.flow_name} {name}")
    stop_at_gate()
    say(f"end {context.flow_name} {name}")

def build():
    return Flow("GROUP").watch(WATCH).step(work)
"""


def gated(workspace, name: str, group: str = "Test", watch: str = "") -> None:
    workspace.module(name, GATED.replace("GROUP", group).replace("WATCH", watch))


def files(workspace, count: int) -> str:
    for number in range(count):
        workspace.file(f"in/{number}.csv", str(number))
    return 'mode="poll", source="../in", interval="1m"'


def test_max_parallel_is_never_exceeded_and_always_reached(bench, workspace, signals, gate):
    watch = files(workspace, 9)
    gated(workspace, "three", watch=f"{watch}, max_parallel=3")
    engine = bench.engine(worker_slots=8)
    started = start(engine, "three")
    assert {line.split()[0] for line in signals.lines(3)} == {"begin"}
    for _ in range(6):
        assert signals.silent()
        assert len(engine.dispatcher.active) == 3
        gate.open_gate()
        assert [line.split()[0] for line in signals.lines(2)] == ["end", "begin"]
    gate.open_gate(3)
    assert {line.split()[0] for line in signals.lines(3)} == {"end"}
    assert {run.status for run in ended(engine, *started.started)} == {"succeeded"}


def test_worker_slots_limit_all_flows_together(bench, workspace, signals, gate):
    for name in ("a", "b", "c"):
        gated(workspace, name, group=name)
    engine = bench.engine(worker_slots=2)
    runs = [start_one(engine, name) for name in ("a", "b", "c")]
    assert sorted(signals.lines(2)) == ["begin a ", "begin b "]
    assert len(engine.dispatcher.active) == 2
    assert engine.ledger.reader.run(runs[2]).status == "queued"
    gate.open_gate()
    assert signals.line().startswith("end")
    assert signals.line() == "begin c "
    gate.open_gate(2)
    ended(engine, *runs)


def test_flows_of_one_group_take_turns(bench, workspace, signals, gate):
    gated(workspace, "a")
    gated(workspace, "b")
    gated(workspace, "other", group="Other")
    engine = bench.engine(worker_slots=8)
    runs = [start_one(engine, name, new=True) for name in ("a", "b", "a", "other")]
    assert sorted(signals.lines(2)) == ["begin a ", "begin other "]
    gate.open_gate(2)
    assert sorted(signals.lines(2)) == ["end a ", "end other "]
    order = []
    for _ in range(2):
        order.append(signals.line())
        gate.open_gate()
        order.append(signals.line())
    assert order == ["begin b ", "end b ", "begin a ", "end a "]
    ended(engine, *runs)


def test_a_younger_run_of_the_busy_flow_does_not_overtake_its_group(bench, workspace, signals, gate):
    """Else a flow with many files would keep the turn for ever."""
    watch = files(workspace, 1)
    gated(workspace, "busy", watch=f"{watch}, max_parallel=2")
    gated(workspace, "patient")
    engine = bench.engine(worker_slots=8)
    first = start(engine, "busy").started
    signals.line()
    second = [start_one(engine, "patient")]
    workspace.file("in/later.csv", "1")
    third = start(engine, "busy").started
    assert len(third) == 1
    gate.open_gate()
    assert signals.line() == "end busy 0.csv"
    assert signals.line() == "begin patient "
    assert engine.ledger.reader.run(third[0]).status == "queued"
    gate.open_gate(2)
    ended(engine, *first, *second, *third)


def test_parallel_groups_need_no_turns(bench, workspace, signals, gate):
    gated(workspace, "a")
    gated(workspace, "b")
    engine = bench.engine(worker_slots=8, parallel_groups=("Test",))
    runs = [start_one(engine, name) for name in ("a", "b")]
    assert sorted(signals.lines(2)) == ["begin a ", "begin b "]
    gate.open_gate(2)
    ended(engine, *runs)


def test_all_groups_may_be_parallel(bench, workspace, signals, gate):
    gated(workspace, "a")
    gated(workspace, "b")
    engine = bench.engine(worker_slots=8, parallel_groups=("*",))
    runs = [start_one(engine, name) for name in ("a", "b")]
    assert sorted(signals.lines(2)) == ["begin a ", "begin b "]
    gate.open_gate(2)
    ended(engine, *runs)


def test_runs_of_a_flow_begin_in_the_order_they_were_queued(bench, workspace, signals, gate):
    watch = files(workspace, 5)
    gated(workspace, "one", watch=watch)
    gate.open_gate(5)
    engine = bench.engine()
    started = start(engine, "one")
    order = [line.split()[2] for line in signals.lines(10) if line.startswith("begin")]
    assert order == [f"{number}.csv" for number in range(5)]
    assert all(run.status == "succeeded" for run in ended(engine, *started.started))


def test_only_the_flows_that_were_asked_for_run(bench, workspace, signals, gate):
    gated(workspace, "a")
    gated(workspace, "b", group="Other")
    engine = bench.engine(only=("nothing",))
    digest = engine.catalog.entry("b").digest
    first = start_one(engine, "a")
    assert signals.line() == "begin a "
    gate.open_gate()
    ended(engine, first)
    engine.close()
    engine = bench.engine(only=())
    engine.dispatcher._only = set()  # queued by an engine that is gone
    engine.ledger.write(lambda tx: tx.enqueue(RunRequest("b", "Other", digest, "manual")))
    second = start_one(engine, "a")
    signals.line(), signals.line()
    gate.open_gate()
    ended(engine, second)
    (left,) = engine.ledger.reader.open_runs("b", ("queued",))
    engine.dispatcher.include(["b"])
    signals.line()
    gate.open_gate()
    assert ended(engine, left)[0].status == "succeeded"


def test_runs_whose_version_is_gone_fail_one_by_one(bench, workspace):
    workspace.module("sound", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    engine = bench.engine(only=())
    digest = engine.catalog.entry("sound").digest
    requests = [RunRequest("sound", "T", digest, "manual") for _ in range(1500)]
    engine.ledger.write(lambda tx: [tx.enqueue(request) for request in requests])
    engine.close()
    shutil.rmtree(bench.layout.versions / digest)
    # A version that the workspace still has is described again.
    workspace.module("sound", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 2)\n")
    engine = bench.engine(only=())
    engine.dispatcher.include(["sound"])
    wait_until(engine, lambda: not engine.ledger.reader.open_runs(statuses=("queued", "starting", "running")))
    run = engine.ledger.reader.run(requests[-1].id)
    assert (run.status, run.error["code"]) == ("failed", "version-missing")
    assert run.error["hint"]
    assert engine.failure is None
    assert run_flow(engine, "sound").status == "succeeded"


CRASHING = """
import os
from flowstead import Flow
from flow_helpers.marks import note

def a(context):
    note(str(context.attempt))
    if context.attempt < 3:
        os._exit(1)

def build():
    return Flow("Test").step(a, retries=5, retry_delay="1h")
"""


def test_a_delayed_run_goes_on_when_it_is_due(bench, workspace):
    workspace.module("crashing", CRASHING)
    clock = FakeClock()
    engine = bench.engine(clock=clock)
    run_id = start_one(engine, "crashing")
    for attempts in (1, 2):
        wait_until(engine, lambda: engine.ledger.reader.run(run_id).status == "queued" and not engine.dispatcher.active)
        assert len(bench.notes) == attempts
        clock.advance(60)
        assert engine.ledger.reader.run(run_id).status == "queued"
        clock.advance(2 * 3600)
        wait_until(engine, lambda number=attempts: len(bench.notes) > number)
    assert ended(engine, run_id)[0].status == "succeeded"


def test_a_delayed_run_goes_on_after_a_restart(bench, workspace):
    workspace.module("crashing", CRASHING)
    clock = FakeClock()
    engine = bench.engine(clock=clock)
    run_id = start_one(engine, "crashing")
    wait_until(engine, lambda: engine.ledger.reader.run(run_id).status == "queued" and not engine.dispatcher.active)
    engine.close()
    engine = bench.engine(clock=clock, only=("crashing",))
    assert engine.ledger.reader.open_runs() == []
    assert bench.notes == ["1"]
    clock.advance(2 * 3600)
    wait_until(engine, lambda: len(bench.notes) == 2)


def test_a_delayed_run_whose_alarm_comes_too_early_is_not_forgotten(bench, workspace):
    """The wall's clock may be set back, or run slower than the one that alarms go by."""

    class Slow(FakeClock):
        def now(self) -> int:
            return int(self._time * 1_000_000 * 0.5)

    workspace.module("crashing", CRASHING)
    clock = Slow()
    # Its hours pass while workers load, too.
    engine = bench.engine(clock=clock, load_timeout=1e8)
    run_id = start_one(engine, "crashing")
    for attempts in (1, 2):
        wait_until(engine, lambda: engine.ledger.reader.run(run_id).status == "queued" and not engine.dispatcher.active)
        for _ in range(40):
            clock.advance(900)
        wait_until(engine, lambda number=attempts: clock.advance(900) or len(bench.notes) > number)
    assert ended(engine, run_id)[0].status == "succeeded"


def test_a_worker_that_cannot_be_started(bench, workspace, monkeypatch):
    workspace.module("sound", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    engine = bench.engine()
    assert engine.catalog.entry("sound").spec
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(sys, "executable", "/nonexistent/python")
        run = run_flow(engine, "sound")
    assert (run.status, run.error["code"]) == ("failed", "worker-not-started")
    assert run.error["hint"]
    assert run_flow(engine, "sound").status == "succeeded"


def test_many_at_once_all_end(bench, workspace):
    source = "from flowstead import Flow\ndef build(): return Flow('T').watch(max_parallel=4).step(lambda context: 1)\n"
    workspace.module("quick", source)
    engine = bench.engine(worker_slots=4)
    digest = engine.catalog.entry("quick").digest
    requests = [RunRequest("quick", "T", digest, "manual") for _ in range(200)]
    started: list[str] = []

    def ask(mine: list[RunRequest]) -> None:
        for request in mine:
            started.append(engine.start_run(request)[0])

    threads = [threading.Thread(target=ask, args=(requests[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    runs = ended(engine, *started)
    assert len(runs) == 200
    assert {run.status for run in runs} == {"succeeded"}
    assert {run.attempt for run in runs} == {1}
    changes = [row[3:] for row in engine.ledger.reader.events(0, 10_000) if row[2] == "run"]
    assert len(changes) == len(set(changes)), json.dumps(changes[:20])
