"""Giving a database file's unused space back."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress

import duckdb
import polars as pl

from flowstead.helpers.duckdb.columns import bindings, change_columns, indexes, require_relation, writable_table
from flowstead.helpers.duckdb.database import (
    Database,
    DatabaseError,
    DatabasePath,
    TableName,
    as_names,
    opened,
    parse_table,
    quote,
    resolve,
)

_SUMMARY = {
    "table": pl.String,
    "dropped_columns": pl.List(pl.String),
    "rows": pl.Int64,
    "size_before": pl.Int64,
    "size_after": pl.Int64,
}


def compact_database(
    db_path: DatabasePath,
    *,
    tables: str | Sequence[str] | None = None,
    drop_all_null_columns: bool = True,
    vacuum: bool = True,
) -> pl.DataFrame:
    """Drop columns that hold only NULLs, and shrink the file to what it holds.

    `tables` limits the dropping to some tables (default: all). A table keeps at least one column; all of them when it
    is empty or has constraints, defaults or generated columns; and those that an index names. `vacuum` copies the
    database to a new file, proves that the copy has the same tables, indexes, constraints, views, sequences, macros,
    types and numbers of rows, and moves it into place. Returns one row per table: table, dropped_columns, rows, and
    the file's size_before and size_after in bytes. Raises DatabaseError `database-missing`, `database-locked`,
    `view-needs-column`, and `compaction-incomplete` when the copy is not the same; the file then keeps its size.

        context.debug.save_frame(compact_database(context.database("mart.duckdb")), "compaction")
    """
    path = resolve(db_path)
    with opened(path, sole=True) as db:
        size_before = path.stat().st_size
        db.connection.begin()
        summary = [
            (str(name), _drop_null_columns(db, name) if drop_all_null_columns else [], _rows(db, name))
            for name in _tables(db, tables)
        ]
        db.connection.commit()
        if vacuum:
            _rewrite(db)
    size_after = path.stat().st_size
    return pl.DataFrame([(*row, size_before, size_after) for row in summary], schema=_SUMMARY, orient="row")


def _rows(db: Database, table: TableName) -> int:
    return db.run(f"SELECT count(*) FROM {db.sql_name(table)}")[0][0]


def _tables(db: Database, tables: str | Sequence[str] | None) -> list[TableName]:
    if tables is None:
        rows = db.run(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT internal ORDER BY ALL",
            [db.catalog],
        )
        return [TableName(*row) for row in rows]
    names = [parse_table(table) for table in as_names(tables, "tables")]
    for name in names:
        require_relation(db, name)
        writable_table(db, name)
    return names


def _drop_null_columns(db: Database, table: TableName) -> list[str]:
    target = db.sql_name(table)
    columns = list(db.types(target))
    counts = db.run(f"SELECT count(*), {', '.join(f'count({quote(name)})' for name in columns)} FROM {target}")[0]
    if counts[0] == 0 or bindings(db, table):
        return []
    bound: set[str] = set()
    for index in indexes(db, table):
        # An index on an expression does not say which columns it reads.
        bound.update(columns if index.columns is None else index.columns)
    empty = [name for name, count in zip(columns, counts[1:], strict=True) if count == 0]
    dropped = [name for name in empty if name not in bound]
    if len(dropped) == len(columns):
        dropped = dropped[1:]
    if dropped:
        working = _working_views(db)
        change_columns(db, table, drop=dropped)
        broken = working - _working_views(db)
        if broken:
            raise DatabaseError(
                f"The view {min(broken)} selects a column of {table} that holds only NULLs.",
                code="view-needs-column",
                hint="Leave that table out with tables=[...], or change the view.",
            )
    return dropped


def _working_views(db: Database) -> set[str]:
    working: set[str] = set()
    for schema, name in db.run(
        "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = ? AND NOT internal", [db.catalog]
    ):
        view = TableName(schema, name)
        with suppress(duckdb.BinderException, duckdb.CatalogException):
            db.connection.sql(f"SELECT * FROM {db.sql_name(view)}")
            working.add(str(view))
    return working


def _rewrite(db: Database) -> None:
    # VACUUM leaves the file as long as it was; a copy moved over it is what gives the space back.
    path = db.path
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    copy = Database(db.connection, beside, f"compacted_{uuid.uuid4().hex}")
    try:
        try:
            db.run("CHECKPOINT")
            literal = str(beside).replace("'", "''")
            db.run(f"ATTACH '{literal}' AS {quote(copy.catalog)}")
            db.run(f"COPY FROM DATABASE {quote(db.catalog)} TO {quote(copy.catalog)}")
        except duckdb.Error as error:
            raise _incomplete(db, str(error)) from error
        _require_equal(db, copy)
        db.run(f"DETACH {quote(copy.catalog)}")
        shutil.copymode(path, beside)
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        if os.name == "nt":
            # Windows moves nothing over an open file; whoever opens it now makes the move fail, and all stays.
            db.connection.close()
        # Elsewhere the old file stays open, and locked, until the new one is in its place: no writer slips between.
        beside.replace(path)
    finally:
        for leftover in (beside, beside.with_name(f"{beside.name}.wal")):
            with suppress(OSError):
                leftover.unlink()


_OBJECTS = {
    "tables": "SELECT schema_name, table_name, sql, comment FROM duckdb_tables() WHERE NOT internal AND",
    "columns": "SELECT schema_name, table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal AND",
    "indexes": "SELECT schema_name, index_name, sql FROM duckdb_indexes() WHERE",
    "constraints": "SELECT schema_name, table_name, constraint_text FROM duckdb_constraints() WHERE",
    "views": "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal AND",
    "sequences": "SELECT schema_name, sequence_name, sql FROM duckdb_sequences() WHERE",
    "macros": "SELECT schema_name, function_name, macro_definition FROM duckdb_functions() WHERE NOT internal AND",
    "types": "SELECT schema_name, type_name, labels FROM duckdb_types() WHERE NOT internal AND",
}


def _require_equal(db: Database, copy: Database) -> None:
    for kind, query in _OBJECTS.items():
        before, after = (db.run(f"{query} database_name = ? ORDER BY ALL", [one.catalog]) for one in (db, copy))
        if before != after:
            raise _incomplete(db, f"its {kind} differ in the copy")
    for table in _tables(db, None):
        if _rows(db, table) != _rows(copy, table):
            raise _incomplete(db, f"the copy of {table} has another number of rows")


def _incomplete(db: Database, why: str) -> DatabaseError:
    return DatabaseError(
        f"{db.path} was not rewritten: {why}.",
        code="compaction-incomplete",
        hint="The file is as it was; run with vacuum=False, or drop what cannot be copied.",
    )
