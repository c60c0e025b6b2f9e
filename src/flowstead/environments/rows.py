"""The environments on record: one small SQLite file that every process of this machine reads and writes.

Each change is one short transaction whose statements name the state they may leave, so that of two processes that want
different things of one environment, one is told that it came too late.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.environments.declaration import Package, Progress
from flowstead.environments.processes import is_alive, start_of
from flowstead.model.errors import FlowsteadError, HomeUnwritable, StorageError
from flowstead.model.run import now_us

if TYPE_CHECKING:
    import sqlite3

FILE = "environments.sqlite3"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS environments (
    digest TEXT PRIMARY KEY,
    id TEXT,                        -- of the folder that is usable (ready, cold)
    attempt TEXT,                   -- of the folder that is being built
    state TEXT NOT NULL CHECK (state IN ('queued', 'building', 'ready', 'failed', 'cold')),
    provider TEXT NOT NULL,
    python TEXT,
    manifest TEXT NOT NULL,
    packages TEXT,
    size INTEGER,
    own_size INTEGER,
    created INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    changed INTEGER NOT NULL,       -- when it came to its state
    retry_after INTEGER,            -- of a failure that passes: when it is worth another try
    error TEXT,
    pinned INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    builder INTEGER,                -- the process that queued or builds it
    builder_start TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    environment TEXT NOT NULL,
    pid INTEGER NOT NULL,
    start TEXT NOT NULL,
    purpose TEXT NOT NULL,
    since INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_by_environment ON uses (environment);
"""
_COLUMNS = (
    "digest, id, state, provider, python, manifest, packages, size, own_size, created, last_used, changed,"
    " retry_after, error, pinned, progress, builder, builder_start, attempt"
)


@dataclass(frozen=True, slots=True)
class EnvironmentRow:
    """An environment as it stands on record. Times are microseconds since 1970, sizes bytes.

    `id` names its folder once it is built. `own_size` is what is not shared with the installer's cache: what deleting
    it gives back at least. `error` is `{code, message, hint, detail}`; `retry_after` is when a failure that passes by
    itself is tried again. `in_use` are the pids that use it now.
    """

    digest: str
    id: str | None
    state: str
    provider: str
    python: str | None
    manifest: dict[str, Any]
    packages: tuple[Package, ...]
    size: int | None
    own_size: int | None
    created: int
    last_used: int
    changed: int
    retry_after: int | None
    error: dict[str, Any] | None
    pinned: bool
    progress: Progress | None
    builder: int | None
    attempt: str | None
    in_use: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Opened:
    """A connection, and the number of the file that it was opened on."""

    connection: sqlite3.Connection
    file: int


