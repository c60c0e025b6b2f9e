"""One workspace as the routes see it: what can be read at any time, and the engine once something is to be done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from flowstead.catalog import Catalog
from flowstead.engine.engine import Engine
from flowstead.ledger import LedgerReader
from flowstead.model.errors import WorkspaceBusy
from flowstead.model.run import ACTIVE, Run
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout, home
from flowstead.workspace.lock import ProcessLock
from flowstead.workspace.trust import require_trust

SECONDS_BETWEEN_TRIES = 0.05

OnWait = Callable[[dict[str, Any]], None]


class WorkspaceHost:
    """Reads the workspace at `root`; `engine` opens it for running, in the name of `command`.

    When another process has it, `engine` waits, after telling `on_wait` who that is; without `on_wait` it raises
    WorkspaceBusy.
    """

    def __init__(self, root: Path, *, command: str, on_wait: OnWait | None = None) -> None:
        self.layout = WorkspaceLayout.of(root)
        self.reader = LedgerReader(self.layout.ledger)
        self._command = command
        self._on_wait = on_wait
        self._engine: Engine | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings of this machine. Raises UsageError naming a bad entry."""
        return Settings.load(home())

    @cached_property
    def catalog(self) -> Catalog:
        """The flows. Raises WorkspaceUntrusted: to describe a flow is to run its code."""
        require_trust(self.layout)
        return Catalog(self.layout, time_limit=self.settings.describe_timeout)

    @property
    def open_engine(self) -> Engine | None:
        """The engine, if it is open."""
        return self._engine

    @property
    def engine(self) -> Engine:
        """The engine; opened at the first use. Raises WorkspaceBusy, WorkspaceUntrusted, and a ledger's errors."""
        if self._engine is None:
            require_trust(self.layout)
            self._engine = self._open()
        return self._engine

    def _open(self) -> Engine:
        told = False
        while True:
            try:
                return Engine(self.layout, self.settings, command=self._command, only=())
            except WorkspaceBusy as busy:
                if self._on_wait is None:
                    raise
                if not told:
                    self._on_wait(busy.detail)
                    told = True
            time.sleep(SECONDS_BETWEEN_TRIES)

    @property
    def holder(self) -> dict[str, Any] | None:
        """Who has the workspace open for running: `{pid, command, since}`; None when nobody has."""
        lock = ProcessLock(self.layout.engine_lock)
        return lock.holder() if self._engine is not None or lock.is_held() else None

    def as_seen(self, runs: Iterable[Run]) -> list[Run]:
        """Runs as they are to people: under way only while someone holds the workspace, else interrupted.

        The ledger says `running` of a run whose engine was killed until the next engine opens it.
        """
        shown = list(runs)
        if any(run.status in ACTIVE for run in shown) and self.holder is None:
            # Race: they may have ended, and their engine with them, since they were read.
            now = {run.id: run for run in self.reader.runs_by_id(run.id for run in shown)}
            shown = [now.get(run.id, run) for run in shown]
            shown = [replace(run, status="interrupted") if run.status in ACTIVE else run for run in shown]
        return shown

    def close(self) -> None:
        """Interrupts what still runs and gives the workspace free."""
        self.reader.close()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
