"""Watching a workspace that another machine runs: its published state comes into this machine's ledger."""

from __future__ import annotations

from collections.abc import Callable

from flowstead.engine.clock import Alarms
from flowstead.engine.holding import Holding
from flowstead.model.errors import FlowsteadError
from flowstead.workspace.standing import Standing

SECONDS_BETWEEN_LOOKS = 2.0


class Observer:
    """Looks at the shared folder every two seconds and takes in what is new; `on_look` is told who owns it now.

    `seen` is how the workspace stood at the last look. What keeps it from looking (a share that is away) is in
    `trouble` until a look succeeds again.
    """

    def __init__(self, holding: Holding, *, on_look: Callable[[Standing], None]) -> None:
        self.seen: Standing | None = None
        self.trouble: FlowsteadError | None = None
        self._holding = holding
        self._on_look = on_look
        self._followed: tuple[str, int, int] | None = None
        self._closed = False
        self._alarms = Alarms(holding.clock, self._failed)
        self._alarms.set(0.0, self._look)

    def _failed(self, error: Exception) -> None:
        from flowstead.engine.dispatcher import coded

        self.trouble = coded(error)
        self._again()

    def _again(self) -> None:
        if not self._closed:
            self._alarms.set(SECONDS_BETWEEN_LOOKS, self._look)

    def _look(self) -> None:
        standing = self._holding.ownership.look()
        published = (standing.state, standing.epoch, standing.generation)
        if published != self._followed:
            followed = self._holding.follow()
            # What is missing now may only be late: it is looked for again.
            self._followed = None if followed.gaps else published
        self.seen, self.trouble = standing, None
        self._on_look(standing)
        self._again()

    def close(self) -> None:
        self._closed = True
        self._alarms.close()
