"""Retrying ended runs, from the step that failed or an earlier one; retention."""

import json
import shutil

import pytest
from engine_bench import FakeClock, ended, log_of, run_flow, start, start_one

from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.engine.retrying import retry
from flowstead.model.errors import RunNotFound, TransitionRefused, UsageError

STEPS = """
from pathlib import Path
from flowstead import Flow
from flow_helpers.marks import note

def a(context):
    note("A")
    context.metadata["source"] = "north"
    return [1, 2]

def b(context):
    note("B")
    return {"sum": sum(context.current)}

def c(context):
    note("C")
    if not Path("../fixed").exists():
        raise ValueError("not yet")
    return context.current["sum"]

def d(context):
    note("D")
    context.summary = f"{context.current} {context.objects['numbers']} {context.metadata['source']}"

def build():
    return Flow("Test").step(a, save_as="numbers").step(b).step(c).step(d)
"""


@pytest.fixture
def failed(bench, workspace):
    """An engine, and a run of it that failed at its third step."""
    workspace.module("steps", STEPS)
    engine = bench.engine()
    run = run_flow(engine, "steps")
    assert run.status == "failed"
    assert run.error["step"] == "C"
    assert bench.notes == ["A", "B", "C"]
    workspace.file("fixed")
    return engine, run


def test_from_the_step_that_failed(bench, failed):
    engine, first = failed
    (run,) = ended(engine, retry(engine, first.id))
    assert run.status == "succeeded"
    assert run.retry_of == first.id
    assert run.trigger == "retry"
    assert run.summary == "3 [1, 2] north"
    assert bench.notes == ["A", "B", "C", "C", "D"]
    assert run.metadata["source"] == "north"
    assert run.metadata.get("run_id", run.id) == run.id
    assert [step.status for step in run.steps] == ["succeeded"] * 4
    assert engine.ledger.reader.run(first.id).status == "failed"
    log_of(bench, run.id)


@pytest.mark.parametrize(("step", "notes"), [("a", "ABCD"), ("b", "BCD"), ("C", "CD"), ("1", "BCD")])
def test_from_an_earlier_step(bench, failed, step, notes, home):
    engine, first = failed
    engine.close()
    with Client(embedded(bench.root, command="test")) as client:
        started = client.retry(first.id, from_step=step)
        for _ in client.events(after=started["after"]):
            run = client.run(started["started"][0])
            if run["status"] not in ("queued", "starting", "running"):
                break
    assert run["status"] == "succeeded"
    assert "".join(bench.notes) == "ABC" + notes


def test_steps_that_cannot_be_the_first(bench, failed, home):
    engine, first = failed
    with pytest.raises(TransitionRefused) as refused:
        retry(engine, first.id, "3")
    assert "c" in refused.value.hint
    engine.close()
    with Client(embedded(bench.root, command="test")) as client, pytest.raises(UsageError) as unknown:
        client.retry(first.id, from_step="nowhere")
    assert "a, b, c, d" in unknown.value.hint


def test_a_succeeded_run_is_retried_from_its_beginning(bench, failed):
    engine, first = failed
    (second,) = ended(engine, retry(engine, first.id))
    (third,) = ended(engine, retry(engine, second.id))
    assert third.status == "succeeded"
    assert "".join(bench.notes) == "ABC" + "CD" + "ABCD"


