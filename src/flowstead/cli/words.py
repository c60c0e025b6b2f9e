"""Facts in words: durations, times, places, triggers."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def duration(milliseconds: float | None) -> str:
    """`12 ms`, `1.2 s`, `3 m 04 s`, `2 h 05 m`; empty for None."""
    if milliseconds is None:
        return ""
    if milliseconds < 99.5:
        return f"{max(1, round(milliseconds))} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    seconds = round(milliseconds / 1000)
    if seconds < 3600:
        return f"{seconds // 60} m {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} m"


def setting(seconds: float) -> str:
    """A duration as an author writes it: `5 s`, `15 min`, `2 h`, `1 day`."""
    for size, unit in ((86_400, "day"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            number = int(seconds // size)
            return f"{number} days" if unit == "day" and number > 1 else f"{number} {unit}"
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1000:g} ms"


def parsed(text: str) -> datetime:
    """A time of the API (ISO 8601 in UTC)."""
    return datetime.fromisoformat(text)


def ago(text: str | None, now: datetime | None = None) -> str:
    """How long ago a time of the API was: `just now`, `12 s ago`, `4 min ago`, `3 h ago`, `2 Mar 14:05`."""
    if text is None:
        return ""
    then = parsed(text)
    now = now or datetime.now(UTC)
    seconds = (now - then).total_seconds()
    if seconds < 2:
        return "just now"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86_400:
        return f"{seconds // 3600:.0f} h ago"
    return moment(text, now)


def moment(text: str | None, now: datetime | None = None) -> str:
    """A time of the API on the local clock: `14:05:09` today, else `2 Mar 14:05`, with the year of another year."""
    if text is None:
        return ""
    then = parsed(text).astimezone()
    today = (now or datetime.now(UTC)).astimezone()
    if then.date() == today.date():
        return f"{then:%H:%M:%S}"
    year = "" if then.year == today.year else f" {then.year}"
    return f"{then.day} {_MONTHS[then.month - 1]}{year} {then:%H:%M}"


# Not strftime's: those follow the locale, and nothing else here does.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 file`, `1,204 files`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *most, end = [*names] or [""]
    return f"{', '.join(most)} {last} {end}" if most else end


def size(number: int) -> str:
    """Bytes as `812 B`, `1.2 MB`, `34 GB`."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def place(path: str | Path, root: Path | None = None) -> str:
    """A path as short as it stays findable: below the current folder, near it, below the workspace `root`, or whole."""
    whole = os.path.normpath(path if root is None else root / path)
    here = os.getcwd()
    try:
        near = os.path.relpath(whole, here)
    except ValueError:  # another drive
        return whole
    if not near.startswith(".."):
        return near
    if root is not None and Path(whole).is_relative_to(root) and whole != str(root):
        return os.path.relpath(whole, root)
    ups = near.split(os.sep).count("..")
    return near if ups <= 2 and len(near) < len(whole) else whole


def source_of(flow: dict[str, Any], root: Path) -> str | None:
    """Where a flow of the API looks for files; None when it has no source."""
    if flow["source"] is None:
        return None
    return place(root / "flow_modules" / Path(flow["source"]).expanduser(), root)


def trigger(flow: dict[str, Any], root: Path, *, short: bool = False) -> str:
    """When a flow of the API runs; `short` leaves out how often it looks, for which files, and in which time zone."""
    spec = flow["trigger"]
    source = source_of(flow, root)
    if spec["mode"] == "manual":
        when = "by hand"
    elif spec["mode"] == "poll":
        when = f"files in {source}"
        if not short:
            when = f"when files arrive in {source}, looked at every {setting(spec['interval'])}"
    elif spec["interval"]:
        when = f"every {setting(spec['interval'])}"
    elif spec["time"]:
        when = f"daily at {listed(spec['time'])}"
    else:
        when = f"by cron {spec['cron']}"
    if short:
        return when
    if spec["timezone"]:
        when += f" ({spec['timezone']})"
    if source is not None:
        kinds = f"{listed(spec['extensions'], 'or')} file" if spec["extensions"] else "file"
        where = "" if spec["mode"] == "poll" else f" in {source}"
        when += (
            f"; one run for all {kinds}s{where}" if spec["run_as"] == "batch" else f"; one run for each {kinds}{where}"
        )
    if spec["max_parallel"] > 1:
        when += f", up to {spec['max_parallel']} at once"
    return when
