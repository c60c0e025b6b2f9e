"""What counts of packages that lie in folders and files of this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import threading
import time
import tomllib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flowstead.environments.manifest import Trace, canonical, invalid, read_file

_METADATA = ("setup.cfg", "setup.py")
_NOT_METADATA = {
    "bandit", "basedpyright", "black", "cibuildwheel", "codespell", "commitizen", "coverage", "flowstead", "isort",
    "mypy", "pylint", "pyright", "pytest", "ruff", "towncrier", "tox", "ty",
}  # fmt: skip
"""Tools whose settings in a pyproject.toml have nothing to do with what is installed."""

_NOT_CONTENT = {
    ".git", ".hg", ".svn", "__pycache__", ".venv", "venv", "node_modules", ".tox", ".nox", ".eggs", ".mypy_cache",
    ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints", ".idea", ".vscode", ".workspace_state",
}  # fmt: skip
_BUILD_OUTPUT = {"build", "dist", "target"}
_OF_WORKSPACE = {"flow_modules", "databases", "config"}
"""Where a workspace is a package itself, its flows and their data are none of it: each run changes them."""

_ENDINGS_LEFT_OUT = (".pyc", ".pyo", ".egg-info", ".dist-info", ".swp")

_NANOSECONDS_UNSURE = 3_000_000_000
"""A file that changed so shortly before it was read may change again without its times showing it."""

_MOST_KNOWN = 50_000
_known: dict[str, tuple[tuple[int, ...], str]] = {}
_lock = threading.Lock()


def local_package(path: str, editable: bool, file: str, line: int | None, trace: Trace) -> str:
    """What counts of a local package (see local_digest) that a line of a manifest asks for.

    Raises ManifestInvalid when it is not there, or is no package.
    """
    verdict = trace.look(_kind, path)
    if verdict is None:
        raise invalid(f"asks for {path[:300]!r}, which is not there", file, line)
    if verdict == "folder":
        raise invalid(
            f"asks for {path[:300]!r}, which is no package: it has neither pyproject.toml nor setup.py", file, line
        )
    return trace.look(local_digest, (path, editable))


def local_digest(package: tuple[str, bool]) -> str:
    """What counts of a local package: `(path, editable)` to 32 hex digits.

    Of an editable one that is what its metadata is made of, never its code; of another folder all its files but those
    of version control, caches and build output; of a wheel or source archive its bytes. Packages that it takes from
    folders itself count as well. Raises ManifestInvalid when it is not there, or cannot be read.
    """
    whole = hashlib.sha256()
    path, editable = package
    for name, digest in sorted(_digests(Path(path), editable, {}).items()):
        whole.update(f"{name}\0{digest}\0".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()[:32]


def local_name(path: str) -> str | None:
    """The canonical name that a folder's pyproject.toml gives its package, None where that does not say."""
    name = _project(_toml(Path(path))).get("name")
    return canonical(name) if isinstance(name, str) else None


def path_of_address(address: str) -> str:
    """The path that a `file:` address names."""
    split = urlsplit(address)
    path = unquote(split.path)
    path = re.sub("^/+", "/", path)
    return path[1:] if os.name == "nt" and re.match(r"/[A-Za-z]:", path) else path


def local_address(address: str, folder: Path) -> tuple[str, str] | None:
    """The path that a requirement's address names, and its `file:` address; None for an address of elsewhere.

    A relative one is relative to `folder`.
    """
    if "://" in address and not address.startswith("file:"):
        return None
    place, _, inside = address.partition("#")
    path = absolute_path(path_of_address(place) if place.startswith("file:") else unquote(place), folder)
    return path, Path(path).as_uri() + (f"#{inside}" if inside else "")


def absolute_path(path: str, folder: Path) -> str:
    """A path that is relative to `folder`, absolute."""
    return os.path.normpath(folder / path) if "\0" not in path else f"{folder}/{path}"


def workspace_member(asked: tuple[Path, str]) -> Path | None:
    """The folder of a member of the uv workspace that a folder lies in, by `(folder, canonical name)`."""
    folder, name = asked
    for root in (folder, *folder.parents):
        table = _toml(root)
        members = _sub(table, "tool", "uv", "workspace").get("members")
        if not isinstance(members, list):
            continue
        if _name(table) == name:
            return root
        for pattern in members:
            try:
                found = sorted(root.glob(pattern)) if isinstance(pattern, str) else []
            except (ValueError, NotImplementedError, OSError):
                found = []
            for each in found:
                if _name(_toml(each)) == name:
                    return each
        return None
    return None


def _kind(path: str) -> str | None:
    """What is at a path: `file`, `package` (a folder that can be installed), any other `folder`, or None."""
    try:
        if not stat.S_ISDIR(os.stat(path).st_mode):
            return "file"
    except (OSError, ValueError):
        return None
    there = any(os.path.isfile(os.path.join(path, name)) for name in ("pyproject.toml", "setup.py"))
    return "package" if there else "folder"


