"""A worker's steps: what it prints, how it fails, is retried and is cancelled, and what it says of itself."""

import json
import os
import select
import signal

import psutil
import pytest

DEADLINE = 20


def statuses(frames: list[dict]) -> list[tuple]:
    return [(frame["step"], frame["status"]) for frame in frames if frame["type"] == "step_finished"]


def test_three_steps_and_a_second_run_in_the_same_worker(worker, frames_of):
    started = worker("""
        def build():
            return (Flow("g").step(lambda c: 1, save_as="one").step(lambda c: c.current + 1)
                    .step(lambda c: c.objects["one"] + c.current))
    """).ready()
    for _ in range(2):
        frames = started.conduct()
        assert [frame["type"] for frame in frames] == ["step_started"] + ["step_finished"] * 3
        assert statuses(frames) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]
        assert [json.loads(frame["checkpoint"])["text"] for frame in frames[1:3]] == ["1", "2"]
        assert frames[-1]["ends"] == "succeeded" and frames[-1]["checkpoint"] is None
        assert all(frame["started_at"] <= frame["finished_at"] for frame in frames[1:])


def test_the_next_step_waits_for_the_answer(worker):
    started = worker("""
        def first(context): return 1
        def second(context): (ROOT / "second").touch()
        def build(): return Flow("g").step(first).step(second)
    """).ready()
    started.start()
    assert started.until("step_finished")["step"] == 0
    started.send(type="cancel", reason="cancelled")
    started.go()
    assert started.until("run_cancelled")["reason"] == "cancelled"
    assert not (started.root / "second").exists()


# -- output -----------------------------------------------------------------------------------------------------


def test_all_that_a_step_prints_is_there_before_its_end_is_told(worker):
    started = worker("""
        import ctypes
        def noisy(context):
            n = context.current or 0
            print(f"{n} printed")
            print(f"{n} to stderr", file=sys.stderr)
            os.write(1, f"{n} written\\n".encode())
            os.system(f"echo {n} by a child")
            subprocess.run(["sh", "-c", f"echo {n} by a grandchild"])
            ctypes.CDLL(None).printf(b"%d by C\\n", n)
            print(f"{n} half a line \\udc80", end="")
            return n + 1
        def build(): return Flow("g").step(noisy).step(noisy).step(noisy)
    """).ready()
    frames = [frame for frame in started.conduct() if frame["type"] == "step_finished"]
    told = ["printed", "to stderr", "written", "by a child", "by a grandchild", "by C", "half a line \\udc80"]
    for n, frame in enumerate(frames):
        lines = [f"{number} {words}" for number in range(n + 1) for words in told]
        assert all(line in frame["printed"] for line in lines), frame["printed"]
        assert f"{n + 1} printed" not in frame["printed"]


def test_a_line_in_the_log_comes_after_what_was_printed_before_it(worker):
    started = worker("""
        def step(context):
            print("before", end="")
            context.log.info("logged", n=float("nan"), o=object, deep={(1, 2): {3}})
            context.log.warning("half \\udc80")
        def build(): return Flow("g").step(step)
    """).ready()
    frames = started.conduct()
    first, second = (frame for frame in frames if frame["type"] == "log")
    assert first["printed"] == "before"
    assert (first["level"], first["message"]) == ("info", "logged")
    assert first["data"]["n"] is None and "object" in first["data"]["o"] and first["data"]["deep"] == {"(1, 2)": [3]}
    assert (second["level"], second["message"]) == ("warning", "half \\udc80")


