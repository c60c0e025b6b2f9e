"""Opening a ledger file: pragmas, schema and migrations, and what SQLite's errors mean to a person."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from flowstead.model.errors import FlowsteadError, HomeUnwritable, LedgerDamaged, LedgerTooNew, StorageError

_HERE = Path(__file__).parent


def migrations() -> list[tuple[int, Path]]:
    """The numbered migrations, oldest first; the last number is the schema version that this code speaks."""
    return sorted((int(path.name[:4]), path) for path in (_HERE / "migrations").glob("[0-9]*.sql"))


SCHEMA_VERSION = 3


@contextmanager
def translated(path: Path) -> Generator[None]:
    """Turns SQLite's errors about `path` into coded ones."""
    try:
        yield
    except sqlite3.Error as error:
        raise _coded(error, path) from error


def _coded(error: sqlite3.Error, path: Path) -> FlowsteadError:
    name = getattr(error, "sqlite_errorname", "")
    text = str(error)
    if name.startswith("SQLITE_FULL") or "disk is full" in text:
        return StorageError(
            f"The disk that holds {path} is full; what was recorded before is safe.",
            code="disk-full",
            hint="Free some space and run the same command again: it goes on where it stopped.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return LedgerDamaged(
            f"The ledger {path} is damaged: {text}.",
            hint=f"Move {path} away (keep it); a new one is begun at the next run.",
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return HomeUnwritable(f"Cannot write the ledger {path}: {text}.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StorageError(
            f"Another program keeps the ledger {path} locked.",
            code="storage-busy",
            hint="Close the program that has it open (a database browser, a backup), then run the same command again.",
        )
    if name.startswith("SQLITE_IOERR"):
        return StorageError(
            f"Reading or writing {path} failed: {text} ({name}).",
            code="storage-io",
            hint="Check the disk, then run the same command again: it goes on where it stopped.",
        )
    return StorageError(f"The ledger {path} refused a statement: {text}.", hint="Run: flowstead doctor")


def open_writer(path: Path, *, durability: str) -> sqlite3.Connection:
    """The one writing connection, its schema up to date.

    `durability` is `normal` (a killed process loses nothing, a power cut may lose the last moments) or `full`.
    Raises LedgerTooNew, LedgerDamaged, HomeUnwritable or StorageError.
    """
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=10, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA temp_store = MEMORY")
            _bring_up_to_date(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection


def open_reader(path: Path) -> sqlite3.Connection | None:
    """A read-only connection to a ledger; None while there is none, or one whose first opening has not ended.

    Raises LedgerTooNew, LedgerDamaged or StorageError.
    """
    if not path.exists():
        return None
    with translated(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro",
            uri=True,
            timeout=10,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
        )
        try:
            opened = _refuse_newer(connection, path) > 0
        except BaseException as error:
            connection.close()
            # Its very first opening was killed before the write-ahead log was on: the next writer rolls that back.
            if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY_ROLLBACK":
                return None
            raise
        if not opened:
            connection.close()
            return None
        return connection


def _refuse_newer(connection: sqlite3.Connection, path: Path) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise LedgerTooNew(
            f"The ledger {path} has schema {version}; this Flowstead knows schemas up to {SCHEMA_VERSION}."
        )
    return version


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    version = _refuse_newer(connection, path)
    if version == SCHEMA_VERSION:
        return
    if version == 0:
        scripts = [(SCHEMA_VERSION, _HERE / "schema.sql")]
    else:
        scripts = [(number, script) for number, script in migrations() if number > version]
    for number, script in scripts:
        # One transaction each: a crash leaves the schema at a whole version.
        connection.executescript(
            f"BEGIN IMMEDIATE;\n{script.read_text('utf-8')}\nPRAGMA user_version = {number};\nCOMMIT;"
        )
