"""Dimensions: combinations of values stored once, under an integer key that never changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl

from flowstead.helpers.duckdb.columns import (
    actual_name,
    change_columns,
    create_table,
    reconcile,
    require_relation,
    writable_table,
)
from flowstead.helpers.duckdb.database import (
    Database,
    DatabaseError,
    DatabasePath,
    Frame,
    TableName,
    as_frame,
    as_names,
    parse_table,
    pick,
    quote,
    refuse_column,
    require_columns,
    transaction,
)
from flowstead.helpers.duckdb.reading import selection


def build_dimension(
    db_path: DatabasePath, table: str, *, df: Frame, key_column: str = "dimension_key", return_df: bool = True
) -> pl.DataFrame | None:
    """Store every combination of the frame's values once, under an integer key.

    All columns of `df` together are the natural key; NULL equals NULL. Combinations already stored keep their keys;
    new ones are numbered on from the highest key, in the order of their values. Returns the frame's distinct
    combinations with their keys, ordered by key, or None. Raises DatabaseError `column-missing` when the table has not
    all of the columns, `column-type-mismatch`, `dimension-duplicates`.

        keys = build_dimension(context.database("mart.duckdb"), "mart.route", df=flights.select("origin", "dest"))
    """
    frame, name = as_frame(df), parse_table(table)
    on = as_names(frame.columns, "df")
    refuse_column(frame, key_column)
    with transaction(db_path) as db:
        _insert_missing(db, name, frame, on, key_column)
        keys = _keys(db, name, frame, on, key_column) if return_df else None
    return None if keys is None else _mapping(frame, keys)


def attach_dimension(
    db_path: DatabasePath,
    table: str,
    *,
    df: Frame,
    on: str | Sequence[str],
    key_column: str = "dimension_key",
    drop_key: bool = False,
) -> pl.DataFrame:
    """The frame with the dimension's key as its last column; NULL where the dimension has no such combination.

    Rows keep their order and number. `on` names the natural key in both; `drop_key` drops those columns from the
    frame. Raises DatabaseError `table-missing`, `column-missing`, `dimension-duplicates`.

        flights = attach_dimension(context.database("mart.duckdb"), "mart.route", df=flights, on=["origin", "dest"])
    """
    frame, name, on = as_frame(df), parse_table(table), as_names(on, "on")
    require_columns(frame, on)
    refuse_column(frame, key_column)
    with transaction(db_path, read_only=True) as db:
        require_relation(db, name)
        keys = _keys(db, name, frame, on, key_column)
    return _without(frame.with_columns(keys), on if drop_key else [])


def normalize_columns(
    db_path: DatabasePath,
    table: str,
    *,
    df: Frame,
    on: str | Sequence[str],
    key_column: str = "dimension_key",
    drop_key: bool = True,
    returns: Literal["df", "map"] | None = "df",
) -> pl.DataFrame | None:
    """Move the columns `on` into a dimension: `build_dimension` and `attach_dimension` in one transaction.

    Returns the frame with the key as its last column, without the columns `on` unless `drop_key=False`
    (`returns="df"`), or the distinct combinations with their keys (`"map"`), or None.

        flights = normalize_columns(context.database("mart.duckdb"), "mart.plane", df=flights, on=["tailnum", "model"])
    """
    if returns not in ("df", "map", None):
        raise DatabaseError(f"returns is {returns!r}.", code="returns-invalid", hint='Use "df", "map" or None.')
    frame, name, on = as_frame(df), parse_table(table), as_names(on, "on")
    require_columns(frame, on)
    refuse_column(frame, key_column)
    with transaction(db_path) as db:
        _insert_missing(db, name, frame, on, key_column)
        keys = _keys(db, name, frame, on, key_column) if returns else None
    if keys is None:
        return None
    if returns == "map":
        return _mapping(pick(frame, on), keys)
    return _without(frame.with_columns(keys), on if drop_key else [])


def denormalize_columns(
    db_path: DatabasePath,
    table: str,
    *,
    df: Frame,
    key_column: str = "dimension_key",
    select: str | Sequence[str] = "*",
    drop_key: bool = False,
) -> pl.DataFrame:
    """The frame with the dimension's columns put back beside the key; NULL where the key is unknown.

    Rows keep their order and number. `select` picks the columns; `drop_key` drops the key. Raises DatabaseError
    `table-missing`, `column-missing`, `column-conflict`, `dimension-duplicates`.

        flights = denormalize_columns(context.database("mart.duckdb"), "mart.plane", df=flights, select=["model"])
    """
    frame, name = as_frame(df), parse_table(table)
    require_columns(frame, [key_column])
    with transaction(db_path, read_only=True) as db:
        require_relation(db, name)
        target = db.sql_name(name)
        key = actual_name(list(db.types(target)), key_column, f"table {name}")
        _refuse_duplicates(db, name, [key])
        view, pairs = _stage(db, name, frame, [key_column])
        columns = selection(db, name, select, without=key)
        found = db.frame(
            f"SELECT {columns or 'NULL AS nothing'} FROM {view} AS given LEFT JOIN {target} AS stored"
            f" ON {pairs} AND given.c0 IS NOT NULL ORDER BY given.row"
        )
    added = found.get_columns() if columns else []
    for column in added:
        refuse_column(frame, column.name)
    return _without(frame.with_columns(added), [key_column] if drop_key else [])


def _without(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return pick(frame, [name for name in frame.columns if name not in names])


def _stage(db: Database, table: TableName, frame: pl.DataFrame, on: Sequence[str]) -> tuple[str, str]:
    """Stage the key columns as c0, c1, ... with their row number; returns the view and the SQL that matches them."""
    neutral = pl.DataFrame([frame.get_column(name).alias(f"c{place}") for place, name in enumerate(on)])
    neutral = neutral.with_row_index("row")
    view = db.stage("flowstead_keys", neutral)
    given, stored = db.types(view), db.types(db.sql_name(table))
    matches = []
    for place, name in enumerate(on):
        column = actual_name(list(stored), name, f"table {table}")
        kind = reconcile(
            db,
            view=view,
            column=f"c{place}",
            given=given[f"c{place}"],
            stored=stored[column],
            label=f"{table}.{column}",
        )
        matches.append(f"CAST(given.c{place} AS {kind}) IS NOT DISTINCT FROM CAST(stored.{quote(column)} AS {kind})")
    return view, " AND ".join(matches)


def _insert_missing(db: Database, table: TableName, frame: pl.DataFrame, on: Sequence[str], key_column: str) -> None:
    target = db.sql_name(table)
    if not writable_table(db, table):
        natural = db.stage("flowstead_natural", pick(frame, on).clear())
        create_table(db, table, f"SELECT *, NULL::BIGINT AS {quote(key_column)} FROM {natural}")
    view, matches = _stage(db, table, frame, on)
    given, stored = db.types(view), db.types(target)
    key = actual_name(list(stored), key_column, f"table {table}")
    if "INT" not in stored[key]:
        raise DatabaseError(
            f"Column {table}.{key} is {stored[key]}, not a whole number.",
            code="column-type-mismatch",
            hint="Give the name of the dimension's integer key as key_column.",
        )
    columns = [actual_name(list(stored), name, f"table {table}") for name in on]
    kinds = [
        reconcile(db, view=view, column=f"c{n}", given=given[f"c{n}"], stored=stored[name], label=f"{table}.{name}")
        for n, name in enumerate(columns)
    ]
    wider = {name: kind for name, kind in zip(columns, kinds, strict=True) if kind != stored[name]}
    if wider:
        change_columns(db, table, retype=wider)
    casts = ", ".join(f"CAST(c{place} AS {kind}) AS c{place}" for place, kind in enumerate(kinds))
    values = ", ".join(f"c{place}" for place in range(len(on)))
    order = ", ".join(f"c{place} NULLS LAST" for place in range(len(on)))
    db.run(
        f"INSERT INTO {target} ({', '.join(quote(name) for name in columns)}, {quote(key)})"
        f" SELECT {values}, row_number() OVER (ORDER BY {order})"
        f" + (SELECT coalesce(max({quote(key)}), 0) FROM {target})"
        f" FROM (SELECT DISTINCT {casts} FROM {view}) AS given"
        f" WHERE NOT EXISTS (FROM {target} AS stored WHERE {matches}) ORDER BY {order}"
    )


def _keys(db: Database, table: TableName, frame: pl.DataFrame, on: Sequence[str], key_column: str) -> pl.Series:
    """The key of each row of the frame, in the frame's order."""
    target = db.sql_name(table)
    available = list(db.types(target))
    key = actual_name(available, key_column, f"table {table}")
    _refuse_duplicates(db, table, [actual_name(available, name, f"table {table}") for name in on])
    view, matches = _stage(db, table, frame, on)
    found = db.frame(
        f"SELECT stored.{quote(key)} AS found FROM {view} AS given LEFT JOIN {target} AS stored ON {matches}"
        f" ORDER BY given.row"
    )
    return found["found"].alias(key_column)


def _refuse_duplicates(db: Database, table: TableName, columns: Sequence[str]) -> None:
    names = ", ".join(quote(name) for name in columns)
    twice = db.run(f"SELECT {names} FROM {db.sql_name(table)} GROUP BY {names} HAVING count(*) > 1 LIMIT 1")
    if twice:
        example = ", ".join(f"{name}={value!r}" for name, value in zip(columns, twice[0], strict=True))
        raise DatabaseError(
            f"The dimension {table} has more than one row for {example}.",
            code="dimension-duplicates",
            hint="Match on all of its natural key, or remove the repeated rows.",
        )


def _mapping(frame: pl.DataFrame, keys: pl.Series) -> pl.DataFrame:
    first = pl.DataFrame({"key": keys}).with_row_index("row").unique("key", keep="first").sort("key")
    return frame.with_columns(keys)[first["row"]]
