"""Keeping a workspace while an engine runs it: the lease is renewed, changes are published, requests for it granted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from flowstead.engine.compacting import Compactor
from flowstead.engine.dispatcher import Dispatcher
from flowstead.engine.holding import Holding
from flowstead.engine.publishing import Publisher
from flowstead.model.errors import FlowsteadError, OwnershipLost, StorageError
from flowstead.workspace.compaction import FANOUT
from flowstead.workspace.segments import Accepted

SECONDS_BETWEEN_TICKS = 1.0
SEGMENTS_AT_ONCE = 4


class Owner:
    """Owns the workspace of `holding` for the engine of `dispatcher`; everything happens on the engine's alarm thread.

    The first beat comes a second after the claim: most commands are done by then, and need no lease in between.
    `on_over` is called once the engine cannot go on: the dispatcher's `failure` says why.
    """

    def __init__(
        self, holding: Holding, dispatcher: Dispatcher, publisher: Publisher, on_over: Callable[[], None] | None
    ) -> None:
        self.handing_over_to: str | None = None
        self._holding = holding
        self._ownership = holding.ownership
        self._dispatcher = dispatcher
        self._publisher = publisher
        self._on_over = on_over
        self._announced = False
        self._asked = False
        self._over = False
        self._released = False
        self._clock = holding.clock
        self._next_beat = self._clock.monotonic()
        self._next_publication = self._next_beat + self._ownership.times.beat
        self._published_ends = 0
        self._compacted_at = 0
        self._grace_over_at = 0.0
        holding.ledger.guard = self._ownership.check
        self._compactor = Compactor(holding.layout, holding.ledger, holding.segments, epoch=holding.ownership.epoch)
        self._alarm = dispatcher.alarms.set(SECONDS_BETWEEN_TICKS, self._tick)

    def _tick(self) -> None:
        if self._over:
            return
        try:
            if self._dispatcher.failure is None:
                self._keep(self._clock.monotonic())
        except OwnershipLost as lost:
            self._dispatcher.fail(lost)
        except FlowsteadError:
            # Such as a share that is away for a moment, which may be back by the next beat. If it is not, the
            # deadline passes, and the ledger takes no more writes.
            pass
        if self._dispatcher.failure is None:
            self._tick_in(SECONDS_BETWEEN_TICKS)
            return
        self._over = True
        if self._on_over is not None:
            self._on_over()

    def _tick_in(self, seconds: float) -> None:
        self._dispatcher.alarms.unset(self._alarm)
        self._alarm = self._dispatcher.alarms.set(seconds, self._tick)

    def _keep(self, now: float) -> None:
        if now >= self._next_beat:
            self._next_beat = now + self._ownership.times.beat
            self._beat()
        if now >= self._next_publication or self._dispatcher.ended > self._published_ends:
            self._publish(now)
        self._look_for_request()
        if self.handing_over_to is not None:
            self._finish_handing_over(now)

    def _beat(self) -> None:
        self._ownership.renew(self._publisher.generation)
        self._announced = True

    def _publish(self, now: float) -> None:
        ended = self._dispatcher.ended
        self._next_publication = now + self._ownership.times.beat
        before = self._publisher.generation
        self._publisher.publish(at_most=SEGMENTS_AT_ONCE)
        self._published_ends = ended
        if self._publisher.generation - before == SEGMENTS_AT_ONCE:
            self._next_publication = now  # a long history, shared for the first time: the lease must not wait for it
        if self._publisher.generation != before and self._announced:
            # Observers look at the lease to learn that there is more to read.
            self._next_beat = now + self._ownership.times.beat
            self._beat()
        self._compact()

    def _compact(self) -> None:
        generation = self._publisher.generation
        # To look each time would cost a listing of the shared folder, and mostly find nothing to do.
        if generation % FANOUT == 0 and generation != self._compacted_at:
            self._compacted_at = generation
            self._compactor.step(Accepted(self._ownership.epoch, generation, self._ownership.claims.bound))

    # -- handing over ------------------------------------------------------------------------------------------

    def hand_over(self, to: str) -> None:
        """Begins to give the workspace up: no new runs, those under way finish or the grace runs out, then release."""
        if self.handing_over_to is None:
            self.handing_over_to = to
            self._grace_over_at = self._clock.monotonic() + self._holding.settings.handover_grace
            self._dispatcher.pause()
            self._tick_in(0.0)

    def _look_for_request(self) -> None:
        request = self._ownership.request()
        if request is not None:
            self._asked = True
            self.hand_over(request.host)
        elif self._asked:  # it was withdrawn, or has expired
            self._asked = False
            self.handing_over_to = None
            self._dispatcher.go_on()

    def _finish_handing_over(self, now: float) -> None:
        if self._dispatcher.active:
            if now < self._grace_over_at:
                return
            self._dispatcher.interrupt()
        message = f"The workspace was handed over to {self.handing_over_to}."
        hint = "Ask for it back with: flowstead workspace request-control"
        self._dispatcher.fail(OwnershipLost(message, code="handed-over", hint=hint))
        self.release()

    def release(self) -> None:
        """Publishes the last changes and releases the workspace; nothing of either once it is lost.

        When they cannot be published it falls silent instead: whether they are there is not known then, nor when they
        will be, and only the claim after an owner that did not release is kept for as long as it must refuse them.
        """
        if self._released:
            return
        self._released = True
        if not self._ownership.valid:
            self._compactor.close()
            self._publisher.close()
            return
        published = False
        try:
            self._publisher.publish()
            published = True
            with suppress(StorageError):
                self._compact()
        finally:
            self._compactor.close()
            self._publisher.close()
            if published:
                self._holding.release(self._publisher.generation)
            else:
                self._holding.fall_silent()
