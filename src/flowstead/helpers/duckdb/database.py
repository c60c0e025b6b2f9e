"""One connection, one transaction: opening a file that others may hold, names, and frames in and out."""

from __future__ import annotations

import os
import random
import re
import string
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import duckdb
import polars as pl

from flowstead.flow.errors import StepFailure

DatabasePath = str | os.PathLike[str]
Frame = Any
"""A Polars DataFrame or LazyFrame, a pandas DataFrame, or anything that exports an Arrow stream."""


class DatabaseError(StepFailure, ValueError):
    """A database, a table or a frame is not what the call needs; `code` and `hint` say what and what to do."""

    def __init__(self, message: str, *, code: str, hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


@dataclass(frozen=True)
class Patience:
    """How long an opening waits for another holder of the file: seconds in all, between growing pauses."""

    seconds: float = 10.0
    shortest: float = 0.01
    longest: float = 0.25
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


patience = Patience()


class TableName(NamedTuple):
    schema: str
    name: str

    def __str__(self) -> str:
        return self.name if self.schema == "main" else f"{self.schema}.{self.name}"


class Database:
    """An open connection and the catalog in it that is meant."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, catalog: str) -> None:
        self.connection = connection
        self.path = path
        self.catalog = catalog

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, list(parameters)).fetchall()

    def frame(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pl.DataFrame:
        relation = self.connection.sql(sql, params=parameters) if parameters else self.connection.sql(sql)
        if relation is None:
            raise DatabaseError(
                "The SQL text holds no statement.", code="sql-failed", hint="Pass one SELECT statement."
            )
        # Polars reads no Arrow interval; as microseconds it is the duration that was stored.
        kinds = [str(kind) for kind in relation.types]
        intervals = [name for name, kind in zip(relation.columns, kinds, strict=True) if kind == "INTERVAL"]
        nested = [
            name
            for name, kind in zip(relation.columns, kinds, strict=True)
            if "INTERVAL" in kind and kind != "INTERVAL"
        ]
        if nested:
            raise _unreadable(nested[0], "an INTERVAL inside a nested type")
        if intervals:
            replaced = ", ".join(f"epoch_us({quote(name)}) AS {quote(name)}" for name in intervals)
            relation = relation.project(f"* REPLACE ({replaced})")
        try:
            frame = relation.pl()
        except pl.exceptions.PolarsError as error:
            raise _unreadable(", ".join(relation.columns), str(error)) from error
        return frame.with_columns(frame.get_column(name).cast(pl.Duration("us")) for name in intervals)

    def sql_name(self, table: TableName) -> str:
        # With the catalog: a schema named like the file ("mart.fact" in mart.duckdb) is ambiguous without it.
        return ".".join(quote(part) for part in (self.catalog, *table))

    def stage(self, name: str, frame: pl.DataFrame) -> str:
        """Make `frame` readable as a view; returns the view's SQL name."""
        for column, dtype in frame.schema.items():
            if dtype.is_integer() and dtype in (pl.Int128, pl.UInt128):
                frame = frame.with_columns(frame.get_column(column).cast(pl.Decimal(38, 0)))
            elif dtype == pl.Object:
                raise DatabaseError(
                    f"Column {column!r} holds Python objects, which no table can store.",
                    code="column-type-unsupported",
                    hint="Cast it to text or numbers first, or leave it out.",
                )
        self.connection.register(name, frame)
        return f"temp.main.{quote(name)}"

    def types(self, view: str) -> dict[str, str]:
        """Column name -> DuckDB type of a staged view or table, in order."""
        return {row[0]: row[1] for row in self.run(f"SELECT column_name, column_type FROM (DESCRIBE {view})")}


@contextmanager
def transaction(db_path: DatabasePath, *, read_only: bool = False) -> Iterator[Database]:
    """Open `db_path`, yield it inside a transaction, commit (or roll back on any exception) and close.

    `read_only` needs the file to exist and never writes. Raises DatabaseError; every DuckDB error raised inside comes
    out as one.
    """
    with opened(db_path, read_only=read_only) as db:
        db.connection.begin()
        try:
            yield db
            if not read_only:
                db.connection.commit()
        finally:
            # After a commit there is nothing to roll back, and a failed transaction may be gone already.
            with suppress(duckdb.Error):
                db.connection.rollback()


@contextmanager
def opened(db_path: DatabasePath, *, read_only: bool = False, sole: bool = False) -> Iterator[Database]:
    """Open `db_path`, yield it and close. `sole` refuses to share it with another connection of this process."""
    path = resolve(db_path)
    if (read_only or sole) and not path.exists():
        raise DatabaseError(
            f"There is no database at {path}.",
            code="database-missing",
            hint="Check the path, or run the flow that writes it first.",
        )
    with _turn(path):
        try:
            connection = _connect(path, read_only=read_only, sole=sole)
            try:
                # Times with a zone come back alike on every machine, and SQL never picks up Python variables.
                connection.execute("SET TimeZone = 'UTC'")
                connection.execute("SET python_enable_replacements = false")
                catalog = connection.execute("SELECT current_database()").fetchall()[0][0]
                yield Database(connection, path, catalog)
            finally:
                connection.close()
        except duckdb.Error as error:
            raise _coded(error, path) from error


def resolve(db_path: DatabasePath) -> Path:
    text = os.fspath(db_path)
    if not text or text.startswith(":memory:"):
        raise DatabaseError(
            f"{text!r} is not a database file.",
            code="database-path-invalid",
            hint="Each call opens and closes the database; give it the path of a file.",
        )
    return Path(text).resolve()


_turns: dict[Path, threading.Lock] = {}
_turns_guard = threading.Lock()


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    # DuckDB's file lock does not hold between threads of one process: two of them would read the same highest key
    # and both append after it. Their turns end with a transaction of ours, so waiting for one needs no limit.
    with _turns_guard:
        lock = _turns.setdefault(path, threading.Lock())
    with lock:
        yield


_LOCKED = ("Could not set lock", "Conflicting lock", "being used by another process", "is already open in")
_SHARED = ("different configuration than existing connections", "Unique file handle conflict")


def _connect(path: Path, *, read_only: bool, sole: bool) -> duckdb.DuckDBPyConnection:
    if not read_only:
        path.parent.mkdir(parents=True, exist_ok=True)
    deadline = patience.clock() + patience.seconds
    pause = patience.shortest
    while True:
        before = _identity(path)
        try:
            connection = _open(path, read_only=read_only, sole=sole)
        except (duckdb.IOException, duckdb.ConnectionException, duckdb.ResourceInUseException) as error:
            text = str(error)
            if not any(sign in text for sign in (*_LOCKED, *_SHARED)):
                raise DatabaseError(
                    f"Cannot open {path}: {_plain(text)}",
                    code="database-unreadable",
                    hint="Check that the path names a DuckDB file of a version this DuckDB reads, and its permissions.",
                ) from error
            if patience.clock() >= deadline:
                raise _locked(path, text) from error
            patience.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, patience.longest)
            continue
        if before is None or _identity(path) == before:
            return connection
        # A compaction put its copy in place between our open and our lock: this is the replaced file.
        connection.close()


