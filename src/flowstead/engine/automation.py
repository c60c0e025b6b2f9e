"""The automated part of one workspace: its flows start by themselves, when files arrive or their time has come.

module → catalog → AutomatedFlow (FileArrivals | Schedule) → engine.start_runs
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from flowstead.catalog.catalog import Fingerprint, fingerprint_of
from flowstead.engine.arrivals import FileArrivals
from flowstead.engine.automated_flow import AutomatedFlow
from flowstead.engine.freshness import source_root
from flowstead.engine.mounts import is_on_share
from flowstead.engine.scheduling import Schedule
from flowstead.engine.watching import FolderWatcher
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import Run, iso

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowstead.catalog import CatalogEntry
    from flowstead.engine.engine import Engine
    from flowstead.ledger import LedgerReader

CHECK_MODULES = 5.0
"""Seconds between the looks at sizes and times of the modules."""
READ_MODULES = 60.0
"""Seconds between readings of all modules, whatever their sizes and times are."""
SECONDS_TO_STOP = 0.5
"""How long a stop waits for threads; one that hangs on a share ends when it comes back, and starts nothing."""


class Automation:
    """Starts and stops the flows of an engine's workspace that run by themselves; see `status` for how they stand."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lifecycle = threading.Lock()
        self._waking = threading.Condition()
        self._entries: list[CatalogEntry] = []
        self._flows: dict[str, AutomatedFlow] = {}
        self._trouble: FlowsteadError | None = None
        self._running = False
        self._woken = False
        self._watcher = FolderWatcher()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._running

    def start(self) -> None:
        """Lets flows start by themselves, what waits be dispatched, and interrupted runs go on where they may.

        Once it returns, the flows are known. Started already, it does nothing.
        """
        with self._lifecycle:
            if self._running:
                return
            self._running = True
            self._watcher = watcher = FolderWatcher()
            self._engine.resume_interrupted()
            self._engine.dispatcher.include_all()
        seen = fingerprint_of(self._engine.layout)
        self._read_modules(watcher)
        with self._lifecycle:
            if self._is_on(watcher):
                self._thread = threading.Thread(
                    target=self._follow_modules, args=(watcher, seen), name="automation", daemon=True
                )
                self._thread.start()

    def stop(self) -> None:
        """Within a second: nothing starts any more. What has started goes on, what waits stays queued."""
        with self._lifecycle:
            if not self._running:
                return
            with self._waking:
                self._running = False
                self._waking.notify_all()
            flows = list(self._flows.values())
            for flow in flows:
                flow.stop()
            # Race: a flow that is queueing runs would let them be dispatched after the hold. It lets go of the lock
            # after the next few; a start by hand may hold it for longer, and its runs are to be dispatched.
            no_one_queues = self._engine.starting.acquire(timeout=SECONDS_TO_STOP)
            self._engine.dispatcher.hold()
            if no_one_queues:
                self._engine.starting.release()
            self._watcher.close()
            until = time.monotonic() + SECONDS_TO_STOP / 2
            for flow in flows:
                flow.join(max(0.0, until - time.monotonic()))
            if self._thread is not None and self._thread is not threading.current_thread():
                self._thread.join(max(0.0, until - time.monotonic()))

    def _is_on(self, watcher: FolderWatcher) -> bool:
        """Whether it was not stopped, or stopped and started again, since it began to use `watcher`."""
        return self._running and self._watcher is watcher

    # -- modules -----------------------------------------------------------------------------------------------

    def _follow_modules(self, watcher: FolderWatcher, seen: Fingerprint) -> None:
        """Reads the modules again whenever they change, until the automation is stopped."""
        engine, clock = self._engine, self._engine.clock
        watch = None
        if engine.settings.watch != "poll" and not is_on_share(engine.layout.flow_modules):
            watch = watcher.add(engine.layout.flow_modules, lambda _: self._wake())
        read_at = clock.monotonic()
        while self._is_on(watcher):
            pause = READ_MODULES if watch is not None and watch.active else CHECK_MODULES
            until = clock.monotonic() + pause
            with self._waking:
                while self._is_on(watcher) and not self._woken and (left := until - clock.monotonic()) > 0:
                    clock.wait(self._waking, left)
                self._woken = False
            if not self._is_on(watcher) or engine.failure is not None:
                return
            found = fingerprint_of(self._engine.layout)
            if found != seen or clock.monotonic() - read_at >= READ_MODULES:
                read_at = clock.monotonic()
                self._read_modules(watcher)
                seen = found

    def _wake(self) -> None:
        with self._waking:
            self._woken = True
            self._waking.notify_all()

    def _read_modules(self, watcher: FolderWatcher) -> None:
        try:
            entries = self._engine.catalog.entries()
        except FlowsteadError as error:
            self._trouble = error  # the flows go on as they were
            return
        self._trouble = None
        with self._lifecycle:
            if self._is_on(watcher):
                self._take(entries)

    def _take(self, entries: list[CatalogEntry]) -> None:
        """Begins what is new, ends what is gone or broken, and lets the rest go on with its new version."""
        flows = dict(self._flows)
        for entry in entries:
            flow = flows.pop(entry.name, None)
            if flow is not None:
                if not flow.stopped and flow.continues(entry):
                    continue
                flow.stop()
                self._flows.pop(entry.name, None)
            begun = self._automated(entry)
            if begun is not None:
                self._flows[entry.name] = begun
                begun.begin()
        for gone in flows.values():
            gone.stop()
            self._flows.pop(gone.name, None)
        self._entries = entries

    def _automated(self, entry: CatalogEntry) -> AutomatedFlow | None:
        """What starts the flow by itself; None for one that is broken or is run by hand."""
        mode = entry.spec.trigger.mode if entry.spec is not None else "manual"
        if mode == "poll":
            return FileArrivals(self._engine, entry, self._watcher)
        return Schedule(self._engine, entry) if mode == "schedule" else None

    # -- how it stands -----------------------------------------------------------------------------------------

    def states(self) -> dict[str, dict[str, Any]]:
        """How each flow stands that starts by itself, by its name; none while nothing does."""
        flows = dict(self._flows) if self._running else {}
        return {name: flow.status() for name, flow in flows.items()}

    def status(self) -> dict[str, Any]:
        """Whether the workspace is automated, and how each flow stands; times as ISO 8601.

        A flow's `state` is watching, polling, scheduled, missing, unreadable, stuck or starting while automated, and
        broken, manual or off otherwise.
        """
        answer = status_at_rest(self._entries, self._engine.ledger.reader)
        states = self.states()
        for row in answer["flows"]:
            row.update(states.get(row["flow"], {}))
        trouble = None if self._trouble is None else self._trouble.message
        return {**answer, "automated": self._running, "trouble": trouble, "active": self._engine.dispatcher.active}