def _digests(path: Path, editable: bool, found: dict[str, str]) -> dict[str, str]:
    """Adds to `found` the digest of a package, and of those that it takes from folders, by their paths."""
    key = f"{path}{' (editable)' if editable else ''}"
    if key in found:
        return found
    found[key] = ""
    try:
        status = path.stat()
        if not stat.S_ISDIR(status.st_mode):
            found[key] = _file_digest(str(path), status)
            return found
        found[key] = _metadata_digest(path) if editable else _folder_digest(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid(f"cannot be read, which a requirement names: {reason}", str(path)) from error
    for each, also_editable in _taken_from_folders(path):
        if _kind(str(each)) in ("file", "package"):  # of all else, the installer says that it will not do
            _digests(each, also_editable, found)
    return found


def _metadata_digest(folder: Path) -> str:
    whole = hashlib.sha256()
    names = list(_METADATA)
    content = read_file(str(folder / "pyproject.toml"))
    table = _toml(folder)
    if table:
        counted = {key: value for key, value in table.items() if key not in ("tool", "dependency-groups")}
        tools = {key: value for key, value in _sub(table, "tool").items() if key not in _NOT_METADATA}
        whole.update(json.dumps([counted, tools], sort_keys=True, default=str).encode())
        names += _files_of_metadata(table)
    elif content is not None:
        whole.update(content)
    for name in names:
        content = read_file(str(folder / name))
        if content is not None:
            whole.update(f"\0{name}\0{len(content)}\0".encode("utf-8", "surrogatepass") + content)
    return whole.hexdigest()


def _files_of_metadata(table: dict[str, Any]) -> list[str]:
    """Files that setuptools, or a plugin of hatch, takes dependencies from."""
    found: list[str] = []
    dynamic = _sub(table, "tool", "setuptools", "dynamic")
    extras = dynamic.get("optional-dependencies")
    for each in (dynamic.get("dependencies"), *(extras.values() if isinstance(extras, dict) else ())):
        files = each.get("file") if isinstance(each, dict) else None
        found += [files] if isinstance(files, str) else files if isinstance(files, list) else []
    hook = _sub(table, "tool", "hatch", "metadata", "hooks", "requirements_txt").get("files")
    found += hook if isinstance(hook, list) else []
    return [name for name in found if isinstance(name, str) and "\0" not in name]


def _folder_digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for name, path in _files(folder):
        if os.path.islink(path) and not os.path.isfile(path):
            digest = os.readlink(path)
        else:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                continue
            digest = _file_digest(path, status)
        whole.update(f"{name}\0{digest}\0".encode("utf-8", "surrogatepass"))
    return whole.hexdigest()


def _files(folder: Path, below: str = "") -> Iterator[tuple[str, str]]:
    """Name below the folder, and path, of each file that counts, in one order on every machine."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    # Only at the top: a package may well have modules of these names.
    left_out = set[str]() if below else set(_BUILD_OUTPUT)
    if not below and any(entry.name == "flow_modules" for entry in found):
        left_out |= _OF_WORKSPACE
    for entry in found:
        if entry.name in _NOT_CONTENT or entry.name.endswith(_ENDINGS_LEFT_OUT):
            continue
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in left_out:
                yield from _files(Path(entry.path), f"{name}/")
        else:
            yield name, entry.path


def _file_digest(path: str, status: os.stat_result) -> str:
    """The digest of a file's content. It is read again when anything of `status` changed since it was read."""
    mark = status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev
    known = _known.get(path)
    if known is not None and known[0] == mark:
        return known[1]
    now = time.time_ns()
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Race: written again within one tick of the file system's clock. A file so fresh is read each time.
    if now - max(status.st_mtime_ns, status.st_ctime_ns) > _NANOSECONDS_UNSURE:
        with _lock:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[path] = mark, digest
    return digest


def _taken_from_folders(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The folders and files that a package takes others from, and whether as editable ones."""
    table = _toml(folder)
    sources = _sub(table, "tool", "uv", "sources")
    for name, source in sources.items():
        for each in source if isinstance(source, list) else [source]:
            if not isinstance(each, dict):
                continue
            path = each.get("path")
            if isinstance(path, str) and "\0" not in path:
                yield Path(os.path.normpath(folder / path)), each.get("editable") is True
            elif each.get("workspace") is True:
                member = workspace_member((folder, canonical(name)))
                if member is not None:
                    yield member, each.get("editable") is not False
    project = _project(table)
    extras = project.get("optional-dependencies")
    lists = [project.get("dependencies"), *(extras.values() if isinstance(extras, dict) else ())]
    for text in (text for each in lists if isinstance(each, list) for text in each):
        address = re.search(r"@\s*(file:[^\s;]+)", text) if isinstance(text, str) else None
        if address is not None and "\0" not in unquote(address.group(1)):
            yield Path(os.path.normpath(folder / path_of_address(address.group(1)))), False


def _toml(folder: Path) -> dict[str, Any]:
    """The pyproject.toml of a folder, empty where there is none, or none that can be read: the installer says why."""
    content = read_file(str(folder / "pyproject.toml"))
    return {} if content is None else _parsed(content)


@lru_cache(maxsize=64)
def _parsed(content: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return {}


def _project(table: dict[str, Any]) -> dict[str, Any]:
    return _sub(table, "project")


def _name(table: dict[str, Any]) -> str | None:
    name = _project(table).get("name")
    return canonical(name) if isinstance(name, str) else None


def _sub(table: dict[str, Any], *path: str) -> dict[str, Any]:
    for name in path:
        below = table.get(name)
        table = below if isinstance(below, dict) else {}
    return table
