"""Which files of a workspace people edit here, and whether this machine may change them now."""

from __future__ import annotations

import keyword
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowstead.daemon.files.opening import PathOutside, Place, open_file
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.flow.files import is_temporary
from flowstead.model.errors import FlowsteadError, NotFound, UsageError, WorkspaceOwned
from flowstead.model.run import iso
from flowstead.workspace.layout import WorkspaceLayout

LONGEST_PATH = 400
LONGEST_NAME = 100
MOST_NOTEBOOK_BYTES = 8 << 20
_HELPERS = ("flow_modules", "flow_helpers")
_NAME = re.compile(r"[^\W\d_]\w*")
_WINDOWS = frozenset(
    ("con", "prn", "aux", "nul", *(f"{kind}{number}" for kind in ("com", "lpt") for number in range(1, 10)))
)
_WHERE = "flow_modules/NAME.py or .ipynb, flow_modules/flow_helpers/NAME.py, or config/NAME.toml"

Kind = Literal["flow", "notebook", "helper", "config"]


@dataclass(frozen=True, slots=True)
class EditableFile:
    """A file that people edit: `path` is relative to the workspace at `root`, its parts joined by `/`."""

    root: str
    path: str
    kind: Kind

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def flow(self) -> str | None:
        """The flow whose module it is."""
        return os.path.splitext(self.name)[0] if self.kind in ("flow", "notebook") else None

    @property
    def place(self) -> Place:
        return Place(self.root, self.path)

    @property
    def folder(self) -> Place:
        return Place(self.root, self.path.rpartition("/")[0])

    def read(self) -> bytes:
        """The bytes of the file. Raises NotFound, PathOutside for a link, FlowsteadError (`file-too-large`)."""
        from flowstead.daemon.authoring.text import MOST_BYTES

        most = MOST_NOTEBOOK_BYTES if self.kind == "notebook" else MOST_BYTES
        with os.fdopen(open_file(self.place), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(most + 1)
        if len(content) > most:
            raise FlowsteadError(
                f"{self.path} is too large to be edited here: {size:,} bytes.",
                code="file-too-large",
                hint="Use an editor of this computer.",
            )
        return content


def editable_file(layout: WorkspaceLayout, path: str) -> EditableFile:
    """The file at `path`, whether it exists or not. Raises UsageError (`path-invalid`), PathOutside."""
    if not isinstance(path, str) or not path or len(path) > LONGEST_PATH or not path.isprintable():
        raise UsageError("The path is not one.", code="path-invalid", hint=f"Give one such as {_WHERE}.")
    parts = path.split("/")
    if "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise PathOutside(f"{path} does not name a place below the workspace.")
    kind = _kind(tuple(parts))
    if kind is None:
        raise PathOutside(f"{path} is not edited here.", hint=f"What is: {_WHERE}.")
    return EditableFile(os.path.realpath(layout.root), path, kind)


def _kind(parts: tuple[str, ...]) -> Kind | None:
    name = parts[-1]
    stem, suffix = os.path.splitext(name)
    suffix = suffix.lower()
    if is_temporary(name):
        return None
    if parts[:2] == _HELPERS and len(parts) > 2:
        between = any(part.startswith(".") or part == "__pycache__" for part in parts[2:-1])
        return "helper" if suffix == ".py" and not between else None
    if parts[:-1] == ("flow_modules",) and not stem.startswith("_"):
        return {".py": "flow", ".ipynb": "notebook"}.get(suffix)  # type: ignore[return-value]
    if parts[:-1] == ("config",) and suffix == ".toml":
        return "config"
    return None


def check_new_name(file: EditableFile) -> None:
    """Raises UsageError (`name-invalid`) for a name that a new file should not have."""
    parts = file.path.split("/")
    stem, suffix = os.path.splitext(parts[-1])
    if suffix not in (".py", ".ipynb", ".toml"):
        raise _bad_name(file.name, "its ending is written in small letters")
    names = [*parts[2:-1], stem] if file.kind == "helper" else [stem]
    for name in names:
        if file.kind == "config":
            fits = re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII) is not None
        else:
            fits = (_NAME.fullmatch(name) is not None and not keyword.iskeyword(name)) or (
                file.kind == "helper" and name in ("__init__", "__main__")
            )
        if not fits:
            raise _bad_name(name, "it has letters, digits and _ alone, begins with a letter, and is no word of Python")
        if name.lower() in _WINDOWS:
            raise _bad_name(name, "Windows keeps this name for itself")
        if len(name.encode()) > LONGEST_NAME:
            raise _bad_name(name, f"it has at most {LONGEST_NAME} bytes")
    if file.path == "flow_modules/flow_helpers.py":
        raise _bad_name(stem, "the folder of the helpers has it")


