"""The workers of an engine: started, kept loaded and waiting while there is room, worn out, and ended."""

from __future__ import annotations

import secrets
import threading

from flowstead.catalog import FlowVersion
from flowstead.engine.clock import Alarms
from flowstead.engine.flow_environments import FlowEnvironments, Found
from flowstead.engine.worker_process import Listener, WorkerProcess, memory_of
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout


class Workers:
    """What the dispatcher hands runs to. All of it is called under the dispatcher's `lock`, except where it says so."""

    def __init__(
        self,
        layout: WorkspaceLayout,
        settings: Settings,
        environments: FlowEnvironments,
        alarms: Alarms,
        *,
        listener: Listener,
        lock: threading.RLock,
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._environments = environments
        self._alarms = alarms
        self._listener = listener
        self._lock = lock
        self._all: dict[str, WorkerProcess] = {}
        self._idle: list[WorkerProcess] = []
        self._loading: set[str] = set()
        """Those that were started for no run, and do not wait yet."""

    @property
    def ids(self) -> list[str]:
        """The workers there are. Needs no lock: it is asked for when something hangs."""
        return list(self._all)

    @property
    def idle(self) -> list[WorkerProcess]:
        """Those that wait loaded, the one that has waited longest first."""
        return list(self._idle)

    @property
    def have_room(self) -> bool:
        """Whether one more may wait loaded."""
        return len(self._idle) + len(self._loading) < self._settings.warm_workers

    def start(self, version: FlowVersion, found: Found, worker_id: str) -> WorkerProcess:
        """Starts one for a flow version. Raises OSError."""
        worker = WorkerProcess(
            worker_id=worker_id,
            version=version,
            workspace_root=self._layout.root,
            python=found.python or "",
            environment=found.environment,
            memory_mb=self._settings.worker_memory_mb,
            listener=self._listener,
            deadline=self._layout.deadline,
        )
        self._all[worker_id] = worker
        return worker

    # -- that wait ---------------------------------------------------------------------------------------------

    def waiting_for(self, version: str, python: str | None) -> WorkerProcess | None:
        """One that waits with that version loaded by that interpreter."""
        return next((each for each in self._idle if each.fits(version, python)), None)

    def take(self, worker: WorkerProcess) -> None:
        """Lets one that waits have a run."""
        self._idle.remove(worker)

    def give_back(self, worker: WorkerProcess, *, stopping: bool) -> None:
        """Takes one back from its run: to wait for the next, unless it is worn out, gone, or all is `stopping`."""
        worker.runs += 1
        if worker.id not in self._all:
            return
        # One that was told to end is made to: the flow may ignore signals.
        if worker.lost_cause is not None or self._is_worn(worker) or stopping:
            self._retire(worker)
        else:
            self._keep(worker)

    def load(self, version: FlowVersion) -> None:
        """Has one waiting with the imports of that version done, if none has it. Raises FlowsteadError and OSError."""
        if any(each.version == version.digest for each in self._all.values()):
            return
        found = self._environments.find_for(version)
        if found.python is None:
            return
        worker = self.start(version, found, f"w-{secrets.token_hex(6)}")
        self._loading.add(worker.id)

        def overdue() -> None:
            with self._lock:
                if worker.id in self._loading:
                    worker.kill("load-timeout")

        self._alarms.set(self._settings.load_timeout, overdue)

    def loaded(self, worker: WorkerProcess) -> None:
        """One that was started for no run waits now."""
        worker.ready = True
        if worker.id in self._loading:
            self._loading.discard(worker.id)
            self._keep(worker)

    def _keep(self, worker: WorkerProcess) -> None:
        """Lets a loaded one wait for the next run; those that have waited longest make room for it."""
        self._idle.append(worker)
        while len(self._idle) > self._settings.warm_workers:
            self._retire(self._idle.pop(0))
        # What workers hold changes with their first runs; to look each time would cost more than a short run does.
        if self._settings.warm_memory_mb and (worker.runs < 2 or worker.runs % 8 == 0):
            held = [memory_of(each.pid) for each in self._idle]
            while held and sum(held) > self._settings.warm_memory_mb << 20:
                held.pop(0)
                self._retire(self._idle.pop(0))

    # -- that end ----------------------------------------------------------------------------------------------

    def _is_worn(self, worker: WorkerProcess) -> bool:
        if worker.runs >= self._settings.worker_max_runs:
            return True
        if self._settings.worker_recycle_mb and worker.runs % 8 == 0:
            return memory_of(worker.pid) > self._settings.worker_recycle_mb << 20
        return False

    def _retire(self, worker: WorkerProcess) -> None:
        """Ends one that has no run."""
        self._all.pop(worker.id, None)
        worker.kill("retired")

    def gone(self, worker: WorkerProcess) -> None:
        """One has ended, whoever wanted it."""
        self._all.pop(worker.id, None)
        self._loading.discard(worker.id)
        if worker in self._idle:
            self._idle.remove(worker)
        worker.lost_cause = worker.lost_cause or "exit"
        self._environments.release_unused({each.environment.id for each in self._all.values() if each.environment})

    def end_all(self, cause: str, *, at_rest: str | None = None) -> list[WorkerProcess]:
        """Ends all for that cause, those that wait for `at_rest`; returns them. Needs no lock."""
        ending = list(self._all.values())
        idle = set(self._idle)
        for worker in ending:
            worker.kill(at_rest if at_rest is not None and worker in idle else cause)
        return ending
