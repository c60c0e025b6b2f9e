"""Flows that run at their time: one run for each slot, whatever restarts and changes of the clock there are.

A slot is the moment at which a schedule is due. Its run's key is made of it, so that no slot has two; up to which slot
a schedule was considered is kept beside it, so that what was forgotten since does not come back.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flowstead.engine.automated_flow import RUNS_IN_ONE_COMMIT, AutomatedFlow
from flowstead.engine.freshness import find_files, source_root
from flowstead.flow.slots import next_slot, slots_between
from flowstead.model.errors import NotFound
from flowstead.model.flow import TriggerSpec
from flowstead.model.run import RunRequest, iso

if TYPE_CHECKING:
    from flowstead.ledger import Transaction

LATE = 60 * 1_000_000
"""Microseconds after which a slot that has passed counts as missed."""
MOST_MISSED = 1000
"""Of `missed="all"`, so many of the newest slots run."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def digest_of(trigger: TriggerSpec) -> str:
    """Names the times at which a trigger is due: another interval, time, cron or time zone is another schedule."""
    times = json.dumps([trigger.interval, trigger.time, trigger.cron, trigger.timezone])
    return hashlib.sha256(times.encode()).hexdigest()[:12]


class Schedule(AutomatedFlow):
    """Starts a run of the flow for each slot; with `run_as="individual"` and a source, for each file that is there."""

    _until: int | None = None
    """The last slot that was considered, or the moment at which the schedule began."""

    def turn(self) -> float:
        clock = self.engine.clock
        trigger = self.spec.trigger
        now = clock.now()
        if self._until is None:
            self._until = self._begin(now)
            self.note("scheduled")
        if self._until > now:
            self._until = until = _back(trigger, self._until, now)
            self.engine.ledger.write(lambda tx: tx.put_schedule(self.name, digest_of(trigger), until))
        slots = due_slots(trigger, self._until, now)
        if slots:
            self._consider(slots, now)
        self.next_due = following(trigger, self._until)
        return clock.monotonic() + max(0.001, (self.next_due - clock.now()) / 1_000_000)

    def _begin(self, now: int) -> int:
        """From when on slots count: what was considered before, by this machine or, of its runs, by another one.

        A schedule that is new, or whose times were changed, begins now.
        """
        digest = digest_of(self.spec.trigger)
        reader = self.engine.ledger.reader
        known = reader.schedule(self.name)
        slot = reader.newest_slot(self.name, digest)
        ran = 0 if slot is None else _microseconds(datetime.fromisoformat(slot))
        if known is not None and known[0] == digest:
            # A slot ahead of this clock says nothing of those before it: the clock was set back, or another's is ahead.
            return max(known[1], ran) if ran <= now else known[1]
        until = min(now, ran) if ran and known is None else now
        self.engine.ledger.write(lambda tx: tx.put_schedule(self.name, digest, until))
        return until

    def _consider(self, slots: list[int], now: int) -> None:
        """Starts the runs of these slots, as far as `missed` lets them run, and notes that they were considered."""
        trigger, last = self.spec.trigger, slots[-1]
        if trigger.missed == "skip" and now - last > LATE:
            slots = []
        try:
            requests = self._requests(slots)
        except NotFound as missing:
            requests = []
            self.note("missing", f"At {iso(last)} it had nothing to run on. {missing.message}")
        else:
            self.note("scheduled")
        # Race: whoever stops the automation waits for this lock, and then starts nothing more.
        with self.engine.starting:
            if self.stopped:
                return
            # Where slots come faster than they are worked off, one that waits stands for those after it.
            if trigger.missed != "all" and self.engine.ledger.reader.slot_waits(self.name):
                requests = []
            first, rest = requests[:RUNS_IN_ONE_COMMIT], requests[RUNS_IN_ONE_COMMIT:]
            while rest:
                self.engine.start_runs(first)
                first, rest = rest[:RUNS_IN_ONE_COMMIT], rest[RUNS_IN_ONE_COMMIT:]
            digest = digest_of(trigger)

            def considered(tx: Transaction) -> None:
                tx.put_schedule(self.name, digest, last)

            if first:
                self.engine.start_runs(first, take_over=considered)
            else:
                self.engine.ledger.write(considered)
        self._until = last

    def _requests(self, slots: list[int]) -> list[RunRequest]:
        trigger, spec = self.spec.trigger, self.spec
        digest = digest_of(trigger)
        folder = source_root(spec, self.module_dir)
        root = None if folder is None else self.engine.layout.root_key(folder)
        paths: list[str | None] = [None]
        if folder is not None and trigger.run_as == "individual":
            paths = [*sorted(find_files(spec, folder))] if slots else []
            slots = slots[-1:]  # of the files as they are now, one run each is enough
        return [
            RunRequest(
                spec.name,
                spec.group,
                self.digest,
                "schedule",
                self.params,
                source_root=root,
                source_path=path,
                key=f"slot:{iso(slot)}:{digest}" + ("" if path is None else f":{path}"),
            )
            for slot in slots
            for path in paths
        ]


def due_slots(trigger: TriggerSpec, until: int, now: int) -> list[int]:
    """The slots after `until` up to `now`, in microseconds, oldest first: all that count, at most the newest ones."""
    limit = MOST_MISSED if trigger.missed == "all" else 1
    if trigger.interval is not None:
        step = _step(trigger.interval)
        count = max(0, (now - until) // step)
        last = until + count * step
        return [last - back * step for back in reversed(range(min(count, limit)))]
    found = slots_between(trigger, _moment(until), _moment(now), limit)
    return [_microseconds(slot) for slot in found]


def following(trigger: TriggerSpec, until: int) -> int:
    """The first slot after `until`, in microseconds."""
    if trigger.interval is not None:
        return until + _step(trigger.interval)
    return _microseconds(next_slot(trigger, _moment(until)))


def _back(trigger: TriggerSpec, until: int, now: int) -> int:
    """From when on slots count after the clock was set back. Those that had their run get no other."""
    if trigger.interval is None:
        return now
    step = _step(trigger.interval)
    return until - -(-(until - now) // step) * step


def _step(interval: float) -> int:
    return max(1000, round(interval * 1_000_000))


def _moment(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
