"""The engine of one workspace: what starts, conducts and ends its runs, while this machine owns it.

start_run → ledger → dispatch → Session ⇄ worker
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flowstead.catalog import Catalog, read_version
from flowstead.engine.dispatcher import Dispatcher, coded
from flowstead.engine.flow_environments import FlowEnvironments
from flowstead.engine.holding import Holding
from flowstead.engine.inbox import Inbox
from flowstead.engine.owner import Owner
from flowstead.engine.publishing import Publisher
from flowstead.engine.runlog import RunLog, last_event
from flowstead.engine.worker_process import kill_leftovers
from flowstead.ledger import Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import FlowNotFound, FlowsteadError, NotFound, OwnershipLost, TransitionRefused
from flowstead.model.run import Run, RunRequest

SECONDS_BETWEEN_INBOX_LOOKS = 0.1
SECONDS_BETWEEN_IDLE_LOOKS = 1.0
SECONDS_BETWEEN_CLEANUPS = 6 * 3600
DAYS_IN_USE = 7
"""A flow that ran within so many days is in use: a worker waits for its next run."""


class Engine:
    """Claims the workspace that `holding` holds, and runs it. Ends with `close`, which `with` does.

    `only` limits dispatch to some flows; runs of others stay queued. `on_over` is called, from a thread of the engine,
    when it cannot go on: `failure` then says why (ownership lost or handed over, a full disk), and `close` is due.
    `environments` are those of the workspace's flows. Raises WorkspaceOwned naming the machine that owns the
    workspace, and StorageError.
    """

    def __init__(
        self,
        holding: Holding,
        environments: FlowEnvironments,
        *,
        only: Iterable[str] | None = None,
        on_over: Callable[[], None] | None = None,
    ) -> None:
        self.layout = holding.layout
        self.settings = holding.settings
        self.clock = holding.clock
        self.ledger = holding.ledger
        self.environments = environments
        self.catalog = Catalog(
            self.layout, python_for=environments.python_for, time_limit=self.settings.describe_timeout
        )
        self.starting = threading.Lock()
        """Held by whoever finds out which files are due, until their runs are queued."""
        self._inbox = Inbox(self.layout.inbox)
        with ExitStack() as undo:
            epoch = holding.claim()
            generation = holding.ownership.accepted
            undo.callback(holding.release, generation)
            publisher = Publisher(self.layout, self.ledger, holding.segments, epoch=epoch, generation=generation)
            undo.callback(publisher.close)
            self.ledger.write(self._relative_roots)
            self._reconcile()
            self._describe_open_versions()
            self._clean_up()
            self.dispatcher = Dispatcher(
                self.layout, self.settings, self.ledger, environments, clock=self.clock, epoch=epoch, only=only
            )
            undo.pop_all()
        self.owner = Owner(holding, self.dispatcher, publisher, on_over)
        self.dispatcher.alarms.set(SECONDS_BETWEEN_INBOX_LOOKS, self._look_into_inbox)
        self.dispatcher.await_delayed()

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

    def start_failed(self, request: RunRequest, error: dict[str, Any]) -> str:
        """Records a run that could not even be planned, with the reason; returns its id."""

        def record(tx: Transaction) -> str:
            run_id, new = tx.enqueue(request)
            if new:
                fence = Fence(run_id, "", self.dispatcher.epoch)
                tx.claim(fence, "")
                tx.end_run(fence, "failed", error=json.dumps(error))
            return run_id

        run_id = self.ledger.write(record)
        self._log_end(run_id, request.flow, "failed", error)
        return run_id

    def cancel(self, run_id: str) -> Run:
        """Cancels a run: at once when it waits, within the grace time when it works.

        Raises RunNotFound, and TransitionRefused when it has ended.
        """
        run = self.ledger.reader.run(run_id)
        status = self.cancel_each([run])[run_id]
        run = self.ledger.reader.run(run_id)
        if status is None and run.status != "cancelling":
            raise TransitionRefused(f"Run {run_id} has ended ({run.status}); there is nothing to cancel.")
        return run

    def cancel_each(self, runs: Sequence[Run]) -> dict[str, str | None]:
        """Cancels many runs in one commit; by id, the status that each has by that, None for one that had ended."""
        statuses = self.ledger.write(lambda tx: {run.id: tx.cancel(run.id) for run in runs})
        for run in runs:
            session = self.dispatcher.session(run.id)
            if session is not None and statuses[run.id] is not None:
                session.cancel("cancelled")
            elif statuses[run.id] == "cancelled":
                self._log_end(run.id, run.flow, "cancelled")
        self.dispatcher.dispatch()
        return statuses

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

    def resume_interrupted(self) -> list[str]:
        """Lets every interrupted run go on whose flow says so (`resume="auto"`); returns their ids."""
        reader = self.ledger.reader
        resumed: list[str] = []
        for run in reader.runs_by_id(reader.open_runs()):
            # Secrets are never stored: whoever resumes such a run gives them anew.
            if run.resume == "auto" and not any(each.secret for each in reader.spec(run.version).params):
                try:
                    self.resume(run.id)
                except TransitionRefused:
                    continue  # someone was faster
                resumed.append(run.id)
        return resumed

    def warm_up(self) -> None:
        """Has a worker waiting for each flow that ran lately, the latest first, as far as there is room."""
        since = self.clock.now() - DAYS_IN_USE * 86_400 * 1_000_000
        self.dispatcher.warm_up(self.ledger.reader.versions_in_use(since, self.settings.warm_workers))

    # -- time, other processes, housekeeping -------------------------------------------------------------------

    def _look_into_inbox(self) -> None:
        for request in self._inbox.take():
            try:
                match request.get("action"):
                    case "cancel":
                        self.cancel(str(request["run_id"]))
                    case "release":
                        self.owner.hand_over("whoever asks next")
                    case _:
                        pass  # of a newer version
            except (NotFound, TransitionRefused, KeyError):
                continue  # it ended meanwhile, or is no request of ours
        if not self.dispatcher.interrupting:
            busy = bool(self.dispatcher.active)
            pause = SECONDS_BETWEEN_INBOX_LOOKS if busy else SECONDS_BETWEEN_IDLE_LOOKS
            self.dispatcher.alarms.set(pause, self._look_into_inbox)

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

    def _relative_roots(self, tx: Transaction) -> None:
        """Once: sources were recorded by absolute paths, which are not the same on every machine."""
        if tx.get_meta("source_roots") is None:
            tx.rename_source_roots(lambda root: self.layout.root_key(Path(root)))
            tx.put_meta("source_roots", "relative")

    def _describe_open_versions(self) -> None:
        """Stores the modules as they are now where runs of another machine are to go on here: that one had them."""
        reader = self.ledger.reader
        runs = reader.runs_by_id(reader.open_runs(statuses=("queued", "interrupted")))
        try:
            for version in {run.version for run in runs}:
                read_version(self.layout, version)
        except FlowNotFound:
            self.catalog.entries()

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
        """Interrupts what is left, ends the workers, publishes the last changes, and releases the workspace."""
        with ExitStack() as last:
            last.callback(self._close_local)
            last.callback(self.owner.release)
            last.callback(self.dispatcher.close)

    def _close_local(self) -> None:
        self.ledger.guard = None
        if isinstance(self.failure, OwnershipLost):
            # What was under way here ended with the ownership. Others know of it what was published by then.
            self._reconcile()
