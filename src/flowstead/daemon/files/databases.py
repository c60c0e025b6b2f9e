"""DuckDB databases as tables: read from a copy, so that looking at one never holds up the flow that writes it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import duckdb

from flowstead.daemon.files.cells import quoted
from flowstead.daemon.files.opening import FileUnreadable, Place, open_file
from flowstead.daemon.files.tables import TABLE, File, Opened, Table, describe, literal, lock, room_of
from flowstead.model.errors import NotFound

LARGEST_COPY = 256 << 20
"""Bytes of a database that is copied; a larger one is opened itself, and only for the time of one answer."""


def attach(table: Table, file: File, opened: Opened) -> None:
    """Makes a table or view of a database the source; without `file.table` only what there is can be told."""
    connection = table.connection
    attach_as(connection, "db", file, opened)
    table.is_lent = opened.size > LARGEST_COPY
    table.parts = _parts(connection)
    lock(connection, [])
    if file.table is None:
        return
    chosen = next((part for part in table.parts if file.table in (part["name"], f"main.{part['name']}")), None)
    if chosen is None:
        hint = f"It has: {', '.join(part['name'] for part in table.parts[:20])}"
        raise NotFound(f"There is no table {file.table!r}.", code="table-not-found", hint=hint)
    name = f"db.{quoted(chosen['schema'])}.{quoted(chosen['table'])}"
    connection.execute(f"CREATE VIEW {TABLE} AS FROM {name}")
    table.columns = describe(connection, TABLE)
    if chosen["kind"] == "table":
        (table.total,) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone() or (None,)


def attach_as(connection: duckdb.DuckDBPyConnection, alias: str, file: File, opened: Opened) -> None:
    """Attaches the database, or a copy of it, read-only under a name. Raises FileUnreadable (`database-busy`)."""
    small = opened.size <= LARGEST_COPY
    path = str(_copy(file, opened, room_of(connection) / f"copy-{opened.descriptor}")) if small else file.place.path
    try:
        connection.execute(f"ATTACH {literal(path)} AS {quoted(alias)} (READ_ONLY)")
    except duckdb.IOException as error:
        if small or "lock" not in str(error):
            raise
        raise _busy(file, "and is too large to be copied") from None
    # Race: what is not copied is opened by its path, where another file may be by now.
    if not small and not os.path.samestat(os.lstat(path), os.fstat(opened.descriptor)):
        raise _busy(file, "which has just replaced it")


def _parts(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = connection.execute(
        """
        SELECT schema_name, table_name, 'table', estimated_size, column_count FROM duckdb_tables()
        WHERE database_name = 'db' AND NOT internal
        UNION ALL
        SELECT schema_name, view_name, 'view', NULL, column_count FROM duckdb_views()
        WHERE database_name = 'db' AND NOT internal
        ORDER BY 1, 2
        """
    ).fetchall()
    return [
        {
            "name": table if schema == "main" else f"{schema}.{table}",
            "schema": schema,
            "table": table,
            "kind": kind,
            "rows": rows,
            "columns": columns,
        }
        for schema, table, kind, rows, columns in found
    ]


def log_of(file: File) -> Place:
    """What was written last and is not in the database's own file yet."""
    return Place(file.root, f"{file.relative}.wal")


def stamps(file: File, opened: Opened) -> list[int]:
    """What changes when the database or its log does."""
    found = os.fstat(opened.descriptor)
    try:
        log = os.lstat(log_of(file).path)
    except OSError:
        return [found.st_size, found.st_mtime_ns]
    return [found.st_size, found.st_mtime_ns, log.st_size, log.st_mtime_ns]


def _copy(file: File, opened: Opened, folder: Path) -> Path:
    """Copies a database, with its log. Raises FileUnreadable (`database-busy`).

    Race: its owner may write meanwhile. A copy counts only when neither file has changed while it was made; where it
    is torn nevertheless, DuckDB's checksums tell when it is read.
    """
    folder.mkdir()
    for _ in range(3):
        before = stamps(file, opened)
        _pour(os.dup(opened.descriptor), folder / "copy.duckdb")
        copied = folder / "copy.duckdb.wal"
        copied.unlink(missing_ok=True)
        try:
            _pour(open_file(log_of(file)), copied)
        except NotFound:
            pass
        if stamps(file, opened) == before:
            return folder / "copy.duckdb"
    raise _busy(file, "and is being written")


def _pour(descriptor: int, target: Path) -> None:
    with os.fdopen(descriptor, "rb") as source, target.open("wb") as copy:
        source.seek(0)
        shutil.copyfileobj(source, copy, 1 << 20)


def _busy(file: File, why: str) -> FileUnreadable:
    return FileUnreadable(
        f"{file.place.name} is open in another process, {why}.",
        code="database-busy",
        hint="Look at it again when the run that writes it has ended.",
    )
