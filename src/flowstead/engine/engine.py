"""The engine of one workspace: the only writer of its ledger, and what starts, conducts and ends its runs.

start_run → ledger → dispatch → Session ⇄ worker
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import sys
import threading
import traceback
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flowstead.catalog import Catalog, FlowVersion, read_version
from flowstead.engine.clock import Alarms, Clock
from flowstead.engine.freshness import signatures
from flowstead.engine.inbox import Inbox
from flowstead.engine.runlog import RunLog
from flowstead.engine.session import Claimed, Session
from flowstead.engine.worker_process import WorkerProcess, kill_leftovers, memory_of
from flowstead.ledger import Ledger, Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import FlowsteadError, NotFound, StorageError, TransitionRefused, WorkspaceBusy
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
        self.secrets: dict[str, dict[str, str]] = {}
        self.interrupting = False
        self.failure: FlowsteadError | None = None
        self._lock_file = ProcessLock(layout.engine_lock)
        if not self._lock_file.acquire(command):
            raise self._busy()
        self._only: set[str] | None = None if only is None else set(only)
        self._lock = threading.RLock()
        self._stopping = False
        self._sessions: dict[str, Session] = {}
        self._workers: dict[str, WorkerProcess] = {}
        self._idle: list[WorkerProcess] = []
        self._versions: dict[str, FlowVersion] = {}
        self._next_dispatch: int | None = None
        self._slots = settings.slots
        # The interpreter that runs Flowstead also runs flows that ask for no environment of their own.
        self._python = sys.executable
        self._inbox = Inbox(layout.inbox)
        with ExitStack() as undo:
            undo.callback(self._lock_file.release)
            self.ledger = Ledger(layout.ledger, durability=settings.durability, clock=self.clock.now)
            undo.callback(self.ledger.close)
            self._epoch = self.ledger.write(_next_epoch)
            self.interrupted_before = self._reconcile()
            self._clean_up()
            self.alarms = Alarms(self.clock, self._alarm_failed)
            undo.pop_all()
        self.alarms.set(SECONDS_BETWEEN_INBOX_LOOKS, self._look_into_inbox)
        self._await_delayed()

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
        """Queues a run and returns its id and whether it is new; the one way by which any run begins.

        A request with a key that the flow has seen gives the run that it then began.
        """
        return self.start_runs([request], secret_values)[0]

    def start_runs(
        self, requests: list[RunRequest], secret_values: dict[str, str] | None = None
    ) -> list[tuple[str, bool]]:
        """Queues runs in one commit, in order; see start_run."""
        for request in requests:
            if secret_values:
                self.secrets[request.id] = secret_values
        specs = {request.version: self.version(request.version) for request in requests}

        def enqueue(tx: Transaction) -> list[tuple[str, bool]]:
            for version in specs.values():
                tx.put_version(version.digest, version.name, version.spec.group, json.dumps(version.spec.as_dict()))
            return [tx.enqueue(request) for request in requests]

        started = self.ledger.write(enqueue)
        self.include(request.flow for request in requests)
        return started

    def include(self, flows: Iterable[str]) -> None:
        """Lets runs of these flows be dispatched too, and dispatches what is due."""
        with self._lock:
            if self._only is not None:
                self._only.update(flows)
        self.dispatch()

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
        with self._lock:
            session = self._sessions.get(run_id)
        if session is not None:
            session.cancel("cancelled")
        elif status == "cancelled":
            self._log_idle_cancel(run)
        self.dispatch()
        return self.ledger.reader.run(run_id)

    def _log_idle_cancel(self, run: Run) -> None:
        try:
            log = RunLog(self.layout.run_folder(run.id), {"run_id": run.id, "flow": run.flow})
            log.add("run.finished", f"Run of {run.flow} cancelled", level="warning", data={"status": "cancelled"})
            log.close()
        except OSError as error:
            raise _coded(error) from error

    def resume(self, run_id: str) -> None:
        """interrupted → queued: the run goes on from its last checkpoint. Raises TransitionRefused, RunNotFound."""
        run = self.ledger.reader.run(run_id)
        if "resume" not in run.actions or not self.ledger.write(lambda tx: tx.resume(run_id)):
            hint = f"Start it anew with: flowstead retry {run_id}" if "retry" in run.actions else ""
            raise TransitionRefused(f"Run {run_id} is {run.status} and cannot be resumed.", hint=hint)
        self.include([run.flow])

    def retry(self, run_id: str, from_step: int | None = None) -> str:
        """Starts a new run, linked to an ended one, from its first unfinished step or an earlier one.

        Recorded outcomes of the steps before are taken over. Raises TransitionRefused and RunNotFound.
        """
        reader = self.ledger.reader
        run = reader.run(run_id)
        if "retry" not in run.actions:
            raise TransitionRefused(f"Run {run_id} is {run.status}; only an ended run can be retried.")
        done = [step.index for step in run.steps if step.status == "succeeded"]
        finished = next((index for index in range(len(run.steps)) if index not in done), len(run.steps))
        first = (0 if finished == len(run.steps) else finished) if from_step is None else from_step
        if first > finished:
            raise TransitionRefused(
                f"Step {run.steps[first].label!r} cannot be the first: an earlier step has no outcome.",
                hint=f"Start from {run.steps[finished].name} or earlier.",
            )
        request = RunRequest(
            flow=run.flow,
            group=self.version(run.version).spec.group,
            version=run.version,
            trigger="retry",
            params=run.params,
            source_root=run.source_root,
            source_path=run.source_path,
            retry_of=run_id,
        )
        if run_id in self.secrets:
            self.secrets[request.id] = self.secrets[run_id]
        steps = [(step.index, step.attempt) for step in run.steps[:first]]
        try:
            _copy_files(self.layout.run_folder(run_id), self.layout.run_folder(request.id), first)
        except OSError as error:
            raise _coded(error) from error
        own = ("run_id", "started_at_utc")
        metadata = json.dumps({name: value for name, value in run.metadata.items() if name not in own})

        def enqueue(tx: Transaction) -> None:
            tx.enqueue(request)
            tx.copy_steps(run_id, request.id, steps, up_to=first)
            tx.note(request.id, metadata)

        self.ledger.write(enqueue)
        self.include([run.flow])
        return request.id

    # -- dispatch ----------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Claims due runs, oldest first, as far as the limits allow, and hands each to a worker.

        Limits: the flow's max_parallel, its group (flows of one group take turns, except in `parallel_groups`), and
        the worker slots. Where the oldest of a group has to wait, younger ones of that group wait behind it.
        """
        begun: list[Session] = []
        with self._lock:
            while not self._stopping and len(self._sessions) < self._slots:
                due = self._next_due()
                if due is None:
                    break
                session = self._claim(due)
                if session is not None:
                    begun.append(session)
        for session in begun:
            self._begin(session)

    def _claim(self, due: tuple[Any, ...]) -> Session | None:
        """Claims a run for a worker; None when it was cancelled meanwhile, or had to fail at once."""
        run_id, flow, group, digest, root, path, params, metadata, summary, attempt, retry_of = due
        run = Claimed(
            id=run_id,
            flow=flow,
            group=group,
            version=digest,
            source_root=root,
            source_path=path,
            params=json.loads(params),
            metadata=json.loads(metadata),
            summary=summary,
            attempt=attempt + 1,
            retry_of=retry_of,
        )
        warm = next((worker for worker in self._idle if worker.version == digest), None)
        worker_id = warm.id if warm else f"w-{secrets.token_hex(6)}"
        fence = Fence(run_id, secrets.token_hex(8), self._epoch)
        try:
            version = self.version(digest)
        except FlowsteadError as error:
            self.ledger.write(lambda tx: tx.claim(fence, worker_id))
            self._fail_claimed(fence, error)
            return None
        # A warm worker needs no time to load, so the run's first step begins with the claim itself.
        at_once = warm is not None and run.fresh and bool(version.spec.steps)
        files = list(signatures(version.spec, root, path)) if root is not None and path is not None else []

        def claim(tx: Transaction) -> bool:
            if not tx.claim(fence, worker_id, first_step=at_once):
                return False
            if files:
                tx.put_run_files(run_id, files)
            return True

        if not self.ledger.write(claim):
            return None
        try:
            worker = warm or self._start_worker(version, worker_id)
        except OSError as error:
            message = f"No worker could be started: {error.strerror or error}."
            hint = "Is the system out of memory or processes? Try again with: flowstead retry " + run_id
            self._fail_claimed(fence, FlowsteadError(message, code="worker-not-started", hint=hint))
            return None
        if warm:
            self._idle.remove(warm)
        session = Session(self, run, fence, version, worker, first_step_begun=at_once)
        self._sessions[run_id] = session
        return session

    def _fail_claimed(self, fence: Fence, error: FlowsteadError) -> None:
        text = json.dumps({**error.as_dict(), "type": None, "step": None, "file": None, "line": None})
        self.ledger.write(lambda tx: tx.end_run(fence, "failed", error=text))
        self.secrets.pop(fence.run_id, None)

    def _next_due(self) -> tuple[Any, ...] | None:
        """The oldest due run that the limits let start now."""
        counts: dict[str, int] = {}
        turns: dict[str, str] = {}
        full: set[str] = set()
        for session in self._sessions.values():
            flow = session.run.flow
            counts[flow] = counts.get(flow, 0) + 1
            turns[session.run.group] = flow
            if counts[flow] >= session.max_parallel:
                full.add(flow)
        held: set[str] = set()
        for row in self.ledger.reader.waiting(self.clock.now()):
            flow, group = row[1], row[2]
            if self._only is not None and flow not in self._only:
                continue
            takes_turns = self._takes_turns(group)
            if group in held and takes_turns:
                continue
            if flow in full or (takes_turns and turns.get(group, flow) != flow):
                # Younger runs of the group wait behind this one, or a busy flow would keep the turn for ever.
                held.add(group)
                continue
            return row
        return None

    def _takes_turns(self, group: str) -> bool:
        return not {group, "*"} & set(self.settings.parallel_groups)

    def _start_worker(self, version: FlowVersion, worker_id: str) -> WorkerProcess:
        if self._idle and len(self._workers) >= self._slots:
            self._retire(self._idle.pop(0))
        worker = WorkerProcess(
            worker_id=worker_id,
            version=version.digest,
            python=self._python,
            start={
                "version": str(version.folder),
                "helpers": str(version.helpers) if version.helpers else None,
                "origin": str(version.origin),
                "stem": version.name,
                "workspace_root": str(self.layout.root),
                "memory_mb": self.settings.worker_memory_mb or None,
            },
            listener=self,
        )
        self._workers[worker_id] = worker
        return worker

    def _begin(self, session: Session) -> None:
        """Sends the run to its worker; one on a whole folder takes the signatures of its files first."""
        run = session.run
        try:
            if run.source_root is not None and run.source_path is None:
                files = signatures(self.version(run.version).spec, run.source_root, run.source_path)
                self.ledger.write(lambda tx: tx.put_run_files(run.id, files))
            session.begin()
        except Exception as error:
            self.fail(_coded(error))

    def dispatch_at(self, due_at: int) -> None:
        """Dispatches once a delayed run is due (`due_at` in microseconds since the epoch)."""
        with self._lock:
            if self._next_dispatch is not None and self._next_dispatch <= due_at:
                return
            self._next_dispatch = due_at
        self.alarms.set(max(0.0, (due_at - self.clock.now()) / 1_000_000), self._dispatch_delayed)

    def _dispatch_delayed(self) -> None:
        with self._lock:
            self._next_dispatch = None
            if self._stopping:
                return
        self.dispatch()
        # Also when this alarm came a moment too early: alarms follow an even clock, but runs are due by the wall's.
        self._await_delayed()

    def _await_delayed(self) -> None:
        delayed = self.ledger.reader.next_due_time(self.clock.now())
        if delayed is not None:
            self.dispatch_at(delayed)

    def session_ended(self, session: Session, *, over: bool) -> None:
        """A run has ended or, not `over` yet, was queued again; its worker is free, or gone."""
        with self._lock:
            if self._sessions.pop(session.run.id, None) is None:
                return
            worker = session.worker
            worker.runs += 1
            if worker.id in self._workers:
                # One that was told to end is made to: the flow may ignore signals.
                if worker.lost_cause is not None or self._worn(worker) or self._stopping:
                    self._retire(worker)
                else:
                    self._idle.append(worker)
            if over:
                self.secrets.pop(session.run.id, None)
        self.dispatch()
        self.ledger.wake_waiters()

    def _worn(self, worker: WorkerProcess) -> bool:
        if worker.runs >= self.settings.worker_max_runs:
            return True
        if self.settings.worker_recycle_mb and worker.runs % 8 == 0:
            return memory_of(worker.pid) > self.settings.worker_recycle_mb << 20
        return False

    def _retire(self, worker: WorkerProcess) -> None:
        """Ends a worker that has no run."""
        self._workers.pop(worker.id, None)
        worker.kill("retired")

    # -- what workers tell -------------------------------------------------------------------------------------

    def _session_of(self, worker: WorkerProcess) -> Session | None:
        with self._lock:
            return next((each for each in self._sessions.values() if each.worker is worker), None)

    def on_frames(self, worker: WorkerProcess, frames: list[dict[str, Any]]) -> None:
        session = self._session_of(worker)
        if session is None:
            return
        try:
            try:
                session.on_frames(frames)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                session.refused(f"{type(error).__name__}: {error}")
        except Exception as error:
            self.fail(_coded(error))

    def on_output(self, worker: WorkerProcess, data: bytes) -> None:
        session = self._session_of(worker)
        if session is not None:
            try:
                session.on_output(data)
            except Exception as error:
                self.fail(_coded(error))

    def on_exit(self, worker: WorkerProcess, returncode: int) -> None:
        with self._lock:
            self._workers.pop(worker.id, None)
            if worker in self._idle:
                self._idle.remove(worker)
            worker.lost_cause = worker.lost_cause or "exit"
        session = self._session_of(worker)
        if session is not None:
            try:
                session.worker_lost(returncode)
            except Exception as error:
                self.fail(_coded(error))

    def _alarm_failed(self, error: Exception) -> None:
        self.fail(_coded(error))

    def fail(self, error: FlowsteadError) -> None:
        """What cannot be recorded must not go on: stops everything; open runs are resumed by a later engine."""
        with self._lock:
            if self.failure is None:
                self.failure = error
            self._stopping = self.interrupting = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.kill("failure")
        self.ledger.wake_waiters()

    # -- time, other processes, housekeeping -------------------------------------------------------------------

    def _look_into_inbox(self) -> None:
        for request in self._inbox.take():
            try:
                if request.get("action") == "cancel":
                    self.cancel(str(request["run_id"]))
            except (NotFound, TransitionRefused, KeyError):
                continue  # it ended meanwhile, or is no request of ours
        if not self._stopping:
            self.alarms.set(SECONDS_BETWEEN_INBOX_LOOKS, self._look_into_inbox)

    def _reconcile(self) -> list[str]:
        """Ends what a gone engine had under way, after making sure that none of its workers still lives.

        Returns the ids of the runs that it interrupted. Nothing is executed here.
        """
        abandoned = self.ledger.write(lambda tx: tx.abandoned())
        if not abandoned:
            return []
        kill_leftovers({worker for _, _, worker, _ in abandoned if worker})
        error = json.dumps(
            {
                "code": "interrupted",
                "type": None,
                "message": "The engine that ran it ended while it was under way.",
                "step": None,
                "file": None,
                "line": None,
                "hint": "",
            }
        )

        def abandon(tx: Transaction) -> None:
            for run_id, status, _, _ in abandoned:
                if status == "cancelling":
                    tx.abandon(run_id, "cancelled", None)
                else:
                    tx.abandon(run_id, "interrupted", error)

        self.ledger.write(abandon)
        return [run_id for run_id, status, _, _ in abandoned if status != "cancelling"]

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

    def version(self, digest: str) -> FlowVersion:
        """A stored flow version. Raises FlowNotFound (`version-missing`)."""
        known = self._versions.get(digest)
        if known is None:
            known = self._versions[digest] = read_version(self.layout, digest)
        return known

    # -- the end -----------------------------------------------------------------------------------------------

    @property
    def active(self) -> list[str]:
        """Ids of the runs that workers have now."""
        with self._lock:
            return list(self._sessions)

    def interrupt(self) -> None:
        """Ends all work at once; runs under way become interrupted, queued ones stay queued."""
        with self._lock:
            self._stopping = self.interrupting = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.kill("interrupted")
        for worker in workers:
            worker.join(5)

    def close(self) -> None:
        """Interrupts what is left, ends the workers, and gives the workspace free."""
        with ExitStack() as last:
            last.callback(self._lock_file.release)
            last.callback(self.ledger.close)
            last.callback(self._give_up_sessions)
            last.callback(self.alarms.close)
            self.interrupt()

    def _give_up_sessions(self) -> None:
        # Only what could not be recorded is left here.
        for session in list(self._sessions.values()):
            session.give_up()


