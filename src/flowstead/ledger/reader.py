"""Reading a ledger: any process, any time, never a lock. Rows come out as the nouns of `model`."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from flowstead.ledger import statements as sql
from flowstead.ledger.connection import open_reader, translated
from flowstead.model.errors import RunNotFound, UsageError
from flowstead.model.flow import FlowSpec, StepSpec
from flowstead.model.run import STATUSES, Artifact, Run, StepRun


class LedgerReader:
    """A read-only view of the ledger at `path`; safe to share between threads.

    A ledger that is not there yet reads as an empty one. Raises coded errors for a damaged or newer
    one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._specs: dict[str, FlowSpec] = {}

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of one named statement."""
        with self._lock, translated(self.path):
            if self._connection is None:
                self._connection = open_reader(self.path)
            if self._connection is None:
                return []
            return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def snapshot(self) -> Generator[None]:
        """All that is read within is of one moment. Other threads that use this reader wait meanwhile."""
        with self._lock:
            self.rows("BEGIN")
            try:
                yield
            finally:
                self.rows("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    # -- runs --------------------------------------------------------------------------------------------------

    def run_id(self, text: str) -> str:
        """The full id for an id, its beginning, or its end. Raises RunNotFound, or UsageError when ambiguous."""
        found = self.rows(sql.RUN_BY_ID, (text,))
        if found:
            return text
        beginning = text if text.startswith("r_") else f"r_{text}"
        matches = self.rows(sql.RUNS_BY_ID_PART, (beginning, beginning + "\x7f"))
        if not matches and len(text) >= 4:
            escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            matches = self.rows(sql.RUNS_BY_ID_END, (f"%{escaped}",))
        if not matches:
            raise RunNotFound(f"There is no run {text}.", run=text)
        if len(matches) > 1:
            raise UsageError(
                f"{text} fits more than one run.",
                hint="Give more of the id, as in: flowstead runs --json",
                run=text,
            )
        return matches[0][0]

    def run(self, run_id: str) -> Run:
        """One run with its steps and artifacts, by its full id. Raises RunNotFound."""
        rows = self.rows(sql.RUN_BY_ID, (run_id,))
        if not rows:
            raise RunNotFound(f"There is no run {run_id}.", run=run_id)
        return self.as_runs(rows)[0]

    def runs(
        self,
        *,
        flow: str | None = None,
        status: str | None = None,
        before: int | None = None,
        limit: int = 50,
        with_steps: bool = True,
    ) -> list[Run]:
        """Runs, newest first; `before` is the number of the last run of the page before this one."""
        if status is not None and status not in STATUSES:
            raise UsageError(f"There is no status {status!r}.", hint="One of: " + ", ".join(STATUSES))
        given = {"flow": flow, "status": status, "before": before}
        filters = {name: value for name, value in given.items() if value is not None}
        return self.as_runs(self.rows(sql.newest_runs(filters), (*filters.values(), limit)), with_steps=with_steps)

    def runs_by_id(self, run_ids: Iterable[str], *, with_steps: bool = True) -> list[Run]:
        """The runs of these ids, oldest first; ids that are gone are left out."""
        return self.as_runs(self.rows(sql.RUNS_BY_ID, (json.dumps(list(run_ids)),)), with_steps=with_steps)

    def lately_ended(self, events: int = 100) -> list[Run]:
        """Runs that ended for good, of those that the latest events tell of; without their steps."""
        return self.as_runs(self.rows(sql.LATELY_ENDED, (events,)), with_steps=False)

    def open_runs(self, flow: str | None = None, statuses: Sequence[str] = ("interrupted",)) -> list[str]:
        """Ids of runs in `statuses`, oldest first."""
        return [row[0] for row in self.rows(sql.OPEN_RUNS, (json.dumps(list(statuses)), flow, flow))]

    def as_runs(self, rows: list[tuple[Any, ...]], *, with_steps: bool = True) -> list[Run]:
        """Rows with RUN_COLUMNS as runs, in their order; with their steps and artifacts unless said otherwise."""
        ids = json.dumps([row[1] for row in rows])
        steps: dict[str, dict[int, tuple[Any, ...]]] = {}
        artifacts: dict[str, list[Artifact]] = {}
        if with_steps and rows:
            for step in self.rows(sql.STEP_RUNS_OF, (ids,)):
                steps.setdefault(step[0], {})[step[1]] = step
            for run_id, name, kind, path, index, info in self.rows(sql.ARTIFACTS, (ids,)):
                artifacts.setdefault(run_id, []).append(Artifact(name, kind, path, index, json.loads(info)))
        if not with_steps:
            return [_run(row, self.spec(row[3]), None, []) for row in rows]
        return [_run(row, self.spec(row[3]), steps.get(row[1], {}), artifacts.get(row[1], [])) for row in rows]

    # -- parts of a run ----------------------------------------------------------------------------------------

    def step_rows(self, run_id: str) -> list[tuple[Any, ...]]:
        """Every attempt at every step, with checkpoints, in order (see STEP_RUNS for the columns)."""
        return self.rows(sql.STEP_RUNS, (run_id,))

    def step(self, run_id: str, version: str, index: int, attempt: int) -> dict[str, Any] | None:
        """One attempt at a step of a run of that version, as JSON; None when it is not on record."""
        rows = self.rows(sql.STEP_RUN, (run_id, index, attempt))
        plan = self.spec(version).steps
        return _step(plan[index], rows[0]).as_dict() if rows and index < len(plan) else None

    def items(self, run_id: str, step: int) -> list[tuple[Any, ...]]:
        """`(item, status, value, file, error, duration_us)` of a map's recorded items."""
        return self.rows(sql.ITEMS, (run_id, step))

    def failed_items(self, run_id: str, step: int, limit: int = 20) -> list[dict[str, Any]]:
        """The first failed items of a map: `{item, status, error}`."""
        return [
            {"item": item, "status": status, "error": json.loads(error) if error else None}
            for item, status, _, _, error, _ in self.rows(sql.FAILED_ITEMS, (run_id, step, limit))
        ]

    def losses(self, run_id: str) -> int:
        """How often in a row the run lost its worker without finishing a step."""
        rows = self.rows(sql.RUN_LOSSES, (run_id,))
        return rows[0][0] if rows else 0

    def versions_in_use(self, since: int, limit: int) -> list[str]:
        """The newest version of each flow that was started after `since`, the flow that ran last first."""
        return [version for (version,) in self.rows(sql.VERSIONS_IN_USE, (since, limit))]

    # -- flows, files, events ----------------------------------------------------------------------------------

    def spec(self, version: str) -> FlowSpec:
        """The plan of a flow version as its module described it; one without steps for a version never recorded."""
        known = self._specs.get(version)
        if known is None:
            rows = self.rows(sql.VERSION_SPEC, (version,))
            known = FlowSpec.from_dict(json.loads(rows[0][0])) if rows else FlowSpec(name="", group="", label="")
            self._specs[version] = known
        return known

    def file_state(self, flow: str, root: str, paths: Iterable[str] | None = None) -> dict[str, tuple[int, int, str]]:
        """`path -> (size, mtime_ns, status)` as of the last run on each file, or on each of `paths`."""
        if paths is None:
            rows = self.rows(sql.FILE_STATE, (flow, root))
        else:
            rows = self.rows(sql.FILE_STATE_OF, (json.dumps(list(paths)), flow, root))
        return {path: (size, mtime_ns, status) for path, size, mtime_ns, status in rows}

    def sources_ahead(self, flow: str, root: str, statuses: Sequence[str]) -> dict[str | None, bool]:
        """Source paths with a run in one of `statuses` (None: the whole root has one), and whether that has begun."""
        rows = self.rows(sql.SOURCES_AHEAD, (json.dumps(statuses), flow, root))
        return {path: bool(begun) for path, begun in rows}

    def interrupted_files(self, flow: str, root: str) -> dict[str, tuple[int, int]]:
        """`path -> (size, mtime_ns)` of files whose last run was interrupted, as they were then."""
        return {path: (size, mtime_ns) for path, size, mtime_ns in self.rows(sql.INTERRUPTED_FILES, (flow, root))}

    def schedule(self, flow: str) -> tuple[str, int] | None:
        """`(trigger, considered until)` of a flow's schedule; None where none was considered."""
        rows = self.rows(sql.SCHEDULE, (flow,))
        return (rows[0][0], rows[0][1]) if rows else None

    def newest_slot(self, flow: str, trigger: str) -> str | None:
        """The last slot (ISO 8601) of this schedule that has a run."""
        rows = self.rows(sql.NEWEST_SLOT, (flow, trigger))
        return rows[0][0] if rows else None

    def slot_waits(self, flow: str) -> bool:
        """Whether a run that the flow's schedule queued has not begun yet."""
        return bool(self.rows(sql.SLOT_WAITS, (flow,)))

    def events(self, after: int, limit: int = 1000) -> list[tuple[int, int, str, str, str]]:
        """`(seq, at, kind, id, change)` of the events after a number, in order."""
        return self.rows(sql.EVENTS_AFTER, (after, limit))  # type: ignore[return-value]

    def last_event(self) -> int:
        """The number of the newest event; 0 when there is none."""
        rows = self.rows(sql.LAST_EVENT)
        return rows[0][0] if rows else 0

    def first_event(self) -> int:
        """The number of the oldest event that is kept; 0 when there is none."""
        rows = self.rows(sql.FIRST_EVENT)
        return rows[0][0] if rows else 0

    def meta(self, key: str) -> str | None:
        """What is noted under a key."""
        rows = self.rows(sql.GET_META, (key,))
        return rows[0][0] if rows else None

    def next_due_time(self, after: int) -> int | None:
        """When the next delayed run is due, in microseconds; None when none waits."""
        rows = self.rows(sql.NEXT_DUE_TIME, (after,))
        return rows[0][0] if rows else None


