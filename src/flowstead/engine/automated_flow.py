"""One flow that starts by itself, on a thread of its own: a source that hangs holds up nobody else."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from flowstead.engine.dispatcher import coded
from flowstead.engine.starting import check_params
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import iso

if TYPE_CHECKING:
    from flowstead.catalog import CatalogEntry
    from flowstead.engine.engine import Engine
    from flowstead.model.flow import FlowSpec

LONGEST_SLEEP = 60.0
"""Seconds. Timers may stand still while the machine sleeps, and clocks are set: so look at the clock that often."""
SECONDS_AFTER_TROUBLE = 30.0
RUNS_IN_ONE_COMMIT = 500


class AutomatedFlow:
    """Takes its turn when it is due or woken, until it is stopped. Subclasses say what a turn is.

    `state` is a word for how it stands, `condition` a sentence when something keeps it from its work, `since` when that
    began, and `next_due` when it acts next, both in microseconds of the wall clock.
    """

    def __init__(self, engine: Engine, entry: CatalogEntry) -> None:
        assert entry.spec is not None and entry.digest is not None
        self.engine = engine
        self.name = entry.name
        self.module_dir = entry.path.parent
        self.spec: FlowSpec = entry.spec
        self.digest: str = entry.digest
        # What needs someone to ask has no such trigger: `build` refuses it.
        self.params = check_params(entry.spec, {})[0]
        self.state = "starting"
        self.condition: str | None = None
        self.since: int | None = None
        self.next_due: int | None = None
        self.stopped = False
        self._waking = threading.Condition()
        self._woken = False
        self._thread = threading.Thread(target=self._work, name=f"flow {self.name}", daemon=True)

    def begin(self) -> None:
        self._thread.start()

    def continues(self, entry: CatalogEntry) -> bool:
        """Whether this goes on for the flow as it is now; it then runs that version."""
        spec = entry.spec
        if spec is None or entry.digest is None or spec.trigger != self.spec.trigger:
            return False
        if entry.digest != self.digest:
            self.params = check_params(spec, {})[0]
            self.spec, self.digest = spec, entry.digest
            self.wake()
        return True

    def wake(self) -> None:
        """Lets it take its turn now."""
        with self._waking:
            self._woken = True
            self._waking.notify_all()

    def stop(self) -> None:
        """It starts nothing more; its thread ends when it comes back from what it is at."""
        with self._waking:
            self.stopped = True
            self._waking.notify_all()

    def join(self, seconds: float) -> None:
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def turn(self) -> float:
        """Does what is due; returns when, on the monotonic clock, there may be more. For the flow's thread alone."""
        raise NotImplementedError

    def begin_anew(self) -> None:
        """After a turn that failed half-way: forget what it had taken in."""

    def leave(self) -> None:
        """The last that the flow's thread does."""

    def note(self, state: str, condition: str | None = None) -> None:
        """Says how the flow stands; `since` stays while neither changes."""
        if (state, condition) != (self.state, self.condition):
            self.since = self.engine.clock.now() if condition else None
            self.state, self.condition = state, condition

    def status(self) -> dict[str, Any]:
        """How it stands, as JSON."""
        return {
            "state": self.state,
            "condition": self.condition,
            "since": iso(self.since),
            "next_due": iso(self.next_due),
        }

    def _work(self) -> None:
        clock = self.engine.clock
        while not self.stopped and self.engine.failure is None:
            with self._waking:
                self._woken = False
            until = min(self._take_turn(), clock.monotonic() + LONGEST_SLEEP)
            with self._waking:
                while not (self.stopped or self._woken) and (left := until - clock.monotonic()) > 0:
                    clock.wait(self._waking, left)
        self.leave()

    def _take_turn(self) -> float:
        try:
            return self.turn()
        except Exception as error:
            if self.stopped:
                return 0.0  # over; the engine may have been closed meanwhile
            self.begin_anew()
            self.next_due = None
            self.note("stuck", error.message if isinstance(error, FlowsteadError) else coded(error).message)
            return self.engine.clock.monotonic() + SECONDS_AFTER_TROUBLE
