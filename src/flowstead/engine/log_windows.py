"""Parts of a run's log by line number, and those of its lines that match, without ever loading all of it.

Lines are counted from 0, as they stand in the file; a damaged one is left out and keeps its number.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from flowstead.engine.log_index import INDEXES, LineIndex
from flowstead.engine.runlog import NAME

LEVELS = ("debug", "info", "warning", "error", "critical")
MOST_BYTES = 2 << 20
"""Of one answer: lines may be long."""
CHUNK = 256 * 1024
SECONDS_TO_LOOK = 0.03
"""How long one request looks for lines that match; it says how far it came."""

Entry = dict[str, Any]


class Window(NamedTuple):
    """Lines from number `start` to below `end`, of `total`; while not `exact`, there are more than so many."""

    lines: list[Entry]
    start: int
    end: int
    total: int
    exact: bool = True


class LineFilter(NamedTuple):
    """Which lines match: of a step (its name), of at least a level, with a text in their message in whatever case."""

    step: str | None = None
    level: str | None = None
    text: str | None = None

    def matches(self, entry: Entry) -> bool:
        if self.step is not None and entry.get("context", {}).get("step") != self.step:
            return False
        if self.level is not None and _rank(entry.get("level")) < LEVELS.index(self.level):
            return False
        return not self.text or self.text.lower() in str(entry.get("message")).lower()

    def pattern(self) -> re.Pattern[bytes] | None:
        """What every line that matches holds, in lower case; None when nothing that is quickly found."""
        runs = re.findall(r"[ !#-\[\]-~]+", self.text or "")  # what JSON writes as it is
        if runs:
            return re.compile(re.escape(max(runs, key=len).lower().encode()))
        if self.step is not None and self.step.isascii():
            return re.compile(rb'"step": ?' + re.escape(orjson.dumps(self.step).lower()))
        if self.level in LEVELS[2:]:
            wanted = "|".join(LEVELS[LEVELS.index(self.level) :])
            return re.compile(rb'"level": ?"(?:%b)"' % wanted.encode())
        return None


def _rank(level: object) -> int:
    return LEVELS.index(level) if isinstance(level, str) and level in LEVELS else 1


class Hits(NamedTuple):
    """Lines that match, in the order of the log, of those from number `looked_from` to below `looked_to`.

    `next` is where to go on looking in the same direction; None when there is nothing more.
    """

    lines: list[Entry]
    looked_from: int
    looked_to: int
    next: int | None
    total: int


@contextmanager
def _opened(folder: Path, seconds: float | None = None) -> Generator[tuple[BinaryIO, LineIndex] | None]:
    """The log and its index, as far up to date as `seconds` allow; None where there is no log yet."""
    try:
        file = (folder / NAME).open("rb", buffering=0)
    except FileNotFoundError:
        yield None
        return
    index, lock = INDEXES.of(folder)
    with file, lock:
        index.refresh(file, seconds=seconds)
        yield file, index


def read_window(folder: Path, start: int, limit: int) -> Window:
    """At most `limit` lines from number `start` on; a negative one counts from the end.

    What is asked for is waited for; the rest of a long log, that nobody has looked at yet, is counted by and by.
    """
    with _opened(folder, SECONDS_TO_LOOK) as log:
        if log is None:
            return Window([], 0, 0, 0)
        file, index = log
        if not index.complete and (start < 0 or start + limit > index.total):
            index.refresh(file)
        first = min(start if start >= 0 else max(0, index.total + start), index.total)
        last = min(first + limit, index.total)
        begin, end = index.offset(file, first), index.offset(file, last)
        file.seek(begin)
        data = _read(file, min(end - begin, MOST_BYTES))
        while len(data) < end - begin and b"\n" not in data[-CHUNK:]:
            data += _read(file, min(CHUNK, end - begin - len(data)))  # a line that is longer than an answer
        whole = data[: data.rfind(b"\n") + 1]
        entries = list(_entries(whole, first))
        return Window(entries, first, first + whole.count(b"\n"), index.total, index.complete)


def position_after(folder: Path, seq: int) -> int:
    """A position in a log that no line whose `seq` is above comes before: at most one line each has a number."""
    if seq <= 0:
        return 0
    with _opened(folder, SECONDS_TO_LOOK) as log:
        if log is None:
            return 0
        file, index = log
        if not index.complete and seq > index.total:
            index.refresh(file)
        return index.offset(file, seq)


def find_lines(
    folder: Path,
    wanted: LineFilter,
    *,
    start: int | None = None,
    backward: bool = False,
    limit: int = 200,
    seconds: float = SECONDS_TO_LOOK,
) -> Hits:
    """At most `limit` lines that match, from number `start` on, or, `backward`, of those before it.

    It looks for a limited time, at a piece of the log at least; the rest is found by asking again from `next` on.
    """
    with _opened(folder, SECONDS_TO_LOOK / 3) as log:
        if log is None:
            return Hits([], 0, 0, None, 0)
        file, index = log
        if not index.complete and (backward or (start or 0) > index.total):
            index.refresh(file)
        until = time.monotonic() + seconds
        pattern = wanted.pattern()
        total = index.total
        origin = line = min(max(start if start is not None else total if backward else 0, 0), total)
        found: list[Entry] = []
        enough: Callable[[], bool] = lambda: len(found) >= limit or time.monotonic() >= until  # noqa: E731
        offset = index.offset(file, line)
        if backward:
            while line > 0:
                data, offset = _before(file, offset)
                line -= data.count(b"\n")
                hits = list(_hits(data, line, pattern, wanted))
                room = limit - len(found)
                if len(hits) > room:
                    hits = hits[-room:]
                    line = hits[0]["line"]
                found[:0] = hits
                if enough():
                    break
            return Hits(found, line, origin, line if line > 0 else None, total)
        while offset < index.end:
            data = _after(file, offset, index.end)
            offset += len(data)
            hits, room = _hits(data, line, pattern, wanted), limit - len(found)
            line += data.count(b"\n")
            total = max(total, line)
            for hit in hits:
                found.append(hit)
                room -= 1
                if not room:
                    line = hit["line"] + 1
                    break
            if enough():
                break
        more = offset < index.end or line < total
        return Hits(found, origin, line, line if more else None, max(total, line))


def _read(file: BinaryIO, size: int) -> bytes:
    pieces: list[bytes] = []
    while size > 0 and (piece := file.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _after(file: BinaryIO, offset: int, end: int) -> bytes:
    """Whole lines from `offset` on, some CHUNK of them, one at least."""
    size = CHUNK
    while True:
        file.seek(offset)
        data = _read(file, min(size, end - offset))
        whole = data.rfind(b"\n") + 1
        if whole or offset + size >= end:
            return data[:whole]
        size *= 4


def _before(file: BinaryIO, offset: int) -> tuple[bytes, int]:
    """Whole lines up to `offset`, some CHUNK of them, one at least; and where they begin."""
    size = CHUNK
    while True:
        begin = max(0, offset - size)
        file.seek(begin)
        data = _read(file, offset - begin)
        if begin == 0:
            return data, 0
        cut = data.find(b"\n") + 1
        if 0 < cut < len(data):
            return data[cut:], begin + cut
        size *= 4


def _entries(data: bytes, first: int) -> Iterator[Entry]:
    for number, line in enumerate(data.split(b"\n")[:-1], first):
        entry = _entry(line, number)
        if entry is not None:
            yield entry


def _hits(data: bytes, first: int, pattern: re.Pattern[bytes] | None, wanted: LineFilter) -> Iterator[Entry]:
    if pattern is None:
        yield from (entry for entry in _entries(data, first) if wanted.matches(entry))
        return
    lowered = data.lower()
    number, counted, position = first, 0, 0
    while (match := pattern.search(lowered, position)) is not None:
        begin = data.rfind(b"\n", 0, match.start()) + 1
        end = data.find(b"\n", match.end() - 1)
        number += data.count(b"\n", counted, begin)
        counted, position = begin, end + 1
        entry = _entry(data[begin:end], number)
        if entry is not None and wanted.matches(entry):
            yield entry


def _entry(line: bytes, number: int) -> Entry | None:
    """A line as it was written, with its number; None when it is damaged."""
    try:
        entry = orjson.loads(line)
    except ValueError:
        return None
    return {"line": number, **entry} if isinstance(entry, dict) and "seq" in entry else None


def as_text(entry: Entry) -> str:
    """A line for people: its time, level and step, and what it says."""
    step = entry.get("context", {}).get("step") or ""
    return f"{entry.get('timestamp', '')}  {entry.get('level', '')!s:7}  {step:16}  {entry.get('message', '')}\n"
