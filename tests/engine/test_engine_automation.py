"""A workspace that runs by itself: what begins and ends it, and modules that change under way."""

import threading
import time

import pytest
from engine_bench import DEADLINE, start, wait_for_death, wait_until

from flowstead.engine.automation import Automation
from flowstead.model.errors import StorageError

EACH = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def read(context):
    note(context.source.path.name)
    BODY

def build():
    return Flow("NAME"RESUME).watch(mode="poll", source="../in", interval="1d", settle=0, max_parallel=1).step(read)
"""

BY_HAND = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def first(context):
    note("first")

def second(context):
    say(f"{__import__('os').getpid()}")
    stop_at_gate()

def build():
    return Flow("Hand"RESUME).step(first).step(second)
"""

TIMED = """
from flowstead import Flow
from flow_helpers.marks import note, say

def tick(context):
    say("tick")

def build():
    return Flow("Timed").watch(mode="schedule", interval="INTERVAL").step(tick)
"""


@pytest.fixture
def automation(bench):
    """The automation of an engine, as a command or a daemon opens it."""
    begun = []

    def begin(**settings):
        engine = bench.engine(only=(), **settings)
        begun.append(Automation(engine))
        return engine, begun[-1]

    yield begin
    for each in begun:
        each.stop()


def each(workspace, body="pass", resume="", name="each", group="Test"):
    (workspace.root / "in").mkdir(exist_ok=True)
    workspace.module(name, EACH.replace("BODY", body).replace("RESUME", resume).replace("NAME", group))


def states(automation):
    return {flow["flow"]: flow["state"] for flow in automation.status()["flows"]}


def statuses(engine, flow="each"):
    return [run.status for run in reversed(engine.ledger.reader.runs(flow=flow, limit=100))]


def test_stop_answers_within_a_second_however_long_the_interval(automation, workspace):
    each(workspace)
    workspace.module("timed", TIMED.replace("INTERVAL", "1d"))
    engine, automated = automation()
    automated.start()
    wait_until(engine, lambda: set(states(automated).values()) == {"watching", "scheduled"})
    threads = threading.active_count()
    before = time.monotonic()
    automated.stop()
    assert time.monotonic() - before < 1.0
    assert set(states(automated).values()) == {"off"}
    wait_until(engine, lambda: threading.active_count() <= threads - 4)
    workspace.file("in/late.csv", "1")
    automated.stop()
    assert not engine.ledger.reader.runs()


def test_started_work_finishes_and_queued_work_does_not_start(automation, workspace, signals, gate, bench):
    each(workspace, 'say("begun"); stop_at_gate()')
    for name in "abc":
        workspace.file(f"in/{name}", "1")
    engine, automated = automation()
    automated.start()
    signals.line()
    wait_until(engine, lambda: statuses(engine).count("queued") == 2)
    automated.stop()
    status = automated.status()
    assert (len(status["active"]), status["queued"], status["automated"]) == (1, 2, False)
    gate.open_gate(3)
    wait_until(engine, lambda: statuses(engine)[0] == "succeeded" and not engine.dispatcher.active)
    assert signals.silent()
    assert statuses(engine) == ["succeeded", "queued", "queued"]
    automated.start()
    wait_until(engine, lambda: statuses(engine) == ["succeeded"] * 3)
    assert bench.notes == ["a", "b", "c"]


def test_interrupted_runs_go_on_where_their_flow_lets_them(automation, bench, workspace, signals, gate):
    for name, resume in (("hand", ""), ("careful", ', resume="manual"')):
        workspace.module(name, BY_HAND.replace("RESUME", resume))
    for name in ("hand", "careful"):
        driver = bench.driver(name)
        worker = int(signals.line())
        driver.kill()
        wait_for_death(worker)
    engine, automated = automation()
    automated.start()
    signals.line()
    gate.open_gate()
    wait_until(engine, lambda: statuses(engine, "hand") == ["succeeded"])
    assert statuses(engine, "careful") == ["interrupted"]
    assert bench.notes == ["first", "first"]
    assert engine.ledger.reader.runs(flow="hand")[0].attempt == 2


def test_a_run_that_was_given_a_secret_waits_for_someone_to_give_it_again(automation, bench, workspace, signals, gate):
    source = BY_HAND.replace("RESUME", "").replace('Flow("Hand")', 'Flow("Hand").ask("token", secret=True)')
    workspace.module("hand", source)
    driver = bench.driver("hand", params={"token": "x"})
    worker = int(signals.line())
    driver.kill()
    wait_for_death(worker)
    engine, automated = automation()
    automated.start()
    assert statuses(engine, "hand") == ["interrupted"]


def test_what_waited_before_is_run(automation, bench, workspace):
    each(workspace)
    workspace.file("in/a", "1")
    engine = bench.engine(only=())
    engine.dispatcher.pause()
    start(engine, "each")
    engine.close()
    engine, automated = automation()
    assert statuses(engine) == ["queued"]
    automated.start()
    wait_until(engine, lambda: statuses(engine) == ["succeeded"])


