"""Schedules: one run for each slot, whatever the clock and the process do."""

from __future__ import annotations

import itertools
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from desk import Desk, HandClock
from engine_bench import COMPLETE_RUN
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from flowstead.engine.scheduling import LATE, MOST_MISSED, Schedule, digest_of, due_slots
from flowstead.flow.slots import slots_between
from flowstead.model.flow import TriggerSpec
from flowstead.model.run import iso


def microseconds(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000_000)


class Timed:
    """A desk, and the schedule that is at work on it; a new one with each restart."""

    def __init__(self, tmp_path: Path, start: str, zone: str = "UTC", **trigger: object) -> None:
        self.clock = HandClock(microseconds(start, zone))
        self.desk = Desk(tmp_path / "workspace", tmp_path / "home", self.clock)
        self.trigger = {"mode": "schedule", **trigger}
        self.schedule = Schedule(self.desk, self.desk.entry(**self.trigger))
        self.schedule.turn()

    def restart(self, **changes: object) -> None:
        self.trigger |= changes
        self.schedule = Schedule(self.desk, self.desk.entry(**self.trigger))
        self.schedule.turn()

    def live(self, hours: float, step: float = 60.0, work: bool = True) -> None:
        """Time passes, as an engine that is up lives through it."""
        until = self.clock.now() + hours * 3_600_000_000
        while self.clock.now() < until:
            self.clock.advance(step)
            self.schedule.turn()
            if work:
                self.desk.work_off()

    @property
    def slots(self) -> list[str]:
        return [request.key.split(":", 1)[1][:16] for request in self.desk.started]


@pytest.fixture
def timed(tmp_path):
    made = []

    def make(start: str, zone: str = "UTC", **trigger: object) -> Timed:
        made.append(Timed(tmp_path / str(len(made)), start, zone, **trigger))
        return made[-1]

    yield make
    for each in made:
        each.desk.close()


TWICE = {"time": ("08:15", "14:45"), "timezone": "Europe/Berlin"}


def test_times_of_day_run_once_each_across_the_change_to_summer_time(timed):
    spring = timed("2026-03-28T20:00", "Europe/Berlin", **TWICE)
    spring.live(48)
    assert spring.slots == ["2026-03-29T06:15", "2026-03-29T12:45", "2026-03-30T06:15", "2026-03-30T12:45"]
    autumn = timed("2026-10-24T20:00", "Europe/Berlin", **TWICE)
    autumn.live(48)
    assert autumn.slots == ["2026-10-25T07:15", "2026-10-25T13:45", "2026-10-26T07:15", "2026-10-26T13:45"]


# What local times the clock skips or has twice, and what comes of schedules at such times, in UTC.
CHANGES = [
    ("Europe/Berlin", "2026-03-29", {"time": ("02:30",)}, ["2026-03-29T01:30"]),
    ("Europe/Berlin", "2026-03-29", {"cron": "30 2 * * *"}, ["2026-03-29T01:00"]),
    ("Europe/Berlin", "2026-10-25", {"time": ("02:30",)}, ["2026-10-25T00:30"]),
    ("Europe/Berlin", "2026-10-25", {"cron": "30 2 * * *"}, ["2026-10-25T00:30"]),
    ("America/New_York", "2026-03-08", {"time": ("02:30",)}, ["2026-03-08T07:30"]),
    ("America/New_York", "2026-03-08", {"cron": "15 2 * * *"}, ["2026-03-08T07:00"]),
    ("America/New_York", "2026-11-01", {"time": ("01:30",)}, ["2026-11-01T05:30"]),
    ("America/New_York", "2026-11-01", {"cron": "30 1 * * *"}, ["2026-11-01T05:30"]),
    ("Australia/Lord_Howe", "2026-04-05", {"time": ("01:45",)}, ["2026-04-04T14:45"]),
    ("Australia/Lord_Howe", "2026-10-04", {"time": ("02:15",)}, ["2026-10-03T15:45"]),
    ("Africa/Casablanca", "2026-02-15", {"time": ("02:30",)}, ["2026-02-15T01:30"]),
    ("Asia/Kolkata", "2026-03-29", {"time": ("02:30",)}, ["2026-03-28T21:00"]),
]