def _loads(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _step(plan: StepSpec, done: tuple[Any, ...] | None) -> StepRun:
    """A step of the plan, with what is on record of it (see STEP_RUNS_OF for the columns)."""
    step = StepRun(plan.index, plan.name, plan.label, plan.kind)
    if done is None:
        return step
    _, _, attempt, status, started, finished, kind, path, count, total, items_done, failed, _, error = done
    return replace(
        step,
        status=status,
        attempt=attempt,
        started_at=started,
        finished_at=finished,
        items_total=total,
        items_done=items_done,
        items_failed=failed,
        output_path=path,
        output_kind=kind,
        rows=count,
        error=_loads(error),
    )


def _run(
    row: tuple[Any, ...], spec: FlowSpec, steps: dict[int, tuple[Any, ...]] | None, artifacts: list[Artifact]
) -> Run:
    planned: list[StepRun] = []
    for plan in spec.steps if steps is not None else ():
        done = None if steps is None else steps.get(plan.index)
        planned.append(_step(plan, done))
    return Run(
        number=row[0],
        id=row[1],
        flow=row[2],
        version=row[3],
        status=row[4],
        trigger=row[5],
        source_root=row[6],
        source_path=row[7],
        attempt=row[8],
        params=json.loads(row[9]),
        key=row[10],
        queued_at=row[11],
        started_at=row[12],
        finished_at=row[13],
        summary=row[14],
        metadata=json.loads(row[15]),
        error=_loads(row[16]),
        retry_of=row[17],
        environment=row[18],
        waiting_for=row[19],
        resume=spec.resume,
        steps=tuple(planned),
        artifacts=tuple(artifacts),
    )