def _next_epoch(tx: Transaction) -> int:
    # An engine that was thought gone and comes back finds its number outdated at its next write.
    epoch = int(tx.get_meta("epoch") or 0) + 1
    tx.put_meta("epoch", str(epoch))
    return epoch


def _coded(error: Exception) -> FlowsteadError:
    """What kept the engine from its work, as an error a person can act on."""
    if isinstance(error, FlowsteadError):
        return error
    if isinstance(error, OSError):
        return StorageError(
            f"Writing a run's files failed: {error.strerror or error}.",
            code="disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "storage-io",
            hint="Free some space and run the same command again: it goes on where it stopped.",
        )
    return FlowsteadError(
        f"Flowstead itself failed: {type(error).__name__}: {error}.",
        code="internal-error",
        hint="Nothing recorded is lost: run the same command again. If it stays, please report it.",
        traceback="".join(traceback.format_exception(error)),
    )


def _copy_files(source: Path, target: Path, up_to: int) -> None:
    """Gives a retry its own copies (links where possible) of the checkpoints of the steps that it takes over."""
    folder = source / "checkpoints"
    if not folder.is_dir():
        return
    (target / "checkpoints").mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        step = file.stem.split("-")[1]
        if file.suffix == ".part" or not step.isdigit() or int(step) > up_to:
            continue
        copy = target / "checkpoints" / file.name
        try:
            os.link(file, copy)
        except OSError:
            shutil.copyfile(file, copy)
