"""Reading `daemon.log`: its last lines, those that come, and a line as people read it."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from flowstead.cli import words
from flowstead.cli.screen import Screen, columns, visible

SECONDS_BETWEEN_LOOKS = 0.1

_COLOURS = {"warning": "amber", "error": "red", "critical": "red"}
_TOLD = ("time", "level", "event", "traceback")


class Place(NamedTuple):
    """Up to where a log was read: which file it was, and how many of its bytes."""

    file: int
    offset: int


def last_lines(path: Path, number: int) -> tuple[list[str], Place]:
    """The last lines, the oldest first, also of the file that was moved aside; and where the newest one ends."""
    older = path.with_name(f"{path.name}.1")
    lines: deque[str] = deque(maxlen=max(0, number))
    place = Place(0, 0)
    for each in (older, path):
        try:
            with each.open("rb") as file:
                lines.extend(_text(line) for line in file)
                place = Place(os.fstat(file.fileno()).st_ino, file.tell())
        except OSError:
            place = Place(0, 0)
    return list(lines), place


def new_lines(path: Path, after: Place) -> Iterator[str]:
    """What is logged after a place, without end, also while the log is moved aside."""
    rest, place = b"", after
    while True:
        # The old file first: what was written to it before it was moved.
        for each in (path.with_name(f"{path.name}.1"), path):
            try:
                with each.open("rb") as file:
                    inode = os.fstat(file.fileno()).st_ino
                    if each == path and inode != place.file:
                        place, rest = Place(inode, 0), b""
                    if inode == place.file:
                        data = _read(file, place.offset)
                        place = Place(inode, place.offset + len(data))
                        *whole, rest = (rest + data).split(b"\n")
                        yield from map(_text, whole)
            except OSError:
                continue
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _read(file: BinaryIO, offset: int) -> bytes:
    file.seek(offset)
    return file.read()


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def shown(screen: Screen, line: str) -> str:
    """A line for people: time, level, what happened, the facts; one that is no JSON as it is."""
    try:
        told: dict[str, Any] = json.loads(line)
        at, level, event = told["time"], told["level"], told["event"]
    except (ValueError, LookupError, TypeError):
        return visible(line)
    facts = "".join(f"  {name}={value}" for name, value in told.items() if name not in _TOLD)
    when = words.parsed(at).astimezone()
    head = f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d}  "
    text = f"{screen.paint(head, 'dim')}{screen.paint(f'{level:<8}', _COLOURS.get(level, 'dim'))}  "
    text += visible(event) + screen.paint(visible(facts), "dim")
    indent = " " * (columns(head) + 10)
    for each in told.get("traceback", "").rstrip().splitlines():
        text += f"\n{indent}{visible(each)}"
    return text
