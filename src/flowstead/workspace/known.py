"""The workspaces that this machine knows: those added, those in collection roots, those that its daemon serves."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowstead.model.errors import HomeUnwritable
from flowstead.model.run import now_us
from flowstead.workspace.layout import home

_TABLES = """
CREATE TABLE IF NOT EXISTS trusted_workspaces (path TEXT PRIMARY KEY, trusted_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS known_workspaces (path TEXT PRIMARY KEY, added_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS collection_roots (path TEXT PRIMARY KEY, added_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS served_workspaces (path TEXT PRIMARY KEY, automated INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS choices (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A workspace that the daemon has open; one that is `automated` starts runs by itself."""

    root: Path
    automated: bool


@contextmanager
def machine_database() -> Generator[sqlite3.Connection]:
    """`machine.sqlite3` of the home, in a transaction: what this machine knows beyond any one workspace.

    Raises HomeUnwritable.
    """
    path = home() / "machine.sqlite3"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            connection.executescript(_TABLES)
            with connection:
                yield connection
    except (OSError, sqlite3.Error) as error:
        raise HomeUnwritable(f"Cannot write {path}: {error}.") from error


def known_workspaces() -> list[Path]:
    """Roots of all workspaces known here: those added, and the children of collection roots; by path."""
    with machine_database() as connection:
        added = [Path(path) for (path,) in connection.execute("SELECT path FROM known_workspaces")]
    found = {root for root in added if is_workspace(root)}
    for collection in collection_roots():
        found.update(workspaces_in(collection))
    return sorted(found)


def workspaces_in(collection: Path) -> list[Path]:
    """The workspaces that are children of a folder; none when it cannot be read."""
    try:
        return sorted(child for child in collection.iterdir() if is_workspace(child))
    except OSError:
        return []


def is_workspace(root: Path) -> bool:
    return (root / "flow_modules").is_dir()


def remember_workspace(root: Path) -> None:
    with machine_database() as connection:
        connection.execute(
            "INSERT INTO known_workspaces VALUES (?, ?) ON CONFLICT DO NOTHING", (str(root.resolve()), now_us())
        )


def forget_workspace(root: Path) -> bool:
    """Forgets a workspace that was added; returns whether it was known. Its files stay."""
    with machine_database() as connection:
        return connection.execute("DELETE FROM known_workspaces WHERE path = ?", (str(root),)).rowcount > 0


def collection_roots() -> list[Path]:
    """Folders whose children are workspaces, by path."""
    with machine_database() as connection:
        return [Path(path) for (path,) in connection.execute("SELECT path FROM collection_roots ORDER BY path")]


def remember_collection(root: Path) -> None:
    with machine_database() as connection:
        connection.execute(
            "INSERT INTO collection_roots VALUES (?, ?) ON CONFLICT DO NOTHING", (str(root.resolve()), now_us())
        )


def served_workspaces() -> list[Served]:
    """What the daemon had open when it was last heard of; it opens these again after a crash."""
    with machine_database() as connection:
        rows = connection.execute("SELECT path, automated FROM served_workspaces ORDER BY path")
        return [Served(Path(path), bool(automated)) for path, automated in rows]


def remember_served(root: Path) -> None:
    """Notes that the daemon has a workspace open; whether it was automated stays as it is."""
    with machine_database() as connection:
        connection.execute("INSERT INTO served_workspaces VALUES (?, 0) ON CONFLICT DO NOTHING", (str(root),))


def note_automated(root: Path, *, automated: bool) -> None:
    """Notes whether a served workspace starts runs by itself."""
    with machine_database() as connection:
        connection.execute("UPDATE served_workspaces SET automated = ? WHERE path = ?", (automated, str(root)))


def forget_served(root: Path) -> None:
    with machine_database() as connection:
        connection.execute("DELETE FROM served_workspaces WHERE path = ?", (str(root),))


def selected_workspace() -> Path | None:
    """The workspace that commands take where no other is named and none is around the current folder."""
    if not (home() / "machine.sqlite3").exists():
        return None
    with machine_database() as connection:
        row = connection.execute("SELECT value FROM choices WHERE name = 'workspace'").fetchone()
    return Path(row[0]) if row else None


def select_workspace(root: Path) -> None:
    with machine_database() as connection:
        connection.execute(
            "INSERT INTO choices VALUES ('workspace', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(root.resolve()),),
        )
