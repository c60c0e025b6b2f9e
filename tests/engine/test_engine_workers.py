"""Workers: kept warm for one version, recycled, and never used for another."""

import os

import pytest
from engine_bench import FakeClock, ended, is_alive, run_flow, start_one, wait_for_death, wait_until

from flowstead.engine.retrying import retry
from flowstead.model.errors import FlowBroken

PID = """
import os
from flowstead import Flow
from flowstead.engine.retrying import retry
from flowstead.model.errors import FlowBroken

def a(context):
    context.summary = f"{os.getpid()} VERSION"

def build():
    return Flow("Test").step(a)
"""


@pytest.fixture
def pid_flow(workspace):
    def write(version: str = "1", name: str = "pid") -> None:
        workspace.module(name, PID.replace("VERSION", version))

    write()
    return write


def pid_of(run):
    return int(run.summary.split()[0])


def test_a_worker_stays_warm_for_its_version(bench, pid_flow):
    engine = bench.engine()
    first = run_flow(engine, "pid")
    assert [pid_of(run_flow(engine, "pid", new=True)) for _ in range(5)] == [pid_of(first)] * 5
    assert is_alive(pid_of(first))
    engine.close()
    wait_for_death(pid_of(first))


def test_a_new_version_gets_a_new_worker(bench, pid_flow):
    engine = bench.engine()
    first = run_flow(engine, "pid")
    pid_flow("2")
    second = run_flow(engine, "pid", new=True)
    assert second.summary.endswith(" 2")
    assert pid_of(second) != pid_of(first)
    assert second.version != first.version


def test_a_changed_helper_makes_a_new_version(bench, workspace):
    workspace.module(
        "helped",
        """
        from flowstead import Flow
        from flow_helpers.text import TEXT
        def a(context): context.summary = TEXT
        def build(): return Flow("Test").step(a)
        """,
    )
    workspace.file("flow_modules/flow_helpers/text.py", "TEXT = 'old'\n")
    engine = bench.engine()
    assert run_flow(engine, "helped").summary == "old"
    workspace.file("flow_modules/flow_helpers/text.py", "TEXT = 'new'\n")
    assert run_flow(engine, "helped", new=True).summary == "new"


def test_a_retry_runs_the_module_as_it_is_by_then(bench, pid_flow):
    engine = bench.engine()
    first = run_flow(engine, "pid")
    assert first.summary.endswith(" 1")
    pid_flow("2")
    (again,) = ended(engine, retry(engine, first.id))
    assert again.summary.endswith(" 2")
    assert again.version != first.version


def test_a_retry_of_a_module_that_is_gone_runs_it_as_it_was(bench, workspace, pid_flow):
    engine = bench.engine()
    first = run_flow(engine, "pid")
    (workspace.flow_modules / "pid.py").unlink()
    (again,) = ended(engine, retry(engine, first.id))
    assert again.summary.endswith(" 1")
    # Also in an engine that has never seen it.
    engine.close()
    engine = bench.engine()
    (again,) = ended(engine, retry(engine, first.id))
    assert again.summary.endswith(" 1")


def test_a_module_that_is_broken_by_now_is_not_retried(bench, workspace, pid_flow):
    engine = bench.engine()
    first = run_flow(engine, "pid")
    workspace.module("pid", "this is no Python\n")
    with pytest.raises(FlowBroken):
        retry(engine, first.id)


def test_a_run_that_was_interrupted_goes_on_in_its_own_version(bench, workspace, signals, gate):
    source = """
    import os
    from flowstead import Flow
    from flow_helpers.marks import say, stop_at_gate

    def a(context):
        return 1

    def b(context):
        say("here")
        stop_at_gate()
        context.summary = "VERSION"

    def build():
        return Flow("Test").step(a).step(b)
    """
    workspace.module("gated", source.replace("VERSION", "old"))
    engine = bench.engine()
    run_id = start_one(engine, "gated")
    signals.line()
    engine.close()
    workspace.module("gated", source.replace("VERSION", "new"))
    engine = bench.engine()
    engine.resume(run_id)
    signals.line()
    gate.open_gate()
    assert ended(engine, run_id)[0].summary == "old"


def test_recycled_after_a_number_of_runs(bench, pid_flow):
    engine = bench.engine(worker_max_runs=3)
    pids = [pid_of(run_flow(engine, "pid", new=True)) for _ in range(7)]
    assert len(set(pids)) == 3
    assert pids[0] == pids[2] != pids[3]
    assert pids[3] == pids[5] != pids[6]
    wait_for_death(pids[0])


