"""What is in the columns of a table: exact where that is quick, else estimated from rows spread over all of it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from flowstead.daemon.files.cells import Column, plain, quoted, shown
from flowstead.daemon.files.pages import within
from flowstead.daemon.files.selecting import Selection
from flowstead.daemon.files.tables import TABLE, Table

EXACT_CELLS = 2_000_000
"""Rows times columns up to which everything is computed from all rows."""

MOST_SAMPLED = 100_000
CHUNKS = 20
"""A sample of a Parquet file is that many stretches of it, so that few of its row groups are read."""

WHOLE_ROWS = 200_000_000
"""Rows up to which counts, extremes and means of numbers and dates are tried to be had from all rows."""

SECONDS_FOR_WHOLE = 1.0
SECONDS_FOR_SAMPLE = 4.0
BINS = 20
TOP = 10
_SAMPLE = "sampled"
_ORDERED = ("number", "date", "timestamp")
_DOUBLE = Column("", "DOUBLE")
SEEN_OFTEN = 3
"""How often a value must stand in a sample to be told as a frequent one."""


@dataclass(frozen=True)
class _Rows:
    """Where to compute from: all `total` rows (None: not known), or `sampled` of them."""

    name: str
    total: int | None
    sampled: int | None

    @property
    def share(self) -> float | None:
        """How many rows stand for each one that is looked at."""
        if self.sampled is None:
            return 1.0
        return None if self.total is None else self.total / max(1, self.sampled)


def statistics(table: Table, chosen: Selection, total: int | None) -> dict[str, Any]:
    """`{rows, sampled, approximate, columns}`; see the route of this name. `total` is that of the filtered rows."""
    rows = _sample(table, chosen, total)
    columns = [_column(table, rows, column) for column in chosen.columns]
    if rows.sampled is not None:
        _refine(table, chosen, columns, rows.total)
    return {
        "rows": rows.total,
        "sampled": rows.sampled,
        "approximate": any(column["approximate"] for column in columns),
        "columns": columns,
    }


def _sample(table: Table, chosen: Selection, total: int | None) -> _Rows:
    """Puts the rows to look at into a table of their own: all of them, or some from everywhere."""
    run = table.connection.execute
    names = ", ".join(quoted(column.name) for column in chosen.columns)
    make = f"CREATE OR REPLACE TEMP TABLE {_SAMPLE} AS"
    most = max(1000, min(MOST_SAMPLED, EXACT_CELLS // max(1, len(chosen.columns))))
    if total is not None and total <= max(most, EXACT_CELLS // max(1, len(chosen.columns))):
        run(f"{make} SELECT {names} {chosen.from_where}", chosen.parameters)
        return _Rows(_SAMPLE, total, None)
    if table.order == "file_row_number" and total is not None and not chosen.where:
        stretch = most // CHUNKS
        step = (total - stretch) // (CHUNKS - 1)
        within_stretch = "SELECT {0} FROM {1} WHERE {2} >= {3} AND {2} < {4}"
        parts = (
            within_stretch.format(names, TABLE, table.order, part * step, part * step + stretch)
            for part in range(CHUNKS)
        )
        run(f"{make} {' UNION ALL '.join(parts)}")
    else:
        spread = f"{make} SELECT {names} FROM (SELECT {names} {chosen.from_where}) USING SAMPLE {most} ROWS"
        if within(table.connection, SECONDS_FOR_SAMPLE, spread, chosen.parameters) is None:
            run(f"{make} SELECT {names} {chosen.from_where} LIMIT {most}", chosen.parameters)
    ((sampled,),) = run(f"SELECT count(*) FROM {_SAMPLE}").fetchall()
    return _Rows(_SAMPLE, total, sampled) if sampled == most or total != sampled else _Rows(_SAMPLE, total, None)


def _column(table: Table, rows: _Rows, column: Column) -> dict[str, Any]:
    name = quoted(column.name)
    real = _real(column)
    distinct = "NULL" if column.is_nested else f"count(DISTINCT {name})"
    found = table.connection.execute(
        f"""
        SELECT count({name}), count(*), {distinct}, {_not_finite(column, real)}, {_mean(column, real)},
               {_extremes(column, real)}
        FROM {rows.name}
        """
    ).fetchone()
    assert found is not None
    count, seen, distinct, unreal, mean, least, most = found
    estimated: list[str] = []
    if rows.sampled is not None:
        share = rows.share
        estimated = ["count", "nulls", "distinct", "min", "max", "mean", "histogram", "top"]
        if distinct is not None and count and distinct > count * 0.95 and share is not None:
            distinct = round(distinct * share)  # as good as every row has a value of its own
        count, nulls = (round(number * (share or 1.0)) for number in (count, seen - count))
    else:
        nulls = seen - count
    answer = {
        **column.as_dict(),
        "count": count,
        "nulls": nulls,
        "not_finite": unreal,
        "distinct": distinct,
        "min": plain(column, least)[0],
        "max": plain(column, most)[0],
        "mean": plain(_DOUBLE, mean)[0],
        "histogram": _histogram(table, rows, column, real) if column.kind in _ORDERED else None,
        "top": _top(table, rows, column),
    }
    return {**answer, "approximate": [name for name in estimated if answer[name] is not None]}


def _real(column: Column) -> str:
    """What leaves NaN and infinities out of an aggregate."""
    return f"FILTER (isfinite({quoted(column.name)}))" if column.type in ("FLOAT", "DOUBLE") else ""


def _not_finite(column: Column, real: str) -> str:
    name = quoted(column.name)
    return f"count({name}) - count({name}) {real}" if real else "0"


def _mean(column: Column, real: str) -> str:
    return f"CAST(avg({quoted(column.name)}) {real} AS DOUBLE)" if column.kind == "number" else "NULL"


def _extremes(column: Column, real: str) -> str:
    if column.is_nested or column.kind == "binary":
        return "NULL, NULL"
    name = quoted(column.name)
    return ", ".join(shown(column, f"{which}({name}) {real}") for which in ("min", "max"))


def _histogram(table: Table, rows: _Rows, column: Column, real: str) -> list[dict[str, Any]] | None:
    """`[{from, to, count}]` of bins of one width; the last one holds its upper end too. None without a value."""
    run = table.connection.execute
    name = quoted(column.name)
    # Dates are numbers of seconds meanwhile; infinite ones, like infinite numbers, stand in no bin.
    number = f"CAST({name} AS DOUBLE)" if column.kind == "number" else f"epoch({name})"
    finite = f"isfinite({name})" if column.kind != "number" or real else f"{name} IS NOT NULL"
    bounds = run(f"SELECT min({number}), max({number}) FROM {rows.name} WHERE {finite}").fetchone()
    if bounds is None or bounds[0] is None:
        return None
    least, most = bounds
    span = most - least
    if not math.isfinite(span):
        return None
    step = 86_400 if column.kind == "date" else 0 if real or column.type.startswith("DECIMAL") else 1
    if column.kind != "timestamp" and step and span / step < BINS:
        width, bins = step, round(span / step) + 1  # a bin for each number or day
    else:
        width, bins = span / BINS, BINS if span else 1
    place = f"least({bins - 1}, CAST(floor(({number} - ?) / ?) AS BIGINT))"
    counts = dict(
        run(f"SELECT {place}, count(*) FROM {rows.name} WHERE {finite} GROUP BY 1", [least, width or 1.0]).fetchall()
    )
    share = rows.share or 1.0
    return [
        {
            "from": _bound(column, least + index * width),
            "to": _bound(column, most if index == bins - 1 else least + (index + 1) * width),
            "count": round(counts.get(index, 0) * share),
        }
        for index in range(bins)
    ]


def _bound(column: Column, number: float) -> Any:
    if column.kind == "number":
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    from datetime import UTC, datetime, timedelta

    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number)
    except OverflowError:
        return None
    if column.kind == "date":
        return moment.date().isoformat()
    return moment.replace(tzinfo=None).isoformat() + ("Z" if column.type.endswith("ZONE") else "")


def _top(table: Table, rows: _Rows, column: Column) -> list[dict[str, Any]]:
    """`[{value, count}]` of the most frequent values, most frequent first."""
    if column.is_nested or column.kind == "binary":
        return []
    name = quoted(column.name)
    often = "" if rows.sampled is None else f"HAVING count(*) >= {SEEN_OFTEN}"
    found = table.connection.execute(
        f"SELECT {shown(column)}, number FROM (SELECT {name}, count(*) AS number FROM {rows.name} "
        f"WHERE {name} IS NOT NULL GROUP BY 1 {often} ORDER BY 2 DESC, 1 LIMIT {TOP}) ORDER BY number DESC, {name}"
    ).fetchall()
    share = rows.share or 1.0
    return [{"value": plain(column, value)[0], "count": round(count * share)} for value, count in found]


def _refine(table: Table, chosen: Selection, told: list[dict[str, Any]], total: int | None) -> None:
    """Replaces estimates by what all rows say, as far as that takes no more than SECONDS_FOR_WHOLE altogether."""
    deadline = time.monotonic() + SECONDS_FOR_WHOLE

    def ask(expressions: list[str]) -> tuple[Any, ...] | None:
        statement = f"SELECT count(*), {', '.join(expressions)} {chosen.from_where}"
        left = deadline - time.monotonic()
        found = within(table.connection, left, statement, chosen.parameters) if left > 0 else None
        return None if found is None else found[0]

    counts = ask([f"count({quoted(column.name)})" for column in chosen.columns])
    if counts is not None:
        for result, count in zip(told, counts[1:], strict=True):
            result["count"], result["nulls"] = count, counts[0] - count
            _settle(result, "count", "nulls")
    if total is None or total > WHOLE_ROWS:
        return
    for column, result in zip(chosen.columns, told, strict=True):
        if column.kind not in _ORDERED:
            continue
        real = _real(column)
        extremes = ask([_extremes(column, real), _mean(column, real), _not_finite(column, real)])
        if extremes is None:
            return
        _, least, most, mean, result["not_finite"] = extremes
        result["min"], result["max"] = plain(column, least)[0], plain(column, most)[0]
        result["mean"] = plain(_DOUBLE, mean)[0]
        _settle(result, "min", "max", "mean")


def _settle(column: dict[str, Any], *names: str) -> None:
    column["approximate"] = [name for name in column["approximate"] if name not in names]
