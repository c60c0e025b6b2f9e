"""Flow versions on disk: what a module and its helpers said at one moment, addressed by their content."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from flowstead.flow.files import iter_files
from flowstead.model.errors import FlowNotFound, StorageError
from flowstead.model.flow import FlowSpec

if TYPE_CHECKING:
    from flowstead.workspace.layout import WorkspaceLayout

FORMAT = 1
_ABANDONED_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class HelperTree:
    """Every `flow_helpers/**/*.py` that could be read, by its posix path; `digest` is None when there are none."""

    digest: str | None
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class FlowVersion:
    """A stored version: everything a worker needs to load it, and the plan it was described with."""

    digest: str
    name: str
    folder: Path
    helpers: Path | None
    origin: Path
    spec: FlowSpec


def read_helpers(folder: Path) -> HelperTree:
    """The helpers below `folder`. What cannot be read is left out: who imports it sees it missing."""
    files: dict[str, bytes] = {}
    total = hashlib.sha256()
    start = len(os.fspath(folder)) + 1
    try:
        entries = iter_files(folder, (".py",), recursive=True)
    except OSError:
        return HelperTree(None, files)
    for entry in entries:
        relative = entry.path[start:].replace(os.sep, "/")
        if "__pycache__/" in relative:
            continue
        try:
            files[relative] = content = Path(entry.path).read_bytes()
        except OSError:
            continue
        total.update(f"{len(relative)} {relative} {len(content)} ".encode(errors="surrogateescape"))
        total.update(content)
    return HelperTree(total.hexdigest() if files else None, files)


def version_digest(name: str, suffix: str, source: bytes, helpers: str | None) -> str:
    """The identity of a version: the store's format, the flow's name, and the content of module and helpers."""
    head = json.dumps([FORMAT, suffix, name, helpers]).encode()
    return hashlib.sha256(head + b"\n" + source).hexdigest()


def helpers_folder(layout: WorkspaceLayout, digest: str | None) -> Path | None:
    return None if digest is None else layout.versions / f"helpers-{digest}"


def read_record(layout: WorkspaceLayout, digest: str, suffix: str) -> dict[str, Any] | None:
    """What `spec.json` of a version holds; None when it is not stored, or not wholly."""
    folder = os.path.join(layout.versions, digest)
    try:
        with open(os.path.join(folder, "spec.json"), "rb") as file:
            record = json.loads(file.read())
        if not os.path.exists(os.path.join(folder, f"module{suffix}")):
            return None
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) and ("plan" in record or "error" in record) else None


def read_version(layout: WorkspaceLayout, digest: str) -> FlowVersion:
    """The version that a run refers to, whatever its module says by now.

    Raises FlowNotFound with code `version-missing` when it is not stored, or was never described.
    """
    record = _stored_record(layout, digest)
    if "plan" not in record:
        raise _missing(digest)
    helpers = helpers_folder(layout, record["helpers"])
    origin = layout.root / record["origin"]
    plan = FlowSpec.from_dict(record["plan"])
    return FlowVersion(digest, record["name"], layout.versions / digest, helpers, origin, plan)


def read_texts(layout: WorkspaceLayout, digest: str) -> tuple[str, dict[str, Path]]:
    """The flow's name and the files of a version, by where they were: its module first, then its helpers.

    Also of one whose plan nobody could read. Raises FlowNotFound with code `version-missing` when it is not stored.
    """
    record = _stored_record(layout, digest)
    origin = PurePath(record["origin"])
    files = {origin.as_posix(): layout.versions / digest / f"module{origin.suffix}"}
    helpers = helpers_folder(layout, record["helpers"])
    if helpers is not None:
        for path in sorted(helpers.rglob("*.py")):
            files[f"flow_modules/flow_helpers/{path.relative_to(helpers).as_posix()}"] = path
    return record["name"], files


def _stored_record(layout: WorkspaceLayout, digest: str) -> dict[str, Any]:
    suffix = ".ipynb" if (layout.versions / digest / "module.ipynb").exists() else ".py"
    record = read_record(layout, digest, suffix)
    if record is None:
        raise _missing(digest)
    return record


def _missing(digest: str) -> FlowNotFound:
    return FlowNotFound(
        f"Flow version {digest[:12]} is not stored on this machine.",
        code="version-missing",
        hint="Start a new run of the flow: it takes the version that the workspace has now.",
    )


@contextmanager
def staging(layout: WorkspaceLayout) -> Iterator[Path]:
    """A fresh folder beside the versions, removed afterwards; what is complete is moved out of it by `publish`.

    Raises HomeUnwritable, and StorageError when the disk refuses what is written inside the block.
    """
    import shutil

    layout.prepare()
    folder = layout.versions / f".staging-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        for other in layout.versions.glob(".staging-*"):
            # Only a process that died leaves one behind for good; one at work may remove its own as we look.
            with suppress(FileNotFoundError):
                if time.time() - other.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(other, ignore_errors=True)
        folder.mkdir()
        yield folder
    except OSError as error:
        raise StorageError(
            f"Cannot store flow versions in {layout.versions}: {error.strerror or error}.",
            hint="Free some space there, or set FLOWSTEAD_HOME to another folder.",
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_helpers(folder: Path, helpers: HelperTree) -> None:
    """Writes the tree of `helpers` as the new folder `folder`."""
    folder.mkdir()
    for relative, content in helpers.files.items():
        file = folder / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def publish(staged: Path, target: Path) -> None:
    """Moves the complete folder `staged` to `target`, at once.

    Where another process was first, its files hold the same content, and only what is missing or is retold about
    it (`spec.json`) is replaced, file by file.
    """
    try:
        staged.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        for file in sorted(staged.rglob("*")):
            if file.is_dir():
                continue
            place = target / file.relative_to(staged)
            if file.name == "spec.json" or not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