class Rows:
    """The file below `folder`; safe for many threads and processes.

    Raises HomeUnwritable when the folder or the file cannot be written, StorageError for what else is wrong with it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._reader: _Opened | None = None
        self._writer: _Opened | None = None
        self._pid = os.getpid()
        self._start = start_of(self._pid) or ""

    # -- one environment -----------------------------------------------------------------------------------------

    def look(self, digest: str) -> tuple[str | None, str, int, str | None] | None:
        """The quickest look: (id, state, last_used, packages as JSON), or None when there is no such row."""
        with self.read() as connection:
            return connection.execute(
                "SELECT id, state, last_used, packages FROM environments WHERE digest = ?", (digest,)
            ).fetchone()

    def row(self, digest: str) -> EnvironmentRow | None:
        with self.read() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM environments WHERE digest = ?", (digest,)).fetchone()
            uses = connection.execute("SELECT environment, pid, start FROM uses WHERE digest = ?", (digest,)).fetchall()
        return _row(found, uses) if found is not None else None

    def rows(self) -> list[EnvironmentRow]:
        """All of them, the last used first."""
        with self.read() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM environments ORDER BY last_used DESC, digest"
            ).fetchall()
            uses = connection.execute("SELECT environment, pid, start FROM uses").fetchall()
        return [_row(each, uses) for each in found]

    # -- the way of a build --------------------------------------------------------------------------------------

    def queue(self, digest: str, provider: str, python: str | None, manifest: dict[str, Any], *, again: bool) -> None:
        """Notes that an environment is wanted. A failure stands, unless it is to be tried `again`."""
        now = now_us()
        with self.write() as connection:
            if again:
                connection.execute(
                    "DELETE FROM environments WHERE digest = ? AND state = 'failed' AND pinned = 0", (digest,)
                )
                connection.execute(
                    "UPDATE environments SET state = 'queued', error = NULL, retry_after = NULL, changed = ?"
                    " WHERE digest = ? AND state = 'failed'",
                    (now, digest),
                )
            connection.execute(
                "INSERT INTO environments (digest, state, provider, python, manifest, created, last_used, changed,"
                " builder, builder_start) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, provider, python, json.dumps(manifest), now, now, now, self._pid, self._start),
            )

    def begin(self, digest: str, attempt: str) -> bool:
        """Notes that this process builds it now, as `attempt`; it holds the lock of that digest.

        False when it is not wanted any more, or came to another end meanwhile.
        """
        with self.write() as connection:
            return (
                connection.execute(
                    "UPDATE environments SET state = 'building', attempt = ?, builder = ?, builder_start = ?,"
                    " changed = ?, progress = NULL WHERE digest = ? AND state IN ('queued', 'building')",
                    (attempt, self._pid, self._start, now_us(), digest),
                ).rowcount
                == 1
            )

    def progress(self, digest: str, attempt: str, progress: Progress) -> None:
        text = json.dumps([progress.phase, progress.message, progress.done, progress.total])
        with self.write() as connection:
            connection.execute(
                "UPDATE environments SET progress = ? WHERE digest = ? AND attempt = ? AND state = 'building'",
                (text, digest, attempt),
            )

    def finish(
        self, digest: str, attempt: str, *, python: str, packages: list[Package], size: int, own_size: int
    ) -> bool:
        """Puts what was built in place: from here on it is ready. False when that build does not count any more."""
        now = now_us()
        with self.write() as connection:
            return (
                connection.execute(
                    "UPDATE environments SET state = 'ready', id = attempt, attempt = NULL, python = ?, packages = ?,"
                    " size = ?, own_size = ?, created = ?, last_used = ?, changed = ?, progress = NULL, error = NULL,"
                    " builder = NULL, builder_start = NULL WHERE digest = ? AND attempt = ? AND state = 'building'",
                    (python, _packages(packages), size, own_size, now, now, now, digest, attempt),
                ).rowcount
                == 1
            )

    def fail(self, digest: str, attempt: str, error: FlowsteadError, *, retry_after: int | None) -> None:
        """Keeps a failure; from `retry_after` on (microseconds) it is tried again by itself, None: never."""
        with self.write() as connection:
            connection.execute(
                "UPDATE environments SET state = 'failed', attempt = NULL, error = ?, retry_after = ?, changed = ?,"
                " progress = NULL, builder = NULL, builder_start = NULL"
                " WHERE digest = ? AND attempt = ? AND state = 'building'",
                (json.dumps(error.as_dict()), retry_after, now_us(), digest, attempt),
            )

    def give_up(self, digest: str, attempt: str | None) -> None:
        """Takes a build off the record that was stopped, or never begun, here."""
        with self.write() as connection:
            connection.execute(
                "DELETE FROM environments WHERE digest = ? AND state IN ('queued', 'building') AND attempt IS ?"
                " AND builder = ? AND builder_start = ?",
                (digest, attempt, self._pid, self._start),
            )

    # -- what is there -------------------------------------------------------------------------------------------

    def note_used(self, digest: str, environment: str, now: int) -> bool:
        """Notes a use; what was cold is ready again. False when it is there no more."""
        with self.write() as connection:
            return (
                connection.execute(
                    "UPDATE environments SET last_used = max(last_used, ?), changed = iif(state = 'cold', ?, changed),"
                    " state = 'ready' WHERE digest = ? AND id = ? AND state IN ('ready', 'cold')",
                    (now, now, digest, environment),
                ).rowcount
                == 1
            )

    def forget_broken(self, digest: str, environment: str) -> None:
        """Takes an environment off the record whose files are gone."""
        with self.write() as connection:
            connection.execute("DELETE FROM environments WHERE digest = ? AND id = ?", (digest, environment))

    def pin(self, digest: str, pinned: bool) -> bool:
        """Keeps an environment from being collected, or no longer; whether there is one of that digest."""
        with self.write() as connection:
            return (
                connection.execute(
                    "UPDATE environments SET pinned = ? WHERE digest = ?", (int(pinned), digest)
                ).rowcount
                == 1
            )

    def begin_use(self, digest: str, environment: str, pid: int, start: str, purpose: str) -> str | None:
        """Registers a process as a user; returns the use's id, or None when the environment is there no more."""
        use, now = os.urandom(8).hex(), now_us()
        with self.write() as connection:
            changed = connection.execute(
                "UPDATE environments SET last_used = max(last_used, ?), changed = iif(state = 'cold', ?, changed),"
                " state = 'ready' WHERE digest = ? AND id = ? AND state IN ('ready', 'cold')",
                (now, now, digest, environment),
            ).rowcount
            if changed == 0:
                return None
            connection.execute(
                "INSERT INTO uses VALUES (?, ?, ?, ?, ?, ?, ?)", (use, digest, environment, pid, start, purpose, now)
            )
        return use

    def end_use(self, use: str, digest: str, environment: str) -> None:
        with self.write() as connection:
            connection.execute("DELETE FROM uses WHERE id = ?", (use,))
            connection.execute(
                "UPDATE environments SET last_used = max(last_used, ?) WHERE digest = ? AND id = ?",
                (now_us(), digest, environment),
            )

    # -- connections ---------------------------------------------------------------------------------------------

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        """A connection to read with, for as long as the block lasts; nobody else reads meanwhile."""
        with self._reading, self._translated():
            self._reader = self._still(self._reader)
            yield self._reader.connection

    @contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """A transaction that has the right to write from its beginning on; keep it short."""
        with self._writing, self._translated():
            self._writer = self._still(self._writer)
            connection = self._writer.connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            try:
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def _still(self, opened: _Opened | None) -> _Opened:
        """A connection to the file that is there now: someone may have deleted it, with all environments."""
        if opened is not None:
            try:
                if os.stat(self.path).st_ino == opened.file:
                    return opened
            except OSError:
                pass
            opened.connection.close()
        connection = self._open()
        return _Opened(connection, os.stat(self.path).st_ino)

    def close(self) -> None:
        with self._reading, self._writing:
            for opened in (self._reader, self._writer):
                if opened is not None:
                    opened.connection.close()
            self._reader = self._writer = None

    def _open(self) -> sqlite3.Connection:
        import sqlite3

        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if (
                connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'uses_by_environment'").fetchone()[
                    0
                ]
                == 0
            ):
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _translated(self) -> Generator[None]:
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise _coded(error, self.path) from error
        except OSError as error:
            raise HomeUnwritable(f"Cannot write {self.path}: {error.strerror}.") from error