def test_modules_that_come_change_break_and_go(automation, workspace, bench):
    each(workspace)
    engine, automated = automation()
    automated.start()
    wait_until(engine, lambda: states(automated) == {"each": "watching"})
    workspace.module("timed", TIMED.replace("INTERVAL", "1d"))
    wait_until(engine, lambda: states(automated).get("timed") == "scheduled", "a flow that came")
    # One that breaks says so, and the others go on.
    workspace.module("timed", "def build(:")
    wait_until(engine, lambda: states(automated)["timed"] == "broken", "a flow that broke")
    (broken,) = [flow for flow in automated.status()["flows"] if flow["flow"] == "timed"]
    assert "invalid syntax" in broken["condition"]
    workspace.file("in/a", "1")
    wait_until(engine, lambda: statuses(engine) == ["succeeded"])
    workspace.module("timed", TIMED.replace("INTERVAL", "2d"))
    wait_until(engine, lambda: states(automated)["timed"] == "scheduled", "a flow that was mended")
    # A new version of a flow is what its next runs are of.
    before = engine.ledger.reader.runs()[0].version
    each(workspace, 'note("anew")')
    wait_until(engine, lambda: automated._flows["each"].digest != before, "a flow that changed")
    workspace.file("in/b", "1")
    wait_until(engine, lambda: statuses(engine) == ["succeeded"] * 2)
    assert bench.notes == ["a", "b", "anew"]
    (workspace.flow_modules / "timed.py").unlink()
    wait_until(engine, lambda: set(states(automated)) == {"each"}, "a flow that went")


def test_a_module_that_is_written_again_as_it_was_changes_nothing(automation, workspace):
    each(workspace)
    engine, automated = automation()
    automated.start()
    wait_until(engine, lambda: states(automated) == {"each": "watching"})
    flow = automated._flows["each"]
    each(workspace)
    workspace.module("timed", TIMED.replace("INTERVAL", "1d"))
    wait_until(engine, lambda: "timed" in states(automated))
    assert automated._flows["each"] is flow


def test_modules_that_cannot_be_read_leave_the_flows_as_they_were(automation, workspace, monkeypatch):
    each(workspace)
    engine, automated = automation()
    automated.start()
    wait_until(engine, lambda: states(automated) == {"each": "watching"})

    def fail(**again):
        raise StorageError("The share is away.")

    with monkeypatch.context() as broken:
        broken.setattr(engine.catalog, "entries", fail)
        workspace.module("timed", TIMED.replace("INTERVAL", "1d"))
        wait_until(engine, lambda: automated.status()["trouble"] == "The share is away.")
        workspace.file("in/a", "1")
        wait_until(engine, lambda: statuses(engine) == ["succeeded"])
    workspace.module("timed", TIMED.replace("INTERVAL", "2d"))
    wait_until(engine, lambda: automated.status()["trouble"] is None and "timed" in states(automated))


def test_nobody_is_asked_so_the_defaults_hold(automation, workspace):
    each(workspace)
    source = (workspace.flow_modules / "each.py").read_text()
    workspace.module("each", source.replace(".step(read)", '.ask("airport").step(read)'))
    workspace.file("in/a", "1")
    engine, automated = automation()
    automated.start()
    (flow,) = automated.status()["flows"]
    assert (flow["state"], "airport" in flow["condition"]) == ("broken", True)
    workspace.module("each", source.replace(".step(read)", '.ask("airport", default="JFK").step(read)'))
    wait_until(engine, lambda: statuses(engine) == ["succeeded"])
    assert engine.ledger.reader.runs()[0].params == {"airport": "JFK"}


def test_what_cannot_be_queued_is_told_and_tried_again(automation, workspace, monkeypatch):
    each(workspace)
    engine, automated = automation()
    from flowstead.engine import automated_flow

    monkeypatch.setattr(automated_flow, "SECONDS_AFTER_TROUBLE", 0.05)

    def fail(requests, *given, **also):
        raise StorageError("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(engine, "start_runs", fail)
        automated.start()
        workspace.file("in/a", "1")
        stuck = wait_until(engine, lambda: states(automated)["each"] == "stuck" and automated.status()["flows"][0])
        assert stuck["condition"] == "The disk is full."
    wait_until(engine, lambda: statuses(engine) == ["succeeded"])
    wait_until(engine, lambda: states(automated)["each"] == "watching")


def test_a_start_by_hand_beside_it_gives_no_file_two_runs(automation, workspace):
    each(workspace)
    engine, automated = automation()
    automated.start()
    failures = []

    def by_hand():
        try:
            for _ in range(20):
                start(engine, "each")
        except Exception as error:
            failures.append(error)

    hands = [threading.Thread(target=by_hand) for _ in range(3)]
    for number in range(60):
        workspace.file(f"in/{number:02}", "1")
        if number == 20:
            for hand in hands:
                hand.start()
    for hand in hands:
        hand.join(DEADLINE)
    assert not failures
    wait_until(engine, lambda: statuses(engine) == ["succeeded"] * 60)
    paths = [run.source_path for run in engine.ledger.reader.runs(limit=100)]
    assert len(set(paths)) == 60


def test_a_schedule_runs_through_workers(automation, workspace, signals):
    workspace.module("timed", TIMED.replace("INTERVAL", "100ms"))
    engine, automated = automation()
    automated.start()
    signals.lines(3)
    automated.stop()
    wait_until(engine, lambda: not engine.dispatcher.active)
    runs = engine.ledger.reader.runs(flow="timed", limit=100)
    assert len({run.key for run in runs}) == len(runs) >= 3
    assert {run.trigger for run in runs} == {"schedule"}


def test_two_starts_are_one_and_it_can_be_started_again(automation, workspace):
    each(workspace)
    engine, automated = automation()
    for count in (1, 2):
        automated.start()
        automated.start()
        workspace.file(f"in/{count}", "1")
        wait_until(engine, lambda count=count: statuses(engine) == ["succeeded"] * count)
        automated.stop()
