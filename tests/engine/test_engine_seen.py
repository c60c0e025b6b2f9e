"""What people are shown of a run whose engine is gone, and of steps that had to run again."""

import os
import signal

from engine_bench import ended, log_of, run_flow, start_one, wait_for_death

from flowstead.client import Client
from flowstead.daemon.embedded import embedded

SHOWING = """
from flowstead import Flow
from flow_helpers.marks import say, stop_at_gate

def early(context):
    context.show("<svg xmlns='http://www.w3.org/2000/svg'/>", name="early")

def picture(context):
    context.show("<svg xmlns='http://www.w3.org/2000/svg'/>", name="dot")
    context.report("# so far")
    say(f"{__import__('os').getpid()}")
    stop_at_gate()

def build():
    return Flow("Test").step(early).step(picture)
"""


def test_a_run_of_a_killed_engine_is_seen_as_interrupted(bench, workspace, signals, gate):
    workspace.module("showing", SHOWING)
    driver = bench.driver("showing")
    worker = int(signals.line())
    with Client(embedded(workspace.root, command="look")) as client:
        (run,) = client.runs()["runs"]
        assert (run["status"], run["actions"]) == ("running", ["cancel"])
        driver.kill()
        wait_for_death(worker)
        (run,) = client.runs()["runs"]
        assert (run["status"], run["actions"]) == ("interrupted", ["resume", "retry", "cancel"])
        assert client.run(run["id"])["status"] == "interrupted"
        assert client.flow("showing")["runs"][0]["status"] == "interrupted"
        # And one who follows its log is let go.
        lines = [line for line in client.log(run["id"], follow=True) if line]
        assert lines[0]["event"] == "run.started"
        # What is shown, the next engine makes true.
        client.resume(run["id"])
        signals.line()
        gate.open_gate()
        for event in client.events(after=0):
            if event is None and client.run(run["id"])["status"] == "succeeded":
                break


def test_a_repeated_step_keeps_its_artifacts_once(bench, workspace, signals, gate):
    workspace.module("showing", SHOWING)
    engine = bench.engine()
    run_id = start_one(engine, "showing")
    os.kill(int(signals.line()), signal.SIGKILL)
    signals.line()
    gate.open_gate()
    (run,) = ended(engine, run_id)
    assert run.status == "succeeded"
    assert sorted(artifact.path for artifact in run.artifacts) == [
        "artifacts/dot.svg",
        "artifacts/early.svg",
        "artifacts/report.md",
    ]
    folder = bench.layout.run_folder(run_id) / "artifacts"
    assert sorted(path.name for path in folder.iterdir()) == ["dot.svg", "early.svg", "report.md"]


def test_printed_and_logged_lines_stand_in_the_order_of_the_code(bench, workspace):
    workspace.module(
        "chatty",
        """
        from flowstead import Flow
        def step(context):
            for number in range(40):
                print("printed", number)
                context.log(f"logged {number}")
        def build():
            return Flow("Test").step(step)
        """,
    )
    run = run_flow(bench.engine(), "chatty")
    said = [line["message"] for line in log_of(bench, run.id) if line["event"] in ("output", "log")]
    assert said == [text for number in range(40) for text in (f"printed {number}", f"logged {number}")]