def test_the_flow_has_an_empty_stdin_and_cannot_write_frames(worker):
    started = worker("""
        FRAME = b'{"type": "step_finished", "step": 0, "status": "succeeded", "ends": "succeeded"}\\n'
        def reads(context):
            try:
                input()
            except EOFError:
                pass
            return [sys.stdin.read(), os.read(0, 10).decode()]
        def writes(context):
            os.write(1, FRAME)
            sys.__stdout__.buffer.write(FRAME)
            subprocess.run(["cat"], input=FRAME)
            return context.current
        def build(): return Flow("g").step(reads).step(writes).step(lambda c: None)
    """).ready()
    frames = started.conduct()
    assert statuses(frames) == [(0, "succeeded"), (1, "succeeded"), (2, "succeeded")]
    assert json.loads(json.loads(frames[1]["checkpoint"])["text"]) == ["", ""]
    assert started.output.count(b'"step_finished"') == 3


def test_a_forked_child_that_comes_back_is_no_second_worker(worker):
    started = worker("""
        def forks(context):
            if os.fork():
                os.wait()
            return os.getpid()
        def build(): return Flow("g").step(forks).step(lambda c: os.getpid())
    """).ready()
    for _ in range(2):
        frames = started.conduct()
        assert statuses(frames) == [(0, "succeeded"), (1, "succeeded")]
        assert json.loads(frames[1]["checkpoint"])["text"] == str(started.process.pid)


def test_a_step_that_breaks_its_own_streams(worker):
    started = worker("""
        def breaks(context):
            sys.stdout = None
            sys.stderr = object()
            os.chdir("/")
        def build(): return Flow("g").step(breaks).step(lambda c: None)
    """).ready()
    for _ in range(2):
        assert statuses(started.conduct()) == [(0, "succeeded"), (1, "succeeded")]


def test_a_run_finds_the_streams_and_the_folder_as_the_module_left_them(worker):
    started = worker("""
        def step(context):
            print("heard", os.getcwd())
            sys.stdout, here = None, os.getcwd()
            os.chdir("/")
            return here
        def build(): return Flow("g").step(step)
    """).ready()
    for n in (1, 2):
        started.conduct()
        assert started.output.decode().count(f"heard {started.root / 'flow_modules'}") == n


# -- failures ---------------------------------------------------------------------------------------------------

FAILURES = """
class Panic(BaseException): pass
class Mute(Exception):
    def __str__(self): raise ValueError("no words")
    __repr__ = __str__
class Odd(Exception):
    @property
    def __cause__(self): raise ValueError
    @property
    def __traceback__(self): raise ValueError
def deep(n): return deep(n + 1)
def fails(context):
    what = (ROOT / "what").read_text()
    if what == "exit": sys.exit("bye")
    if what == "exit object": raise SystemExit(Mute())
    if what == "interrupt": raise KeyboardInterrupt
    if what == "panic": raise Panic("native")
    if what == "generator": raise GeneratorExit
    if what == "mute": raise Mute
    if what == "odd": raise Odd("x")
    if what == "deep": deep(0)
    if what == "group": raise ExceptionGroup("two", [ValueError(1), Mute()])
    if what == "surrogate": raise ValueError("half \\udc80")
    if what == "memory": return bytearray(4 << 30)
    return what
def build(): return Flow("g").step(fails).step(lambda c: None)
"""


def test_whatever_a_step_raises_is_its_failure_and_the_next_run_works(worker):
    started = worker(FAILURES, memory_mb=2000).ready()
    found = {}
    names = [
        "exit",
        "exit object",
        "interrupt",
        "panic",
        "generator",
        "mute",
        "odd",
        "deep",
        "group",
        "surrogate",
        "memory",
    ]
    for name in names:
        (started.root / "what").write_text(name, "utf-8")
        frames = started.conduct()
        last = frames[-1]
        assert (last["step"], last["status"], last["ends"], last["retry_in"]) == (0, "failed", "failed", None), name
        assert isinstance(last["error"]["message"], str) and last["error"]["message"]
        found[name] = (last["error"]["code"], last["error"]["type"])
        (started.root / "what").write_text("well", "utf-8")
        assert statuses(started.conduct()) == [(0, "succeeded"), (1, "succeeded")]
    assert found == {
        "exit": ("step-exited", "SystemExit"),
        "exit object": (found["exit object"][0], "SystemExit"),
        "interrupt": ("step-failed", "KeyboardInterrupt"),
        "panic": ("step-failed", "Panic"),
        "generator": ("step-failed", "GeneratorExit"),
        "mute": ("step-failed", "Mute"),
        "odd": ("step-failed", "Odd"),
        "deep": ("step-failed", "RecursionError"),
        "group": ("step-failed", "ExceptionGroup"),
        "surrogate": ("step-failed", "ValueError"),
        "memory": ("step-memory", "MemoryError"),
    }