def test_recycled_when_it_holds_too_much_memory(bench, workspace):
    workspace.module(
        "leaking",
        """
        import os
        from flowstead import Flow
        kept = []
        def a(context):
            kept.append(os.urandom(20 << 20))
            context.summary = f"{os.getpid()}"
        def build(): return Flow("Test").step(a)
        """,
    )
    engine = bench.engine(worker_recycle_mb=100)
    pids = [pid_of(run_flow(engine, "leaking", new=True)) for _ in range(9)]
    assert len(set(pids[:8])) == 1
    assert pids[8] != pids[7]


def test_an_idle_worker_makes_room_for_another_flow(bench, pid_flow):
    pid_flow("x", "one")
    pid_flow("x", "two")
    engine = bench.engine(worker_slots=1, warm_workers=1)
    first = pid_of(run_flow(engine, "one"))
    second = pid_of(run_flow(engine, "two"))
    wait_for_death(first)
    assert is_alive(second)
    assert pid_of(run_flow(engine, "two", new=True)) == second


def test_idle_workers_are_bounded_by_their_memory(bench, pid_flow):
    for name in ("one", "two"):
        pid_flow("x", name)
    engine = bench.engine(warm_memory_mb=30)  # a worker takes some 20
    first = pid_of(run_flow(engine, "one"))
    second = pid_of(run_flow(engine, "two"))
    wait_for_death(first)
    assert is_alive(second)


def test_flows_in_use_have_a_worker_waiting_before_their_next_run(bench, pid_flow):
    for name in ("one", "two", "three"):
        pid_flow("x", name)
    engine = bench.engine()
    for name in ("one", "two", "three"):
        run_flow(engine, name)
    engine.close()
    engine = bench.engine(warm_workers=2)
    engine.warm_up()
    wait_until(engine, lambda: len(engine.dispatcher.workers.idle) == 2)
    engine.warm_up()
    assert len(engine.dispatcher.workers.ids) == 2
    waiting = {worker.pid for worker in engine.dispatcher.workers.idle}
    assert {pid_of(run_flow(engine, name, new=True)) for name in ("two", "three")} == waiting


def test_a_module_that_hangs_does_not_keep_a_worker_loading_for_ever(bench, workspace):
    source = "import os, time\nfrom flowstead import Flow\n{}\ndef build(): return Flow('T').step(lambda context: 1)\n"
    workspace.module("hangs", source.format("time.sleep(0)"))
    clock = FakeClock()
    engine = bench.engine(clock=clock)
    run_flow(engine, "hangs")
    version = engine.catalog.entry("hangs").digest
    module = engine.layout.versions / version / "module.py"
    module.write_text(source.format("time.sleep(600)"))
    for worker in list(engine.dispatcher.workers.idle):
        os.kill(worker.pid, 9)
    wait_until(engine, lambda: not engine.dispatcher.workers.ids)
    engine.warm_up()
    (worker,) = engine.dispatcher.workers._all.values()
    clock.advance(61)
    wait_for_death(worker.pid)


def test_an_idle_worker_that_died_is_not_used(bench, pid_flow):
    engine = bench.engine()
    first = pid_of(run_flow(engine, "pid"))
    os.kill(first, 9)
    wait_until(engine, lambda: not engine.dispatcher.workers.idle)
    second = run_flow(engine, "pid", new=True)
    assert (second.status, second.attempt) == ("succeeded", 1)
    assert pid_of(second) != first


def test_what_a_run_did_to_its_process_does_not_reach_the_next(bench, workspace):
    workspace.module(
        "moving",
        """
        import os, sys
        from flowstead import Flow
        def a(context):
            context.summary = os.getcwd()
            os.chdir("/")
            sys.stdout = None
        def build(): return Flow("Test").step(a)
        """,
    )
    engine = bench.engine()
    summaries = {run_flow(engine, "moving", new=True).summary for _ in range(3)}
    assert summaries == {str(workspace.flow_modules)}


def test_a_flow_changes_nothing_in_the_engines_process(bench, workspace):
    workspace.module(
        "csv",
        """
        import os
        os.environ["LEFT_BEHIND"] = "1"
        from flowstead import Flow
        def build(): return Flow("Test").step(lambda context: os.chdir("/"))
        """,
    )
    engine = bench.engine()
    here = os.getcwd()
    assert run_flow(engine, "csv").status == "succeeded"
    assert os.getcwd() == here
    assert "LEFT_BEHIND" not in os.environ
