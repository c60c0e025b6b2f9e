"""Reading, writing, renaming and deleting what people edit: whole, atomically, and only what they saw."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from typing import Any

from flowstead.daemon.authoring.diagnosing import CHECKS, Diagnostic, of_entry
from flowstead.daemon.authoring.files import (
    EditableFile,
    absent,
    check_new_name,
    editable_file,
    existing,
    folder_missing,
    require_editing,
)
from flowstead.daemon.authoring.notebooks import Cell, cells_of, with_cells
from flowstead.daemon.authoring.templates import beginning
from flowstead.daemon.authoring.text import decode, encode, tag_of
from flowstead.daemon.placing import OpenFolder, move_between, refused
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError, TransitionRefused, UsageError
from flowstead.model.run import OPEN, iso

# Two windows of one browser must not both find the tag that they have read.
_WRITING = threading.Lock()


def content_of(file: EditableFile) -> dict[str, Any]:
    """`{path, kind, flow, tag, text, cells, size, modified_at}`; a notebook has cells, anything else text.

    Raises NotFound, PathOutside, FlowsteadError (`file-not-text`, `file-too-large`, `notebook-invalid`).
    """
    content = file.read()
    status = existing(file)
    is_notebook = file.kind == "notebook"
    return {
        "path": file.path,
        "kind": file.kind,
        "flow": file.flow,
        "tag": tag_of(content),
        "text": None if is_notebook else decode(content, file.name),
        "cells": cells_of(content, file.name) if is_notebook else None,
        "size": len(content),
        "modified_at": iso(status.st_mtime_ns // 1000),
    }


def edited(file: EditableFile, before: bytes, text: str | None, cells: list[Cell] | None) -> bytes:
    """The bytes of a file as edited. Raises UsageError, and what reading it raises."""
    if (file.kind == "notebook") != (cells is not None) or (text is None) == (cells is None):
        raise UsageError(
            "A notebook is written as cells, any other file as text.",
            code="request-invalid",
            hint="Give back what was read.",
        )
    if cells is not None:
        return with_cells(before, cells, file.name)
    assert text is not None
    if not isinstance(text, str):
        raise UsageError("text is a text.", code="request-invalid")
    decode(before, file.name)  # what cannot be read as text is not overwritten with some
    return encode(text, before)


def write(host: WorkspaceHost, file: EditableFile, tag: str, text: str | None, cells: list[Cell] | None) -> str:
    """Writes a file of which `tag` was read; returns its new tag.

    Raises WorkspaceOwned, TransitionRefused (`edit-conflict`), StorageError, and what `edited` raises.
    """
    require_editing(host)
    with _WRITING, OpenFolder(file.folder) as folder:
        # Before its content: what is saved from here on by another program changes one of the two.
        status = folder.status(file.name)
        before = file.read()
        _expect(file, tag, before)
        content = edited(file, before, text, cells)
        if content == before:
            return tag
        if status is None:
            raise absent(file)
        if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
            raise FlowsteadError(f"{file.path} is read-only.", code="file-read-only", hint="Let it be written first.")

        def unchanged() -> None:
            # Race: another program may save the file between this look and the replacing, which takes microseconds.
            if _signature(folder.status(file.name)) != _signature(status):
                _expect(file, tag, file.read())

        folder.put(file.name, content, mode=status.st_mode, before=unchanged)
    return tag_of(content)


def create(host: WorkspaceHost, path: str, text: str | None, cells: list[Cell] | None) -> EditableFile:
    """Makes a file, from a template unless it is given. Raises TransitionRefused (`file-exists`), UsageError."""
    require_editing(host)
    file = editable_file(host.layout, path)
    check_new_name(file)
    _require_free(host, file)
    content = beginning(file)
    if cells is not None or text is not None:
        content = edited(file, content if file.kind == "notebook" else b"", text, cells)
    _make_folder(host, file)
    with OpenFolder(file.folder) as folder:
        folder.put(file.name, content)
    return file


def rename(host: WorkspaceHost, file: EditableFile, to: str, tag: str) -> EditableFile:
    """Gives a file another name, of its kind. Raises TransitionRefused (`file-exists`, `flow-in-use`), UsageError."""
    require_editing(host)
    target = editable_file(host.layout, to)
    check_new_name(target)
    if target.kind != file.kind:
        raise UsageError(
            f"{file.path} cannot become {to}: that is a file of another kind.",
            code="name-invalid",
            hint="Keep its folder and ending.",
        )
    with _WRITING:
        _expect(file, tag, file.read())
        _require_unused(host, file)
        _require_free(host, target, besides=file)
        _make_folder(host, target)
        with OpenFolder(file.folder) as source, OpenFolder(target.folder) as folder:
            try:
                move_between(source, file.name, folder, target.name)
            except OSError as error:
                raise refused(target.place.path, error) from error
    return target


def delete(host: WorkspaceHost, file: EditableFile, tag: str) -> None:
    """Deletes a file of which `tag` was read. Raises TransitionRefused (`edit-conflict`, `flow-in-use`)."""
    require_editing(host)
    with _WRITING, OpenFolder(file.folder) as folder:
        _expect(file, tag, file.read())
        _require_unused(host, file)
        folder.remove(file.name)


def diagnostics_of(host: WorkspaceHost, file: EditableFile) -> list[Diagnostic]:
    """What is wrong with a file as it was just saved. What keeps it from being checked is told as one of them."""

    def look() -> list[Diagnostic]:
        content = file.read()
        if file.flow is None:
            return CHECKS.diagnose(host, file, content)
        # The catalog remembers what it finds, so that the lists of flows need not look again.
        return of_entry(host, host.catalog.entry(file.flow), content)

    return _told(file, look)


def left_behind(host: WorkspaceHost, file: EditableFile) -> list[Diagnostic]:
    """What is wrong with the flows that mention a helper which is no longer there."""
    return _told(file, lambda: CHECKS.diagnose(host, file, None)) if file.kind == "helper" else []


def _told(file: EditableFile, look: Callable[[], list[Diagnostic]]) -> list[Diagnostic]:
    try:
        return look()
    except FlowsteadError as error:
        if error.code == "check-superseded":
            return []
        told = {"file": file.path, "flow": file.flow, "line": None, "column": None, "cell": None}
        return [{**told, "severity": "warning", "code": error.code, "message": error.message, "hint": error.hint}]


def _expect(file: EditableFile, tag: str, content: bytes) -> None:
    """Raises TransitionRefused (`edit-conflict`), with the file as it is now, unless it has that tag."""
    if tag_of(content) == tag:
        return
    try:
        now = content_of(file)
    except FlowsteadError:
        now = {"path": file.path, "tag": tag_of(content), "text": None, "cells": None}
    changed = f" at {now['modified_at'][:19].replace('T', ' ')} UTC" if now.get("modified_at") else ""
    raise TransitionRefused(
        f"{file.path} was changed on the disk{changed}, since it was read.",
        code="edit-conflict",
        hint="Compare the two, and save again on top of what is there now, or take that.",
        now=now,
    )


def _signature(status: os.stat_result | None) -> tuple[int, ...]:
    return () if status is None else (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _require_unused(host: WorkspaceHost, file: EditableFile) -> None:
    if file.flow is None or not host.layout.ledger.exists():
        return
    reader = host.reader
    ids = reader.open_runs(file.flow, OPEN)
    queued = [run for run in host.as_seen(reader.runs_by_id(ids[:50])) if run.status in OPEN]
    if queued:
        runs = "a run" if len(ids) == 1 else f"{len(ids)} runs"
        raise TransitionRefused(
            f"{file.flow} has {runs} that is queued or under way."
            if len(ids) == 1
            else f"{file.flow} has {runs} that are queued or under way.",
            code="flow-in-use",
            hint="Cancel them, or wait until they have ended.",
            runs=[run.id for run in queued],
        )


def _require_free(host: WorkspaceHost, file: EditableFile, besides: EditableFile | None = None) -> None:
    """Raises TransitionRefused where the name is taken, in whatever case, or by a flow of the other ending."""
    if file.flow is None:
        return  # placing it refuses to replace anything
    for name in os.listdir(host.layout.flow_modules):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in (".py", ".ipynb") and stem.casefold() == file.flow.casefold():
            if besides is not None and name == besides.name:
                continue
            raise TransitionRefused(
                f"There is a flow {stem} already, in {name}.",
                code="file-exists",
                hint="Choose another name.",
                file=f"flow_modules/{name}",
            )


def _make_folder(host: WorkspaceHost, file: EditableFile) -> None:
    """Makes the folder of a new helper or of config/, part by part, never through a link."""
    if not folder_missing(file):
        return
    made = os.path.realpath(host.layout.root)
    for part in file.folder.relative.split("/"):
        made = os.path.join(made, part)
        try:
            os.mkdir(made)
        except FileExistsError:
            if os.path.islink(made):
                return  # opening it tells
        except OSError as error:
            raise refused(made, error) from error
