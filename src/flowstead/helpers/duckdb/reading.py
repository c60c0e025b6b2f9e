"""Reading tables and queries into Polars frames, from a file opened read-only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from flowstead.helpers.duckdb.columns import actual_name, reconcile, require_relation
from flowstead.helpers.duckdb.database import (
    Database,
    DatabaseError,
    DatabasePath,
    TableName,
    as_names,
    parse_table,
    quote,
    transaction,
)


def read_sql(
    db_path: DatabasePath, *, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
) -> pl.DataFrame:
    """The result of a query. `parameters` fill `?` and `$1` (a list) or `$name` (a dict). Nothing is ever written.

    Times with a zone come back in UTC. Raises DatabaseError `database-missing`, `sql-failed`.

        late = read_sql(context.database("mart.duckdb"), sql="SELECT * FROM flights WHERE delay > ?", parameters=[60])
    """
    with transaction(db_path, read_only=True) as db:
        return db.frame(sql, parameters)


def read_table(
    db_path: DatabasePath,
    table: str,
    *,
    select: str | Sequence[str] = "*",
    where: str | None = None,
    limit: int | None = None,
) -> pl.DataFrame:
    """A table or view: all of it, or the columns in `select`, the rows for which the SQL condition `where` holds, and
    at most `limit` of them.

    Raises DatabaseError `database-missing`, `table-missing`, `column-missing`.

        flights = read_table(context.database("mart.duckdb"), "mart.flights", select=["carrier", "delay"], limit=100)
    """
    name = parse_table(table)
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
        raise DatabaseError(
            f"limit is {limit!r}.", code="limit-invalid", hint="Give a whole number of rows, 0 or more."
        )
    with transaction(db_path, read_only=True) as db:
        require_relation(db, name)
        query = f"SELECT {selection(db, name, select)} FROM {db.sql_name(name)}"
        if where is not None:
            query += f" WHERE ({where}\n)"
        if limit is not None:
            query += f" LIMIT {limit}"
        return db.frame(query)


def read_rows_by_values(
    db_path: DatabasePath,
    table: str,
    *,
    column: str,
    is_in: Iterable[Any],
    select: str | Sequence[str] = "*",
) -> pl.DataFrame:
    """The rows whose `column` has one of the values `is_in`, which may be many; None matches NULL.

    The values take the column's type; no values give an empty frame with the table's schema. Raises DatabaseError
    `column-type-mismatch` when a value is not of that type.

        rows = read_rows_by_values(context.database("mart.duckdb"), "daily", column="day", is_in=[date(2013, 1, 1)])
    """
    name = parse_table(table)
    values = _values(is_in)
    with transaction(db_path, read_only=True) as db:
        kind = require_relation(db, name)
        target = db.sql_name(name)
        stored = db.types(target)
        column = actual_name(list(stored), column, f"table {name}")
        view = db.stage("flowstead_values", values)
        wanted = reconcile(
            db,
            view=view,
            column="value",
            given=db.types(view)["value"],
            stored=stored[column],
            label=f"{name}.{column}",
        )
        db.run(
            f"CREATE TEMPORARY TABLE flowstead_lookup AS SELECT DISTINCT CAST(value AS {wanted}) AS value FROM {view}"
        )
        order = " ORDER BY stored.rowid" if kind == "table" else ""
        given = f"CAST(stored.{quote(column)} AS {wanted})"
        return db.frame(
            f"SELECT {selection(db, name, select)} FROM {target} AS stored"
            f" SEMI JOIN temp.main.flowstead_lookup AS lookup ON {given} IS NOT DISTINCT FROM lookup.value{order}"
        )


def _values(is_in: Iterable[Any]) -> pl.DataFrame:
    refused = DatabaseError(
        f"is_in is {type(is_in).__name__}, not a collection of values of one type.",
        code="values-invalid",
        hint="Give a list, a set or a Series whose values are all of the column's type.",
    )
    if isinstance(is_in, str | bytes | Mapping) or not isinstance(is_in, Iterable):
        raise refused
    values = is_in if isinstance(is_in, pl.Series) else list(is_in)
    # Whole numbers among fractions are one type to an author, and two to Polars.
    fractions = isinstance(values, list) and {float} < {type(value) for value in values} <= {int, float, type(None)}
    try:
        return pl.DataFrame({"value": pl.Series(values=values, dtype=pl.Float64 if fractions else None)})
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise refused from error


def selection(db: Database, table: TableName, select: str | Sequence[str], *, without: str | None = None) -> str:
    """`select` as an SQL list of the table's columns, each one checked."""
    available = list(db.types(db.sql_name(table)))
    if isinstance(select, str) and select == "*":
        chosen = available
    else:
        chosen = [actual_name(available, column, f"table {table}") for column in as_names(select, "select")]
    return ", ".join(quote(column) for column in chosen if column != without)