def status_at_rest(entries: Iterable[CatalogEntry], reader: LedgerReader) -> dict[str, Any]:
    """What `Automation.status` says of a workspace in which nothing starts by itself."""
    return {
        "automated": False,
        "trouble": None,
        "active": [],
        "queued": len(reader.open_runs(statuses=("queued",))),
        "flows": [_at_rest(entry, reader) for entry in entries],
    }


def _at_rest(entry: CatalogEntry, reader: LedgerReader) -> dict[str, Any]:
    spec = entry.spec
    state = "broken" if spec is None else "manual" if spec.trigger.mode == "manual" else "off"
    message = (entry.error or {}).get("message", "it could not be described")
    source = None if spec is None else source_root(spec, entry.path.parent)
    last = reader.runs(flow=entry.name, limit=1, with_steps=False)
    return {
        "flow": entry.name,
        "label": spec.label if spec else entry.name,
        "mode": spec.trigger.mode if spec else None,
        "interval": spec.trigger.interval if spec else None,
        "source": None if source is None else str(source),
        "state": state,
        "condition": message if spec is None else None,
        "since": None,
        "next_due": None,
        "last": _outcome(last[0]) if last else None,
    }


def _outcome(run: Run) -> dict[str, Any]:
    return {"id": run.id, "status": run.status, "at": iso(run.finished_at or run.started_at or run.queued_at)}