@pytest.mark.parametrize(("zone", "day", "when", "expected"), CHANGES)
def test_a_time_that_the_clock_skips_or_has_twice_runs_once(timed, zone, day, when, expected):
    engine = timed(f"{day}T00:00", zone, timezone=zone, **when)
    engine.live(23, step=600)
    assert engine.slots == expected


def test_every_quarter_of_an_hour_goes_on_evenly_through_the_changes(timed):
    for day in ("2026-03-29", "2026-10-25"):
        engine = timed(f"{day}T00:00", "Europe/Berlin", cron="*/15 * * * *", timezone="Europe/Berlin")
        engine.live(5)
        moments = [datetime.fromisoformat(slot) for slot in engine.slots]
        assert len(moments) == 20
        assert {later - earlier for earlier, later in itertools.pairwise(moments)} == {timedelta(minutes=15)}


def test_a_restart_in_the_very_minute_runs_the_slot_once(timed):
    for missed in ("latest", "skip", "all"):
        engine = timed("2026-06-01T08:00", "Europe/Berlin", missed=missed, **TWICE)
        engine.live(0.24, step=12)
        assert engine.slots == []
        engine.clock.advance(45)  # 08:15:09, down since 08:14:24
        for _ in range(3):
            engine.restart()
            engine.clock.advance(7)
            engine.schedule.turn()
        assert engine.slots == ["2026-06-01T06:15"], missed


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("latest", ["2026-06-03T12:45"]),
        ("skip", []),
        ("all", [f"2026-06-0{day}T{hour}" for day in (1, 2, 3) for hour in ("06:15", "12:45")]),
    ],
)
@pytest.mark.parametrize("down", [True, False], ids=["down", "suspended"])
def test_missed_decides_what_a_machine_that_slept_does(timed, missed, expected, down):
    engine = timed("2026-06-01T08:00", "Europe/Berlin", missed=missed, **TWICE)
    engine.clock.advance(3 * 86_400 - 3600)
    engine.restart() if down else engine.schedule.turn()
    assert engine.slots == expected
    # From then on it is as ever.
    engine.desk.work_off()
    engine.live(2)
    assert engine.slots == [*expected, "2026-06-04T06:15"]


def test_all_is_bounded(timed):
    engine = timed("2026-06-01T00:00", cron="* * * * *", missed="all")
    engine.clock.advance(30 * 86_400)
    engine.schedule.turn()
    assert len(engine.slots) == MOST_MISSED
    assert engine.slots[-1] == "2026-07-01T00:00"


def test_the_first_slot_of_an_interval_comes_an_interval_after_it_was_first_seen(timed):
    engine = timed("2026-06-01T08:00", interval=600.0)
    assert engine.slots == []
    engine.live(0.5)
    assert engine.slots == ["2026-06-01T08:10", "2026-06-01T08:20", "2026-06-01T08:30"]
    engine.clock.advance(90)
    engine.restart()  # it keeps its beat over a restart
    engine.live(0.16)
    assert engine.slots[-1] == "2026-06-01T08:40"


def test_a_clock_that_is_set_back_gives_no_slot_a_second_run(timed):
    for when in ({"interval": 600.0}, {"cron": "*/10 * * * *"}, {"time": ("08:10", "08:20", "08:30", "09:40")}):
        engine = timed("2026-06-01T08:00", **when)
        engine.live(0.5)
        engine.clock.set(-3600)
        engine.live(1)
        engine.restart()
        engine.live(1.2)
        assert len(engine.slots) == len(set(engine.slots))
        assert engine.slots[-1] == "2026-06-01T09:40"


def test_a_clock_that_was_wrong_by_a_year_and_is_set_right_does_not_silence_a_schedule(timed):
    engine = timed("2026-06-01T08:00", **TWICE)
    engine.clock.set(365 * 86_400)
    engine.schedule.turn()
    engine.desk.work_off()
    engine.clock.set(-365 * 86_400)
    engine.restart()
    engine.live(8)
    assert engine.slots[1:] == ["2026-06-01T12:45"]


