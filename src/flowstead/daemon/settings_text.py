"""Changes settings.toml as a person would: the lines that are about something else stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowstead.model.errors import UsageError

_KEY = re.compile(r"[ \t]*(?:([A-Za-z0-9_-]+)|\"([^\"\\\n]*)\"|'([^'\n]*)')[ \t]*=[ \t]*")
_TABLE = re.compile(r"[ \t]*\[")
_STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One `name = value`: where it begins, where its value does and ends, and where its last line ends."""

    name: str
    begin: int
    value: int
    value_end: int
    end: int


def change(text: str, changes: Mapping[str, Any]) -> str:
    """`text` with these values; None takes an entry out. Comments, order and line ends stay.

    Raises UsageError (`settings-uneditable`) for a text that has to be changed by hand.
    """
    import tomllib

    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _by_hand(f"settings.toml is not valid TOML: {error}") from error
    newline = "\r\n" if "\r\n" in text else "\n"
    changed = text
    for name, value in changes.items():
        changed = _changed(changed, name, value, newline)
    if any("\ud800" <= letter <= "\udfff" for letter in changed):
        raise UsageError("A value holds characters that UTF-8 does not have.", code="settings-invalid")
    expected = {**before, **changes}
    expected = {name: value for name, value in expected.items() if value is not None}
    try:
        found = tomllib.loads(changed)
    except tomllib.TOMLDecodeError:
        found = None
    if found != expected:
        raise _by_hand("settings.toml is written in a way that only its author can change")
    return changed


def _changed(text: str, name: str, value: Any, newline: str) -> str:
    end = len(text)
    for entry in _entries(text):
        end = entry.end
        if entry.name != name:
            continue
        if value is not None:
            return text[: entry.value] + _as_toml(value) + text[entry.value_end :]
        # What was noted behind the value stays, as a line of its own.
        note = text[entry.value_end : entry.end].strip()
        return text[: entry.begin] + (note + newline if note else "") + text[entry.end :]
    if value is None:
        return text
    table = _first_table(text)
    if table is not None:
        end = table
    head = text[:end]
    if head and not head.endswith("\n"):
        head += newline
    return f"{head}{name} = {_as_toml(value)}{newline}{text[end:]}"


def _entries(text: str) -> Iterator[_Entry]:
    """The entries before the first table."""
    at = 0
    while at < len(text):
        line_end = _line_end(text, at)
        line = text[at:line_end].strip()
        if not line or line.startswith("#"):
            at = line_end
            continue
        found = _KEY.match(text, at)
        if found is None:
            return  # a table, or something that is changed by hand
        value_end = _value_end(text, found.end())
        end = _line_end(text, value_end)
        yield _Entry(next(each for each in found.groups() if each is not None), at, found.end(), value_end, end)
        at = end


def _first_table(text: str) -> int | None:
    at = max((entry.end for entry in _entries(text)), default=0)
    while at < len(text):
        if _TABLE.match(text, at):
            return at
        at = _line_end(text, at)
    return None


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _value_end(text: str, at: int) -> int:
    """Where the value that begins at `at` ends, without the blanks behind it."""
    depth = 0
    end = at
    while at < len(text):
        letter = text[at]
        string = _STRING.match(text, at) if letter in "\"'" else None
        if string is not None:
            end = at = string.end()
            continue
        if letter == "#":
            if not depth:
                break
            at = _line_end(text, at)
            continue
        if letter == "\n" and not depth:
            break
        depth += (letter in "[{") - (letter in "]}")
        at += 1
        if not letter.isspace():
            end = at
    return end


def _as_toml(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_as_toml(each) for each in value)}]"
    import tomli_w

    return tomli_w.dumps({"x": value}).removeprefix("x = ").rstrip("\n")


def _by_hand(why: str) -> UsageError:
    return UsageError(f"{why}.", code="settings-uneditable", hint="Change the file with an editor.")