def test_a_failure_names_the_authors_file_and_line(worker):
    started = worker("""
        def fails(context):
            raise ValueError("here")
        def build(): return Flow("g").step(fails, label="The step")
    """).ready()
    error = started.conduct()[-1]["error"]
    assert (error["message"], error["file"], error["step"]) == ("here", "flow_modules/flow_under_test.py", "The step")
    assert error["source"] == 'raise ValueError("here")'


@pytest.mark.parametrize("what", ["raise SystemExit(3)", "raise KeyboardInterrupt", "1 / 0", "def build(): return 3"])
def test_a_module_that_does_not_load_says_so(worker, what):
    started = worker(what)
    frame = started.frame()
    assert frame["type"] == "broken" and frame["error"]["code"] and frame["error"]["message"]
    assert started.frame() is None and started.process.wait(DEADLINE) == 1


def test_another_protocol_is_refused(worker):
    started = worker("def build(): return Flow('g').step(lambda c: 1)", protocol=2)
    frame = started.frame()
    assert frame["type"] == "broken" and frame["protocol"] == 1
    assert frame["error"]["code"] == "protocol-mismatch" and frame["error"]["hint"]
    assert started.process.wait(DEADLINE) == 1


def test_a_run_whose_parameters_do_not_fit_fails_and_the_worker_goes_on(worker):
    started = worker("""
        def build(): return Flow("g").ask("n", type=int).step(lambda c: c.params["n"])
    """).ready()
    frames = started.conduct(params={"n": "three"})
    assert [frame["type"] for frame in frames] == ["broken"] and frames[0]["error"]["message"]
    assert statuses(started.conduct(params={"n": 3})) == [(0, "succeeded")]


def test_a_damaged_checkpoint_is_told_with_its_step(worker):
    started = worker(
        "def build(): return Flow('g').step(lambda c: [b'x'], save_as='x').step(lambda c: c.objects['x'])"
    ).ready()
    first = started.conduct()[1]
    saved = first["checkpoint"]
    frames = started.conduct(first_step=1, current=[0, saved], objects={"x": [0, saved]}, attempt=2)
    assert statuses(frames) == [(1, "succeeded")]
    (started.folder / "run" / json.loads(saved)["file"]).write_bytes(b"damaged")
    frames = started.conduct(first_step=1, current=[0, saved], objects={"x": [0, saved]}, attempt=3)
    assert [(frame["type"], frame["step"]) for frame in frames] == [("checkpoint_damaged", 0)]


# -- retries and cancellation -----------------------------------------------------------------------------------

FLAKY = """
def flaky(context):
    with open(ROOT / "tries", "a") as file: file.write("x")
    if len((ROOT / "tries").read_text()) <= int((ROOT / "fails").read_text()): raise ValueError("not yet")
    return context.current
def build():
    return Flow("g").step(lambda c: "before").step(flaky, retries=2, retry_delay="1ms").step(lambda c: c.current)
"""