def test_what_was_forgotten_does_not_come_back(timed):
    engine = timed("2026-06-01T08:00", missed="all", interval=600.0)
    engine.live(2)
    ran = engine.slots
    engine.desk.ledger.write(lambda tx: tx.execute("DELETE FROM runs"))
    engine.restart()
    engine.schedule.turn()
    assert engine.slots == ran


def test_another_machine_goes_on_after_the_last_slot_that_has_a_run(timed):
    engine = timed("2026-06-01T08:00", missed="all", interval=600.0)
    engine.live(0.5)
    engine.desk.ledger.write(lambda tx: tx.execute("DELETE FROM schedules"))
    engine.clock.advance(1200)
    engine.restart()
    assert engine.slots[-2:] == ["2026-06-01T08:40", "2026-06-01T08:50"]
    assert len(engine.slots) == 5


def test_an_old_note_does_not_bring_back_what_another_machine_ran(timed):
    engine = timed("2026-06-01T08:00", missed="all", interval=600.0)
    digest = digest_of(TriggerSpec(interval=600.0))
    before = engine.clock.now()
    engine.live(2)
    engine.desk.ledger.write(lambda tx: tx.put_schedule("flow", digest, before))
    # That one let these times pass, so nothing but the note before could say that they were considered.
    engine.desk.ledger.write(lambda tx: tx.execute("DELETE FROM runs WHERE number < 5"))
    count = len(engine.slots)
    engine.restart()
    assert len(engine.slots) == count


def test_a_changed_trigger_begins_anew(timed):
    engine = timed("2026-06-01T08:00", missed="all", interval=600.0)
    engine.live(0.5)
    engine.clock.advance(3600)
    engine.restart(interval=900.0)
    assert len(engine.slots) == 3
    engine.live(0.3)
    assert engine.slots[-1] == "2026-06-01T09:45"
    engine.restart(missed="latest")  # says nothing of when
    assert len(engine.slots) == 4


def test_slots_that_come_faster_than_they_are_worked_off_wait_once(timed):
    engine = timed("2026-06-01T08:00", interval=60.0)
    engine.live(1, work=False)
    assert len(engine.slots) == 1
    engine.desk.work_off()
    engine.live(0.1, work=False)
    assert len(engine.slots) == 2
    every = timed("2026-06-01T08:00", interval=60.0, missed="all")
    every.live(1, work=False)
    assert len(every.slots) == 60


def test_a_schedule_with_files_runs_each_of_them_or_all_together(timed):
    engine = timed("2026-06-01T08:00", interval=600.0, source="../in", run_as="individual")
    folder = engine.desk.layout.root / "in"
    engine.live(0.17)
    assert engine.slots == []
    assert engine.schedule.status()["state"] == "missing"
    folder.mkdir()
    for name in "ab":
        (folder / name).write_text(name)
    engine.live(0.34)
    assert [(r.source_root, r.source_path) for r in engine.desk.started] == [("in", "a"), ("in", "b")] * 2
    assert engine.schedule.status()["state"] == "scheduled"
    engine.restart(run_as="batch", interval=300.0)
    engine.live(0.1)
    assert [(r.source_root, r.source_path) for r in engine.desk.started[4:]] == [("in", None)]


def test_the_clock_is_looked_at_again_within_a_minute(timed):
    """An alarm may sleep on a clock that stands still while the machine is suspended."""
    from flowstead.engine.automated_flow import LONGEST_SLEEP

    engine = timed("2026-06-01T08:00", interval=86_400.0)
    assert engine.schedule.turn() - engine.clock.monotonic() > LONGEST_SLEEP
    assert LONGEST_SLEEP <= 60


def test_the_cost_of_slots_follows_how_many_are_wanted():
    trigger = TriggerSpec(cron="* * * * *", timezone="Europe/Berlin")
    until = datetime(2026, 7, 1, tzinfo=UTC)
    assert slots_between(trigger, datetime(1996, 7, 1, tzinfo=UTC), until, 3) == [
        until - timedelta(minutes=back) for back in (2, 1, 0)
    ]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", None])
