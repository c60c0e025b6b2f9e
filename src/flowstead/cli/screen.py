"""What goes to a terminal or a file: colours that mean something, glyphs, aligned tables."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TextIO

_COLOURS = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "blue": "34",
    "cyan": "36",
    "amber": "33",
    "orange": "38;5;208",
}


class _Look(NamedTuple):
    glyph: str
    plain: str
    colour: str


# One glyph and one colour for each state of a run or a step, on every screen; `plain` is for other than Unicode.
_STATES = {
    "pending": _Look("·", ".", "dim"),
    "queued": _Look("○", "o", "dim"),
    "starting": _Look("◌", "*", "blue"),
    "running": _Look("●", "*", "blue"),
    "waiting": _Look("◆", "?", "amber"),
    "cancelling": _Look("◍", "~", "amber"),
    "succeeded": _Look("✓", "+", "green"),
    "failed": _Look("✗", "x", "red"),
    "rejected": _Look("⊗", "X", "red"),
    "cancelled": _Look("⊘", "-", "dim"),
    "interrupted": _Look("↯", "!", "orange"),
    "superseded": _Look("↺", "<", "dim"),
    "skipped": _Look("~", "~", "dim"),
    "ok": _Look("✓", "+", "green"),
    "broken": _Look("✗", "x", "red"),
    "warning": _Look("▲", "!", "amber"),
    "problem": _Look("✗", "x", "red"),
}


class Column(NamedTuple):
    """A column of a table. `least` is the width to which it may be cut where the terminal is too narrow, 0 for never;
    `from_left` cuts its beginning."""

    title: str
    right: bool = False
    least: int = 0
    from_left: bool = False


Cell = str | tuple[str, str]
"""A text, or a text and the name of its colour."""


class Screen:
    """One of the standard streams: what it can show, and how to write to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self.colours = _wants_colours(self.is_terminal)
        self.unicode = _can_write("✓│…", stream)
        if self.colours and sys.platform == "win32":
            os.system("")  # makes the console understand colours
        try:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]
        except AttributeError:
            pass

    @property
    def width(self) -> int:
        return max(40, shutil.get_terminal_size((100, 24)).columns)

    def print(self, text: str = "") -> None:
        print(text, file=self.stream, flush=True)

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, where the stream shows colours."""
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.colours and colour and text else text

    def glyph(self, status: str) -> str:
        """The one character that stands for a state, in its colour."""
        return self.paint(self.plain_glyph(status), look_of(status))

    def plain_glyph(self, status: str) -> str:
        look = _STATES[status]
        return look.glyph if self.unicode else look.plain

    def status(self, status: str) -> str:
        """A state as its glyph and its name, in its colour."""
        return self.paint(f"{self.plain_glyph(status)} {status}", look_of(status))

    @property
    def dot(self) -> str:
        return "·" if self.unicode else "-"

    def cut(self, text: str, width: int) -> str:
        """`text` in at most `width` columns."""
        if columns(text) <= width:
            return text
        end = "…" if self.unicode else "..."
        while text and columns(text) + len(end) > width:
            text = text[:-1]
        return text.rstrip() + end

    def table(self, heads: Sequence[Column], rows: Iterable[Sequence[Cell]], *, indent: str = "") -> None:
        """Prints an aligned table. On a terminal, it is cut to its width where its columns allow that."""
        cells = [[(each, "") if isinstance(each, str) else each for each in row] for row in rows]
        cells = [[(one_line(text), colour) for text, colour in row] for row in cells]
        widths = [max([columns(head.title), *(columns(row[at][0]) for row in cells)]) for at, head in enumerate(heads)]
        if self.is_terminal:
            self._narrow(heads, widths, self.width - len(indent) - 2 * (len(heads) - 1))
        if any(head.title for head in heads):
            self._row([(head.title, "dim") for head in heads], heads, widths, indent)
        for row in cells:
            self._row(row, heads, widths, indent)

    def _narrow(self, heads: Sequence[Column], widths: list[int], available: int) -> None:
        # The last columns give first: what names a row stands at its left.
        for at in reversed(range(len(heads))):
            over = sum(widths) - available
            if over > 0 and heads[at].least:
                widths[at] -= max(0, min(over, widths[at] - heads[at].least))

    def _row(self, row: Sequence[tuple[str, str]], heads: Sequence[Column], widths: Sequence[int], indent: str) -> None:
        parts: list[str] = []
        for (text, colour), head, width in zip(row, heads, widths, strict=True):
            shown = self.cut(text[::-1], width)[::-1] if head.from_left else self.cut(text, width)
            gap = " " * (width - columns(shown))
            parts.append(gap + self.paint(shown, colour) if head.right else self.paint(shown, colour) + gap)
        self.print((indent + "  ".join(parts)).rstrip())


def look_of(status: str) -> str:
    """The name of the colour of a state."""
    return _STATES[status].colour


def one_line(text: str) -> str:
    """`text` without line ends, and without control characters that would act on a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def visible(text: str) -> str:
    """`text` with its line ends and tabs, but without other control characters."""
    return "".join(each if each.isprintable() or each in "\n\t" else "�" for each in text)


def columns(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(each) else 2 if east_asian_width(each) in "WF" else 1 for each in text)


def _wants_colours(is_terminal: bool) -> bool:
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal


def _can_write(text: str, stream: TextIO) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