def living(uses: list[tuple[Any, ...]], environment: str | None) -> tuple[int, ...]:
    """The pids of an environment's uses, `(environment, pid, start)`, whose process lives."""
    return tuple(sorted({pid for name, pid, start in uses if name == environment and is_alive(pid, start)}))


def packages_from(text: str | None) -> tuple[Package, ...]:
    return tuple(Package(name, version) for name, version in json.loads(text or "[]"))


def _packages(packages: list[Package]) -> str:
    return json.dumps([[each.name, each.version] for each in packages])


def _row(found: tuple[Any, ...], uses: list[tuple[Any, ...]]) -> EnvironmentRow:
    (
        digest, id_, state, provider, python, manifest, packages, size, own_size, created, last_used, changed,
        retry_after, error, pinned, progress, builder, builder_start, attempt,
    ) = found  # fmt: skip
    problem = json.loads(error) if error else None
    if builder is not None and not is_alive(builder, builder_start):
        # Nobody is at it: the next one who wants it builds it anew.
        state, builder = "failed", None
        problem = {
            "code": "environment-interrupted",
            "message": "The process that was building the environment ended before it was done.",
            "hint": "It is built when it is needed again.",
            "detail": {},
        }
    return EnvironmentRow(
        digest=digest,
        id=id_,
        state=state,
        provider=provider,
        python=python,
        manifest=json.loads(manifest),
        packages=packages_from(packages),
        size=size,
        own_size=own_size,
        created=created,
        last_used=last_used,
        changed=changed,
        retry_after=retry_after,
        error=problem,
        pinned=bool(pinned),
        progress=Progress(*json.loads(progress)) if progress else None,
        builder=builder,
        attempt=attempt,
        in_use=living(uses, id_) if id_ else (),
    )


def _coded(error: sqlite3.Error, path: Path) -> FlowsteadError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith("SQLITE_FULL") or "disk is full" in str(error):
        return StorageError(
            f"The disk that holds {path} is full.",
            code="disk-full",
            hint="Free some space, for example with: flowstead env gc",
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return HomeUnwritable(f"Cannot write {path}: {error}.")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StorageError(
            f"The record of environments, {path}, is damaged: {error}.",
            code="environments-damaged",
            hint=f"Move {path} away: environments are built anew as they are needed.",
        )
    return StorageError(f"The record of environments, {path}, refused a statement: {error}.")
