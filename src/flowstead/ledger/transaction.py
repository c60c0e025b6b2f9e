"""What can be written: each method is one transition, fenced by the states it may leave, the attempt and the epoch.

A method returns whether the write was accepted. Its event is put in the same transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flowstead.ledger import statements as sql
from flowstead.model.errors import StaleWriter
from flowstead.model.run import RunRequest


@dataclass(frozen=True, slots=True)
class Fence:
    """Who writes: one attempt of one run (`token`) under one ownership of the workspace (`epoch`)."""

    run_id: str
    token: str
    epoch: int


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """How one attempt at a step ended; times in microseconds, `checkpoint` and `error` as JSON text."""

    step: int
    attempt: int
    status: str
    started_at: int | None
    finished_at: int
    output_kind: str | None = None
    output_path: str | None = None
    rows: int | None = None
    checkpoint: str | None = None
    error: str | None = None


class Transaction:
    """The writing side of the ledger within one transaction; made by Ledger.write, never kept."""

    __slots__ = ("at", "events", "execute", "executemany")

    def __init__(self, connection: sqlite3.Connection, at: int) -> None:
        self.at = at
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.events: list[tuple[str, str, str]] = []

    # -- starting and claiming ---------------------------------------------------------------------------------

    def enqueue(self, request: RunRequest) -> tuple[str, bool]:
        """Queues a run. Returns its id and whether it is new: one key gives one run, however many ask."""
        at = self.at
        cursor = self.execute(
            sql.INSERT_RUN,
            (
                request.id,
                request.flow,
                request.group,
                request.version,
                request.trigger,
                request.source_root,
                request.source_path,
                json.dumps(request.params) if request.params else "{}",
                request.key,
                at,
                at,
                request.retry_of,
                "{}",
            ),
        )
        if cursor.rowcount == 0:
            (run_id,) = self.execute(sql.RUN_BY_KEY, (request.flow, request.key)).fetchone()
            return run_id, False
        self.events.append(("run", request.id, "queued"))
        return request.id, True

    def waiting(self) -> list[tuple[Any, ...]]:
        """The oldest run that is due of each flow that has one, oldest first (see WAITING for the columns)."""
        return self.execute(sql.WAITING, (self.at,)).fetchall()

    def wait_for(self, run_id: str, what: str) -> bool:
        """Notes what a queued run waits for; refused when it is no longer queued, or waits for just that."""
        if self.execute(sql.WAIT_FOR, (what, run_id, what)).rowcount == 0:
            return False
        self.events.append(("run", run_id, "queued"))
        return True

    def claim(self, fence: Fence, worker: str, *, environment: str | None = None, first_step: bool = False) -> bool:
        """queued → starting; counts an attempt. Refused when anyone else was first.

        `environment` is the digest of the one it runs in, None for the interpreter that runs Flowstead. With
        `first_step` a worker that waits loaded takes the run at once: queued → running, its first step begun.
        Raises StaleWriter when a later epoch has begun: another engine has the workspace.
        """
        status = "running" if first_step else "starting"
        run_id = fence.run_id
        claimed = (status, fence.token, fence.epoch, worker, environment, self.at, run_id, fence.epoch)
        if self.execute(sql.CLAIM_RUN, claimed).rowcount == 0:
            self._require_current(fence)
            return False
        self.events.append(("run", run_id, status))
        if first_step:
            self._begin_step(run_id, 0, 1, self.at)
        return True

    def put_run_files(self, fence: Fence, files: Iterable[tuple[str, int, int]]) -> None:
        """Keeps the signatures `(path, size, mtime_ns)` that the run's sources had when it first started.

        Raises StaleWriter when a later epoch has begun.
        """
        self._require_current(fence)
        if self.execute(sql.HAS_RUN_FILES, (fence.run_id,)).fetchone() is None:
            self.executemany(sql.PUT_RUN_FILE, [(fence.run_id, *each) for each in files])

    def _require_current(self, fence: Fence) -> None:
        if fence.epoch < int(self.get_meta("epoch") or 0):
            raise StaleWriter("Another engine has taken over this workspace.", hint="")

    # -- a run under way ---------------------------------------------------------------------------------------

    def accepts(self, fence: Fence) -> bool:
        """Whether `fence` still speaks for its run."""
        return self.execute(sql.FENCE, (fence.run_id, fence.token, fence.epoch)).fetchone() is not None

    def start_step(self, fence: Fence, step: int, attempt: int, started_at: int) -> bool:
        """Records that a step began; starting → running with the first one."""
        if not self.accepts(fence):
            return False
        if self.execute(sql.RUN_RUNNING, (fence.run_id, fence.token, fence.epoch)).rowcount:
            self.events.append(("run", fence.run_id, "running"))
        self._begin_step(fence.run_id, step, attempt, started_at)
        return True

    def _begin_step(self, run_id: str, step: int, attempt: int, started_at: int) -> None:
        self.execute(sql.START_STEP, (run_id, step, attempt, started_at))
        self.events.append(("step", f"{run_id}/{step}/{attempt}", "running"))

    def finish_step(
        self,
        fence: Fence,
        outcome: StepOutcome,
        *,
        following: tuple[int, int] | None = None,
        metadata: str | None = None,
        summary: str | None = None,
    ) -> bool:
        """Records a step's outcome and, in the same commit, that the `following` (step, attempt) begins."""
        run_id = fence.run_id
        accepted = self.execute(
            sql.FINISH_STEP,
            (
                outcome.status,
                outcome.started_at,
                outcome.finished_at,
                outcome.output_kind,
                outcome.output_path,
                outcome.rows,
                outcome.checkpoint,
                outcome.error,
                run_id,
                outcome.step,
                outcome.attempt,
                run_id,
                fence.token,
                fence.epoch,
            ),
        ).rowcount
        if not accepted:
            return False
        self.events.append(("step", f"{run_id}/{outcome.step}/{outcome.attempt}", outcome.status))
        if metadata is not None or summary is not None:
            self.execute(sql.NOTE_RUN, (metadata, summary, run_id, fence.token))
        if following is not None:
            self._begin_step(run_id, *following, self.at)
        return True

    def put_items(
        self,
        fence: Fence,
        step: int,
        attempt: int,
        rows: Sequence[tuple[int, str, int, str | None, str | None, str | None]],
        *,
        total: int,
        done: int,
        failed: int,
    ) -> bool:
        """Records outcomes `(item, status, duration_us, value, file, error)` of a map's items and its counts."""
        if not self.accepts(fence):
            return False
        run_id = fence.run_id
        # A thread that a step left behind may still tell of progress: that changes nothing, and is no reason to refuse.
        if self.execute(sql.STEP_ITEMS, (total, done, failed, run_id, step, attempt)).rowcount:
            if rows:
                self.executemany(sql.PUT_ITEM, [(run_id, step, *row) for row in rows])
            self.events.append(("step", f"{run_id}/{step}/{attempt}", "progress"))
        return True

    def resume_at(self, fence: Fence, step: int, *, keep_items: bool) -> list[tuple[str, str]]:
        """Prepares a further attempt from `step` on: what later steps gave no longer counts.

        `keep_items` keeps what belongs to `step` itself, a map that goes on where it stopped.
        Returns `(path, info)` of the artifacts that are no longer listed. Raises StaleWriter when a later epoch has
        begun.
        """
        self._require_current(fence)
        run_id = fence.run_id
        for superseded, attempt in self.execute(sql.SUPERSEDE_STEPS, (run_id, step)).fetchall():
            self.events.append(("step", f"{run_id}/{superseded}/{attempt}", "superseded"))
        anew = step + 1 if keep_items else step
        self.execute(sql.CLEAR_ITEMS, (run_id, anew))
        dropped = self.execute(sql.DROP_ARTIFACTS, (run_id, anew)).fetchall()
        self.events.extend(("artifact", f"{run_id}/{path}", "dropped") for path, _ in dropped)
        return dropped

    def put_artifact(self, fence: Fence, *, step: int | None, name: str, kind: str, path: str, info: str) -> bool:
        """Lists a file, `path` relative to the run's folder, as an artifact of the run."""
        if not self.accepts(fence):
            return False
        self.execute(sql.PUT_ARTIFACT, (fence.run_id, path, step, name, kind, info, self.at))
        self.events.append(("artifact", f"{fence.run_id}/{path}", "added"))
        return True

    # -- ends --------------------------------------------------------------------------------------------------

    def end_run(
        self,
        fence: Fence,
        status: str,
        *,
        error: str | None = None,
        flow: str | None = None,
        source_root: str | None = None,
    ) -> bool:
        """starting, running or cancelling → `status`; closes open steps and records its files' freshness.

        `flow` and `source_root` name the file state to write; an interrupted run records none.
        """
        ended = self.execute(sql.END_RUN, (status, self.at, error, fence.run_id, fence.token, fence.epoch)).rowcount
        if not ended:
            return False
        self._close_steps(fence.run_id, status, error)
        if flow is not None and source_root is not None and status != "interrupted":
            self._record_files(fence.run_id, flow, source_root, status)
        self.events.append(("run", fence.run_id, status))
        return True

    def _record_files(self, run_id: str, flow: str, source_root: str, status: str) -> None:
        self.execute(sql.RECORD_FILES, (flow, source_root, status, self.at, run_id))
        self.execute(sql.DROP_RUN_FILES, (run_id,))
        self.events.append(("files", flow, status))

    def _close_steps(self, run_id: str, status: str, error: str | None) -> None:
        closed = self.execute(sql.CLOSE_OPEN_STEPS, (status, self.at, error, run_id)).fetchall()
        for step, attempt in closed:
            self.events.append(("step", f"{run_id}/{step}/{attempt}", status))

    def requeue(self, fence: Fence, *, due_at: int, step_status: str, error: str | None, losses: int) -> bool:
        """starting or running → queued, to go on in another worker; its open step ends as `step_status`."""
        accepted = self.execute(sql.REQUEUE_RUN, (due_at, losses, fence.run_id, fence.token, fence.epoch)).rowcount
        if not accepted:
            return False
        self._close_steps(fence.run_id, step_status, error)
        self.events.append(("run", fence.run_id, "queued"))
        return True

    def cancel(self, run_id: str) -> str | None:
        """Asks for the end of a run. Returns its new status, or None when its state refuses.

        A queued or interrupted run is cancelled at once; one under way becomes `cancelling`.
        """
        if self.execute(sql.CANCEL_IDLE, (self.at, run_id)).rowcount:
            flow, source_root = self.execute(sql.RUN_SOURCE, (run_id,)).fetchone()
            if source_root is not None:
                self._record_files(run_id, flow, source_root, "cancelled")  # those of a run that had begun
            self.events.append(("run", run_id, "cancelled"))
            return "cancelled"
        if self.execute(sql.REQUEST_CANCEL, (run_id,)).rowcount:
            self.events.append(("run", run_id, "cancelling"))
            return "cancelling"
        return None

    def resume(self, run_id: str) -> bool:
        """interrupted → queued."""
        accepted = self.execute(sql.RESUME_RUN, (self.at, run_id)).rowcount == 1
        if accepted:
            self.events.append(("run", run_id, "queued"))
        return accepted

    # -- recovery ----------------------------------------------------------------------------------------------

    def abandoned(self) -> list[tuple[str, str, str | None, str]]:
        """`(run id, status, worker, flow)` of runs that a gone engine had under way."""
        return self.execute(sql.ABANDONED).fetchall()

    def abandon(self, run_id: str, status: str, error: str | None) -> None:
        """Ends what a gone engine had under way as `interrupted`, or `cancelled` where that was asked for."""
        if self.execute(sql.ABANDON_RUN, (status, self.at, error, run_id)).rowcount:
            self._close_steps(run_id, status, None)
            flow, source_root = self.execute(sql.RUN_SOURCE, (run_id,)).fetchone()
            if source_root is not None and status != "interrupted":
                self._record_files(run_id, flow, source_root, status)
            self.events.append(("run", run_id, status))

    def drop_checkpoint(self, fence: Fence, step: int) -> None:
        """Forgets a checkpoint that cannot be read; the run resumes further back.

        Raises StaleWriter when a later epoch has begun.
        """
        self._require_current(fence)
        self.execute(sql.DROP_CHECKPOINT, (fence.run_id, step))

    def copy_steps(self, source_run: str, target_run: str, steps: Sequence[tuple[int, int]], up_to: int) -> None:
        """Gives a retry the recorded `(step, attempt)` outcomes of the run it retries, and items up to a step."""
        for step, attempt in steps:
            self.execute(sql.COPY_STEP, (target_run, source_run, step, attempt))
            self.events.append(("step", f"{target_run}/{step}/1", "succeeded"))
        self.execute(sql.COPY_ITEMS, (target_run, source_run, up_to))

    def note(self, run_id: str, metadata: str) -> None:
        """Gives a run that was just queued the metadata, as JSON text, that it begins with."""
        self.execute(sql.SET_METADATA, (metadata, run_id))

    # -- flows, meta, retention --------------------------------------------------------------------------------

    def put_version(self, digest: str, flow: str, group: str, spec: str) -> None:
        """Keeps a flow version for as long as the ledger lives, and makes it the flow's current one."""
        self.execute(sql.PUT_VERSION, (digest, flow, spec, self.at))
        if self.execute(sql.PUT_FLOW, (flow, group, digest, self.at)).rowcount:
            self.events.append(("flow", flow, "changed"))

    def rename_source_roots(self, name: Callable[[str], str]) -> None:
        """Records every source root anew, under the name that `name` gives it."""
        roots = {row[0] for query in (sql.SOURCE_ROOTS, sql.FILE_ROOTS) for row in self.execute(query)}
        for root in roots:
            if name(root) != root:
                self.execute(sql.RENAME_RUN_ROOT, (name(root), root))
                self.execute(sql.RENAME_FILE_ROOT, (name(root), root))

    def put_schedule(self, flow: str, trigger: str, considered_until: int) -> None:
        """Notes up to which moment (microseconds) a schedule was considered; `trigger` names its times."""
        self.execute(sql.PUT_SCHEDULE, (flow, trigger, considered_until))

    def get_meta(self, key: str) -> str | None:
        row = self.execute(sql.GET_META, (key,)).fetchone()
        return None if row is None else row[0]

    def put_meta(self, key: str, value: str) -> None:
        self.execute(sql.PUT_META, (key, value))

    def begin_epoch(self, epoch: int) -> None:
        """Makes `epoch` the one that this ledger's writes are of; an engine of an earlier one is refused from now on.

        The ledger remembers which epochs were its own: what was published under them, it knows best itself.
        """
        self.put_meta("epoch", str(epoch))
        own: list[list[int]] = json.loads(self.get_meta("own_epochs") or "[]")
        if own and own[-1][1] >= epoch - 1:
            own[-1][1] = max(own[-1][1], epoch)
        else:
            own.append([epoch, epoch])
        self.put_meta("own_epochs", json.dumps(own))
        kept = self.get_meta("kept_runs")
        if kept is not None:
            # Published again under this epoch they are later than what they withstood.
            lifted = self.execute(sql.LIFT_KEPT, (epoch, kept)).fetchall()
            self.events.extend(("run", run_id, status) for run_id, status in lifted)
            self.execute(sql.DROP_META, ("kept_runs",))

    def keep_for_next_epoch(self, run_ids: Iterable[str]) -> None:
        """Notes runs that stand against what was published of them, until this machine can publish them itself."""
        kept = {*json.loads(self.get_meta("kept_runs") or "[]"), *run_ids}
        self.put_meta("kept_runs", json.dumps(sorted(kept)))

    def own_epochs(self) -> Callable[[int], bool]:
        """Tells of an epoch whether this ledger's machine had the workspace in it."""
        own: list[list[int]] = json.loads(self.get_meta("own_epochs") or "[]")
        return lambda epoch: any(first <= epoch <= last for first, last in own)

    def forget_expired(self, *, before: int, keep: int, limit: int) -> list[str]:
        """Deletes ended runs older than `before` or beyond the newest `keep`, at most `limit`; returns their ids."""
        (newest,) = self.execute(sql.NEWEST_NUMBER).fetchone()
        expired = self.execute(sql.EXPIRED_RUNS, (before, newest - keep, limit)).fetchall()
        for (run_id,) in expired:
            for statement in sql.FORGET_RUN:
                self.execute(statement, (run_id,))
            self.events.append(("run", run_id, "forgotten"))
        self.execute(sql.FORGET_EVENTS, (before,))
        return [run_id for (run_id,) in expired]