def _open(path: Path, *, read_only: bool, sole: bool) -> duckdb.DuckDBPyConnection:
    if sole:
        # DuckDB refuses a second configuration for a file that this process has open, which is what we ask it.
        return duckdb.connect(str(path), config={"custom_user_agent": f"sole-{os.getpid()}"})
    try:
        return duckdb.connect(str(path), read_only=read_only)
    except duckdb.ConnectionException:
        if not read_only:
            raise
        # The step itself has the file open for writing; share that.
        return duckdb.connect(str(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _locked(path: Path, text: str) -> DatabaseError:
    holder = re.search(r"(?:held in|already open in)\s+(.+?)\s*\(PID (\d+)\)", text, re.DOTALL)
    if any(sign in text for sign in _SHARED):
        held = "another connection of this process"
    elif holder:
        held = f"process {holder[2]} ({holder[1]})"
    else:
        held = "another process"
    return DatabaseError(
        f"The database {path} is held by {held}; gave up after {patience.seconds:g} s.",
        code="database-locked",
        hint="Close that connection or wait for it to end, then run again.",
    )


def _coded(error: duckdb.Error, path: Path) -> DatabaseError:
    text = f"{_plain(str(error))} (in {path})"
    if isinstance(error, duckdb.ConstraintException):
        return DatabaseError(
            text, code="constraint-violated", hint="Remove or mend the rows that break the constraint."
        )
    if isinstance(error, duckdb.ConversionException | duckdb.OutOfRangeException):
        return DatabaseError(text, code="value-invalid", hint="Cast or clean the column before it is stored.")
    if isinstance(error, duckdb.TransactionException):
        return DatabaseError(
            text, code="transaction-conflict", hint="Another connection changed the same table; run the step again."
        )
    if isinstance(error, duckdb.IOException | duckdb.FatalException):
        return DatabaseError(
            text, code="database-failed", hint="Check the disk's free space and the file's permissions."
        )
    if "read-only mode" in text:
        return DatabaseError(text, code="database-read-only", hint="Reading never writes: use a replace_ function.")
    return DatabaseError(text, code="sql-failed", hint="Check the statement and the names in it.")


def _plain(text: str) -> str:
    return text.partition("\n\nLINE ")[0].strip()


def _unreadable(column: str, why: str) -> DatabaseError:
    return DatabaseError(
        f"Cannot return column {column} as a frame: {why}",
        code="column-type-unsupported",
        hint="Cast it in SQL, for example with CAST(column AS VARCHAR), or leave it out.",
    )


def quote(name: str) -> str:
    """`name` as an SQL identifier, whatever characters it holds."""
    if not name or "\0" in name or (not name.isascii() and _unencodable(name)):
        raise DatabaseError(
            f"{name!r} cannot name a table or column.",
            code="name-invalid",
            hint="Use a name of one or more characters.",
        )
    return '"' + name.replace('"', '""') + '"'


def _unencodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return True
    return False


_PART = re.compile(r'"(?:[^"]|"")*"(?=\.|$)|[^.]+', re.DOTALL)
_ASCII_FOLD = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def fold(name: str) -> str:
    """DuckDB's identity of names: ASCII letters match in either case, others only as they are."""
    return name.translate(_ASCII_FOLD)


def parse_table(table: str) -> TableName:
    """`fact`, `mart.fact` or `"a.b"."c"` as schema and name."""
    parts = _PART.findall(table) if isinstance(table, str) else []
    if not 1 <= len(parts) <= 2 or ".".join(parts) != table:
        raise DatabaseError(
            f"{table!r} is not a table name.",
            code="name-invalid",
            hint='Write "table" or "schema.table"; put a part that holds dots in double quotes.',
        )
    names = [part[1:-1].replace('""', '"') if len(part) > 1 and part[0] == part[-1] == '"' else part for part in parts]
    for name in names:
        quote(name)
    return TableName(*names) if len(names) == 2 else TableName("main", names[0])


def as_frame(df: Frame) -> pl.DataFrame:
    """A Polars DataFrame of whatever kind of frame the author has; names checked for DuckDB."""
    if isinstance(df, pl.LazyFrame):
        frame = df.collect()
    elif isinstance(df, pl.DataFrame):
        frame = df
    elif type(df).__module__.partition(".")[0] == "pandas" and hasattr(df, "columns"):
        frame = pl.from_pandas(df)
    elif hasattr(df, "__arrow_c_stream__") and hasattr(df, "schema"):
        frame = pl.from_arrow(df)
    else:
        frame = None
    if not isinstance(frame, pl.DataFrame):
        raise DatabaseError(
            f"df is a {type(df).__name__}, not a frame.",
            code="frame-type",
            hint="Pass a Polars DataFrame or LazyFrame, a pandas DataFrame or an Arrow table.",
        )
    seen: dict[str, str] = {}
    for name in frame.columns:
        quote(name)
        other = seen.setdefault(fold(name), name)
        if other != name:
            raise DatabaseError(
                f"Columns {other!r} and {name!r} differ only in case, which DuckDB takes for one name.",
                code="column-conflict",
                hint="Rename one of them.",
            )
    return frame


def as_names(names: str | Sequence[str], argument: str) -> list[str]:
    """One name or several as a list without repeats."""
    given = [names] if isinstance(names, str) else list(names)
    if not given or not all(isinstance(name, str) for name in given):
        raise DatabaseError(
            f"{argument} is {names!r}.",
            code="column-missing",
            hint=f"Give {argument} one column name or a list of them.",
        )
    return list(dict.fromkeys(given))


def pick(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The named columns; unlike `select`, which takes names like `*` and `^a.*$` for patterns."""
    return pl.DataFrame([frame.get_column(name) for name in names])


def require_columns(frame: pl.DataFrame, names: Sequence[str]) -> None:
    for name in names:
        if name not in frame.columns:
            no_column(name, "the frame", frame.columns)


def refuse_column(frame: pl.DataFrame, name: str) -> None:
    quote(name)
    if fold(name) in {fold(column) for column in frame.columns}:
        raise DatabaseError(
            f"The frame already has a column {name!r}.",
            code="column-conflict",
            hint="Drop or rename it, or choose another name for the new column.",
        )


def no_column(name: str, where: str, available: Sequence[str]) -> NoReturn:
    raise DatabaseError(
        f"There is no column {name!r} in {where}.",
        code="column-missing",
        hint=f"Its columns are: {', '.join(available) or '(none)'}.",
    )
