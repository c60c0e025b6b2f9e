"""Logs of runs in published state: what is new in `events.ndjson` as rows, and rows merged into one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from flowstead.engine.lines import encode
from flowstead.engine.runlog import NAME
from flowstead.model.run import iso, now_us

FIRST_LINES = LAST_LINES = 1000
"""Of more new lines than these together, the ones between them are left out of a publication."""
_MOST_BYTES = 4 << 20
"""How much of either end of a long log is read for them."""

Line = tuple[int, str | None, str | None, str | None, str | None, str, str]
"""`seq, timestamp, level, event, message, data, context`, the last two as JSON text."""


class Tail(NamedTuple):
    """How far a log was read: to which byte, whether the line there told of the run's end, and whether the run was
    under way then."""

    offset: int = 0
    finished: bool = False
    active: bool = False


def has_grown(folder: Path, tail: Tail) -> bool:
    """Whether a log has more than what was read of it."""
    try:
        return os.stat(folder / NAME).st_size > tail.offset
    except OSError:
        return False


def new_lines(folder: Path, tail: Tail) -> tuple[list[Line], Tail]:
    """What was added to a log since, without what is damaged, and how far it is read then.

    Of very many lines only the first and the last ones come, with one between them that says so.
    """
    try:
        with (folder / NAME).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size < tail.offset:
                tail = tail._replace(offset=0)  # its torn end was cut off, or it was made anew
            file.seek(tail.offset)
            if size - tail.offset <= 2 * _MOST_BYTES:
                data = file.read(size - tail.offset)
                whole = data.rfind(b"\n") + 1
                end = tail.offset + whole
                head, last = data[:whole].splitlines(keepends=True), list[bytes]()
                if len(head) > FIRST_LINES + LAST_LINES:
                    head, last = head[:FIRST_LINES], head[-LAST_LINES:]
            else:
                head = file.read(_MOST_BYTES).splitlines(keepends=True)[:FIRST_LINES]
                file.seek(size - _MOST_BYTES)
                data = file.read(_MOST_BYTES)
                whole = data.rfind(b"\n") + 1
                end = size - _MOST_BYTES + whole
                last = data[:whole].splitlines(keepends=True)[1:][-LAST_LINES:]
    except OSError:
        return [], tail  # none yet, or a disk in trouble, which shows elsewhere
    lines = [line for raw in head if (line := _parsed(raw)) is not None]
    rest = [line for raw in last if (line := _parsed(raw)) is not None]
    if lines and rest:
        between = rest[0][0] - lines[-1][0] - 1
        if between > 0:
            lines.append(_left_out(lines[-1][0] + 1, between))
    lines += rest
    if not lines:
        return [], tail._replace(offset=end)
    return lines, tail._replace(offset=end, finished=lines[-1][3] == "run.finished")


def _left_out(seq: int, count: int) -> Line:
    message = f"{count:,} lines are left out here; the whole log is on the workstation that ran it."
    return seq, iso(now_us()), "warning", "log.shortened", message, "{}", "{}"


def _parsed(raw: bytes) -> Line | None:
    """None for a line that is torn or damaged."""
    if not raw.endswith(b"\n"):
        return None
    try:
        line: dict[str, Any] = orjson.loads(raw)
        texts = (line.get(name) for name in ("timestamp", "level", "event", "message"))
        timestamp, level, event, message = (None if each is None else str(each) for each in texts)
        data, context = (orjson.dumps(line.get(name) or {}).decode() for name in ("data", "context"))
        return int(line["seq"]), timestamp, level, event, message, data, context
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def merge_lines(folder: Path, lines: Iterable[Line]) -> None:
    """Brings published lines into a run's log, in the order of their numbers; one that is there is not added again.

    Where a line of another content has the number, the published one takes its place. Raises OSError.
    """
    incoming = {line[0]: _encoded(line) for line in sorted(lines)}
    if not incoming:
        return
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    there = path.read_bytes() if path.exists() else b""
    whole = there[: there.rfind(b"\n") + 1]
    last = _last_seq(whole)
    if min(incoming) > last and len(whole) == len(there):
        with path.open("ab") as file:
            file.write(b"".join(incoming.values()))
        return
    known: dict[int, bytes] = {}
    for raw in whole.splitlines(keepends=True):
        line = _parsed(raw)
        if line is not None:
            known[line[0]] = raw
    merged = b"".join(line for _, line in sorted({**known, **incoming}.items()))
    if merged != there:
        part = path.with_name(f".{NAME}.{os.getpid()}.part")
        part.write_bytes(merged)
        part.replace(path)


def _last_seq(data: bytes) -> int:
    for raw in reversed(data[-200_000:].splitlines(keepends=True)):
        line = _parsed(raw)
        if line is not None:
            return line[0]
    return 0


def _encoded(line: Line) -> bytes:
    seq, timestamp, level, event, message, data, context = line
    return encode(
        {
            "seq": seq,
            "timestamp": timestamp,
            "level": level,
            "event": event,
            "message": message,
            "data": orjson.loads(data),
            "context": orjson.loads(context),
        }
    )
