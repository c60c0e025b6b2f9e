"""What pages show of a ledger: many runs at once, each question answered by an index or within a bounded time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flowstead.ledger import statements as sql
from flowstead.ledger.reader import LedgerReader
from flowstead.model.errors import UsageError
from flowstead.model.run import STATUSES, Run

SECONDS_TO_LOOK = 0.025
"""How long one request looks for runs that pass its filters; what it has by then is a page."""
MOST_COUNTED = 10_000
MOST_COUNTED_AT_ONCE = 500_000
"""Up to so many runs are counted by an index alone, in the time that one request has."""
_MICROSECONDS_APART = 3_600_000_000
"""A run has its id before it is queued, and clocks are set: how far the two times may be apart."""
_FIRST_SPAN = 2_000
_MOST_SPAN = 32_000


class RunFilters(NamedTuple):
    """Which runs are asked for: every filter that is given has to hold. Times are microseconds by `queued_at`.

    `text` is looked for in ids, source paths and summaries, whatever the case of its letters.
    """

    flow: str | None = None
    statuses: Sequence[str] | None = None
    group: str | None = None
    trigger: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None

    @property
    def given(self) -> dict[str, Any]:
        return {name: value for name, value in self._asdict().items() if value not in (None, "", [], ())}


class RunsFound(NamedTuple):
    """Runs, newest first. `next` is the number below which to go on looking; None when there is nothing more.

    `top` is the number below which was looked, and `left` how many are still to be left out where the time was over.
    """

    runs: list[Run]
    next: int | None
    top: int
    left: int = 0


class RunCount(NamedTuple):
    """How many runs there are; when not `exact`, at least so many."""

    total: int
    exact: bool


class LatestRun(NamedTuple):
    """One of the last runs of a flow; times in microseconds."""

    flow: str
    number: int
    id: str
    status: str
    started_at: int | None
    finished_at: int | None


class Outcome(NamedTuple):
    """What else is told of a run that is shown by itself."""

    queued_at: int
    summary: str | None
    error: dict[str, Any] | None


def find_runs(
    reader: LedgerReader,
    filters: RunFilters,
    *,
    before: int | None = None,
    offset: int = 0,
    limit: int = 50,
    seconds: float = SECONDS_TO_LOOK,
    with_steps: bool = True,
) -> RunsFound:
    """The newest runs that pass the filters, below the number `before`, without the first `offset` of them.

    Looks through the runs in spans until the page is full or the time is over: a page may be short, even empty, and
    still have a `next`. Raises UsageError for a status that there is not.
    """
    _check(filters)
    given = filters.given
    statement, counting = sql.search_runs(given), sql.search_runs(given, counted=True)
    bottom, top = _reach(reader, filters)
    if before is not None:
        top = min(top, before)
    rows: list[tuple[Any, ...]] = []
    left = offset

    def look(low: int, high: int) -> bool:
        nonlocal left
        if left:
            here = reader.rows(counting, (*_parameters(given, low, high), left, 0))[0][0]
            if here < left:
                left -= here
                return False
        rows.extend(reader.rows(statement, (*_parameters(given, low, high), limit + 1 - len(rows), left)))
        left = 0
        return len(rows) > limit

    low = _in_spans(bottom, top, look, seconds)
    if len(rows) > limit:
        return RunsFound(reader.as_runs(rows[:limit], with_steps=with_steps), rows[limit - 1][0], top)
    return RunsFound(reader.as_runs(rows, with_steps=with_steps), low if low > bottom else None, top, left)


def count_runs(
    reader: LedgerReader, filters: RunFilters, *, most: int = MOST_COUNTED, seconds: float = SECONDS_TO_LOOK
) -> RunCount:
    """How many runs pass the filters: exact up to `most`, as far as they can be counted in time.

    Without filters an index tells, however many there are within reason.
    """
    _check(filters)
    given = filters.given
    bottom, top = _reach(reader, filters)
    if not given and top - bottom <= MOST_COUNTED_AT_ONCE:
        return RunCount(reader.rows(sql.COUNT_RUNS)[0][0], True)
    statement = sql.search_runs(given, counted=True)
    count = 0

    def look(low: int, high: int) -> bool:
        nonlocal count
        count += reader.rows(statement, (*_parameters(given, low, high), most + 1 - count, 0))[0][0]
        return count > most

    low = _in_spans(bottom, top, look, seconds)
    return RunCount(min(count, most), count <= most and low <= bottom)


def _in_spans(bottom: int, top: int, look: Callable[[int, int], bool], seconds: float) -> int:
    """Lets `look` at spans of numbers from `bottom` to below `top`, downwards, until it has enough or the time is over.

    Returns the number down to which it has looked.
    """
    until, span = time.monotonic() + seconds, _FIRST_SPAN
    while top > bottom:
        low = max(bottom, top - span)
        enough = look(low, top)
        top = low
        if enough or time.monotonic() >= until:
            break
        span = min(2 * span, _MOST_SPAN)
    return top


def _reach(reader: LedgerReader, filters: RunFilters) -> tuple[int, int]:
    """The numbers from and below which the runs of a time are; wider rather than narrower."""
    bottom, rows = 0, reader.rows(sql.NEWEST_NUMBER)
    top = rows[0][0] + 1 if rows else 1  # without a ledger as with an empty one
    if filters.since is not None:
        rows = reader.rows(sql.NUMBERS_SINCE, (id_at(filters.since - _MICROSECONDS_APART),))
        bottom = rows[0][0] if rows and rows[0][0] else top
    if filters.until is not None:
        rows = reader.rows(sql.NUMBERS_UNTIL, (id_at(filters.until + _MICROSECONDS_APART),))
        top = rows[0][0] + 1 if rows and rows[0][0] else bottom
    return bottom, top


def id_at(moment: int) -> str:
    """What the ids of runs that were made at a moment, in microseconds, begin with."""
    return f"r_{max(0, moment) // 1000:012x}"


def _check(filters: RunFilters) -> None:
    for status in filters.statuses or ():
        if status not in STATUSES:
            raise UsageError(f"There is no status {status!r}.", hint="One of: " + ", ".join(STATUSES))


def _parameters(given: dict[str, Any], low: int, high: int) -> tuple[Any, ...]:
    text = given.get("text", "")
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    others = (json.dumps(list(value)) if name == "statuses" else value for name, value in given.items())
    values = tuple(value for name, value in zip(given, others, strict=True) if name != "text")
    return (f"%{escaped}%", low, high, *values)


# -- all flows at once -------------------------------------------------------------------------------------------


def latest_runs(reader: LedgerReader, flows: Iterable[str], limit: int) -> dict[str, list[LatestRun]]:
    """The last runs of each flow, the newest first."""
    found: dict[str, list[LatestRun]] = {}
    for row in reader.rows(sql.NEWEST_OF_FLOWS, (json.dumps(list(flows)), limit)):
        run = LatestRun._make(row)
        found.setdefault(run.flow, []).append(run)
    for runs in found.values():
        runs.sort(key=lambda run: -run.number)
    return found


def outcomes(reader: LedgerReader, numbers: Iterable[int]) -> dict[int, Outcome]:
    """What came of the runs of these numbers."""
    rows = reader.rows(sql.OUTCOMES, (json.dumps(list(numbers)),))
    return {
        number: Outcome(queued_at, summary, None if error is None else json.loads(error))
        for number, queued_at, summary, error in rows
    }


def queued_by_flow(reader: LedgerReader) -> dict[str, int]:
    """How many runs of each flow wait."""
    return dict(reader.rows(sql.QUEUED_BY_FLOW))  # type: ignore[arg-type]


def runs_since(reader: LedgerReader, moment: int) -> int:
    """How many runs were asked for since a moment, in microseconds."""
    rows = reader.rows(sql.RUNS_SINCE, (id_at(moment),))
    return rows[0][0] if rows else 0


def newest_in(reader: LedgerReader, status: str, limit: int) -> tuple[list[Run], int]:
    """The newest runs of a status, and how many there are, counted up to MOST_COUNTED."""
    ids = [row[1] for row in reader.rows(sql.NEWEST_IN, (status, limit))]
    if not ids:
        return [], 0
    runs = sorted(reader.runs_by_id(ids, with_steps=False), key=lambda run: -run.number)
    return runs, reader.rows(sql.COUNT_IN, (status, MOST_COUNTED))[0][0]
