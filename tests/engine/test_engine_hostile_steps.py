"""Steps that break their process, its pipes or its limits: the run says so, its log is whole, the next run works."""

import json
import os
import signal

import psutil
import pytest
from engine_bench import ended, log_of, run_flow, start_one, wait_for_death

from flowstead.engine.retrying import retry

SOUND = "from flowstead import Flow\ndef build(): return Flow('Sound').step(lambda context: 1)\n"


@pytest.fixture
def one_step(workspace):
    """Writes a flow whose middle step has the given body, between two that print."""
    workspace.module("sound", SOUND)

    def write(body: str, options: str = "", flow_options: str = "") -> None:
        body = "\n    ".join(body.strip().splitlines())
        workspace.module(
            "hostile",
            f"""
import ctypes, os, signal, subprocess, sys, threading, time
from flowstead import Flow
from flowstead.engine.retrying import retry
from flow_helpers.marks import note, say, stop_at_gate

def before(context):
    print("before")
    return 1

def hostile(context):
    print("in it", flush=True)
    {body}

def after(context):
    print("after")

def build():
    return Flow("Test"{flow_options}).step(before).step(hostile{options}).step(after)
""",
        )

    return write


def printed(bench, run):
    return [line["message"] for line in log_of(bench, run.id) if line["event"] == "output"]


def finish(bench, engine, run):
    """The log is whole and ends with the end; the engine is none the worse."""
    lines = log_of(bench, run.id)
    assert lines[-1]["event"] == "run.finished"
    assert lines[-1]["data"]["status"] == run.status
    assert run_flow(engine, "sound").status == "succeeded"
    assert engine.failure is None


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ("ctypes.string_at(0)", "worker-crashed", "SIGSEGV"),
        ("os.abort()", "worker-crashed", "SIGABRT"),
        ("os._exit(0)", "worker-exited", "exit code 0"),
        ("os._exit(3)", "worker-exited", "exit code 3"),
        ("threading.Thread(target=lambda: os._exit(5)).start(); time.sleep(600)", "worker-exited", "exit code 5"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)", "worker-killed", "SIGTERM"),
        ("sys.exit(4)", "step-exited", "sys.exit(4)"),
        ("raise KeyboardInterrupt", "step-failed", "KeyboardInterrupt"),
        ("os.execv('/bin/false', ['false'])", "worker-exited", "exit code 1"),
    ],
)
def test_ways_to_die(bench, one_step, body, code, word):
    one_step(body)
    engine = bench.engine(resume_limit=1)
    run = run_flow(engine, "hostile")
    assert run.status == "failed"
    assert run.error["code"] == code
    assert word in run.error["message"]
    assert run.error["hint"] or code == "step-failed"
    assert run.error["step"] == "Hostile"
    assert run.error["file"] == "flow_modules/hostile.py"
    assert run.error["line"]
    assert [step.status for step in run.steps] == ["succeeded", "failed", "pending"]
    assert run.steps[1].error["code"] == code
    assert printed(bench, run) == ["before", "in it"]
    finish(bench, engine, run)


def test_a_crash_is_retried_as_often_as_the_step_says(bench, one_step):
    one_step('note("try")\nos._exit(9) if context.attempt < 3 else print("well")', ', retries=2, retry_delay="1ms"')
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert run.status == "succeeded"
    assert run.attempt == 3
    assert bench.notes == ["try"] * 3
    assert [row[3] for row in engine.ledger.reader.step_rows(run.id) if row[1] == 1] == [
        "failed",
        "failed",
        "succeeded",
    ]
    finish(bench, engine, run)


def test_crashes_beyond_the_retries_fail_the_run(bench, one_step):
    one_step('note("try")\nos._exit(9)', ', retries=2, retry_delay="1ms"')
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert (run.status, run.error["code"]) == ("failed", "worker-exited")
    assert bench.notes == ["try"] * 3


def test_memory_beyond_the_limit(bench, one_step):
    one_step('block = bytearray(4 << 30)\nblock[::4096] = b"x" * len(block[::4096])')
    engine = bench.engine(worker_memory_mb=1500)
    run = run_flow(engine, "hostile")
    assert run.status == "failed"
    assert run.error["code"] == "step-memory"
    assert "worker_memory_mb" in run.error["hint"]
    assert printed(bench, run) == ["before", "in it"]
    finish(bench, engine, run)


def test_many_small_objects_beyond_the_limit(bench, one_step):
    one_step("kept = []\nwhile True:\n    kept.append([0] * 10_000)")
    engine = bench.engine(worker_memory_mb=1200)
    run = run_flow(engine, "hostile")
    assert run.status == "failed"
    assert run.error["code"] == "step-memory"
    finish(bench, engine, run)