def test_a_run_that_works_cannot_be_retried(bench, workspace, signals, gate):
    workspace.module(
        "gated",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate
        def a(context):
            say("here")
            stop_at_gate()
        def build(): return Flow("Test").step(a)
        """,
    )
    engine = bench.engine()
    run_id = start_one(engine, "gated")
    signals.line()
    with pytest.raises(TransitionRefused):
        retry(engine, run_id)
    gate.open_gate()
    ended(engine, run_id)
    with pytest.raises(RunNotFound):
        retry(engine, "r_unknown")


def test_a_retry_of_a_retry_of_a_run_whose_files_are_gone(bench, failed):
    engine, first = failed
    shutil.rmtree(bench.layout.run_folder(first.id))
    (run,) = ended(engine, retry(engine, first.id))
    assert run.status == "succeeded"
    assert run.summary == "3 [1, 2] north"


FRAMES = """
import polars
from pathlib import Path
from flowstead import Flow
from flow_helpers.marks import note

def a(context):
    note("A")
    return polars.DataFrame({"x": [1, 2, 3]})

def b(context):
    note("B")
    if not Path("../fixed").exists():
        raise ValueError("not yet")
    context.summary = str(context.current["x"].sum())

def build():
    return Flow("Test").step(a).step(b)
"""


@pytest.mark.parametrize("gone", [False, True])
def test_checkpoints_in_files_are_taken_along_or_made_again(bench, workspace, gone):
    workspace.module("frames", FRAMES)
    engine = bench.engine()
    first = run_flow(engine, "frames")
    workspace.file("fixed")
    if gone:
        shutil.rmtree(bench.layout.run_folder(first.id))
    retried = retry(engine, first.id)
    (run,) = ended(engine, retried)
    assert (run.status, run.summary) == ("succeeded", "6")
    assert "".join(bench.notes) == ("ABAB" if gone else "ABB")
    if not gone:
        shutil.rmtree(bench.layout.run_folder(first.id))
        assert list((bench.layout.run_folder(retried) / "checkpoints").iterdir())


ITEMS = """
from pathlib import Path
from flowstead import Flow
from flowstead.engine.retrying import retry
from flow_helpers.marks import note

class Odd:
    def __init__(self, number): self.number = number

def item(number):
    note(str(number))
    if number == 7 and not Path("../fixed").exists():
        raise ValueError("seven")
    return VALUE

def build():
    flow = Flow("Test")
    BEFORE
    flow = flow.map(item, on_error="raise", save_as="made")
    return flow.step(lambda context: setattr(context, "summary", str(sum(READ for each in context.current))))
"""


@pytest.mark.parametrize("first", [True, False], ids=["map is the second step", "map is the third"])
@pytest.mark.parametrize("plain", [True, False], ids=["inline", "in files"])
def test_items_that_a_failed_map_has_finished_are_kept(bench, workspace, plain, first):
    before = "flow = flow.step(lambda context: list(range(10)))"
    if not first:
        before += ".step(lambda context: context.current)"
    source = ITEMS.replace("BEFORE", before)
    source = source.replace("VALUE", "number" if plain else "Odd(number)")
    workspace.module("items", source.replace("READ", "each" if plain else "each.number"))
    engine = bench.engine()
    failed = run_flow(engine, "items")
    assert failed.error["code"] == "map-item-failed"
    assert bench.notes == [str(number) for number in range(8)]
    workspace.file("fixed")
    (run,) = ended(engine, retry(engine, failed.id))
    assert (run.status, run.summary) == ("succeeded", "45")
    assert bench.notes == [str(number) for number in [*range(8), 7, 8, 9]]
    step = run.steps[-2]
    assert (step.items_total, step.items_done, step.items_failed) == (10, 10, 0)


def test_secrets_and_their_traces(bench, workspace):
    workspace.module(
        "secretive",
        """
        from flowstead import Flow

        def a(context):
            print(len(context.secret("token")))
            raise ValueError("failed")

        def build():
            return Flow("Test").ask("token", str, secret=True).ask("plain", str).step(a)
        """,
    )
    engine = bench.engine()
    run = run_flow(engine, "secretive", params={"token": "hunter22hunter22", "plain": "visible-text"})
    assert run.params == {"token": None, "plain": "visible-text"}
    engine.close()
    for path in bench.home.rglob("*"):
        if path.is_file():
            assert b"hunter22hunter22" not in path.read_bytes(), path
    assert b"visible-text" in bench.layout.ledger.read_bytes()
    lines = log_of(bench, run.id)
    assert "16" in [line["message"] for line in lines]


def test_retention_removes_old_runs_with_their_folders(bench, workspace):
    workspace.module("sound", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    clock = FakeClock()
    engine = bench.engine(clock=clock)
    old = run_flow(engine, "sound")
    clock.advance(100 * 86_400)
    new = run_flow(engine, "sound", new=True)
    output = workspace.file("out/result.txt", "kept")
    engine.close()
    engine = bench.engine(clock=clock, retention_days=90)
    with pytest.raises(RunNotFound):
        engine.ledger.reader.run(old.id)
    assert not bench.layout.run_folder(old.id).exists()
    assert engine.ledger.reader.run(new.id).status == "succeeded"
    assert bench.layout.run_folder(new.id).exists()
    assert output.exists()
    with pytest.raises(RunNotFound):
        retry(engine, old.id)


def test_retention_by_number(bench, workspace):
    workspace.module("sound", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    clock = FakeClock()
    engine = bench.engine(clock=clock)
    runs = [run_flow(engine, "sound", new=True).id for _ in range(5)]
    engine.close()
    clock.advance(7 * 3600)
    engine = bench.engine(clock=clock, retention_runs=2)
    assert sorted(run.id for run in engine.ledger.reader.runs()) == sorted(runs[3:])
    assert sorted(path.name for path in (bench.layout.local / "runs").iterdir()) == sorted(runs[3:])


def test_open_runs_outlive_the_retention(bench, workspace, signals):
    workspace.module(
        "gated",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate
        def a(context):
            say("here")
            stop_at_gate()
        def build(): return Flow("Test").step(a)
        """,
    )
    gate = bench.fifo("gate")
    clock = FakeClock()
    engine = bench.engine(clock=clock, worker_slots=1)
    run_id, queued = start_one(engine, "gated"), start_one(engine, "gated", new=True)
    signals.line()
    engine.close()
    clock.advance(1000 * 86_400)
    engine = bench.engine(clock=clock, only=())
    assert engine.ledger.reader.run(run_id).status == "interrupted"
    engine.resume(run_id)
    gate.open_gate(2)
    runs = ended(engine, run_id, queued)
    assert {run.status for run in runs} == {"succeeded"}, json.dumps([run.as_dict() for run in runs])


