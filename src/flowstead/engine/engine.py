"""The engine of one workspace: the only writer of its ledger, and what starts, conducts and ends its runs.

start_run → ledger → dispatch → Session ⇄ worker
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

from flowstead.catalog import Catalog
from flowstead.engine.clock import Clock
from flowstead.engine.dispatcher import Dispatcher, coded
from flowstead.engine.inbox import Inbox
from flowstead.engine.runlog import RunLog, last_event
from flowstead.engine.worker_process import kill_leftovers
from flowstead.ledger import Ledger, Transaction
from flowstead.model.errors import FlowsteadError, NotFound, TransitionRefused, WorkspaceBusy
from flowstead.model.run import Run, RunRequest
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.lock import ProcessLock

SECONDS_BETWEEN_INBOX_LOOKS = 0.1
SECONDS_BETWEEN_CLEANUPS = 6 * 3600


class Engine:
    """Opens the workspace for running; only one process can. Ends with `close`, which `with` does.

    `only` limits dispatch to some flows; runs of others stay queued. Raises WorkspaceBusy naming the holder, and what
    opening a ledger raises.
    """

    def __init__(
        self,
        layout: WorkspaceLayout,
        settings: Settings,
        *,
        command: str,
        only: Iterable[str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        layout.prepare()
        self.layout = layout
        self.settings = settings
        self.clock = clock or Clock()
        self.catalog = Catalog(layout, time_limit=settings.describe_timeout)
        self._lock_file = ProcessLock(layout.engine_lock)
        if not self._lock_file.acquire(command):
            raise self._busy()
        self._inbox = Inbox(layout.inbox)
        with ExitStack() as undo:
            undo.callback(self._lock_file.release)
            self.ledger = Ledger(layout.ledger, durability=settings.durability, clock=self.clock.now)
            undo.callback(self.ledger.close)
            epoch = self.ledger.write(_next_epoch)
            self._reconcile()
            self._clean_up()
            self.dispatcher = Dispatcher(layout, settings, self.ledger, clock=self.clock, epoch=epoch, only=only)
            undo.pop_all()
        self.dispatcher.alarms.set(SECONDS_BETWEEN_INBOX_LOOKS, self._look_into_inbox)
        self.dispatcher.await_delayed()

    def _busy(self) -> WorkspaceBusy:
        holder = self._lock_file.holder()
        pid, command = holder.get("pid"), holder.get("command")
        who = f"process {pid} ({command})" if pid else "another process"
        return WorkspaceBusy(
            f"The workspace {self.layout.workspace_id} is in use by {who}.",
            hint="Wait for it, or watch its runs with: flowstead runs",
            **holder,
        )

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # -- requests ----------------------------------------------------------------------------------------------

    def start_run(self, request: RunRequest, secret_values: dict[str, str] | None = None) -> tuple[str, bool]:
        """Queues a run and returns its id and whether it is new; see start_runs."""
        return self.start_runs([request], secret_values)[0]

    def start_runs(
        self,
        requests: list[RunRequest],
        secret_values: dict[str, str] | None = None,
        *,
        take_over: Callable[[Transaction], None] | None = None,
    ) -> list[tuple[str, bool]]:
        """Queues runs in one commit, in order, each with its id and whether it is new; the one way any run begins.

        A request with a key that the flow has seen gives the run that it then began. `take_over` gives the runs, in
        the same commit, what earlier ones have recorded.
        """
        for request in requests:
            if secret_values:
                self.dispatcher.secrets[request.id] = secret_values
        specs = {request.version: self.dispatcher.version(request.version) for request in requests}

        def enqueue(tx: Transaction) -> list[tuple[str, bool]]:
            for version in specs.values():
                tx.put_version(version.digest, version.name, version.spec.group, json.dumps(version.spec.as_dict()))
            queued = [tx.enqueue(request) for request in requests]
            if take_over is not None:
                take_over(tx)
            return queued

        started = self.ledger.write(enqueue)
        for request, (_, new) in zip(requests, started, strict=True):
            if not new:
                self.dispatcher.secrets.pop(request.id, None)
        self.dispatcher.include(request.flow for request in requests)
        return started

    def cancel(self, run_id: str) -> Run:
        """Cancels a run: at once when it waits, within the grace time when it works.

        Raises RunNotFound, and TransitionRefused when it has ended.
        """
        run = self.ledger.reader.run(run_id)
        status = self.ledger.write(lambda tx: tx.cancel(run_id))
        if status is None:
            run = self.ledger.reader.run(run_id)
            if run.status != "cancelling":
                raise TransitionRefused(f"Run {run_id} has ended ({run.status}); there is nothing to cancel.")
            return run
        session = self.dispatcher.session(run_id)
        if session is not None:
            session.cancel("cancelled")
        elif status == "cancelled":
            self._log_end(run.id, run.flow, "cancelled")
        self.dispatcher.dispatch()
        return self.ledger.reader.run(run_id)

    def _log_end(self, run_id: str, flow: str, status: str, error: dict[str, Any] | None = None) -> None:
        try:
            log = RunLog(self.layout.run_folder(run_id), {"run_id": run_id, "flow": flow})
            log.finish_run(flow, status, error)
            log.close()
        except OSError as failure:
            raise coded(failure) from failure

    def resume(self, run_id: str) -> None:
        """interrupted → queued: the run goes on from its last checkpoint. Raises TransitionRefused, RunNotFound."""
        run = self.ledger.reader.run(run_id)
        if "resume" not in run.actions or not self.ledger.write(lambda tx: tx.resume(run_id)):
            hint = f"Start it anew with: flowstead retry {run_id}" if "retry" in run.actions else ""
            raise TransitionRefused(f"Run {run_id} is {run.status} and cannot be resumed.", hint=hint)
        self.dispatcher.include([run.flow])

    # -- time, other processes, housekeeping -------------------------------------------------------------------

    def _look_into_inbox(self) -> None:
        for request in self._inbox.take():
            try:
                if request.get("action") == "cancel":
                    self.cancel(str(request["run_id"]))
            except (NotFound, TransitionRefused, KeyError):
                continue  # it ended meanwhile, or is no request of ours
        if not self.dispatcher.interrupting:
            self.dispatcher.alarms.set(SECONDS_BETWEEN_INBOX_LOOKS, self._look_into_inbox)

    def _reconcile(self) -> None:
        """Ends what a gone engine had under way, after making sure that none of its workers still lives.

        Nothing is executed here.
        """
        for run in self.ledger.reader.lately_ended():
            # Its engine was killed between the commit of its end and the last lines of its log.
            if last_event(self.layout.run_folder(run.id)) != "run.finished":
                self._log_end(run.id, run.flow, run.status, run.error)
        abandoned = self.ledger.write(lambda tx: tx.abandoned())
        if not abandoned:
            return
        kill_leftovers({worker for _, _, worker, _ in abandoned if worker})
        error = {
            "code": "interrupted",
            "type": None,
            "message": "The engine that ran it ended while it was under way.",
            "step": None,
            "file": None,
            "line": None,
            "hint": "",
        }

        def abandon(tx: Transaction) -> None:
            for run_id, status, _, _ in abandoned:
                if status == "cancelling":
                    tx.abandon(run_id, "cancelled", None)
                else:
                    tx.abandon(run_id, "interrupted", json.dumps(error))

        self.ledger.write(abandon)
        for run_id, status, _, flow in abandoned:
            if status == "cancelling":
                self._log_end(run_id, flow, "cancelled")
            else:
                self._log_end(run_id, flow, "interrupted", error)

    def _clean_up(self) -> None:
        """Forgets runs beyond the retention, with their local files; outputs in the workspace are never touched."""
        now = self.clock.now()
        last = self.ledger.write(lambda tx: tx.get_meta("cleaned_at"))
        if last is not None and now - int(last) < SECONDS_BETWEEN_CLEANUPS * 1_000_000:
            return
        before = now - self.settings.retention_days * 86_400 * 1_000_000
        keep = self.settings.retention_runs
        while True:
            gone = self.ledger.write(lambda tx: tx.forget_expired(before=before, keep=keep, limit=500))
            for run_id in gone:
                shutil.rmtree(self.layout.run_folder(run_id), ignore_errors=True)
            if len(gone) < 500:
                break
        self.ledger.write(lambda tx: tx.put_meta("cleaned_at", str(now)))

    # -- the end -----------------------------------------------------------------------------------------------

    @property
    def failure(self) -> FlowsteadError | None:
        """What stopped the engine, if anything did."""
        return self.dispatcher.failure

    def close(self) -> None:
        """Interrupts what is left, ends the workers, and gives the workspace free."""
        with ExitStack() as last:
            last.callback(self._lock_file.release)
            last.callback(self.ledger.close)
            last.callback(self.dispatcher.close)


def _next_epoch(tx: Transaction) -> int:
    # An engine that was thought gone and comes back finds its number outdated at its next write.
    epoch = int(tx.get_meta("epoch") or 0) + 1
    tx.put_meta("epoch", str(epoch))
    return epoch