@pytest.mark.parametrize(
    ("fails", "before", "outcomes"),
    [
        (0, 0, ["succeeded"]),
        (2, 0, ["failed", "failed", "succeeded"]),
        (9, 0, ["failed", "failed", "failed"]),
        (9, 1, ["failed", "failed"]),
        (9, 2, ["failed"]),
        (1, 2, ["failed"]),
    ],
)
def test_a_step_is_tried_again_in_place(worker, fails, before, outcomes):
    """`before` failures were recorded by an earlier attempt at the run, and count."""
    started = worker(FLAKY).ready()
    (started.root / "fails").write_text(str(fails), "utf-8")
    current = json.dumps({"kind": "json", "text": '"before"'})
    frames = started.conduct(first_step=1, failures=before, current=[0, current], attempt=2)
    tries = [frame for frame in frames if frame["type"] == "step_finished" and frame["step"] == 1]
    assert [frame["status"] for frame in tries] == outcomes
    assert len([frame for frame in frames if frame["type"] == "step_started"]) == len(outcomes)
    for frame in tries[:-1]:
        assert frame["ends"] is None and 0 < frame["retry_in"] < 1
    if outcomes[-1] == "failed":
        assert tries[-1]["ends"] == "failed" and tries[-1]["retry_in"] is None
    else:
        assert frames[-1]["ends"] == "succeeded" and json.loads(tries[-1]["checkpoint"])["text"] == '"before"'


def test_failures_of_the_first_step_do_not_count_for_the_next(worker):
    started = worker("""
        def fails_once(context):
            with open(ROOT / "tries", "a") as file: file.write("x")
            if len((ROOT / "tries").read_text()) == 1: raise ValueError
        def build(): return Flow("g").step(lambda c: 1, retries=1).step(fails_once, retries=1, retry_delay="1ms")
    """).ready()
    assert statuses(started.conduct(failures=1)) == [(0, "succeeded"), (1, "failed"), (1, "succeeded")]


CANCELLED = {
    "in a loop": "\n    while True: context.check_cancelled()",
    "past except Exception": """
    while True:
        try: context.check_cancelled()
        except Exception: pass""",
    "in a retry's delay": "\n    raise ValueError",
    "in an item's delay": "\n    (ROOT / 'never').read_text()",
}


@pytest.mark.parametrize("where", list(CANCELLED))
def test_cancellation_ends_the_step(worker, where):
    body, kind = CANCELLED[where], "map" if "item" in where else "step"
    delay = "" if kind == "map" else ', retry_delay="1h"'
    signature = "context, item" if kind == "map" else "context"
    started = worker(f"""
def first(context):
    return [1, 2, 3]
def slow({signature}):
    context.log("at work"){body}
def build():
    return (Flow("g").step(first).{kind}(slow, retries=9{delay}, label="Slow")
            .step(lambda c: (ROOT / "after").touch()))
""").ready()
    started.start()
    started.until("step_finished", step=0)
    started.go()
    started.until("log")
    if where == "in a retry's delay":
        assert started.until("step_finished", step=1)["retry_in"] > 1000
        started.go()
    elif kind == "map":
        started.go()
    started.send(type="cancel", reason="cancelled")
    frames = started.follow()
    assert frames[-1]["type"] == "run_cancelled"
    assert not (started.root / "after").exists()
    started.start(id="r_2")
    assert started.until("step_finished")["status"] == "succeeded", "the worker takes the next run"


def test_a_cancellation_that_a_step_swallows_counts_after_it(worker):
    started = worker("""
        def stubborn(context):
            context.log("at work")
            while True:
                try: context.check_cancelled()
                except BaseException: return 1
        def build(): return Flow("g").step(stubborn).step(lambda c: (ROOT / "after").touch())
    """).ready()
    started.start()
    started.until("log")
    started.send(type="cancel", reason="cancelled")
    frames = started.follow()
    assert [frame["type"] for frame in frames] == ["step_finished", "run_cancelled"]
    assert not (started.root / "after").exists()


def test_a_cancellation_for_a_run_that_has_ended_hits_no_other(worker):
    started = worker("def build(): return Flow('g').step(lambda c: c.check_cancelled()).step(lambda c: 1)").ready()
    started.conduct()
    started.send(type="cancel", reason="cancelled")
    assert statuses(started.conduct(id="r_2")) == [(0, "succeeded"), (1, "succeeded")]


# -- what a step says -------------------------------------------------------------------------------------------


