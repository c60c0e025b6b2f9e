"""One workspace as the routes see it: what can be read at any time, and the engine once something is to be done.

A host that is held (the daemon's) keeps this machine's side of the workspace open: it observes while another machine
owns it, and runs it when asked to. One that is not (a command's) opens it for as long as the command needs it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.catalog import Catalog
from flowstead.ledger import LedgerReader
from flowstead.model.errors import FlowsteadError, TransitionRefused, WorkspaceBusy
from flowstead.model.lock import ProcessLock
from flowstead.model.run import ACTIVE, Run
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout, home
from flowstead.workspace.trust import require_trust

if TYPE_CHECKING:
    from flowstead.engine.automation import Automation
    from flowstead.engine.engine import Engine
    from flowstead.engine.flow_environments import FlowEnvironments
    from flowstead.engine.holding import Holding
    from flowstead.engine.observer import Observer
    from flowstead.environments.cache import EnvironmentCache
    from flowstead.workspace.ownership import Ownership, Times
    from flowstead.workspace.standing import Standing

SECONDS_BETWEEN_TRIES = 0.05

OnWait = Callable[[dict[str, Any]], None]


class WorkspaceHost:
    """Reads the workspace at `root`; `engine` opens it for running, in the name of `command`.

    When another process has it, `engine` waits, after telling `on_wait` who that is; without `on_wait` it raises
    WorkspaceBusy. `open_cache` gives the environments of this machine; without it they are opened here, once a flow
    asks for one.
    """

    def __init__(
        self,
        root: Path,
        *,
        command: str,
        on_wait: OnWait | None = None,
        times: Times | None = None,
        open_cache: Callable[[], EnvironmentCache] | None = None,
    ) -> None:
        self.layout = WorkspaceLayout.of(root)
        self._open_cache = open_cache
        self._own_cache: EnvironmentCache | None = None
        self._times = times
        self._command = command
        self._on_wait = on_wait
        self._held = False
        self._holding: Holding | None = None
        self._observer: Observer | None = None
        self._engine: Engine | None = None
        self._automation: Automation | None = None
        self._wanted = False
        # Requests come from many threads, and the end of an engine from one of its own.
        self._changing = threading.RLock()
        self._used_at = time.monotonic()

    @cached_property
    def settings(self) -> Settings:
        """The settings of this machine. Raises UsageError naming a bad entry."""
        return Settings.load(home())

    @cached_property
    def catalog(self) -> Catalog:
        """The flows. Raises WorkspaceUntrusted: to describe a flow is to run its code."""
        require_trust(self.layout)
        python_for = self.environments.python_for
        return Catalog(self.layout, python_for=python_for, time_limit=self.settings.describe_timeout)

    @cached_property
    def environments(self) -> FlowEnvironments:
        """What its flows run in. A held host builds what it finds missing."""
        from flowstead.engine.flow_environments import FlowEnvironments

        return FlowEnvironments(self.layout, self._cache, builds=self._held)

    def _cache(self) -> EnvironmentCache:
        if self._open_cache is not None:
            return self._open_cache()
        with self._changing:
            if self._own_cache is None:
                from flowstead.environments.cache import EnvironmentCache

                self._own_cache = EnvironmentCache(self.settings.environments_in(home()), self.settings)
            return self._own_cache

    @cached_property
    def reader(self) -> LedgerReader:
        """The runs, with what another machine has published by now."""
        if not self._held:
            self._refresh()
        return LedgerReader(self.layout.ledger)

    # -- running -----------------------------------------------------------------------------------------------

    @property
    def open_engine(self) -> Engine | None:
        """The engine, if it is open."""
        return self._engine

    @property
    def failure(self) -> FlowsteadError | None:
        """What ended the engine of a command, if anything did; a held host begins anew instead."""
        engine = self._engine
        return None if engine is None or self._held else engine.failure

    @property
    def engine(self) -> Engine:
        """The engine; opened at the first use.

        Raises WorkspaceOwned, WorkspaceBusy, WorkspaceUntrusted, and a ledger's errors.
        """
        with self._changing:
            if self._engine is None:
                from flowstead.engine.engine import Engine

                require_trust(self.layout)
                holding = self._open_holding()
                self._stop_observing()
                try:
                    on_over = self._engine_over if self._held else None
                    self._engine = Engine(holding, self.environments, only=(), on_over=on_over)
                except BaseException:
                    self._leave()
                    raise
                self._note("owns it now, epoch %d", holding.ownership.epoch)
            return self._engine

    def warm_up(self) -> None:
        """Has workers waiting for the flows that are in use here, while this machine runs the workspace."""
        engine = self._engine
        if engine is not None:
            engine.warm_up()

    def _note(self, text: str, *values: object) -> None:
        """Tells the daemon's log."""
        if self._held:
            import logging

            logging.getLogger("flowstead.daemon").info(f"%s: this machine {text}", self.layout.root, *values)

    def _open_holding(self) -> Holding:
        from flowstead.engine.holding import Holding

        told = False
        while self._holding is None:
            try:
                self._holding = Holding(self.layout, self.settings, command=self._command, times=self._times)
            except WorkspaceBusy as busy:
                if self._on_wait is None:
                    raise
                if not told:
                    self._on_wait(busy.detail)
                    told = True
                time.sleep(SECONDS_BETWEEN_TRIES)
        return self._holding

    # -- by itself ---------------------------------------------------------------------------------------------

    @property
    def is_automated(self) -> bool:
        """Whether flows start by themselves here."""
        return self._automation is not None and self._automation.running

    def automate(self) -> None:
        """Lets flows start by themselves; opens the engine, and raises what that raises."""
        with self._changing:
            engine = self.engine
            if self._automation is None:
                from flowstead.engine.automation import Automation

                self._automation = Automation(engine)
            automation = self._automation
        automation.start()
        self._note_automated(True)

    def _note_automated(self, automated: bool) -> None:
        """For the next daemon, which goes on in the same way."""
        if self._held:
            from flowstead.workspace.known import note_automated

            note_automated(self.layout.root, automated=automated)

    def stop_automation(self) -> None:
        """Lets nothing start by itself any more. Raises TransitionRefused when another process lets it."""
        if self._automation is not None:
            self._automation.stop()
            self._note_automated(False)
        elif not self._held and self.holder is not None:
            who = f"process {self.holder.get('pid')} ({self.holder.get('command')})"
            hint = "End that, with Ctrl-C where it was started."
            raise TransitionRefused(f"The workspace is run by {who}.", hint=hint)

    def automation_status(self) -> dict[str, Any]:
        """How what happens by itself stands; see Automation.status."""
        if self._automation is not None:
            return self._automation.status()
        from flowstead.engine.automation import status_at_rest

        return status_at_rest(self.catalog.entries_within(), self.reader)

    def automated_flows(self) -> dict[str, dict[str, Any]]:
        """How each flow stands that starts by itself here; see AutomatedFlow.status. Costs no look at anything."""
        return {} if self._automation is None else self._automation.states()

    def _engine_over(self) -> None:
        # On a thread of its own, for this one is the engine's, which is about to be closed.
        threading.Thread(target=self._begin_anew, name=f"over-{self.layout.workspace_id}", daemon=True).start()

    def _begin_anew(self) -> None:
        if self._engine is not None and self._engine.failure is not None:
            self._note("stopped running it: %s", self._engine.failure.message)
        # Whoever has it now runs it; to take it back when that one is gone is for a person to say.
        self._note_automated(False)
        self.stop_running()

    def stop_running(self) -> None:
        """Closes the engine: what is under way becomes interrupted, and the workspace is released."""
        with self._changing:
            engine, self._engine = self._engine, None
            automation, self._automation = self._automation, None
            if automation is not None:
                automation.stop()
            try:
                if engine is not None:
                    engine.close()
            finally:
                self._leave()

    # -- observing ---------------------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Keeps this machine's side of the workspace open until `close`; tells whether another process has it yet."""
        from flowstead.engine.holding import Holding
        from flowstead.engine.observer import Observer

        with self._changing:
            self._held = True
            if self._holding is None:
                try:
                    self._holding = Holding(self.layout, self.settings, command=self._command, times=self._times)
                except WorkspaceBusy:
                    return False
            if self._engine is None and self._observer is None:
                self._observer = Observer(self._holding, on_look=self._looked)
            return True

    def _looked(self, standing: Standing) -> None:
        """Takes the workspace when it has become free and this machine has asked for it."""
        if self._wanted and standing.state in ("free", "mine", "stale"):
            self._wanted = False
            threading.Thread(target=self._take, name=f"take-{self.layout.workspace_id}", daemon=True).start()

    def _take(self) -> None:
        try:
            _ = self.engine
        except FlowsteadError:
            pass  # someone was quicker; the observer goes on looking

    def _stop_observing(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    def _leave(self) -> None:
        """Back to observing, or out."""
        if self._held:
            self.hold()
        elif self._holding is not None:
            self._holding.close()
            self._holding = None

    def _refresh(self) -> None:
        """Takes in what another machine has published, unless a process of this one is at it."""
        if not self._has_news():
            return
        from flowstead.engine.holding import Holding

        try:
            holding = Holding(self.layout, self.settings, command=self._command, times=self._times)
        except WorkspaceBusy:
            return
        try:
            holding.follow()
        finally:
            holding.close()

    def _has_news(self) -> bool:
        """Whether there may be published state that is not merged here; two cheap looks, for every command does it."""
        spine = self.layout.shared_state / "state" / "runs"
        try:
            last = max(
                (int(name.split("-")[2][:8]) for name in os.listdir(spine) if name.endswith(".parquet")), default=0
            )
        except (OSError, ValueError, LookupError):
            return self.layout.shared_state.is_dir()
        reader = LedgerReader(self.layout.ledger)
        try:
            merged = json.loads(reader.meta("merged") or "[0, 0]")
            return merged[1] < last or json.loads(reader.meta("segment_gaps") or "[]") != []
        finally:
            reader.close()

    # -- changing hands ----------------------------------------------------------------------------------------

    @property
    def _ownership(self) -> Ownership:
        if self._holding is not None:
            return self._holding.ownership
        from flowstead.engine.clock import Clock
        from flowstead.engine.holding import ownership_of

        return ownership_of(self.layout, Clock(), self._times)

    def request_control(self) -> None:
        """Asks the owner for the workspace; a held host takes it once it is free. Raises TransitionRefused."""
        standing = self.standing
        if standing.state != "owned":
            raise TransitionRefused(
                f"There is nobody to ask: {standing.reason}",
                hint="Run a flow, and the workspace is claimed for it." if standing.state in ("free", "stale") else "",
            )
        self._ownership.request_control("daemon" if self._held else "cli")
        self._wanted = True

    def withdraw_request(self) -> None:
        self._wanted = False
        self._ownership.withdraw_request()

    def hand_over(self) -> None:
        """Gives the workspace free once running work is done. Raises TransitionRefused when it is not ours."""
        engine = self._engine
        if engine is not None:
            engine.owner.hand_over("whoever asks next")
        elif self.holder is not None and self.standing.state == "mine":
            from flowstead.engine.inbox import Inbox

            Inbox(self.layout.inbox).put({"action": "release"})
        else:
            raise TransitionRefused(f"No process of this machine runs it. {self.standing.reason}")

    def take_over(self, *, force: bool = False) -> None:
        """Takes the workspace from an owner that shows no sign of life; see Holding.claim. Raises WorkspaceOwned."""
        with self._changing:
            if force:
                self._open_holding().claim(force=True)
            _ = self.engine
            if not self._held:
                self.stop_running()

    # -- who has it --------------------------------------------------------------------------------------------

    @property
    def standing(self) -> Standing:
        """Who owns the workspace, as seen from this machine."""
        return self._ownership.look()

    def refusal_of(self, standing: Standing) -> FlowsteadError | None:
        """What keeps runs from being started here while the workspace stands so; None when nothing does."""
        return None if self._engine is not None else self._ownership.refusal(standing)

    @property
    def seen_state(self) -> str:
        """The state of `standing` as it was seen last; costs no look at the shared folder."""
        if self._engine is not None:
            return "mine"
        seen = self._observer.seen if self._observer is not None else None
        return "free" if seen is None else seen.state

    @property
    def seen_standing(self) -> Standing:
        """The standing as this process knows it; only one that holds nothing has to look for it."""
        own = self._ownership.own_standing if self._engine is not None else None
        seen = self._observer.seen if self._observer is not None else None
        return own or seen or self.standing

    @property
    def trouble(self) -> FlowsteadError | None:
        """What keeps an observer from looking at the shared folder, such as a share that is away."""
        return self._observer.trouble if self._observer is not None else None

    @property
    def machine_id(self) -> str:
        return self._ownership.machine.id

    @property
    def holder(self) -> dict[str, Any] | None:
        """Which process of this machine has the workspace: `{pid, command, since}`; None when none has."""
        lock = ProcessLock(self.layout.engine_lock)
        return lock.holder() if self._holding is not None or lock.is_held() else None

    @property
    def is_running(self) -> bool:
        """Whether anyone, here or on another machine, conducts its runs."""
        if self._engine is not None:
            return True
        # A daemon too may find that a command was quicker.
        if self._holding is None and self.holder is not None:
            return True
        # What the observer saw a moment ago does: a list of runs must not wait for a slow share.
        seen = self._observer.seen if self._observer is not None else None
        return (seen or self.standing).state == "owned"

    def as_seen(self, runs: Iterable[Run]) -> list[Run]:
        """Runs as they are to people: under way only while someone runs the workspace, else interrupted.

        The ledger says `running` of a run whose engine was killed until the next engine opens it.
        """
        shown = list(runs)
        if any(run.status in ACTIVE for run in shown) and not self.is_running:
            # Race: they may have ended, and their engine with them, since they were read.
            now = {run.id: run for run in self.reader.runs_by_id(run.id for run in shown)}
            shown = [now.get(run.id, run) for run in shown]
            shown = [replace(run, status="interrupted") if run.status in ACTIVE else run for run in shown]
        return shown

    # -- how long ----------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Notes that someone asked for something."""
        self._used_at = time.monotonic()

    def needed(self, seconds: float) -> bool:
        """Whether it must stay open: it was asked for within `seconds`, or runs are under way."""
        engine = self._engine
        if self._automation is not None and self._automation.running:
            return True
        return time.monotonic() - self._used_at < seconds or (engine is not None and bool(engine.dispatcher.active))

    def close(self) -> None:
        """Interrupts what still runs and gives the workspace free."""
        # Before the ledger: the last to close it folds its write-ahead log, which one that only reads cannot.
        reader = self.__dict__.pop("reader", None)
        if reader is not None:
            reader.close()
        with self._changing:
            self._held = False
            self._stop_observing()
            self.stop_running()
            if self._own_cache is not None:
                self._own_cache.close()
