"""The members of the pool on record, in a file beside them: so that they outlive the daemon.

A member is `warming` until it is whole, then `ready`, then `lent` to a process. `lending` is one that is made for the
one who takes it, `returning` one that is looked at before it is taken back, and what is `leaving` is deleted. Each
change is one statement that names the state before it: of two that want the same, one is told that it came too late.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.model.errors import HomeUnwritable
from flowstead.model.run import now_us

if TYPE_CHECKING:
    import sqlite3

_TABLE = """
CREATE TABLE IF NOT EXISTS pool (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    digest TEXT NOT NULL,
    base_only INTEGER NOT NULL,
    created INTEGER NOT NULL,
    holder INTEGER,
    holder_started TEXT,
    lent INTEGER
)
"""
_COLUMNS = "id, kind, state, digest, base_only, created, holder, holder_started, lent"


@dataclass(frozen=True, slots=True)
class Member:
    """An environment of the pool. `digest` is its template's, `base_only` says that the packages of the settings are
    missing in it; `created` and `lent` are microseconds since 1970, and `holder_started` is its `start_of`."""

    id: str
    kind: str
    state: str
    digest: str
    base_only: bool
    created: int
    holder: int | None
    holder_started: str | None
    lent: int | None

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.kind}-{self.id}"


class PoolRows:
    """The table `pool` of the SQLite file at `path`; safe for many threads. Raises HomeUnwritable."""

    def __init__(self, path: Path) -> None:
        import sqlite3

        self._lock = threading.Lock()
        self._failure = sqlite3.Error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise HomeUnwritable(f"Cannot write {path}: {error}.") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def all(self, *states: str, kind: str | None = None) -> list[Member]:
        """The members in one of these states (none: in any), the oldest first."""
        where = ["TRUE"]
        values: list[Any] = []
        if states:
            where.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if kind is not None:
            where.append("kind = ?")
            values.append(kind)
        return self._members(f"SELECT {_COLUMNS} FROM pool WHERE {' AND '.join(where)} ORDER BY created, id", values)

    def member(self, member_id: str) -> Member | None:
        return next(iter(self._members(f"SELECT {_COLUMNS} FROM pool WHERE id = ?", [member_id])), None)

    def reserve(self, member_id: str, kind: str, digest: str, *, base_only: bool, target: int) -> Member | None:
        """A new warming member; None when as many as `target` are ready or warming."""
        return self._one(
            f"""INSERT INTO pool ({_COLUMNS}) SELECT ?, ?, 'warming', ?, ?, ?, NULL, NULL, NULL
            WHERE (SELECT count(*) FROM pool WHERE kind = ? AND state IN ('ready', 'warming')) < ?
            RETURNING {_COLUMNS}""",
            [member_id, kind, digest, base_only, now_us(), kind, target],
        )

    def lend_new(
        self, member_id: str, kind: str, digest: str, *, base_only: bool, holder: int, holder_started: str
    ) -> Member | None:
        """A member that is made for one who takes it at once."""
        return self._one(
            f"INSERT INTO pool ({_COLUMNS}) VALUES (?, ?, 'lending', ?, ?, ?, ?, ?, ?) RETURNING {_COLUMNS}",
            [member_id, kind, digest, base_only, now := now_us(), holder, holder_started, now],
        )

    def take(self, kind: str, digests: Iterable[str], holder: int, holder_started: str) -> Member | None:
        """Lends the oldest ready member of one of these templates, a complete one first; None when there is none."""
        found = [*digests]
        return self._one(
            f"""UPDATE pool SET state = 'lent', holder = ?, holder_started = ?, lent = ?
            WHERE state = 'ready' AND id = (
                SELECT id FROM pool WHERE kind = ? AND state = 'ready' AND digest IN ({", ".join("?" * len(found))})
                ORDER BY base_only, created, id LIMIT 1
            ) RETURNING {_COLUMNS}""",
            [holder, holder_started, now_us(), kind, *found],
        )

    def hand_over(self, member_id: str, holder: int, holder_started: str) -> Member | None:
        """Another process holds the lent member from now on; None when it is not lent."""
        return self._one(
            f"UPDATE pool SET holder = ?, holder_started = ? WHERE id = ? AND state = 'lent' RETURNING {_COLUMNS}",
            [holder, holder_started, member_id],
        )

    def restock(self, member_id: str, target: int) -> Member | None:
        """A returning member is ready again; None when as many as `target` are ready or warming without it."""
        return self._one(
            f"""UPDATE pool SET state = 'ready', holder = NULL, holder_started = NULL, lent = NULL
            WHERE id = ? AND state = 'returning'
                AND (SELECT count(*) FROM pool AS other
                    WHERE other.kind = pool.kind AND other.state IN ('ready', 'warming')) < ?
            RETURNING {_COLUMNS}""",
            [member_id, target],
        )

    def change(self, member: Member, before: str, after: str) -> bool:
        """From one state to another, as long as it is held by whom it was; whether it was in that state."""
        changed = self._one(
            "UPDATE pool SET state = ? WHERE id = ? AND state = ? AND holder IS ? AND holder_started IS ? RETURNING id",
            [after, member.id, before, member.holder, member.holder_started],
            raw=True,
        )
        return changed is not None

    def relabel(self, kind: str, digest: str) -> None:
        """What the settings want may be another template by now: only its members have all packages."""
        self._rows("UPDATE pool SET base_only = (digest != ?) WHERE kind = ? AND state = 'ready'", [digest, kind])

    def clear(self, kind: str, *states: str) -> int:
        """Lets all members of that kind that are in one of these states leave; how many there were."""
        marks = ", ".join("?" * len(states))
        query = f"UPDATE pool SET state = 'leaving' WHERE kind = ? AND state IN ({marks}) RETURNING id"
        return len(self._rows(query, [kind, *states]))

    def forget(self, member_id: str) -> None:
        """Its files are gone."""
        self._rows("DELETE FROM pool WHERE id = ? AND state = 'leaving'", [member_id])

    def _one(self, query: str, values: list[Any], *, raw: bool = False) -> Any:
        rows = self._rows(query, values)
        if not rows:
            return None
        return rows[0] if raw else _member(rows[0])

    def _members(self, query: str, values: list[Any]) -> list[Member]:
        return [_member(row) for row in self._rows(query, values)]

    def _rows(self, query: str, values: list[Any]) -> list[sqlite3.Row]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except self._failure as error:
            raise HomeUnwritable(f"Cannot read or write what the pool has on record: {error}.") from error


def _member(row: Any) -> Member:
    values = list(row)
    values[4] = bool(values[4])
    return Member(*values)