def test_100_mb_of_output_are_logged_whole_in_little_memory(bench, one_step):
    one_step('line = "x" * 999\nfor number in range(100_000):\n    print(f"{number:06d}{line}")')
    engine = bench.engine()
    me = psutil.Process()
    before = me.memory_info().rss
    run = run_flow(engine, "hostile")
    grown = me.memory_info().rss - before
    assert run.status == "succeeded"
    assert grown < 60 << 20
    count = 0
    with (bench.layout.run_folder(run.id) / "events.ndjson").open("rb") as file:
        for seq, line in enumerate(file, 1):
            entry = json.loads(line)
            assert entry["seq"] == seq
            if entry["event"] == "output" and entry["message"][:6].isdigit():
                assert int(entry["message"][:6]) == count
                assert len(entry["message"]) == 1005
                count += 1
    assert count == 100_000
    assert run_flow(engine, "sound").status == "succeeded"


def test_10_mb_without_a_line_end(bench, one_step):
    one_step('sys.stdout.write("y" * 10_000_000)')
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert run.status == "succeeded"
    assert sum(text.count("y") for text in printed(bench, run)) == 10_000_000
    finish(bench, engine, run)


def test_output_of_native_code_and_of_children_is_in_the_log_in_order(bench, one_step):
    one_step(
        """
os.write(1, b"native out\\n")
print("python")
sys.stdout.flush()
os.write(2, b"native err\\n")
subprocess.run(["echo", "child"])
os.write(1, b"\\xff\\xfe not utf-8\\n")
"""
    )
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    found = printed(bench, run)
    assert found == [
        "before",
        "in it",
        "native out",
        "python",
        "native err",
        "child",
        "\ufffd\ufffd not utf-8",
        "after",
    ]


def test_what_cannot_be_stored_is_passed_on_all_the_same(bench, workspace):
    workspace.module(
        "unstorable",
        """
        import threading
        from flowstead import Flow

        class Odd:
            def __init__(self): self.lock = threading.Lock()
            def __reduce__(self): raise RuntimeError("not me")

        def build():
            flow = Flow("Test").step(lambda context: Odd(), save_as="odd")
            return flow.step(lambda context: type(context.objects["odd"]).__name__, checkpoint=True)
        """,
    )
    run = run_flow(bench.engine(), "unstorable")
    assert run.status == "succeeded"


def test_a_step_beyond_its_time_is_ended(bench, one_step):
    one_step(
        'child = subprocess.Popen(["sleep", "600"])\nnote(f"{os.getpid()} {child.pid}")\ntime.sleep(600)',
        ', timeout="150ms"',
    )
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert run.status == "failed"
    assert run.error["code"] == "step-timeout"
    assert "0.15 s" in run.error["message"]
    assert "timeout=" in run.error["hint"]
    for pid in bench.notes[0].split():
        wait_for_death(int(pid))
    finish(bench, engine, run)


def test_a_step_beyond_its_time_is_tried_again(bench, one_step):
    one_step(
        'note("try")\ntime.sleep(600 if context.attempt < 2 else 0)',
        ', timeout="150ms", retries=1, retry_delay="1ms"',
    )
    run = run_flow(bench.engine(), "hostile")
    assert (run.status, run.attempt) == ("succeeded", 2)
    assert bench.notes == ["try", "try"]


def test_a_run_beyond_its_time_is_ended(bench, one_step):
    one_step("time.sleep(600)", flow_options=', timeout="800ms"')
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert (run.status, run.error["code"]) == ("failed", "run-timeout")
    finish(bench, engine, run)


def test_time_limits_that_are_kept_end_nothing(bench, one_step):
    one_step("pass", ', timeout="10m"', ', timeout="20m"')
    engine = bench.engine()
    assert run_flow(engine, "hostile").status == "succeeded"
    assert len(engine.dispatcher.alarms._callbacks) == 2  # the inbox's and the owner's


def test_closed_output(bench, one_step):
    one_step("os.close(1)\nos.close(2)\nsys.stdout.close()")
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert run.steps[1].status == "succeeded"
    finish(bench, engine, run)


def test_closed_everything(bench, one_step):
    one_step("os.closerange(0, 1000)\ntime.sleep(0.01)")
    engine = bench.engine(resume_limit=1)
    run = run_flow(engine, "hostile")
    assert run.status == "failed"
    finish(bench, engine, run)


def test_a_forked_child_that_holds_the_pipes(bench, one_step, signals):
    one_step(
        """
import warnings
warnings.simplefilter("ignore")
pid = os.fork()
if pid == 0:
    os.setsid()
    say(str(os.getpid()))
    time.sleep(600)
"""
    )
    engine = bench.engine()
    run_id = start_one(engine, "hostile")
    child = int(signals.line())
    (run,) = ended(engine, run_id)
    assert run.status == "succeeded"
    finish(bench, engine, run)
    # Also when the worker is gone and only the child has its pipes.
    os.kill(engine.dispatcher.workers.idle[0].pid, signal.SIGKILL)
    assert run_flow(engine, "sound").status == "succeeded"
    os.kill(child, signal.SIGKILL)