MENDED = """
    from flowstead import Flow
    from flow_helpers.marks import note

    def read(context):
        note("read")
        return [1, 2]

    def total(context):
        note("total")
        context.summary = str(BODY)

    def build():
        return Flow("Test").step(FIRST).step(total)
"""


def test_a_mended_step_is_retried_on_what_was_done_before_it(bench, workspace):
    engine = bench.engine()
    workspace.module("mended", MENDED.replace("BODY", "summ(context.current)").replace("FIRST", "read"))
    first = run_flow(engine, "mended")
    assert first.error["hint"] == "Did you mean sum?"
    workspace.module("mended", MENDED.replace("BODY", "sum(context.current)").replace("FIRST", "read"))
    (again,) = ended(engine, retry(engine, first.id))
    assert (again.status, again.summary, again.retry_of) == ("succeeded", "3", first.id)
    assert bench.notes == ["read", "total", "total"]


def test_a_retry_takes_over_only_steps_that_stand_where_they_stood(bench, workspace):
    engine = bench.engine()
    workspace.module("mended", MENDED.replace("BODY", "summ(context.current)").replace("FIRST", "read"))
    first = run_flow(engine, "mended")
    workspace.module("mended", MENDED.replace("BODY", "sum(context.current)").replace("FIRST", 'read, save_as="rows"'))
    (again,) = ended(engine, retry(engine, first.id))
    assert (again.status, again.summary) == ("succeeded", "3")
    assert bench.notes == ["read", "total", "read", "total"]


def test_an_interrupted_run_does_not_go_on_beside_its_retry(bench, workspace, signals, gate):
    workspace.module(
        "gated",
        """
        from flowstead import Flow
        from flow_helpers.marks import say, stop_at_gate
        def step(context):
            say("here")
            stop_at_gate()
        def build():
            return Flow("Test").step(step)
        """,
    )
    engine = bench.engine()
    run_id = start_one(engine, "gated")
    signals.line()
    engine.close()
    engine = bench.engine()
    assert engine.ledger.reader.run(run_id).status == "interrupted"
    again = retry(engine, run_id)
    gate.open_gate()
    (run,) = ended(engine, again)
    assert run.status == "succeeded"
    assert engine.ledger.reader.run(run_id).status == "cancelled"
    assert start(engine, "gated", new=False).resumed == ()