def test_metadata_is_sent_when_it_changed_and_only_then(worker):
    started = worker("""
        class Mute:
            def __str__(self): raise ValueError
        def none(context): pass
        def nested(context): context.metadata.setdefault("rows", {})["read"] = 3
        def deeper(context): context.metadata["rows"]["more"] = [1]
        def odd(context):
            loop = []; loop.append(loop)
            context.metadata.update(nan=float("nan"), big=10**5000, loop=loop, mute=Mute(), half="\\udc80")
            context.metadata["at"] = Path("x")
            context.metadata[("a", 1)] = {2}
        def replaced(context): context.metadata = [1]
        def build():
            return (Flow("g").step(none).step(nested).step(none).step(deeper).step(odd).step(replaced).step(none))
    """).ready()
    frames = [frame for frame in started.conduct(metadata={"old": 1}) if frame["type"] == "step_finished"]
    assert [("metadata" in frame) for frame in frames] == [False, True, False, True, True, True, False]
    told = [json.loads(frame["metadata"]) for frame in frames if "metadata" in frame]
    assert told[0]["old"] == 1 and told[0]["run_id"] == "r_1" and told[0]["rows"] == {"read": 3}
    assert told[1]["rows"] == {"read": 3, "more": [1]}
    odd = told[2]
    assert (odd["nan"], odd["half"], odd["at"], odd["('a', 1)"]) == (None, "\\udc80", "x", [2])
    assert odd["big"] and odd["mute"] == "<Mute>"
    assert told[3] == {"value": [1]}


def test_the_summary(worker):
    started = worker("""
        class Odd:
            def __ne__(self, other): raise TypeError
            def __str__(self): return "odd"
        def says(value):
            def step(context): context.summary = value
            return step
        def build():
            return (Flow("g").step(says("one")).step(says("one")).step(says(3)).step(says(Odd())).step(says("\\udc80"))
                    .step(says(None)))
    """).ready()
    frames = [frame for frame in started.conduct() if frame["type"] == "step_finished"]
    assert [frame.get("summary") for frame in frames] == ["one", None, "3", "odd", "\\udc80", None]
    assert "summary" not in started.conduct(summary="one")[1]


def test_progress_is_throttled_and_its_end_is_told_once(worker):
    started = worker("""
        def step(context):
            for n in range(20_000): context.progress(n, 20_000, "reading")
            for n in range(1000): context.progress(20_000, 20_000)
            context.progress(float("inf") if False else 2**70, None)
            context.progress(1.0, 2.0)
        def build(): return Flow("g").step(step)
    """).ready()
    told = [frame for frame in started.conduct() if frame["type"] == "progress"]
    assert (told[0]["done"], told[0]["total"], told[0]["message"], told[0]["step"]) == (0, 20_000, "reading", 0)
    assert 2 <= len(told) < 40
    assert len([frame for frame in told if frame["done"] == frame["total"] == 20_000]) == 1
    assert all(isinstance(frame["done"], int) and abs(frame["done"]) < 2**63 for frame in told)


def test_progress_that_is_no_number_is_the_steps_own_failure(worker):
    started = worker("def build(): return Flow('g').step(lambda c: c.progress({'a': 1}, 2))").ready()
    assert started.conduct()[-1]["error"]["type"] == "TypeError"


def test_artifacts_are_told_with_their_place_in_the_run(worker):
    started = worker("""
        def step(context):
            context.report("# Title")
            context.debug.save_json({"a": 1}, "facts", {"n": float("nan")})
        def build(): return Flow("g").step(lambda c: 1).step(step)
    """).ready()
    frames = [frame for frame in started.conduct() if frame["type"] == "artifact"]
    assert [(frame["name"], frame["kind"], frame["step"]) for frame in frames] == [
        ("report", "report", 1),
        ("facts", "json", 1),
    ]
    for frame in frames:
        assert (started.folder / "run" / frame["path"]).is_file() and frame["path"].startswith("artifacts/")
        assert isinstance(json.loads(frame["info"]), dict)


