"""Which files may be looked at, and where a path leads."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import PurePath

from flowstead.daemon.files.opening import PathOutside, Place
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.ledger import statements as sql
from flowstead.model.errors import UsageError
from flowstead.workspace.layout import home

LONGEST_PATH = 4096
_DRIVE = re.compile(r"[A-Za-z]:(?:[\\/]|$)|\\\\")
_DRIVE_RELATIVE = re.compile(r"[A-Za-z]:(?![\\/])")


def resolve(host: WorkspaceHost, path: str, *, run_id: str | None = None) -> Place:
    """Where `path` leads: relative to the workspace (or to the folder of a run), or absolute.

    Allowed are the workspace, the folders of its runs, and what its runs have on record: their sources, with what
    stands below, and the paths that their steps gave out. Links may lead from one of these to another. Whether it
    exists is not looked at. Raises UsageError (`path-invalid`), PathOutside and RunNotFound.
    """
    _check_text(path)
    layout = host.layout
    base = layout.root if run_id is None else layout.run_folder(host.reader.run_id(run_id))
    chosen = os.path.join(base, path)
    real = os.path.realpath(chosen)
    runs = os.path.realpath(layout.local / "runs")
    if _is_below(real, runs):
        return _place(runs, real)
    root = os.path.realpath(layout.root)
    if _is_private(real, root):
        raise PathOutside(f"{path} belongs to Flowstead itself.")
    if _is_below(real, root):
        return _place(root, real)
    on_record = _on_record(host, os.path.abspath(chosen), real)
    if on_record is None:
        raise PathOutside(f"{path} is outside the workspace {layout.workspace_id}.")
    return _place(on_record, real)


def shown(host: WorkspaceHost, place: Place) -> str:
    """How a place is named in answers: relative to the workspace where it is within, else absolute; `/` throughout."""
    return shown_path(host, place.path)


def shown_path(host: WorkspaceHost, path: str) -> str:
    """The same for an absolute path without links."""
    root = os.path.realpath(host.layout.root)
    named = os.path.relpath(path, root) if _is_below(path, root) else path
    return "" if named == "." else PurePath(named).as_posix()


def source_roots(host: WorkspaceHost) -> list[str]:
    """The sources that runs have on record, as absolute paths; a whole disk is none."""
    roots = {os.path.realpath(host.layout.root_path(row[0])) for row in host.reader.rows(sql.SOURCE_ROOTS)}
    return sorted(root for root in roots if os.path.dirname(root) != root)


def is_allowed_link(host: WorkspaceHost, target: str) -> bool:
    """Whether a link may be followed as far as this can be told without looking into the record."""
    root = os.path.realpath(host.layout.root)
    return _is_below(target, root) and not _is_private(target, root)


def _check_text(path: object) -> None:
    if not isinstance(path, str) or "\0" in path or len(path) > LONGEST_PATH:
        raise UsageError("The path is not one.", code="path-invalid", hint="Give a path as text.")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        raise UsageError("The path holds characters that no file name has.", code="path-invalid") from None
    foreign = _DRIVE_RELATIVE if sys.platform == "win32" else _DRIVE
    if ".." in re.split(r"[\\/]", path) or foreign.match(path):
        raise PathOutside(f"{path} does not name a place below the workspace.")


def _is_below(path: str, root: str) -> bool:
    path, root = os.path.normcase(path), os.path.normcase(root)
    return path == root or path.startswith(os.path.join(root, ""))


def _is_private(real: str, workspace: str) -> bool:
    """Ledgers, tokens and settings, and what workstations tell each other."""
    local = os.path.realpath(home())
    if ".workspace_state" in real.lower().split(os.sep):
        return True
    return _is_below(real, local) and not (_is_below(workspace, local) and _is_below(real, workspace))


def _place(root: str, real: str) -> Place:
    if real == root and not os.path.isdir(real):
        root = os.path.dirname(root)  # a source or an output that is one file
    relative = os.path.relpath(real, root)
    return Place(root, "" if relative == "." else relative.replace(os.sep, "/"))


def _on_record(host: WorkspaceHost, chosen: str, real: str) -> str | None:
    """The source or output on record that is `real`, or that it stands below; without links."""
    sources = set(source_roots(host))
    above = [path for path in _upwards(real) if path in sources]
    if above:
        return above[0]
    # Outputs are on record as the flow named them, perhaps through links.
    named = [*_upwards(real), *_upwards(chosen)]
    for (output,) in host.reader.rows(sql.OUTPUTS_ON_RECORD, (json.dumps(named),)):
        if _is_below(real, os.path.realpath(output)):
            return os.path.realpath(output)
    return None


def _upwards(path: str) -> list[str]:
    """The path and the folders above it, but for the root of the disk."""
    found: list[str] = []
    while os.path.dirname(path) != path:
        found.append(path)
        path = os.path.dirname(path)
    return found
