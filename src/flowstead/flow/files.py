"""Which files of a folder count, and what they look like now."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

_TEMPORARY_ENDINGS = (".tmp", ".part", ".crdownload", ".swp", "~")


def is_temporary(name: str) -> bool:
    """Whether `name` is that of a hidden file, an editor's lock or backup, or a download under way."""
    return name.startswith((".", "~$")) or name.lower().endswith(_TEMPORARY_ENDINGS)


def iter_files(root: Path, extensions: tuple[str, ...] = (), recursive: bool = False) -> Iterator[os.DirEntry[str]]:
    """The files below `root`, sorted by their path relative to it; temporary ones are left out.

    `extensions` are lower-case with their dot; none means every file. A missing root has no files. Hidden folders and
    linked folders are not entered.
    """
    # Plain strings throughout: several times as fast as path objects.
    single = os.path.isfile(root)
    wanted = os.path.normcase(os.path.basename(root))
    found: list[tuple[str, os.DirEntry[str]]] = []
    pending = [(os.path.dirname(root) if single else os.fspath(root), "")]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = os.scandir(folder or ".")
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                name = entry.name
                if single:
                    if os.path.normcase(name) == wanted:
                        found.append((name, entry))
                elif entry.is_dir(follow_symlinks=False):
                    if recursive and not name.startswith("."):
                        pending.append((entry.path, f"{prefix}{name}/"))
                elif _wanted(name, extensions) and entry.is_file():
                    found.append((prefix + name, entry))
    found.sort(key=lambda pair: pair[0])
    return (entry for _, entry in found)


def scan(root: Path, extensions: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
    """The signature of each file below `root`: its posix path relative to it -> (size in bytes, mtime in ns).

    A root that is a single file gives that file alone, by its name. Files are chosen as in `iter_files`, recursively.
    Raises FileNotFoundError when the root is missing, PermissionError when a folder below it cannot be read.
    """
    status = os.stat(root)
    if not os.path.isdir(root):
        return {os.path.basename(root): (status.st_size, status.st_mtime_ns)}
    return _scan_folder(os.fspath(root), "", extensions)


def _scan_folder(root: str, below: str, extensions: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """What `scan` gives, for the folder `root` whose own relative path is `below` (empty, or with its slash)."""
    signatures: dict[str, tuple[int, int]] = {}
    pending = [(root, below)]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = os.scandir(folder)
        except (FileNotFoundError, NotADirectoryError):
            if prefix == below:
                raise
            continue  # the folder went away between the listing of its parent and now
        with entries:
            for entry in entries:
                name = entry.name
                if entry.is_dir(follow_symlinks=False):
                    if name[0] != ".":
                        pending.append((entry.path, f"{prefix}{name}/"))
                elif _wanted(name, extensions):
                    try:
                        status = entry.stat()
                    except FileNotFoundError:
                        continue  # removed since it was listed, or a link to nowhere
                    if stat.S_ISREG(status.st_mode):
                        signatures[prefix + name] = (status.st_size, status.st_mtime_ns)
    return signatures


def scan_named(root: Path, names: Iterable[str], extensions: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
    """What `scan` would give of these files and folders, by their posix paths relative to the folder `root`.

    Costs what they are, not what the whole folder is. What is gone, or does not count, is left out. Raises
    PermissionError where something cannot be read.
    """
    signatures: dict[str, tuple[int, int]] = {}
    entered: dict[str, bool] = {"": True}
    for name in names:
        parent, _, base = name.rpartition("/")
        if not base or not _enters(root, parent, entered):
            continue
        path = os.path.join(root, name)
        try:
            status = os.lstat(path)
            if stat.S_ISDIR(status.st_mode):
                if base[0] != ".":
                    signatures.update(_scan_folder(path, f"{name}/", extensions))
                continue
            if not _wanted(base, extensions):
                continue
            if stat.S_ISLNK(status.st_mode):
                status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISREG(status.st_mode):
            signatures[name] = (status.st_size, status.st_mtime_ns)
    return signatures


def _enters(root: Path, folder: str, known: dict[str, bool]) -> bool:
    """Whether a scan comes into `folder`: none of its parts is hidden, or a link."""
    found = known.get(folder)
    if found is None:
        parent, _, base = folder.rpartition("/")
        found = base[:1] != "." and _enters(root, parent, known) and not os.path.islink(os.path.join(root, folder))
        known[folder] = found
    return found


def _wanted(name: str, extensions: tuple[str, ...]) -> bool:
    return (not extensions or name.lower().endswith(extensions)) and not is_temporary(name)
