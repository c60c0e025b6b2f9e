"""Running flows whenever they are due, in this process and without a record, until Ctrl-C."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flowstead.flow.errors import CodedError, FlowDefinitionError, RunCancelled
from flowstead.flow.execution import Recorder, run_steps
from flowstead.flow.local import LocalSink, make_context, scan_source, source_files
from flowstead.flow.slots import next_slot

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow, Step

LOOK_AGAIN = 1.0
"""Seconds until a file that is not settled is looked at again, where the interval is longer."""
LATE = 60.0
"""Seconds after which a slot that has passed counts as missed."""


class Clock:
    """The time, and waiting for it. Tests give one that they advance."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def now(self) -> datetime:
        """The moment, in UTC."""
        return datetime.now(UTC)

    def wait(self, seconds: float, stop: threading.Event) -> None:
        """Returns after `seconds`, or earlier, and at once when `stop` is set."""
        stop.wait(min(seconds, 60.0))


def run(
    *flows: Flow,
    clock: Clock | None = None,
    stop: threading.Event | None = None,
    report: Callable[[str], None] | None = None,
) -> None:
    """Runs each flow whenever it is due, until Ctrl-C or `stop` is set; manual flows once, and then it returns.

    Flows of one group take turns; groups run side by side. What fails is reported and does not end the others; a file
    that failed waits for a change. `report` takes lines for people (default: standard error). Raises
    FlowDefinitionError for no flow at all, and, at the end, what a manual flow failed with.
    """
    if not flows:
        raise FlowDefinitionError("run() was given no flow.", code="argument-invalid", hint="Write run(build()).")
    rounds = _Rounds(clock or Clock(), stop or threading.Event(), report or _to_stderr)
    groups: dict[str, list[_Watch]] = {}
    for flow in flows:
        groups.setdefault(flow.group, []).append(_watch(flow, rounds))
    threads = [
        threading.Thread(target=rounds.run_group, args=(watches,), name=f"group {group}", daemon=True)
        for group, watches in groups.items()
    ]
    try:
        for thread in threads:
            thread.start()
        _join(threads)
    except KeyboardInterrupt:
        rounds.stop.set()
        rounds.report("Stopping after the steps that are running. Ctrl-C again ends them too.")
        _join(threads)
    if rounds.failures:
        raise rounds.failures[0]


class _Rounds:
    """What the groups share: the clock, the signal to stop, and what ended badly."""

    def __init__(self, clock: Clock, stop: threading.Event, report: Callable[[str], None]) -> None:
        self.clock = clock
        self.stop = stop
        self.report = report
        self.failures: list[BaseException] = []

    def run_group(self, watches: list[_Watch]) -> None:
        try:
            while watches and not self.stop.is_set():
                soonest = min(watches, key=lambda watch: watch.seconds_left())
                left = soonest.seconds_left()
                if left > 0:
                    self.clock.wait(left, self.stop)
                    continue
                soonest.turn()
                watches = [watch for watch in watches if not watch.finished]
        except RunCancelled:
            pass
        except BaseException as error:
            self.report(f"A group of flows has ended: {type(error).__name__}: {error}")
            self.failures.append(error)

    def attempt(self, flow: Flow, relative: str | None) -> BaseException | None:
        """One run; returns what it failed with. Raises RunCancelled."""
        name = f"{flow.title}: {relative}" if relative else flow.title
        started = time.perf_counter()
        try:
            context = make_context(flow, relative, None, _StoppableSink(self.stop))
            run_steps(flow, context, _StoppableRecorder(self.stop))
        except RunCancelled:
            self.report(f"{name}: cancelled")
            raise
        except (Exception, SystemExit) as error:
            self.report(f"{name}: failed\n{''.join(traceback.format_exception(error)).rstrip()}")
            return error
        self.report(f"{name}: ok, {time.perf_counter() - started:.1f} s")
        return None


class _Watch:
    """One flow, waiting for its turn."""

    finished = False

    def __init__(self, flow: Flow, rounds: _Rounds) -> None:
        self.flow = flow
        self.rounds = rounds
        self.due = rounds.clock.monotonic()
        self.trouble = ""

    def seconds_left(self) -> float:
        return self.due - self.rounds.clock.monotonic()

    def turn(self) -> None:
        raise NotImplementedError

    def attempt_each(self, files: Iterable[str | None]) -> list[BaseException]:
        """A run for each of `files`; returns the failures. A source that cannot be read is told once, not each time."""
        failures: list[BaseException] = []
        try:
            for relative in files:
                failure = self.rounds.attempt(self.flow, relative)
                if failure is not None:
                    failures.append(failure)
            self.trouble = ""
        except (CodedError, OSError) as error:
            self.tell_once(error)
            failures.append(error)
        return failures

    def tell_once(self, error: Exception) -> None:
        if str(error) != self.trouble:
            self.trouble = str(error)
            self.rounds.report(f"{self.flow.title}: {error}")