def test_secrets_come_from_the_run_or_the_environment(worker):
    started = worker(
        """
        def step(context): return [context.secret("mail-token"), context.secret("other")]
        def build(): return Flow("g").step(step).step(lambda c: c.secret("none"))
        """,
        environment={"FLOWSTEAD_SECRET_OTHER": "from outside"},
    ).ready()
    frames = started.conduct(secrets={"mail-token": "s3cret"})
    assert json.loads(json.loads(frames[1]["checkpoint"])["text"]) == ["s3cret", "from outside"]
    assert frames[-1]["error"]["code"] == "secret-missing" and "FLOWSTEAD_SECRET_NONE" in frames[-1]["error"]["hint"]


def test_what_a_step_gave_is_told(worker):
    started = worker("""
        import polars as pl
        class Odd:
            __module__ = None
        def gives(value): return lambda context: value
        def build():
            flow = Flow("g")
            values = [None, 3, [1, 2], {"a": 1}, Batch([1, 2, 3]), pl.DataFrame({"a": [1, 2]}),
                      pl.LazyFrame({"a": [1]}), ROOT, ROOT / "none", ROOT / "half \\udc80", Odd()]
            for value in values: flow = flow.step(gives(value))
            return flow.step(lambda c: 1)
    """).ready()
    (started.root / "half \udc80").touch()
    frames = [frame for frame in started.conduct() if frame["type"] == "step_finished"]
    assert [(frame["output_kind"], frame["rows"], frame["output_path"]) for frame in frames[:-2]] == [
        ("none", None, None),
        ("int", None, None),
        ("list", 2, None),
        ("dict", 1, None),
        ("batch", 3, None),
        ("polars.DataFrame", 2, None),
        ("polars.LazyFrame", None, None),
        ("path", None, str(started.root)),
        ("path", None, None),
        ("path", None, f"{started.root}/half \\udc80"),
    ]


# -- the engine's death -----------------------------------------------------------------------------------------

DYING = {
    "idle in Python": "time.sleep(300)",
    "asleep in C": "ctypes.CDLL(None).sleep(300)",
    "busy": "\n    while True: pass",
    "waiting for its child": "child.wait()",
    "deaf to signals": "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]; time.sleep(300)",
}


@pytest.mark.parametrize("doing", list(DYING))
def test_a_worker_dies_with_its_engine_and_takes_its_children_along(worker, doing):
    started = worker(f"""
import signal
def step(context):
    child = subprocess.Popen(["sh", "-c", "sleep 300; :"])
    context.log("at work", child=child.pid)
    {DYING[doing]}
def build(): return Flow("g").step(step)
""").ready()
    started.start()
    pid = started.until("log")["data"]["child"]
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    # By descriptor: one that has ended may stay listed until whoever inherits it looks.
    ends = [os.pidfd_open(each) for each in family]
    started.close_pipes()
    assert started.process.wait(DEADLINE) == -signal.SIGKILL
    for end in ends:
        assert select.select([end], [], [], DEADLINE)[0], "a child outlived its worker"
        os.close(end)


def test_an_idle_worker_dies_with_its_engine_too(worker):
    started = worker("def build(): return Flow('g').step(lambda c: 1)").ready()
    started.close_pipes()
    assert started.process.wait(DEADLINE) in (0, -signal.SIGKILL)


def test_an_idle_worker_ends_when_told(worker):
    started = worker("""
        def step(context):
            threading.Thread(target=time.sleep, args=(300,)).start()
        def build(): return Flow("g").step(step)
    """).ready()
    started.conduct()
    started.send(type="exit")
    assert started.process.wait(DEADLINE) == 0


def test_ctrl_c_is_for_the_engine(worker):
    started = worker("def build(): return Flow('g').step(lambda c: 1)").ready()
    os.killpg(started.process.pid, signal.SIGINT)
    assert statuses(started.conduct()) == [(0, "succeeded")]
