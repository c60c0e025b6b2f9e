"""Following: what others published comes into this machine's own ledger, so that everything here reads only that.

For whoever holds the workspace's engine.lock: as an observer now and then, as a new owner before anything else. Only
segments that are new are read. A generation that cannot be read is noted as a gap and tried again every time; what was
merged twice is merged once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flowstead.engine.dispatcher import coded
from flowstead.engine.published_logs import Line, merge_lines
from flowstead.engine.publishing import CURSOR, POSITION
from flowstead.ledger import Ledger, LedgerReader, Transaction
from flowstead.ledger import statements as sql
from flowstead.ledger.merging import IncomingRun, merge_files, merge_runs, put_specs
from flowstead.workspace.claims import Claims
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.segments import SPINE, TABLES, Accepted, Gap, Segment, Segments

RUNS_AT_ONCE = 500
FILES_AT_ONCE = 5_000
GAPS = "segment_gaps"

Row = tuple[Any, ...]
T = TypeVar("T")
_WIDTH = len(sql.PUBLISHED_RUN)
_FLOW, _VERSION = sql.PUBLISHED_RUN.index("flow"), sql.PUBLISHED_RUN.index("version")
_GENERATION_OF = {table: names.index("generation") for table, names in TABLES.items()}
_GENERATION, _ARTIFACTS, _FILES, _SPEC = (
    TABLES[SPINE].index(name) for name in ("generation", "artifacts", "files", "spec")
)


@dataclass(slots=True)
class Followed:
    """What came of it: the last generation that was looked at, how many runs and files were newer than what was here,
    the runs that had ended here and were kept so, and the generations that could not be read."""

    generation: int = 0
    runs: int = 0
    files: int = 0
    kept: list[str] = field(default_factory=list[str])
    gaps: list[Gap] = field(default_factory=list[Gap])


def follow(layout: WorkspaceLayout, ledger: Ledger, segments: Segments, accepted: Accepted) -> Followed:
    """Merges the published state that counts, and that was not merged before, into the ledger and the runs' logs.

    Raises StorageError when the shared folder cannot be reached, or the disk here cannot be written; then what was
    merged so far stands, and the rest follows the next time.
    """
    epoch, at = position(ledger)
    before = gaps_of(ledger.reader)
    if not accepted.epoch:
        return Followed(at, gaps=before)
    if _began_anew(epoch, at, accepted):
        at, before = 0, []
    until = max(at, accepted.generation)
    merging = _Merging(layout, ledger, Followed(until))
    for gap in before:
        for found in segments.read(gap.first - 1, gap.last, accepted):
            merging.take(found, gap.first, gap.last)
    for found in segments.read(at, until, accepted):
        merging.take(found, at + 1, until)
    merging.finish([accepted.epoch, until])
    return merging.followed


def last_generation(ledger: Ledger, segments: Segments, claims: Claims) -> int:
    """The generation that a new claim is to accept, see Ownership.claim: the last that was published before it.

    Where someone emptied the shared folder it goes on from what this machine has seen. Raises StorageError.
    """
    last = segments.last_visible(claims.bound)
    return last if claims.listing().highest else max(last, position(ledger)[1])


def position(ledger: Ledger) -> tuple[int, int]:
    """The epoch and the generation up to which published state has been looked at."""
    epoch, generation = json.loads(ledger.reader.meta(POSITION) or "[0, 0]")
    return epoch, generation


def gaps_of(reader: LedgerReader) -> list[Gap]:
    """The generations that could not be read when it was last tried."""
    return [Gap(*each) for each in json.loads(reader.meta(GAPS) or "[]")]


def _began_anew(epoch: int, at: int, accepted: Accepted) -> bool:
    """Whether generations are counted from the start again, as after someone emptied the shared folder."""
    if epoch >= accepted.epoch:
        return epoch > accepted.epoch
    return 0 <= accepted.bound(epoch) < at


class _Merging:
    """One round of merging into a ledger."""

    def __init__(self, layout: WorkspaceLayout, ledger: Ledger, followed: Followed) -> None:
        self.followed = followed
        self._layout = layout
        self._ledger = ledger
        self._began_at = ledger.last_event
        self._events = 0

    def take(self, found: Segment | Gap, first: int, last: int) -> None:
        """Merges what a segment has of the generations from `first` to `last`."""
        gaps = [found] if isinstance(found, Gap) else found.gaps
        self.followed.gaps += [each._replace(first=max(first, each.first), last=min(last, each.last)) for each in gaps]
        if isinstance(found, Gap):
            return
        wanted = {
            table: [row for row in rows if first <= row[_GENERATION_OF[table]] <= last]
            for table, rows in found.tables.items()
        }
        specs = [(row[_VERSION], row[_FLOW], row[_SPEC]) for row in found.tables[SPINE] if row[_SPEC] is not None]
        if wanted[SPINE]:
            self._write(lambda tx: put_specs(tx, specs))
        for runs in _chunks(_incoming(wanted[SPINE], wanted.get("step_runs", [])), RUNS_AT_ONCE):
            merged = self._write(lambda tx, runs=runs: merge_runs(tx, runs))
            self.followed.runs += len(merged.taken)
            self.followed.kept += merged.kept
        for rows in _chunks(wanted.get("file_state", []), FILES_AT_ONCE):
            self.followed.files += self._write(lambda tx, rows=rows: merge_files(tx, rows))
        self._take_logs(wanted.get("logs", []))

    def _take_logs(self, rows: Iterable[Row]) -> None:
        lines: dict[str, list[Line]] = {}
        for run_id, *line, _ in rows:
            lines.setdefault(run_id, []).append(tuple(line))
        # The log of a run that this machine changed last is its own.
        theirs = self._ledger.reader.rows(sql.RUNS_OF_OTHERS, (json.dumps(list(lines)),)) if lines else []
        for (run_id,) in theirs:
            try:
                merge_lines(self._layout.run_folder(run_id), lines[run_id])
            except OSError as error:
                raise coded(error) from error

    def finish(self, position_now: list[int]) -> None:
        """Notes how far all is merged now."""
        noted = {POSITION: json.dumps(position_now), GAPS: json.dumps(self.followed.gaps)}
        ended_at = self._ledger.last_event

        def note(tx: Transaction) -> None:
            for key, value in noted.items():
                if tx.get_meta(key) != value:
                    tx.put_meta(key, value)
            # What came from others is published; a publisher need not look at these events.
            alone = ended_at == self._began_at + self._events and not self.followed.kept
            if alone and self._events and int(tx.get_meta(CURSOR) or 0) == self._began_at:
                tx.put_meta(CURSOR, str(ended_at))

        self._ledger.write(note)

    def _write(self, operation: Callable[[Transaction], T]) -> T:
        def counted(tx: Transaction) -> tuple[T, int]:
            before = len(tx.events)
            return operation(tx), len(tx.events) - before

        result, events = self._ledger.write(counted)
        self._events += events
        return result


def _incoming(runs: Iterable[Row], steps: Iterable[Row]) -> list[IncomingRun]:
    """Published rows as whole runs, oldest first, so that they are numbered in the order in which they were queued."""
    of_run: dict[str, list[Row]] = {}
    for row in steps:
        of_run.setdefault(row[0], []).append(row[:-1])
    found = [
        IncomingRun(
            columns=row[:_WIDTH],
            generation=row[_GENERATION],
            steps=of_run.get(row[0], []),
            artifacts=[tuple(each) for each in json.loads(row[_ARTIFACTS] or "[]")],
            files=None if row[_FILES] is None else [tuple(each) for each in json.loads(row[_FILES])],
        )
        for row in runs
    ]
    return sorted(found, key=lambda run: run.id)


def _chunks(rows: list[T], size: int) -> Iterable[list[T]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