class _Manual(_Watch):
    def turn(self) -> None:
        self.rounds.failures.extend(self.attempt_each(source_files(self.flow)))
        self.finished = True


class _Poll(_Watch):
    def __init__(self, flow: Flow, rounds: _Rounds) -> None:
        super().__init__(flow, rounds)
        self.done: dict[str, tuple[int, int]] = {}
        self.seen: dict[str, tuple[tuple[int, int], int, float]] = {}

    def turn(self) -> None:
        interval = self.flow.trigger.interval or LOOK_AGAIN
        now = self.rounds.clock.monotonic()
        try:
            found = scan_source(self.flow)
        except (CodedError, OSError) as error:
            self.tell_once(error)
            self.due = now + interval
            return
        self.trouble = ""
        ready, unsettled = self._settled(found, now)
        self.due = now + (min(interval, LOOK_AGAIN) if unsettled else interval)
        if self.flow.trigger.run_as == "individual":
            for relative in sorted(ready):
                self.rounds.attempt(self.flow, relative)
                # The signature is the one from before the run: a file that changed meanwhile is taken again.
                self.done[relative] = found[relative]
        elif ready and not unsettled:
            self.rounds.attempt(self.flow, None)
            self.done = found

    def _settled(self, found: dict[str, tuple[int, int]], now: float) -> tuple[list[str], bool]:
        """The new or changed files that have kept still long enough, and whether others have not."""
        trigger = self.flow.trigger
        looked: dict[str, tuple[tuple[int, int], int, float]] = {}
        ready: list[str] = []
        for relative, signature in found.items():
            if self.done.get(relative) == signature:
                continue
            before, looks, since = self.seen.get(relative, (None, 0, now))
            looks, since = (looks + 1, since) if before == signature else (0, now)
            looked[relative] = (signature, looks, since)
            if trigger.settle_seconds is None:
                still = looks >= trigger.settle_looks
            else:
                still = now - since >= trigger.settle_seconds
            if still:
                ready.append(relative)
        self.seen = looked
        return ready, len(ready) < len(looked)


class _Interval(_Watch):
    def turn(self) -> None:
        interval, missed = self.flow.trigger.interval or LOOK_AGAIN, self.flow.trigger.missed
        if missed != "skip" or self.seconds_left() > -LATE:
            self.attempt_each(source_files(self.flow))
        self.due += interval
        passed = -self.seconds_left() // interval
        if passed > 0 and missed != "all":
            self.due += interval * (passed if missed == "latest" else passed + 1)


class _Slots(_Watch):
    def __init__(self, flow: Flow, rounds: _Rounds) -> None:
        super().__init__(flow, rounds)
        self.slot = next_slot(flow.trigger, rounds.clock.now())

    def seconds_left(self) -> float:
        return (self.slot - self.rounds.clock.now()).total_seconds()

    def turn(self) -> None:
        trigger = self.flow.trigger
        if trigger.missed != "skip" or self.seconds_left() > -LATE:
            self.attempt_each(source_files(self.flow))
        now = self.rounds.clock.now()
        self.slot = next_slot(trigger, self.slot)
        if trigger.missed == "latest":
            while (following := next_slot(trigger, self.slot)) <= now:
                self.slot = following
        elif trigger.missed == "skip" and self.slot <= now:
            self.slot = next_slot(trigger, now)


def _watch(flow: Flow, rounds: _Rounds) -> _Watch:
    trigger = flow.trigger
    kinds = {"manual": _Manual, "poll": _Poll, "schedule": _Slots if trigger.interval is None else _Interval}
    return kinds[trigger.mode](flow, rounds)


class _StoppableSink(LocalSink):
    """Lets `context.check_cancelled` end a step once the run is to stop."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__({})
        self._stop = stop

    def check_cancelled(self) -> None:
        if self._stop.is_set():
            raise RunCancelled


class _StoppableRecorder(Recorder):
    """Ends a run between its steps and items once it is to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def step_started(self, step: Step) -> None:
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if self._stop.is_set():
            raise RunCancelled

    def wait(self, seconds: float) -> None:
        self._stop.wait(seconds)
        self.check_cancelled()


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # without a limit, Windows would not let Ctrl-C through


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