def _bad_name(name: str, rule: str) -> UsageError:
    return UsageError(f"{name!r} is no good name here.", code="name-invalid", hint=f"Another name: {rule}.")


def editable_files(layout: WorkspaceLayout) -> Iterator[dict[str, Any]]:
    """`{path, kind, flow, size, modified_at, linked}` of every file that people edit, by path."""
    root = os.path.realpath(layout.root)
    found: list[tuple[EditableFile, os.DirEntry[str]]] = []
    pending = [("flow_modules", layout.flow_modules), ("config", layout.root / "config")]
    while pending:
        below, folder = pending.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        for entry in entries:
            path = f"{below}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                hidden = entry.name.startswith(".") or entry.name == "__pycache__"
                if not hidden and f"{path}/".startswith("flow_modules/flow_helpers/"):
                    pending.append((path, Path(entry.path)))
                continue
            kind = _kind(tuple(path.split("/"))) if path.isprintable() else None
            if kind is not None:
                found.append((EditableFile(root, path, kind), entry))
    for file, entry in sorted(found, key=lambda pair: pair[0].path):
        try:
            status = entry.stat(follow_symlinks=False)
        except OSError:
            continue  # it has gone since
        linked = stat.S_ISLNK(status.st_mode)
        if linked or stat.S_ISREG(status.st_mode):
            yield {
                "path": file.path,
                "kind": file.kind,
                "flow": file.flow,
                "size": None if linked else status.st_size,
                "modified_at": iso(status.st_mtime_ns // 1000),
                "linked": linked,
            }


def refusal(host: WorkspaceHost, *, seen: bool = False) -> FlowsteadError | None:
    """Why this machine changes nothing in the workspace now, or, when it was `seen` last; None when it may."""
    if host.open_engine is not None:
        return None
    try:
        standing = host.seen_standing if seen else host.standing
    except FlowsteadError as error:
        return error
    if standing.state in ("free", "mine"):
        return None
    owner = standing.host or "another machine"
    hints = {
        "owned": WorkspaceOwned.default_hint,
        "stale": "Take it over with: flowstead workspace takeover",
    }
    return WorkspaceOwned(
        f"{host.layout.workspace_id} is not this machine's to change; it belongs to {owner}. {standing.reason}",
        hint=hints.get(standing.state, "See: flowstead workspace status"),
        **standing.as_dict(),
    )


def require_editing(host: WorkspaceHost) -> None:
    """Raises WorkspaceOwned while another machine owns the workspace."""
    error = refusal(host)
    if error is not None:
        raise error


def existing(file: EditableFile) -> os.stat_result:
    """What the file is on the disk. Raises NotFound, and PathOutside for a link."""
    with os.fdopen(open_file(file.place), "rb") as opened:
        return os.fstat(opened.fileno())


def folder_missing(file: EditableFile) -> bool:
    return not os.path.isdir(file.folder.path)


def absent(file: EditableFile) -> NotFound:
    return NotFound(f"There is no {file.path}.", code="file-not-found", hint="It may have been moved.")
