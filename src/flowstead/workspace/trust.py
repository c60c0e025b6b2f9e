"""Whether flow code of a workspace may run on this machine.

Whoever can write a flow module can run code as the user who runs it. So a folder that only the user can write is
trusted as it is, and any other only once the user has said so, on this machine.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flowstead.model.errors import WorkspaceUntrusted
from flowstead.model.run import now_us
from flowstead.workspace.known import machine_database
from flowstead.workspace.layout import WorkspaceLayout, home


def require_trust(layout: WorkspaceLayout) -> None:
    """Raises WorkspaceUntrusted when others can write flow code here and the user has not trusted the workspace."""
    reason = writable_by_others(layout)
    if reason is not None and not _is_trusted(layout.root):
        raise WorkspaceUntrusted(
            f"Others can change the flows of {layout.root}: {reason}.",
            hint=f'If you trust them to run code as you: flowstead workspace trust "{layout.root}"',
            path=str(layout.root),
        )


def trust(root: Path) -> None:
    """Remembers, in `machine.sqlite3` of the home, that the workspace at `root` is trusted. Raises HomeUnwritable."""
    with machine_database() as connection:
        connection.execute(
            "INSERT INTO trusted_workspaces VALUES (?, ?) ON CONFLICT DO NOTHING", (str(root.resolve()), now_us())
        )


def writable_by_others(layout: WorkspaceLayout) -> str | None:
    """Why others can change flow code here, in words; None when only the user can."""
    if sys.platform == "win32":
        # Who may write is in access lists there; a folder on a server is shared, one on a local disk is the user's.
        return "it lies on a network share" if str(layout.root).startswith("\\\\") else None
    me = os.geteuid()
    for path in _code(layout):
        try:
            found = path.stat()
        except OSError:
            continue
        name = path.relative_to(layout.root.parent).as_posix()
        if found.st_uid not in (me, 0):
            return f"{name} belongs to another user"
        if found.st_mode & stat.S_IWOTH:
            return f"everybody can write {name}"
        if found.st_mode & stat.S_IWGRP and not _only_mine(found.st_gid):
            return f"a group of several users can write {name}"
    return None


def _code(layout: WorkspaceLayout) -> Iterator[Path]:
    yield layout.root
    yield layout.flow_modules
    for folder in (layout.flow_modules, layout.flow_helpers):
        if folder.is_dir():
            yield folder
            with os.scandir(folder) as entries:
                modules = [entry.path for entry in entries if entry.name.endswith((".py", ".ipynb"))]
            yield from map(Path, modules)


def _only_mine(gid: int) -> bool:
    """Whether a group has no member but this user, as the private group of each user on many systems."""
    import grp
    import pwd

    try:
        group, me = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return gid == me.pw_gid and not [member for member in group.gr_mem if member != me.pw_name]


def _is_trusted(root: Path) -> bool:
    database = home() / "machine.sqlite3"
    if not database.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            rows = connection.execute("SELECT 1 FROM trusted_workspaces WHERE path = ?", (str(root),)).fetchall()
    except sqlite3.Error:
        return False
    return bool(rows)
