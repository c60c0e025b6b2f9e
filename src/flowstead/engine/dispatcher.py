"""Which run goes to which worker, and when: the due runs of a workspace under its limits.

dispatch → claim → Session ⇄ worker → session_ended → dispatch
"""

from __future__ import annotations

import errno
import json
import secrets
import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowstead.catalog import FlowVersion, read_version
from flowstead.engine.clock import Alarms, Clock
from flowstead.engine.flow_environments import FlowEnvironments, Found
from flowstead.engine.freshness import signatures
from flowstead.engine.runlog import RunLog
from flowstead.engine.session import Claimed, Session
from flowstead.engine.worker_process import WorkerProcess
from flowstead.engine.workers import Workers
from flowstead.ledger import Ledger, Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import FlowsteadError, StorageError
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout

if TYPE_CHECKING:
    from flowstead.environments.building import Build
    from flowstead.environments.declaration import Progress
    from flowstead.environments.environment import Wanted

_BY_HAND = ("manual", "retry")
"""Who starts one of these wants an environment that could not be built to be tried again."""


class Dispatcher:
    """Hands due runs to workers, oldest first. What it cannot record stops it: then `failure` says why.

    `only` limits it to some flows; runs of others stay queued. `epoch` is the number under which it claims.
    """

    def __init__(
        self,
        layout: WorkspaceLayout,
        settings: Settings,
        ledger: Ledger,
        environments: FlowEnvironments,
        *,
        clock: Clock,
        epoch: int,
        only: Iterable[str] | None,
    ) -> None:
        self.layout = layout
        self.settings = settings
        self.ledger = ledger
        self.clock = clock
        self.secrets: dict[str, dict[str, str]] = {}
        self.interrupting = False
        self.ended = 0
        """Runs that came to an end, so far; what is published follows it."""
        self.failure: FlowsteadError | None = None
        self.epoch = epoch
        self._only: set[str] | None = None if only is None else set(only)
        self._lock = threading.RLock()
        self._stopping = False
        self._paused = False
        self._sessions: dict[str, Session] = {}
        self._versions: dict[str, FlowVersion] = {}
        self._next_dispatch: int | None = None
        self._slots = settings.slots
        self._environments = environments
        self._awaited: dict[str, str] = {}
        """The digests of environments that queued runs wait for."""
        self.alarms = Alarms(clock, lambda error: self.fail(coded(error)))
        self.workers = Workers(layout, settings, environments, self.alarms, listener=self, lock=self._lock)

    def include(self, flows: Iterable[str]) -> None:
        """Lets runs of these flows be dispatched too, and dispatches what is due."""
        with self._lock:
            if self._only is not None:
                self._only.update(flows)
        self.dispatch()

    def include_all(self) -> None:
        """Lets runs of any flow be dispatched, and dispatches what is due."""
        with self._lock:
            self._only = None
        self.dispatch()

    def hold(self) -> None:
        """Starts nothing that waits, until its flow is included again; what is under way goes on."""
        with self._lock:
            self._only = set()

    def session(self, run_id: str) -> Session | None:
        """The session of a run that a worker has now."""
        with self._lock:
            return self._sessions.get(run_id)

    @property
    def active(self) -> list[str]:
        """Ids of the runs that workers have now."""
        with self._lock:
            return list(self._sessions)

    def pause(self) -> None:
        """Lets runs under way finish and begins no others, until `go_on`."""
        with self._lock:
            self._paused = True

    def go_on(self) -> None:
        with self._lock:
            self._paused = False
        self.dispatch()

    # -- from the queue to a worker -----------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Claims due runs, oldest first, as far as the limits allow, and hands each to a worker.

        Limits: the flow's max_parallel, its group (flows of one group take turns, except in `parallel_groups`), and
        the worker slots. Where the oldest of a group has to wait, younger ones of that group wait behind it.
        """
        begun: list[Session] = []
        with self._lock:
            more = True
            while more and not self._stopping and not self._paused and len(self._sessions) < self._slots:
                session, more = self._claim_next()
                if session is not None:
                    begun.append(session)
        for session in begun:
            self._begin(session)

    def _claim_next(self) -> tuple[Session | None, bool]:
        """Claims the oldest due run that may start now; tells too whether another may be due."""
        worker_id, token = f"w-{secrets.token_hex(6)}", secrets.token_hex(8)

        unbuilt: list[_Unbuilt] = []

        # Found and claimed in one transaction: no one can cancel the run in between.
        def claim(tx: Transaction) -> tuple[_Claim, bool] | None:
            unbuilt.clear()
            waiting = tx.waiting()
            row, found = self._first_allowed(waiting, unbuilt)
            if row is None:
                return None
            claim = self._claim_of(row, found, worker_id, token)
            worker = claim.worker.id if claim.worker else worker_id
            tx.claim(claim.fence, worker, environment=claim.environment_digest, first_step=claim.at_once)
            if claim.failure is not None:
                tx.end_run(claim.fence, "failed", error=_error_text(claim.failure))
            elif claim.files:
                tx.put_run_files(claim.fence, claim.files)
            return claim, len(waiting) > 1 or claim.max_parallel > 1 or claim.failure is not None

        found = self.ledger.write(claim)
        for each in unbuilt:
            self._await_environment(each)
        if found is None:
            return None, False
        claim_made, more = found
        return self._session_for(claim_made, worker_id), more

    def _first_allowed(
        self, waiting: list[tuple[Any, ...]], unbuilt: list[_Unbuilt]
    ) -> tuple[tuple[Any, ...] | None, Found | FlowsteadError]:
        """The first of these runs, the oldest of each flow, that the limits let start now, and what it runs in.

        What has to wait for its environment is added to `unbuilt`; others do not wait behind it.
        """
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
        for row in waiting:
            flow, group = row[1], row[2]
            if self._only is not None and flow not in self._only:
                continue
            takes_turns = not {group, "*"} & set(self.settings.parallel_groups)
            if group in held and takes_turns:
                continue
            if flow in full or (takes_turns and turns.get(group, flow) != flow):
                # Younger runs of the group wait behind this one, or a busy flow would keep the turn for ever.
                held.add(group)
                continue
            found = self._found(row)
            if isinstance(found, _Unbuilt):
                unbuilt.append(found)
                continue
            return row, found
        return None, Found()

    def _found(self, row: tuple[Any, ...]) -> Found | FlowsteadError | _Unbuilt:
        """What the run of a row of `waiting` runs in; why it cannot run; or that this has to be built first."""
        run_id, _, _, digest, *_, trigger, queued_at = row
        try:
            found = self._environments.find_for(self.version(digest))
            if found.python is not None:
                return found
            assert found.wanted is not None
            kept = self._environments.failure(found.wanted)
        except FlowsteadError as error:
            return error
        except OSError as error:
            return coded(error)
        if kept is None:
            return _Unbuilt(run_id, found.wanted)
        # Whoever started it after that, by hand, wants it to be tried again.
        if trigger in _BY_HAND and kept.at < queued_at:
            return _Unbuilt(run_id, found.wanted, again=True)
        return kept.error

    def _await_environment(self, unbuilt: _Unbuilt) -> None:
        """Has an environment built, and dispatches once that is over; tells the run that waits for it how far it is."""
        digest = unbuilt.wanted.digest
        if self._awaited.get(unbuilt.run_id) == digest:
            return
        self._awaited[unbuilt.run_id] = digest
        build = self._environments.request(unbuilt.wanted, again=unbuilt.again)

        def tell(progress: Progress) -> None:
            what = f"its environment: {progress.message}"
            if not self._stopping and self._awaited.get(unbuilt.run_id) == digest:
                self.ledger.write(lambda tx: tx.wait_for(unbuilt.run_id, what))

        def done(_: Build) -> None:
            self._awaited.pop(unbuilt.run_id, None)
            self.alarms.set(0, self.dispatch)

        build.listen(tell)
        build.on_done(done)

    def _claim_of(self, row: tuple[Any, ...], found: Found | FlowsteadError, worker_id: str, token: str) -> _Claim:
        run_id, flow, group, digest, root, path, params, metadata, summary, attempt, retry_of, _, _ = row
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
        fence = Fence(run_id, token, self.epoch)
        if isinstance(found, FlowsteadError):
            return _Claim(run, fence, failure=found)
        version = self.version(digest)
        warm = self.workers.waiting_for(digest, found.python)
        # A warm worker needs no time to load, so the run's first step begins with the claim itself.
        at_once = warm is not None and run.fresh and bool(version.spec.steps)
        files: list[tuple[str, int, int]] = []
        if root is not None and path is not None:
            files = list(signatures(version.spec, self.layout.root_path(root), path))
        return _Claim(run, fence, version, found, warm, at_once, files)

    def _session_for(self, claim: _Claim, worker_id: str) -> Session | None:
        """The session of a claimed run with its worker; None when the run had to fail at once."""
        if claim.version is None:
            self._say_failed(claim.run, claim.failure)
            return None
        try:
            worker = claim.worker or self.workers.start(claim.version, claim.found, worker_id)
        except OSError as error:
            message = f"No worker could be started: {error.strerror or error}."
            hint = f"Is the system out of memory or processes? Try again with: flowstead retry {claim.run.id}"
            failure = FlowsteadError(message, code="worker-not-started", hint=hint)
            self.ledger.write(lambda tx: tx.end_run(claim.fence, "failed", error=_error_text(failure)))
            self._say_failed(claim.run, failure)
            return None
        if claim.worker:
            self.workers.take(worker)
        session = Session(self, claim.run, claim.fence, claim.version, worker, first_step_begun=claim.at_once)
        self._sessions[claim.run.id] = session
        return session

    def _say_failed(self, run: Claimed, failure: FlowsteadError | None) -> None:
        """Ends the log of a run that failed before it had a worker."""
        self.secrets.pop(run.id, None)
        self.ended += 1
        log = RunLog(self.layout.run_folder(run.id), {"run_id": run.id, "flow": run.flow})
        log.finish_run(run.flow, "failed", failure and {**failure.as_dict(), **told(failure)})
        log.close()

    def _begin(self, session: Session) -> None:
        """Sends the run to its worker; one on a whole folder takes the signatures of its files first."""
        run = session.run
        try:
            if run.source_root is not None and run.source_path is None:
                files = signatures(self.version(run.version).spec, self.layout.root_path(run.source_root), None)
                self.ledger.write(lambda tx: tx.put_run_files(session.fence, files))
            session.begin()
        except Exception as error:
            self.fail(coded(error))

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
        self.await_delayed()

    def await_delayed(self) -> None:
        """Dispatches again when the next delayed run is due."""
        delayed = self.ledger.reader.next_due_time(self.clock.now())
        if delayed is not None:
            self.dispatch_at(delayed)

    def session_ended(self, session: Session, *, over: bool) -> None:
        """A run has left its worker, which is free, or gone; one that is not `over` will go on."""
        with self._lock:
            if self._sessions.pop(session.run.id, None) is None:
                return
            self.workers.give_back(session.worker, stopping=self._stopping)
            if over:
                self.secrets.pop(session.run.id, None)
                self.ended += 1
        self.dispatch()

    def warm_up(self, digests: Iterable[str]) -> None:
        """Has workers waiting, with their imports done, for these flow versions, as far as there is room for them."""
        for digest in digests:
            with self._lock:
                if self._stopping or self._paused or not self.workers.have_room:
                    return
                try:
                    self.workers.load(self.version(digest))
                except (FlowsteadError, OSError):
                    continue  # a run of it says why

    # -- what workers tell -------------------------------------------------------------------------------------

    def _session_of(self, worker: WorkerProcess) -> Session | None:
        with self._lock:
            return next((each for each in self._sessions.values() if each.worker is worker), None)

    def on_frames(self, worker: WorkerProcess, frames: list[dict[str, Any]]) -> None:
        session = self._session_of(worker)
        if session is None:
            if frames[0]["type"] == "ready":
                with self._lock:
                    self.workers.loaded(worker)
            return
        try:
            try:
                session.on_frames(frames)
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                session.refused(f"{type(error).__name__}: {error}")
        except Exception as error:
            self.fail(coded(error))

    def on_output(self, worker: WorkerProcess, data: bytes) -> None:
        session = self._session_of(worker)
        if session is not None:
            try:
                session.on_output(data)
            except Exception as error:
                self.fail(coded(error))

    def on_exit(self, worker: WorkerProcess, returncode: int) -> None:
        with self._lock:
            self.workers.gone(worker)
        session = self._session_of(worker)
        if session is not None:
            try:
                session.worker_lost(returncode)
            except Exception as error:
                self.fail(coded(error))

    def fail(self, error: FlowsteadError) -> None:
        """What cannot be recorded must not go on: stops everything; open runs are resumed by a later engine."""
        with self._lock:
            if self.failure is None:
                self.failure = error
            self._stopping = self.interrupting = True
        self.workers.end_all("failure")

    def version(self, digest: str) -> FlowVersion:
        """A stored flow version. Raises FlowNotFound (`version-missing`)."""
        known = self._versions.get(digest)
        if known is None:
            known = self._versions[digest] = read_version(self.layout, digest)
        return known

    # -- the end -----------------------------------------------------------------------------------------------

    def interrupt(self) -> None:
        """Ends all work at once; runs under way become interrupted, queued ones stay queued."""
        with self._lock:
            self._stopping = self.interrupting = True
        for worker in self.workers.end_all("interrupted", at_rest="retired"):
            worker.join(5)

    def close(self) -> None:
        """Interrupts what is left. What could not be recorded stays on record as it was, for a later engine."""
        self.interrupt()
        self.alarms.close()
        for session in list(self._sessions.values()):
            session.give_up()


@dataclass(frozen=True, slots=True)
class _Claim:
    """A run about to be claimed: with the version and the warm worker there are for it, or why it fails at once."""

    run: Claimed
    fence: Fence
    version: FlowVersion | None = None
    found: Found = field(default_factory=Found)
    worker: WorkerProcess | None = None
    at_once: bool = False
    files: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    failure: FlowsteadError | None = None

    @property
    def environment_digest(self) -> str | None:
        return None if self.found.wanted is None else self.found.wanted.digest

    @property
    def max_parallel(self) -> int:
        return self.version.spec.trigger.max_parallel if self.version else 1


@dataclass(frozen=True, slots=True)
class _Unbuilt:
    """A queued run whose environment is not there; `again`: although it could not be built before."""

    run_id: str
    wanted: Wanted
    again: bool = False


def _error_text(error: FlowsteadError) -> str:
    return json.dumps({**error.as_dict(), "type": None, "step": None, "file": None, "line": None, **told(error)})


def told(error: FlowsteadError) -> dict[str, Any]:
    """What a person reads first of an error's detail: where it is, and another tool's own words."""
    return {name: error.detail[name] for name in ("file", "line", "words") if name in error.detail}


def coded(error: Exception) -> FlowsteadError:
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
