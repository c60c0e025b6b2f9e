"""A page of a table: some of its rows, filtered and sorted."""

from __future__ import annotations

import threading
from typing import Any

import duckdb

from flowstead.daemon.files.cells import rows_of, shown
from flowstead.daemon.files.selecting import Selection
from flowstead.daemon.files.tables import TABLE, Table

MOST_CELLS = 200_000
SECONDS_TO_COUNT = 2.0


def page(table: Table, chosen: Selection, offset: int, limit: int) -> dict[str, Any]:
    """`{columns, columns_total, rows, offset, total, cut}`; see the route of this name."""
    limit = max(1, min(limit, MOST_CELLS // max(1, len(chosen.columns))))
    rows, cut = rows_of(chosen.columns, _rows(table, chosen, offset, limit))
    return {
        "columns": [column.as_dict() for column in chosen.columns],
        "columns_total": len(table.columns),
        "rows": rows,
        "offset": offset,
        "total": _total(table, chosen, offset, limit, len(rows)),
        "cut": cut,
    }


def _rows(table: Table, chosen: Selection, offset: int, limit: int) -> list[tuple[Any, ...]]:
    run = table.connection.execute
    cells = ", ".join(shown(column) for column in chosen.columns)
    if not chosen.order_by:
        if not chosen.where and table.order is not None:
            # By their numbers: what stands before them need not be read.
            numbered = f"{table.order} >= {offset} AND {table.order} < {offset + limit}"
            return run(f"SELECT {cells} FROM {TABLE} WHERE {numbered} ORDER BY {table.order}").fetchall()
        return run(f"SELECT {cells} {chosen.from_where} LIMIT {limit} OFFSET {offset}", chosen.parameters).fetchall()
    if table.order is None:
        # Equal rows keep the file's order, so that a page never repeats what another has shown.
        numbered = f"(SELECT *, row_number() OVER () AS __row_number_of_page FROM {TABLE})"
        return run(
            f"SELECT {cells} FROM {numbered} {chosen.where} ORDER BY {chosen.order_by}, __row_number_of_page "
            f"LIMIT {limit} OFFSET {offset}",
            chosen.parameters,
        ).fetchall()
    # Sorted by what it is sorted by alone; the other columns are read only of the rows that are shown.
    found = run(
        f"SELECT {table.order} {chosen.from_where} ORDER BY {chosen.order_by}, {table.order} "
        f"LIMIT {limit} OFFSET {offset}",
        chosen.parameters,
    ).fetchall()
    numbers = [row[0] for row in found]
    if not numbers:
        return []
    listed = ", ".join(map(str, numbers))
    by_number = {
        row[-1]: row[:-1]
        for row in run(f"SELECT {cells}, {table.order} FROM {TABLE} WHERE {table.order} IN ({listed})").fetchall()
    }
    return [by_number[number] for number in numbers]


def _total(table: Table, chosen: Selection, offset: int, limit: int, got: int) -> int | None:
    """How many rows there are, filtered; None when to count them would take too long."""
    if not chosen.where and table.total is not None:
        return table.total
    if 0 < got < limit or (got == 0 and offset == 0):
        total = offset + got
    else:
        counted = within(table.connection, SECONDS_TO_COUNT, f"SELECT count(*) {chosen.from_where}", chosen.parameters)
        total = None if counted is None else counted[0][0]
    if not chosen.where:
        table.total = total
    return total


def within(
    connection: duckdb.DuckDBPyConnection, seconds: float, statement: str, parameters: list[Any]
) -> list[tuple[Any, ...]] | None:
    """The rows of a query, or None when it takes longer; for what an answer can do without."""
    too_long = threading.Event()

    def interrupt() -> None:
        too_long.set()
        connection.interrupt()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        return connection.execute(statement, parameters).fetchall()
    except duckdb.InterruptException:
        if too_long.is_set():
            return None
        raise  # it was not us: nobody waits for the answer any more
    finally:
        timer.cancel()