@pytest.mark.parametrize("when", [{"time": ("00:00", "02:15", "23:59")}, {"cron": "15 */6 * * *"}])
def test_any_cut_through_time_gives_the_same_slots(zone, when):
    """Looking often, or once after months, finds the same."""
    trigger = TriggerSpec(timezone=zone, **when)
    begin, end = datetime(2026, 2, 20, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC)
    whole = slots_between(trigger, begin, end, 100_000)
    pieces, at = [], begin
    while at < end:
        following = min(end, at + timedelta(hours=7, minutes=13))
        pieces += slots_between(trigger, at, following, 100_000)
        at = following
    assert pieces == whole
    assert len(whole) == len(set(whole))


class ScheduleMachine(RuleBasedStateMachine):
    """A schedule through restarts, sleep, wrong clocks and lost history, beside what should come of it."""

    @initialize(
        missed=st.sampled_from(["latest", "skip", "all"]),
        when=st.sampled_from(
            [{"interval": 420.0}, {"cron": "*/10 * * * *"}, {"time": ("08:15", "14:45")}, {"cron": "30 */2 * * *"}]
        ),
    )
    def begin(self, missed, when):
        self.folder = tempfile.TemporaryDirectory()
        self.timed = Timed(Path(self.folder.name), "2026-06-01T08:00", missed=missed, **when)
        self.spec = self.timed.desk.spec.trigger
        self.until = self.timed.clock.now()
        self.expected: list[int] = []

    def turn(self):
        now = self.timed.clock.now()
        waited = bool(self.timed.desk.waiting)
        while self.until > now:
            self.until = now if self.spec.interval is None else self.until - 420_000_000
        slots = self.every_slot(self.until, now)
        if slots:
            self.until = slots[-1]
            chosen = slots[-MOST_MISSED:] if self.spec.missed == "all" else slots[-1:]
            if self.spec.missed == "skip" and now - slots[-1] > LATE:
                chosen = []
            if self.spec.missed != "all" and waited:
                chosen = []
            self.expected += [slot for slot in chosen if slot not in self.expected]
        self.timed.schedule.turn()
        started = [request.key.split(":", 1)[1][:24] for request in self.timed.desk.started]
        assert started == [iso(slot) for slot in self.expected]

    def every_slot(self, until, now):
        """By looking at every minute."""
        if self.spec.interval is not None:
            return list(range(until + 420_000_000, now + 1, 420_000_000))
        minute, slots = 60_000_000, []
        for at in range((until // minute + 1) * minute, now + 1, minute):
            moment = datetime.fromtimestamp(at / 1_000_000, UTC)
            by_cron = {
                "*/10 * * * *": moment.minute % 10 == 0,
                "30 */2 * * *": moment.minute == 30 and moment.hour % 2 == 0,
            }
            if by_cron.get(self.spec.cron or "", f"{moment:%H:%M}" in self.spec.time):
                slots.append(at)
        return slots

    @rule(seconds=st.integers(1, 1200))
    def live(self, seconds):
        for _ in range(5):
            self.timed.clock.advance(seconds)
            self.turn()

    @rule(hours=st.integers(1, 60))
    def sleep(self, hours):
        self.timed.clock.advance(hours * 3600 + 1)
        self.turn()

    @rule(seconds=st.integers(-100_000, 100_000))
    def set_clock(self, seconds):
        self.timed.clock.set(seconds)
        self.turn()

    @rule(seconds=st.integers(0, 7200))
    def restart(self, seconds):
        self.timed.clock.advance(seconds)
        self.timed.schedule = Schedule(self.timed.desk, self.timed.desk.entry(**self.timed.trigger))
        self.turn()

    @precondition(lambda self: self.timed.desk.waiting)
    @rule()
    def work(self):
        self.timed.desk.work_off()

    def teardown(self):
        if hasattr(self, "timed"):
            self.timed.desk.close()
            self.folder.cleanup()


def test_any_course_of_time_gives_each_slot_one_run():
    examples, steps = (30, 40) if COMPLETE_RUN else (10, 20)
    run_state_machine_as_test(
        ScheduleMachine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )


def test_slots_of_an_interval_are_found_without_counting_through():
    trigger = TriggerSpec(interval=0.001, missed="all")
    assert len(due_slots(trigger, 0, 10**15)) == MOST_MISSED