def test_the_worker_dies_while_a_forked_child_holds_its_pipes(bench, one_step, signals):
    one_step(
        """
import warnings
warnings.simplefilter("ignore")
if os.fork() == 0:
    os.setsid()
    say(str(os.getpid()))
    time.sleep(600)
time.sleep(0.01)
os._exit(7)
"""
    )
    engine = bench.engine()
    run_id = start_one(engine, "hostile")
    child = int(signals.line())
    (run,) = ended(engine, run_id)
    assert (run.status, run.error["code"]) == ("failed", "worker-exited")
    finish(bench, engine, run)
    os.kill(child, signal.SIGKILL)


def test_a_forked_child_that_goes_on_with_the_flow(bench, one_step):
    one_step('import warnings\nwarnings.simplefilter("ignore")\nos.fork()')
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert run.status in ("succeeded", "failed")
    finish(bench, engine, run)


@pytest.mark.parametrize(
    "text", ["no json at all\\n", "[1, 2]\\n", '{"type": "unheard-of"}\\n', "{}\\n", '{"type": "step_finished"}\\n']
)
def test_garbage_in_the_pipe_of_the_frames(bench, one_step, text):
    one_step(
        f"""
mine = {{os.readlink(f"/proc/self/fd/{{fd}}") for fd in (0, 1, 2)}}
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        name = os.readlink(f"/proc/self/fd/{{fd}}")
        if fd > 2 and name.startswith("pipe:") and name not in mine:
            os.write(fd, {text!r}.encode().decode("unicode_escape").encode())
    except OSError:
        pass
time.sleep(600)
"""
    )
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert (run.status, run.error["code"]) == ("failed", "worker-garbled")
    finish(bench, engine, run)


def test_a_thread_left_behind_disturbs_no_later_run(bench, one_step, signals):
    one_step(
        """
def tell():
    number = 0
    while True:
        number += 1
        try:
            context.progress(number, 10**9)
            context.log("still here")
        except Exception:
            pass
        time.sleep(0.002)
threading.Thread(target=tell, daemon=True).start()
"""
    )
    engine = bench.engine(worker_slots=1)
    for _ in range(10):
        assert run_flow(engine, "hostile", new=True).status == "succeeded"
    assert engine.failure is None


def test_texts_that_are_no_unicode(bench, one_step):
    one_step(
        """
context.log("half \\ud800", half="\\ud801")
context.metadata["half"] = "\\ud802"
context.metadata["large"] = 2**100
context.metadata["nan"] = float("nan")
context.summary = "sum \\ud803"
raise FileNotFoundError("caf\\udce9.csv")
"""
    )
    engine = bench.engine()
    run = run_flow(engine, "hostile")
    assert (run.status, run.error["code"]) == ("failed", "step-failed")
    assert "caf" in run.error["message"]
    again = retry(engine, run.id)
    (run,) = ended(engine, again)
    assert run.error["code"] == "step-failed"
    finish(bench, engine, run)


def test_a_module_that_breaks_only_in_its_worker(bench, workspace):
    workspace.module("sound", SOUND)
    workspace.module(
        "breaks",
        """
        import os
        from flowstead import Flow
        print("loading")
        if "FLOWSTEAD_WORKER" in os.environ:
            raise RuntimeError("no luck")
        def build():
            return Flow("Test").step(lambda context: 1)
        """,
    )
    engine = bench.engine()
    run = run_flow(engine, "breaks")
    assert run.status == "failed"
    assert "no luck" in run.error["message"]
    assert (run.error["file"], run.error["line"]) == ("flow_modules/breaks.py", 5)
    assert "loading" in printed(bench, run)
    finish(bench, engine, run)


def test_a_module_that_exits_only_in_its_worker(bench, workspace):
    workspace.module("sound", SOUND)
    workspace.module(
        "exits",
        """
        import os
        from flowstead import Flow
        if "FLOWSTEAD_WORKER" in os.environ:
            os._exit(0)
        def build():
            return Flow("Test").step(lambda context: 1)
        """,
    )
    engine = bench.engine()
    run = run_flow(engine, "exits")
    assert (run.status, run.error["code"]) == ("failed", "worker-exited")
    assert "before its first step" in run.error["message"]
    finish(bench, engine, run)


def test_a_module_that_hangs_only_in_its_worker(bench, workspace):
    workspace.module(
        "hangs",
        """
        import os, time
        from flowstead import Flow
        if "FLOWSTEAD_WORKER" in os.environ:
            time.sleep(600)
        def build():
            return Flow("Test").step(lambda context: 1)
        """,
    )
    engine = bench.engine(load_timeout=0.5)
    run = run_flow(engine, "hangs")
    assert (run.status, run.error["code"]) == ("failed", "load-timeout")
    assert "load_timeout" in run.error["hint"]
    assert run.error["file"] == "flow_modules/hangs.py"
