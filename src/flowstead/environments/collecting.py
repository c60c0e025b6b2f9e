"""Letting go of environments that nobody needs: first cold, then deleted, and never what somebody uses.

Whether it is used and that it goes is one transaction, and using it takes the same right to write: of the two, one
comes too late and is told so. Files are deleted only after the row is gone, by way of a trash folder.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.environments.checking import size_of
from flowstead.environments.child_process import MARK
from flowstead.environments.processes import kill_marked
from flowstead.environments.rows import EnvironmentRow, Rows, living
from flowstead.environments.runtime import COMPILED, runtime_digest
from flowstead.model.errors import EnvironmentUnusable
from flowstead.model.lock import ProcessLock

if TYPE_CHECKING:
    import sqlite3

    from flowstead.model.settings import Settings

TRASH = ".trash"
LOCKS = ".locks"
_DAY = 86_400_000_000
_DIGEST = re.compile("[0-9a-f]{32}")
_INTERRUPTED = "environment-interrupted"


@dataclass(frozen=True, slots=True)
class Collected:
    """What was, or in a dry run would be, let go. `step` is cold, deleted, or leftover (files of no environment).

    `id` names its folder; `why` is a sentence for a person; `size` is in bytes, 0 where nothing is freed yet.
    """

    digest: str
    id: str | None
    step: str
    why: str
    size: int


def collect(rows: Rows, folder: Path, settings: Settings, now: int, *, dry_run: bool = False) -> list[Collected]:
    """Lets go what was not used for `environment_days`, and of the others, the least used ones above
    `environment_disk_mb`; `now` is in microseconds since 1970.

    What goes is cold first, and ready again as soon as somebody asks for it; after `environment_grace` seconds it is
    deleted. Nothing younger than that is let go, nothing in use, pinned or being built. Raises HomeUnwritable or
    StorageError when the record cannot be written; files that cannot be deleted now are tried again the next time.
    """
    grace = int(settings.environment_grace * 1_000_000)
    done: list[Collected] = []
    for row, why in _unneeded(rows.rows(), settings, now, grace):
        if row.state != "cold" and (dry_run or _make_cold(rows, row, now)):
            done.append(Collected(row.digest, row.id, "cold", why, 0))
    for row in rows.rows():
        if row.state == "cold" and row.changed <= now - grace and not row.pinned and not row.in_use:
            if not dry_run and not _delete(rows, folder, row.digest, row.id, changed_by=now - grace):
                continue
            done.append(Collected(row.digest, row.id, "deleted", "It was cold for long enough.", row.size or 0))
        elif row.error is not None and row.error["code"] == _INTERRUPTED:
            if row.changed <= now - grace and not dry_run:
                _forget_interrupted(rows, folder, row)
        elif row.state == "failed" and not row.pinned and row.changed <= now - _age(settings, grace):
            if not dry_run and not _delete(rows, folder, row.digest, None, changed_by=row.changed):
                continue
            done.append(Collected(row.digest, None, "deleted", "It failed, and nobody asked for it since.", 0))
    done += _leftovers(rows, folder, now - grace, dry_run=dry_run)
    if not dry_run:
        _discard_runtimes(folder, now - grace)
        _discard_locks(rows, folder)
        _empty_trash(folder)
    return done


def remove(rows: Rows, folder: Path, digest: str) -> bool:
    """Deletes one environment at once, or a kept failure; False when there is none.

    Raises EnvironmentUnusable when it is in use or being built (`environment-in-use`).
    """
    row = rows.row(digest)
    if row is None:
        return False
    building = row.state in ("queued", "building")
    if row.in_use or building or not _delete(rows, folder, digest, row.id, changed_by=None):
        row = rows.row(digest)
        if row is None:
            return False
        users = ", ".join(str(pid) for pid in row.in_use)
        raise EnvironmentUnusable(
            "The environment is being built." if building else f"The environment is in use by process {users}.",
            code="environment-in-use",
            hint="Wait until what uses it has ended.",
            pids=list(row.in_use),
        )
    _empty_trash(folder)
    return True


def _age(settings: Settings, grace: int) -> int:
    return max(grace, (settings.environment_days or 30) * _DAY)


def _unneeded(rows: list[EnvironmentRow], settings: Settings, now: int, grace: int) -> list[tuple[EnvironmentRow, str]]:
    """What may go, and why: by age, then the least used above the budget, until the rest is within it."""
    there = [row for row in rows if row.state in ("ready", "cold")]
    may_go = [
        row for row in there if not row.pinned and not row.in_use and max(row.last_used, row.created) <= now - grace
    ]
    days, budget = settings.environment_days, settings.environment_disk_mb << 20
    chosen = [
        (row, f"Nobody used it for {days} days.") for row in may_go if days and row.last_used <= now - days * _DAY
    ]
    gone = {row.digest for row, _ in chosen}
    size = sum(row.size or 0 for row in there if row.digest not in gone and row.state == "ready")
    if budget:
        for row in reversed(may_go):
            if size <= budget:
                break
            if row.state == "ready" and row.digest not in gone:
                size -= row.size or 0
                chosen.append((row, f"Environments take more than {settings.environment_disk_mb} MB."))
    return chosen


def _make_cold(rows: Rows, row: EnvironmentRow, now: int) -> bool:
    with rows.write() as connection:
        if _is_used(connection, row.id):
            return False
        return (
            connection.execute(
                "UPDATE environments SET state = 'cold', changed = ? WHERE digest = ? AND id = ? AND state = 'ready'"
                " AND pinned = 0 AND last_used <= ?",
                (now, row.digest, row.id, row.last_used),
            ).rowcount
            == 1
        )


def _delete(rows: Rows, folder: Path, digest: str, environment: str | None, *, changed_by: int | None) -> bool:
    """Takes a row off the record and moves its files to the trash; `changed_by` is by when it came to its state.

    Without it, it is deleted whatever its age, also pinned.
    """
    with rows.write() as connection:
        if environment is not None and _is_used(connection, environment):
            return False
        if changed_by is None:
            states, more, arguments = "('ready', 'cold', 'failed')", "", ()
        else:
            states, more, arguments = "('cold', 'failed')", " AND pinned = 0 AND changed <= ?", (changed_by,)
        # A build that was interrupted stands as building; it is left to the one who holds its lock.
        deleted = connection.execute(
            f"DELETE FROM environments WHERE digest = ? AND id IS ? AND state IN {states}{more}",
            (digest, environment, *arguments),
        ).rowcount
    if deleted and environment is not None:
        _discard(folder, folder / digest / environment)
    return bool(deleted)


def _forget_interrupted(rows: Rows, folder: Path, row: EnvironmentRow) -> None:
    """Takes a build off the record whose process is gone and that nobody took up; its files are a leftover then."""
    lock = ProcessLock(_lock_of(folder, row.digest))
    if lock.acquire("collect"):
        try:
            if not lock.is_in_place():
                return
            with rows.write() as connection:
                connection.execute(
                    "DELETE FROM environments WHERE digest = ? AND attempt IS ? AND changed = ? AND pinned = 0"
                    " AND state IN ('queued', 'building')",
                    (row.digest, row.attempt, row.changed),
                )
        finally:
            lock.release()


def _lock_of(folder: Path, digest: str) -> Path:
    (folder / LOCKS).mkdir(exist_ok=True)
    return folder / LOCKS / digest


def _is_used(connection: sqlite3.Connection, environment: str | None) -> bool:
    uses = connection.execute("SELECT environment, pid, start FROM uses WHERE environment = ?", (environment,))
    if living(uses.fetchall(), environment):
        return True
    connection.execute("DELETE FROM uses WHERE environment = ?", (environment,))
    return False


def _leftovers(rows: Rows, folder: Path, before: int, *, dry_run: bool) -> list[Collected]:
    """What crashed builds left behind, and rows of such builds; `before` is the youngest that goes (microseconds)."""
    done: list[Collected] = []
    for digest in filter(_DIGEST.fullmatch, _names(folder)):
        for name in _names(folder / digest):
            path = folder / digest / name
            try:
                age = max(path.stat().st_mtime_ns, path.parent.stat().st_mtime_ns) // 1000
            except OSError:
                continue
            if age > before:
                continue
            found = _discard_leftover(rows, folder, digest, name, before, dry_run=dry_run)
            if found is not None:
                done.append(found)
        if not dry_run:
            _remove_empty(folder / digest)
    return done


def _discard_leftover(
    rows: Rows, folder: Path, digest: str, name: str, before: int, *, dry_run: bool
) -> Collected | None:
    """Deletes a folder that no row names, or only that of a build whose process is gone."""
    lock = ProcessLock(_lock_of(folder, digest))
    if not lock.acquire("collect"):
        return None  # it is being built
    try:
        if not lock.is_in_place():
            return None
        with rows.write() as connection:
            named: tuple[Any, ...] | None = connection.execute(
                "SELECT id, attempt, state, changed FROM environments WHERE digest = ? AND ? IN (id, attempt)",
                (digest, name),
            ).fetchone()
            if named is not None and (named[0] == name or named[3] > before):
                return None
            if _is_used(connection, name):
                return None
            if named is not None and not dry_run:
                connection.execute("DELETE FROM environments WHERE digest = ? AND attempt = ?", (digest, name))
        path = folder / digest / name
        try:
            size = size_of(path)[0]
        except OSError:
            size = 0
        if not dry_run:
            # What it was built with may still run: its group is no longer anybody's who could end it.
            kill_marked(MARK, name)
            _discard(folder, path)
        return Collected(digest, name, "leftover", "A build that did not come to its end left it behind.", size)
    finally:
        lock.release()


def _discard_runtimes(folder: Path, before: int) -> None:
    """Deletes the compiled runtimes of other Flowsteads; environments have their own names of the files."""
    for name in _names(folder / COMPILED):
        path = folder / COMPILED / name
        try:
            old = path.stat().st_mtime_ns // 1000 <= before
        except OSError:
            continue
        if old and not name.startswith(runtime_digest()):
            _discard(folder, path)


def _discard_locks(rows: Rows, folder: Path) -> None:
    """Deletes the lock files of environments that are gone; whoever takes one looks whether it is still in place."""
    try:
        digests = os.listdir(folder / LOCKS)
    except OSError:
        return
    for digest in digests:
        if rows.look(digest) is not None:
            continue
        lock = ProcessLock(folder / LOCKS / digest)
        if not lock.acquire("collect"):
            continue
        try:
            # Race: someone may have asked for it before the lock was ours.
            if rows.look(digest) is None:
                lock.path.unlink(missing_ok=True)
        except OSError:
            pass  # Windows deletes no open file; there it stays, empty as it is
        finally:
            lock.release()


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(
                each.name for each in entries if each.is_dir(follow_symlinks=False) and not each.name.startswith(".")
            )
    except OSError:
        return []


def _discard(folder: Path, path: Path) -> None:
    trash = folder / TRASH
    try:
        trash.mkdir(exist_ok=True)
        os.rename(path, trash / f"{path.name}-{os.urandom(4).hex()}")
    except OSError:
        return  # a file of it is open (Windows): it stays as a leftover, for the next time
    _remove_empty(path.parent)


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        pass


def _empty_trash(folder: Path) -> None:
    for name in _names(folder / TRASH):
        delete_tree(folder / TRASH / name)


def delete_tree(path: Path) -> None:
    """Deletes a tree, with folders in it that are write-protected; what cannot be deleted stays."""

    def unlock(function: Any, name: str, _error: Any) -> None:
        try:
            os.chmod(os.path.dirname(name), stat.S_IRWXU)
            if not os.path.islink(name):
                os.chmod(name, stat.S_IRWXU)
            function(name)
        except OSError:
            pass

    if sys.version_info >= (3, 12):
        shutil.rmtree(path, onexc=unlock)
    else:
        shutil.rmtree(path, onerror=unlock)
