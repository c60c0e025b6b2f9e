"""Published state: what the owner records, as Parquet files that every other workstation, and the next owner, reads.

Each publication is a *generation*, one counter over all epochs. It becomes `state/<table>/<epoch>-<from>-<to>.parquet`
with `from` = `to`; compaction writes wider ranges. `state/runs` is the spine: every generation has a file there, if
only an empty one, and it is written last and names the others with their checksums. So a spine file implies the rest,
and a generation that no spine file covers is missing: it is told of as a `Gap`, never taken for nothing.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from flowstead.workspace.parquet import decode, decode_metadata, encode_table

Row = tuple[Any, ...]

SPINE = "runs"
TABLES: dict[str, tuple[str, ...]] = {
    "step_runs": (
        *("run_id", "step", "attempt", "status", "started_at", "finished_at", "output_kind", "output_path", "rows"),
        *("items_total", "items_done", "items_failed", "error", "generation"),
    ),
    "logs": ("run_id", "seq", "timestamp", "level", "event", "message", "data", "context", "generation"),
    "file_state": (
        *("flow", "root", "path", "size", "mtime_ns", "status", "run_id", "recorded_at", "epoch", "generation"),
    ),
    SPINE: (
        *("id", "flow", "group_name", "version", "status", "trigger", "source_root", "source_path", "attempt"),
        *("losses", "params", "key", "due_at", "queued_at", "started_at", "finished_at", "summary", "metadata"),
        *("error", "retry_of", "epoch", "generation", "artifacts", "files", "spec"),
    ),
}
"""The columns, by table; the spine last, as it is written. Times are microseconds since the epoch.

Of a run `artifacts` and `files` are JSON, `files` null where they are as they were published before; `spec` is the
plan of its version as JSON, in the first row of each version in a file.
"""
_INTEGERS = {
    *("attempt", "due_at", "epoch", "finished_at", "generation", "items_done", "items_failed", "items_total", "losses"),
    *("mtime_ns", "queued_at", "recorded_at", "rows", "seq", "size", "started_at", "step"),
}


class Files(Protocol):
    """What is needed of the shared folder; see SharedFolder."""

    def names(self, folder: str, *, fresh: bool = False) -> list[str]: ...
    def read(self, name: str) -> bytes | None: ...
    def replace(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> bool: ...


class Range(NamedTuple):
    """The generations from `first` to `last`, written by the owner of `epoch`: what the name of a file says."""

    epoch: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.epoch:08d}-{self.first:08d}-{self.last:08d}.parquet"

    @classmethod
    def parse(cls, name: str) -> Range | None:
        """None for the name of something else."""
        stem, _, kind = name.partition(".")
        parts = stem.split("-")
        if kind != "parquet" or len(parts) != 3 or not all(part.isdecimal() for part in parts):
            return None
        found = cls(*map(int, parts))
        return found if 0 < found.first <= found.last else None


class Gap(NamedTuple):
    """Published generations that cannot be had now. `reason` is a sentence, `file` the one at fault, if one is."""

    first: int
    last: int
    reason: str
    file: str = ""


class Segment(NamedTuple):
    """The rows of some generations by table, columns as in TABLES. `gaps` tell of tables that are missing here."""

    range: Range
    tables: dict[str, list[Row]]
    gaps: list[Gap]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What of the published state counts: of the latest claim, `epoch`, all up to `generation`; and of each earlier
    epoch all up to its `bound`.

    `epoch` and `generation` are those of Ownership.look(), `bounds` is Claims.bound. Of an epoch that still runs it is
    what its owner's heartbeat, or its release, says: a segment that is there already may have come too late, and be
    refused by the next claim; what was announced in time never is. So nothing that is read has to be taken back.
    """

    epoch: int
    generation: int
    bounds: Callable[[int], int | None] = field(repr=False)

    def bound(self, epoch: int) -> int:
        """The last generation in a file of `epoch` that counts; -1 while the claims that tell are not seen."""
        if epoch >= self.epoch:
            return self.generation if epoch == self.epoch else -1
        bound = self.bounds(epoch)
        return -1 if bound is None else min(bound, self.generation)


