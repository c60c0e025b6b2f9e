"""Read-only SQL over the tables of a run."""

from __future__ import annotations

import re
from typing import Any

import duckdb

from flowstead.daemon.files.cells import Column, rows_of, shown
from flowstead.daemon.files.pages import MOST_CELLS
from flowstead.model.errors import FlowsteadError, UsageError


class SqlRefused(UsageError):
    code = "sql-refused"
    default_hint = "Give one SELECT over the tables of the run."


class SqlFailed(FlowsteadError):
    code = "sql-failed"


def query(connection: duckdb.DuckDBPyConnection, sql: str, limit: int) -> dict[str, Any]:
    """`{columns, rows, more, cut}` of one SELECT. Raises SqlRefused and SqlFailed."""
    _check(connection, sql)
    text = sql.strip().rstrip(";")
    try:
        names = [
            Column(row[0], row[1]) for row in connection.execute(f"DESCRIBE SELECT * FROM (\n{text}\n)").fetchall()
        ]
        # Numbered: two columns of a result may have one name.
        columns = [Column(f"c{number}", column.type) for number, column in enumerate(names)]
        limit = max(1, min(limit, MOST_CELLS // max(1, len(columns))))
        cells = ", ".join(shown(column) for column in columns)
        listed = ", ".join(column.name for column in columns)
        fetched = connection.execute(
            f"SELECT {cells} FROM (\n{text}\n) AS result({listed}) LIMIT {limit + 1}"
        ).fetchall()
    except (duckdb.OutOfMemoryException, duckdb.InterruptException):
        raise
    except duckdb.Error as error:
        raise _failed(error, 1) from None
    rows, cut = rows_of(columns, fetched[:limit])
    return {
        "columns": [column.as_dict() for column in names],
        "rows": rows,
        "more": len(fetched) > limit,
        "cut": cut,
    }


def _check(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    """One statement, and that a SELECT: on its own, and where it is going to stand."""
    for above, text in enumerate((sql, f"SELECT * FROM (\n{sql.strip().rstrip(';')}\n)")):
        try:
            statements = connection.extract_statements(text)
        except duckdb.Error as error:
            raise _failed(error, above) from None
        if len(statements) != 1:
            raise SqlRefused(f"There are {len(statements)} statements; one at a time can be run.")
        if statements[0].type != duckdb.StatementType.SELECT:
            raise SqlRefused(f"{statements[0].type.name} is refused: tables of a run can only be read.")


def _failed(error: duckdb.Error, above: int) -> SqlFailed:
    """What DuckDB says, by the lines of the text that was asked, which had `above` lines put before it."""
    text = re.sub(
        r"^LINE (\d+):", lambda found: f"LINE {max(1, int(found[1]) - above)}:", str(error), flags=re.MULTILINE
    )
    return SqlFailed(text.strip()[:1000])
