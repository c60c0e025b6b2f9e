"""Publishing: what the ledger recorded since the last time, as the next segments of published state.

The cost follows the changes: events after a cursor name the runs that changed, and each of these is published whole.
The cursor is moved once the segment is in place. Its commit is where the owner's deadline is checked (Ledger.guard),
so what was written too late is not counted, and comes again with the next epoch that this machine owns.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flowstead.engine.published_logs import Tail, has_grown, new_lines
from flowstead.ledger import Ledger, LedgerReader, Transaction
from flowstead.ledger import statements as sql
from flowstead.model.run import ACTIVE, ENDED
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.segments import SPINE, TABLES, Range, Segments

EVENTS_AT_ONCE = 20_000
RUNS_AT_ONCE = 1_000
MOST_UNFINISHED = 1_000
"""Of so many runs that have ended, whose log does not say so, the log is looked at again."""

CURSOR = "published_seq"
POSITION = "merged"
UNFINISHED = "unfinished_logs"

Row = tuple[Any, ...]
_FILES = TABLES[SPINE].index("files")
_ID, _VERSION, _STATUS, _ROOT, _PATH = (
    sql.PUBLISHED_RUN.index(name) for name in ("id", "version", "status", "source_root", "source_path")
)


class _Pending(NamedTuple):
    """What is about to be published, and where the cursor and the logs are then."""

    tables: dict[str, list[Row]]
    cursor: int
    logs: dict[str, Tail]
    unfinished: list[str]


class Publisher:
    """Publishes for the owner of `epoch`; `generation` is the last one there is so far. Safe to use from any thread.

    Everything published before must have been merged (see following.follow). Ends with `close`.
    """

    def __init__(
        self, layout: WorkspaceLayout, ledger: Ledger, segments: Segments, *, epoch: int, generation: int
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._segments = segments
        self._epoch = epoch
        self._generation = generation
        self._reader = LedgerReader(ledger.path)  # its snapshots make nobody wait
        self._cursor = int(ledger.reader.meta(CURSOR) or 0)
        noted = json.loads(ledger.reader.meta(UNFINISHED) or "[]")
        self._logs: dict[str, Tail] = {run_id: Tail() for run_id in noted}
        """Of the runs whose log may still grow."""
        self._unfinished = list(noted)
        self._files_told: set[str] = set()
        """The open runs whose files are published already."""
        self._pending: _Pending | None = None
        self._lock = threading.Lock()

    @property
    def generation(self) -> int:
        """The last generation that counts as published."""
        return self._generation

    def publish(self, at_most: int | None = None) -> int:
        """Publishes all there is by now; returns the last generation, the same as before when nothing had changed.

        A segment has at most RUNS_AT_ONCE runs; of a long history `at_most` so many segments are published at once.
        Raises OwnershipLost when the time as the owner is over, StorageError when the folder cannot be written.
        """
        with self._lock:
            until, first = self._ledger.last_event, self._generation
            while self._publish_next():
                if self._cursor >= until or self._generation - first == at_most:
                    break  # what came meanwhile is for the next time
            return self._generation

    def close(self) -> None:
        self._reader.close()

    def _publish_next(self) -> bool:
        """Publishes the next changes, some at a time; returns whether there were any."""
        if self._pending is None:
            self._pending = self._gather()
        if self._pending is None:
            return False
        # Tried again it is the same to the byte, though more may have changed: see Segments.write.
        pending = self._pending
        generation = self._generation
        if pending.tables[SPINE]:
            generation += 1
            self._segments.write(Range(self._epoch, generation, generation), pending.tables)
        self._ledger.write(lambda tx: self._count(tx, pending, generation))
        ended = {row[_ID] for row in pending.tables[SPINE] if row[_STATUS] in ENDED}
        told = {row[_ID] for row in pending.tables[SPINE] if row[_FILES] is not None}
        self._files_told = (self._files_told | told) - ended
        self._generation, self._cursor = generation, pending.cursor
        self._logs, self._unfinished = pending.logs, pending.unfinished
        self._pending = None
        return True

    def _gather(self) -> _Pending | None:
        """What has changed; None when nothing has."""
        cursor, touched = self._touched()
        grown = [run_id for run_id, tail in self._logs.items() if has_grown(self._layout.run_folder(run_id), tail)]
        if cursor == self._cursor and not grown:
            return None
        tables, logs = self._tables({**dict.fromkeys(touched), **dict.fromkeys(grown)})
        unfinished = [run_id for run_id, tail in logs.items() if not tail.active]
        for run_id in unfinished[:-MOST_UNFINISHED]:
            del logs[run_id]
        return _Pending(tables, cursor, logs, unfinished[-MOST_UNFINISHED:])

    def _touched(self) -> tuple[int, list[str]]:
        """The runs that the next events tell of, in their order, and how far that is."""
        if self._ledger.last_event == self._cursor:
            return self._cursor, []
        touched: dict[str, None] = {}
        cursor = self._cursor
        for seq, _, kind, row_id, _ in self._reader.events(cursor, limit=EVENTS_AT_ONCE):
            if kind in ("run", "step", "artifact"):
                run_id = row_id.partition("/")[0]
                if run_id not in touched and len(touched) == RUNS_AT_ONCE:
                    break
                touched[run_id] = None
            cursor = seq
        return cursor, list(touched)

    def _count(self, tx: Transaction, pending: _Pending, generation: int) -> None:
        """Moves the cursor; this commit makes a segment count."""
        tx.put_meta(CURSOR, str(pending.cursor))
        if pending.unfinished != self._unfinished:
            tx.put_meta(UNFINISHED, json.dumps(pending.unfinished))
        position = json.loads(tx.get_meta(POSITION) or "[0, 0]")
        if generation == self._generation + 1 == position[1] + 1:
            tx.put_meta(POSITION, json.dumps([self._epoch, generation]))

    # -- the rows ----------------------------------------------------------------------------------------------

    def _tables(self, touched: Iterable[str]) -> tuple[dict[str, list[Row]], dict[str, Tail]]:
        """The rows of these runs, and how far their logs, and those read before, are published then."""
        read, generation = self._reader.rows, self._generation + 1
        with self._reader.snapshot():
            runs = read(sql.RUNS_TO_PUBLISH, (json.dumps(list(touched)),))
            ids = json.dumps([row[_ID] for row in runs])
            steps = [(*row, generation) for row in read(sql.STEPS_TO_PUBLISH, (ids,))]
            artifacts = _grouped(read(sql.PUBLISHED_ARTIFACTS, (ids,)))
            specs = dict(read(sql.VERSION_SPECS, (json.dumps(sorted({row[_VERSION] for row in runs})),)))
            untold = [row[_ID] for row in runs if row[_STATUS] not in ENDED and row[_ID] not in self._files_told]
            files = _grouped(read(sql.RUN_FILES, (json.dumps(untold),))) if untold else {}
            states = [(*row, generation) for run in runs for row in self._file_states(run)]
        logs = dict(self._logs)
        lines: list[Row] = []
        rows: list[Row] = []
        for run in runs:
            run_id = run[_ID]
            kept, read_files = artifacts.get(run_id), files.get(run_id)
            parts = (_json(kept), _json(read_files), specs.pop(run[_VERSION], None))
            rows.append((*run, generation, *parts))
            added, tail = new_lines(self._layout.run_folder(run_id), logs.pop(run_id, Tail()))
            lines.extend((run_id, *line, generation) for line in added)
            active = run[_STATUS] in ACTIVE
            if active or (run[_STATUS] != "queued" and not tail.finished):
                logs[run_id] = tail._replace(active=active)
        for gone in set(touched) - {run[_ID] for run in runs}:
            logs.pop(gone, None)
        return {SPINE: rows, "step_runs": steps, "logs": lines, "file_state": states}, logs

    def _file_states(self, run: Row) -> Sequence[Row]:
        """What the end of a run recorded of the files that it was about."""
        if run[_STATUS] not in ENDED or run[_ROOT] is None:
            return ()
        about = (run[1], run[_ROOT], run[_ID])
        if run[_PATH] is not None:
            return self._reader.rows(sql.FILE_OF_RUN, (*about, run[_PATH]))
        return self._reader.rows(sql.FILES_OF_RUN, about)


def _grouped(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows by the run that they begin with, without it."""
    found: dict[str, list[Row]] = {}
    for run_id, *rest in rows:
        found.setdefault(run_id, []).append(tuple(rest))
    return found


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)