class Segments:
    """The segments in a shared folder. Every method raises StorageError when it cannot be reached."""

    def __init__(self, folder: Files) -> None:
        self._folder = folder

    # -- writing: only for the owner ---------------------------------------------------------------------------

    def write(self, where: Range, tables: Mapping[str, Sequence[Row]]) -> None:
        """Publishes the rows of some generations: all of them, or, when it raises, nothing that would be read.

        What raised may have been put all the same. It may only be tried again with the same rows: a successor that
        has seen it has accepted it, and what is accepted does not change.
        """
        parts: dict[str, tuple[str, int]] = {}
        for table, names in TABLES.items():
            rows = tables.get(table, ())
            if not rows and table != SPINE:
                continue
            columns: Iterable[Sequence[Any]] = zip(*rows, strict=True) if rows else ((),) * len(names)
            encoded = {name: (_kind(name), values) for name, values in zip(names, columns, strict=True)}
            data = encode_table(encoded, {"tables": json.dumps(parts)} if table == SPINE else None)
            parts[table] = (f"{zlib.crc32(data):08x}", len(data))
            self._folder.replace(_path(table, where), data)

    def remove(self, where: Range) -> None:
        """Removes the files of a range, the spine first."""
        for table in reversed(list(TABLES)):
            self._folder.remove(_path(table, where))

    # -- reading -----------------------------------------------------------------------------------------------

    def ranges(self, *, fresh: bool = False) -> list[Range]:
        """What is there, by a listing of the spine, in no order, whether it counts or not."""
        return [found for name in self._folder.names(f"state/{SPINE}", fresh=fresh) if (found := Range.parse(name))]

    def last_visible(self, bound: Callable[[int], int | None]) -> int:
        """The last generation that is there, by a fresh listing; `bound` as Claims.bound, None where nothing bounds.

        For whoever claims: all that a predecessor published in time is seen by it.
        """
        last = 0
        for found in self.ranges(fresh=True):
            limit = bound(found.epoch)
            if limit is None or found.last <= limit:
                last = max(last, found.last)
        return last

    def read(self, after: int, until: int, accepted: Accepted) -> Generator[Segment | Gap]:
        """The segments that hold the generations after `after` up to `until`, and the gaps among them, in order.

        A segment may begin earlier and end later than asked for.
        """
        there = self.counting(accepted)
        damaged: dict[Range, Gap] = {}
        tries, at = 0, after
        while at < until:
            found = _next(there, at, after)
            if found is None:
                end = min((each.first - 1 for each in there if each.first > at), default=until)
                yield _gap(at + 1, min(end, until), damaged)
                at = end
                continue
            try:
                segment = self.load(found)
            except ValueError as error:
                damaged[found] = Gap(found.first, found.last, str(error), _path(SPINE, found))
                there.remove(found)
                continue
            if segment is None:
                # Race: compaction has just put a wider one in its place.
                tries += 1
                there = self.counting(accepted) if tries < 5 else [each for each in there if each != found]
                there = [each for each in there if each not in damaged]
                continue
            yield segment
            at = found.last

    def counting(self, accepted: Accepted) -> list[Range]:
        """What is there and counts, in no order."""
        bounds: dict[int, int] = {}
        counted: list[Range] = []
        for found in self.ranges():
            if found.epoch not in bounds:
                bounds[found.epoch] = accepted.bound(found.epoch)
            if found.last <= bounds[found.epoch]:
                counted.append(found)
        return counted

    def size(self, where: Range) -> int | None:
        """The bytes of a segment; None when it is not there. Raises ValueError when it is damaged."""
        data = self._folder.read(_path(SPINE, where))
        if data is None:
            return None
        parts = json.loads(decode_metadata(data).get("tables", "{}"))
        return len(data) + sum(size for _, size in parts.values())

    def load(self, where: Range) -> Segment | None:
        """One segment; None when it is not there. Raises ValueError when its runs cannot be read."""
        data = self._folder.read(_path(SPINE, where))
        if data is None:
            return None
        try:
            spine = decode(data)
            parts = json.loads(spine.metadata["tables"])
        except (ValueError, KeyError) as error:
            raise ValueError(f"Its list of runs is damaged. {error}") from error
        tables = {SPINE: _rows(SPINE, spine.columns)}
        gaps: list[Gap] = []
        for table, (checksum, _) in parts.items():
            if table not in TABLES:
                continue  # of a newer version
            file = _path(table, where)
            data = self._folder.read(file)
            try:
                if data is None:
                    if self._folder.read(_path(SPINE, where)) is None:
                        return None  # race: removed by compaction, the spine first
                    raise ValueError("It is missing.")
                if f"{zlib.crc32(data):08x}" != checksum:
                    raise ValueError("It is damaged, or belongs to another publication.")
                tables[table] = _rows(table, decode(data).columns)
            except ValueError as error:
                if table == "step_runs":
                    raise ValueError(f"Its list of steps cannot be read. {error}") from error
                gaps.append(Gap(where.first, where.last, str(error), file))
        return Segment(where, tables, gaps)


def _kind(name: str) -> str:
    return "int64" if name in _INTEGERS else "string"


def _path(table: str, where: Range) -> str:
    return f"state/{table}/{where}"


def _rows(table: str, columns: Mapping[str, Sequence[Any]]) -> list[Row]:
    """Rows with the columns of TABLES; one that the writer, of another version, did not know is null."""
    count = len(next(iter(columns.values())))
    return list(zip(*(columns.get(name) or [None] * count for name in TABLES[table]), strict=True))


def _next(there: Iterable[Range], at: int, after: int) -> Range | None:
    """What to read for the generation after `at`: the widest that brings nothing known, else the least known."""
    covering = [each for each in there if each.first <= at + 1 <= each.last]
    fresh = [each for each in covering if each.first > after]
    if fresh:
        return max(fresh, key=lambda each: (each.last, each.epoch))
    return min(covering, key=lambda each: (each.last - each.first, -each.epoch), default=None)


def _gap(first: int, last: int, damaged: Mapping[Range, Gap]) -> Gap:
    for each, gap in damaged.items():
        if each.first <= last and first <= each.last:
            return Gap(first, last, gap.reason, gap.file)
    return Gap(first, last, "No file of it is there.")
