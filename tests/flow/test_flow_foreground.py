"""Running flows when they are due, on a clock that only the loop's own waiting advances."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from datetime import UTC, datetime, timedelta

import pytest

from flowstead import Flow, run
from flowstead.flow.errors import FlowDefinitionError, StepFailure
from flowstead.flow.slots import next_slot


class TestClock:
    """Waiting moves it on; at its end it stops the loop. `at` maps a time to what happens then."""

    __test__ = False

    def __init__(self, seconds, start=datetime(2024, 1, 1, tzinfo=UTC), at=None):
        self.start, self.elapsed, self.seconds, self.at = start, 0.0, seconds, dict(at or {})

    def monotonic(self):
        return self.elapsed

    def now(self):
        return self.start + timedelta(seconds=self.elapsed)

    def wait(self, seconds, stop):
        goal = self.elapsed + seconds
        for moment in sorted(self.at):
            if moment <= goal:
                self.elapsed = max(self.elapsed, moment)
                self.at.pop(moment)()
                return
        self.elapsed = goal
        if self.elapsed >= self.seconds:
            stop.set()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path


def write(path, text="x"):
    path.write_text(text)
    stamp = path.stat().st_mtime_ns + len(text) * 1_000_000  # a change shows even on a coarse clock
    os.utime(path, ns=(stamp, stamp))


def watching(folder, body, **watch):
    flow = Flow(watch.pop("group", "g")).watch(**watch).step(body)
    return flow.bind(name="daily", module_dir=folder, workspace_root=None)


def noting(clock, into):
    def body(context):
        name = context.source and context.source.relative_path and context.source.relative_path.as_posix()
        into.append((round(clock.elapsed, 3), name))

    return body


def test_poll_takes_new_and_changed_files_once_they_are_still(folder):
    write(folder / "in/a.csv")
    write(folder / "in/b.csv")
    runs = []
    clock = TestClock(60, at={25: lambda: write(folder / "in/a.csv", "xyz"), 45: lambda: write(folder / "in/c.csv")})
    flow = watching(folder, noting(clock, runs), mode="poll", source="in", interval="10s")
    run(flow, clock=clock, report=lambda line: None)
    assert runs == [(1, "a.csv"), (1, "b.csv"), (32, "a.csv"), (53, "c.csv")]


def test_settle_can_be_more_looks_none_or_a_duration(folder):
    write(folder / "in/a.csv")
    for settle, expected in ((0, 0), (3, 3), ("5s", 5)):
        runs = []
        clock = TestClock(30)
        flow = watching(folder, noting(clock, runs), mode="poll", source="in", interval="10s", settle=settle)
        run(flow, clock=clock, report=lambda line: None)
        assert runs == [(expected, "a.csv")]


def test_a_file_that_failed_waits_for_a_change_and_the_others_go_on(folder):
    write(folder / "in/a.csv")
    write(folder / "in/b.csv")
    tried, told = [], []

    def body(context):
        tried.append(context.source.path.name)
        if context.source.path.read_text() == "x" and context.source.path.name == "a.csv":
            raise ValueError("bad column")

    clock = TestClock(60, at={33: lambda: write(folder / "in/a.csv", "good")})
    flow = watching(folder, body, mode="poll", source="in", interval="10s", settle=0)
    run(flow, clock=clock, report=told.append)
    assert tried == ["a.csv", "b.csv", "a.csv"]
    assert told[0].startswith("Daily: a.csv: failed") and "ValueError: bad column" in told[0]
    assert [line.split(",")[0] for line in told[1:]] == ["Daily: b.csv: ok", "Daily: a.csv: ok"]


def test_a_batch_runs_once_for_all_files_and_again_when_one_changes(folder):
    write(folder / "in/a.csv")
    write(folder / "in/b.csv")
    runs = []
    clock = TestClock(60, at={25: lambda: write(folder / "in/b.csv", "new")})
    flow = watching(
        folder,
        noting(clock, runs),
        mode="poll",
        run_as="batch",
        source="in",
        interval="10s",
        settle=0,
        extensions="csv",
    )
    run(flow, clock=clock, report=lambda line: None)
    assert runs == [(0, None), (30, None)]


def test_a_missing_source_is_told_once_and_recovers(folder):
    runs, told = [], []

    def appear():
        (folder / "later").mkdir()
        write(folder / "later/a.csv")

    clock = TestClock(60, at={35: appear})
    flow = watching(folder, noting(clock, runs), mode="poll", source="later", interval="10s", settle=0)
    run(flow, clock=clock, report=told.append)
    assert runs == [(40, "a.csv")]
    assert len(told) == 2 and "is not there" in told[0] and "ok" in told[1]


def test_an_interval_starts_at_once_and_keeps_its_beat(folder):
    runs = []
    clock = TestClock(35)
    run(watching(folder, noting(clock, runs), mode="schedule", interval="10s"), clock=clock, report=lambda line: None)
    assert runs == [(0, None), (10, None), (20, None), (30, None)]


@pytest.mark.parametrize(
    ("missed", "expected"), [("latest", [0, 30, 40, 50]), ("skip", [0, 40, 50]), ("all", [0, 35, 35, 35, 40, 50])]
)
def test_slots_missed_by_a_long_run(folder, missed, expected):
    runs = []
    clock = TestClock(55)

    def body(context):
        runs.append(clock.elapsed)
        if len(runs) == 1:
            clock.elapsed += 35

    run(watching(folder, body, mode="schedule", interval="10s", missed=missed), clock=clock, report=lambda line: None)
    assert runs == [35 if start == 30 else start for start in expected]


def test_times_of_day_and_the_latest_missed_one(folder):
    runs = []
    clock = TestClock(86_400 * 2)

    def body(context):
        runs.append(clock.now().strftime("%d %H:%M"))
        if len(runs) == 2:
            clock.elapsed += 3600 * 14  # asleep over 18:00 and 06:00

    flow = watching(folder, body, mode="schedule", time=["18:00", "06:00", "12:00"], timezone="UTC")
    run(flow, clock=clock, report=lambda line: None)
    assert runs == ["01 06:00", "01 12:00", "02 02:00", "02 06:00", "02 12:00", "02 18:00"]


def test_a_flow_without_watch_runs_once_and_its_failure_is_raised(folder):
    ran = []
    run(watching(folder, lambda c: ran.append(1)), watching(folder, lambda c: ran.append(2)), report=lambda line: None)
    assert ran == [1, 2]

    def fail(context):
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run(watching(folder, fail), watching(folder, lambda c: ran.append(3)), report=lambda line: None)
    assert ran == [1, 2, 3]


def test_groups_run_side_by_side_and_flows_of_one_group_in_turn(folder):
    meet = threading.Barrier(2, timeout=10)
    threads = {}

    def body(name, wait):
        def step(context):
            threads[name] = threading.current_thread().name
            if wait:
                meet.wait()

        return step

    run(
        watching(folder, body("a", True), group="one"),
        watching(folder, body("b", False), group="one"),
        watching(folder, body("c", True), group="two"),
        report=lambda line: None,
    )
    assert threads == {"a": "group one", "b": "group one", "c": "group two"}


def test_stopping_ends_a_run_between_its_steps(folder):
    stop, ran, told = threading.Event(), [], []
    flow = Flow("g").step(lambda c: (ran.append(1), stop.set())).step(lambda c: ran.append(2))
    run(flow, stop=stop, report=told.append)
    assert ran == [1] and told == ["Flow: cancelled"]


def test_run_needs_a_flow():
    with pytest.raises(FlowDefinitionError, match="no flow"):
        run()


def test_cron_without_its_library_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    with pytest.raises(StepFailure, match="pip install cronsim") as caught:
        run(watching(folder, lambda c: None, mode="schedule", cron="0 6 * * *"), report=lambda line: None)
    assert caught.value.code == "cronsim-missing"


def slots(first, count, **watch):
    trigger = Flow("g").watch(mode="schedule", **watch).trigger
    moment = datetime.fromisoformat(first)
    found = []
    for _ in range(count):
        moment = next_slot(trigger, moment)
        found.append(moment.strftime("%d %H:%M"))
    return found


@pytest.mark.parametrize("how", [{"time": "02:30"}, {"cron": "30 2 * * *"}])
def test_a_time_that_the_clock_skips_or_repeats_comes_once(how):
    # Berlin: 02:00 becomes 03:00 on 31 March 2024, and 03:00 becomes 02:00 on 27 October.
    spring = slots("2024-03-30T00:00+00:00", 3, timezone="Europe/Berlin", **how)
    assert [spring[0], spring[2]] == ["30 01:30", "01 00:30"] and spring[1].startswith("31 01:")
    assert slots("2024-10-26T00:00+00:00", 3, timezone="Europe/Berlin", **how) == ["26 00:30", "27 00:30", "28 01:30"]


def test_two_times_that_fall_together_in_spring_are_one_slot():
    found = slots("2024-03-31T00:00+00:00", 2, timezone="Europe/Berlin", time=["02:30", "03:30"])
    assert found == ["31 01:30", "01 00:30"]


@pytest.mark.parametrize("how", [{"time": "06:00"}, {"cron": "0 6 * * *"}])
def test_without_a_zone_the_times_are_those_of_this_machine(how):
    trigger = Flow("g").watch(mode="schedule", **how).trigger
    due = next_slot(trigger, datetime(2024, 6, 1, tzinfo=UTC))
    assert due.astimezone().strftime("%H:%M") == "06:00"


@pytest.mark.skipif(sys.platform == "win32", reason="interrupts are sent differently there")
def test_ctrl_c_ends_the_loop_cleanly(folder):
    program = textwrap.dedent("""
        from flowstead import Flow, run
        run(Flow("g").watch(mode="schedule", interval="1h").step(lambda context: print("ran", flush=True)))
        print("ended", flush=True)
    """)
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        assert child.stdout.readline() == "ran\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
        child.wait()
    assert (child.returncode, out) == (0, "ended\n")
    assert "Traceback" not in err and "Stopping" in err
