"""Opening a file as a table in DuckDB, from which then nothing but that file can be reached."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from flowstead.daemon.files.cells import Column
from flowstead.daemon.files.opening import FileUnreadable, Place, open_file
from flowstead.model.errors import NotFound

SMALL = 64 << 20
"""Bytes up to which a text or Arrow file is read into a table at once; larger ones are read anew for each answer."""

SMALL_ZIPPED = 4 << 20
BEGINNING = 1 << 20
NARROW = 500
"""Columns up to which it is: a table takes room for thousands of rows of each."""

TABLE = "source"


class File(NamedTuple):
    """What to open, as the daemon says it; `sheet` is of a workbook, `table` of a database (with its schema)."""

    root: str
    relative: str
    format: str
    zipped: bool = False
    sheet: str | None = None
    table: str | None = None

    @property
    def place(self) -> Place:
        return Place(self.root, self.relative)


@dataclass
class Table:
    """A file opened as the table or view `source` of `connection`.

    `order` is the column that numbers the rows as the file has them, where there is one that costs nothing; it is none
    of `columns`. `total` is how many rows there are, None while that is not known. `parts` are what a workbook or a
    database consists of. One that `is_lent` is to be closed after each answer, because others may wait for it.
    """

    connection: duckdb.DuckDBPyConnection
    columns: list[Column] = field(default_factory=list[Column])
    order: str | None = None
    total: int | None = None
    parts: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    as_text: bool = False
    is_lent: bool = False
    release: Callable[[], None] = lambda: None

    def close(self) -> None:
        disconnect(self.connection)
        self.release()

    def column(self, name: str) -> Column:
        """The column of that name. Raises NotFound (`column-not-found`)."""
        for column in self.columns:
            if column.name == name:
                return column
        import difflib

        near = difflib.get_close_matches(name, [column.name for column in self.columns], 1)
        raise NotFound(
            f"There is no column {name!r}.", code="column-not-found", hint=f"Did you mean {near[0]}?" if near else ""
        )


class Opened(NamedTuple):
    """An open descriptor, the path by which DuckDB reads exactly that file, and its size."""

    descriptor: int
    path: str
    size: int
    signature: tuple[int, ...]

    def close(self) -> None:
        os.close(self.descriptor)


def open_place(place: Place) -> Opened:
    """Opens a file for a library that takes only paths. Raises as open_file does."""
    descriptor = open_file(place)
    found = os.fstat(descriptor)
    signature = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    # Race: by its own path, another file may be there when the library opens it. Linux names the open one itself.
    path = f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else place.path
    return Opened(descriptor, path, found.st_size, signature)


def connect(scratch: Path, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """An empty database in memory with a folder of its own below `scratch`; `lock` closes it to all else for good."""
    config: dict[str, Any] = {
        "threads": max(1, min(4, os.cpu_count() or 1)),
        "temp_directory": tempfile.mkdtemp(dir=scratch),
        "max_temp_directory_size": "4GB",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
        "enable_external_file_cache": False,
    }
    if memory_mb:
        config["memory_limit"] = f"{memory_mb * 6 // 10}MB"  # its own share of what the process may use
    connection = duckdb.connect(config=config)
    connection.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
    return connection


def disconnect(connection: duckdb.DuckDBPyConnection) -> None:
    room = room_of(connection)
    connection.close()
    shutil.rmtree(room, ignore_errors=True)


def room_of(connection: duckdb.DuckDBPyConnection) -> Path:
    """The folder that even a locked connection reads and writes; it goes with it."""
    ((room,),) = connection.execute("SELECT current_setting('temp_directory')").fetchall()
    return Path(room)


def lock(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    """From now on `connection` reads these files alone, loads nothing, and cannot be talked out of it."""
    if paths:
        connection.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def describe(connection: duckdb.DuckDBPyConnection, relation: str) -> list[Column]:
    return [Column(row[0], row[1]) for row in connection.execute(f"DESCRIBE {relation}").fetchall()]


def open_table(file: File, opened: Opened, scratch: Path, memory_mb: int, *, as_text: bool = False) -> Table:
    """Opens a file as a table; `opened` is closed with it. `as_text` takes every column of a CSV file as text.

    Raises FileUnreadable, NotFound (for a sheet or table that is not there), and DuckDB's errors.
    """
    connection = connect(scratch, memory_mb)
    table = Table(connection, as_text=as_text, release=opened.close)
    try:
        _load(table, file, opened, memory_mb)
    except BaseException:
        disconnect(connection)
        raise
    return table


def _load(table: Table, file: File, opened: Opened, memory_mb: int) -> None:
    connection = table.connection
    if file.format == "duckdb":
        from flowstead.daemon.files.databases import attach

        attach(table, file, opened)
        return
    if file.format == "parquet":
        _view_parquet(table, opened.path)
    else:
        relation, table.parts = relation_of(connection, file, opened, memory_mb, as_text=table.as_text)
        connection.execute(f"CREATE VIEW {TABLE} AS FROM {relation}")
        columns = describe(connection, TABLE)
        if opened.size <= (SMALL_ZIPPED if file.zipped else SMALL) and len(columns) <= NARROW:
            connection.execute(f"DROP VIEW {TABLE}; CREATE TABLE {TABLE} AS FROM {relation}")
            table.order = "rowid" if "rowid" not in {column.name.lower() for column in columns} else None
    table.columns = [column for column in describe(connection, TABLE) if column.name != table.order]
    if table.order is not None:
        (table.total,) = connection.execute(f"SELECT count(*) FROM {TABLE}").fetchone() or (None,)
    lock(connection, [opened.path])


def relation_of(
    connection: duckdb.DuckDBPyConnection, file: File, opened: Opened, memory_mb: int, *, as_text: bool = False
) -> tuple[str, list[dict[str, Any]]]:
    """The SQL of what scans a file (of any format but duckdb), and the sheets of a workbook."""
    if file.format == "parquet":
        return f"read_parquet({literal(opened.path)})", []
    if file.format in ("json", "ndjson"):
        return _text_scan(file, opened.path), []
    from flowstead.daemon.files import arrow

    parts: list[dict[str, Any]] = []
    if file.format == "excel":
        found, parts = arrow.read_sheet(file, opened, memory_mb)
    elif file.format == "arrow":
        found = arrow.open_arrow(opened)
    else:
        beginning = _beginning(file, opened)
        if beginning.count(b"\0") > 0.6 * len(beginning):
            raise FileUnreadable(f"{file.place.name} holds no text.", hint="It may not have been written to its end.")
        delimiter = arrow.wide_delimiter(beginning)
        if delimiter is None:
            return _text_scan(file, opened.path, as_text=as_text, encoding=_encoding(beginning)), []
        found = arrow.read_wide(file, opened, delimiter)
    name = f"arrow_{opened.descriptor}"
    connection.register(name, found)
    return name, parts


def _view_parquet(table: Table, path: str) -> None:
    scan = f"read_parquet({literal(path)}, file_row_number = true)"
    try:
        table.connection.execute(f"CREATE VIEW {TABLE} AS FROM {scan}")
        table.order = "file_row_number"
    except duckdb.BinderException:
        # It has a column of that very name.
        table.connection.execute(f"CREATE VIEW {TABLE} AS FROM read_parquet({literal(path)})")


def _beginning(file: File, opened: Opened) -> bytes:
    """The first million bytes of a text file, or all of a small one; unpacked."""
    import gzip
    import zlib

    with os.fdopen(os.dup(opened.descriptor), "rb") as content:
        content.seek(0)
        if not file.zipped:
            return content.read(opened.size if opened.size <= SMALL else BEGINNING)
        try:
            return gzip.GzipFile(fileobj=content).read(BEGINNING)
        except (OSError, EOFError, zlib.error) as error:
            raise unreadable(file, error) from None


def _encoding(beginning: bytes) -> str:
    """What DuckDB calls the encoding of a text: spreadsheets still write others than UTF-8."""
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        beginning.decode("utf-8")
    except UnicodeDecodeError as error:
        return "utf-8" if error.start > len(beginning) - 4 else "latin-1"
    return "utf-8"


def _text_scan(file: File, path: str, *, as_text: bool = False, encoding: str = "utf-8") -> str:
    options: dict[str, str] = {}
    if file.zipped:
        options["compression"] = "'gzip'"
    if file.format in ("csv", "tsv"):
        if file.format == "tsv":
            options["delim"] = r"'\t'"
        if as_text:
            options["all_varchar"] = "true"
        if encoding != "utf-8":
            options["encoding"] = literal(encoding)
        reader = "read_csv"
    else:
        options["format"] = "'newline_delimited'" if file.format == "ndjson" else "'auto'"
        options["map_inference_threshold"] = "-1"  # objects with many fields stay columns
        reader = "read_json"
    given = "".join(f", {name} = {value}" for name, value in options.items())
    return f"{reader}({literal(path)}{given})"


def unreadable(file: File, error: BaseException) -> FileUnreadable:
    """What a library found wrong with a file, in words that do not name our own paths to it."""
    first = str(error).strip().split("\n")[0]
    reason = first.replace("/proc/self/fd/", "").strip() or type(error).__name__
    return FileUnreadable(
        f"{file.place.name} cannot be read as {file.format}: {reason[:500]}",
        hint="It may be damaged, still being written, or of another kind than its name says.",
    )
