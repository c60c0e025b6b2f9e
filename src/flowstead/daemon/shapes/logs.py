"""Parts of the log of a run."""

from __future__ import annotations

from typing_extensions import TypedDict

from flowstead.daemon.shapes.runs import LogLine


class NumberedLine(LogLine):
    """A line of a log with its number in the file, from 0; a damaged one is left out and keeps its number."""

    line: int


class LogWindow(TypedDict):
    """Lines from number `start` to below `end`, of `total`; while not `exact`, there are more than so many."""

    lines: list[NumberedLine]
    start: int
    end: int
    total: int
    exact: bool


class LogHits(TypedDict):
    """Lines that match, of those from `looked_from` to below `looked_to`; `next` is the `start` to go on with."""

    lines: list[NumberedLine]
    looked_from: int
    looked_to: int
    next: int | None
    total: int
