"""Folders and files as a person sees them: what there is, what it is, and text as far as it is wanted."""

from __future__ import annotations

import codecs
import os
import stat
from typing import Any

from flowstead.daemon.files.kinds import HEAD, Kind, kind_by_name, kind_of
from flowstead.daemon.files.opening import FileUnreadable, Place, open_file, open_folder
from flowstead.daemon.files.places import is_allowed_link, shown_path
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import iso

HIDDEN = {".workspace_state"}


def look(place: Place) -> tuple[Kind, os.stat_result]:
    """What a file is, by its beginning and its name. Raises as open_file does."""
    descriptor = open_file(place)
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return kind_of(place.name, file.read(HEAD)), os.fstat(descriptor)
    finally:
        os.close(descriptor)


def look_at(place: Place) -> tuple[Kind, os.stat_result]:
    """The same for a folder too. Raises as open_file does."""
    try:
        return look(place)
    except FileUnreadable as error:
        if error.code != "not-a-file":
            raise
        try:
            opened = open_folder(place)
        except FlowsteadError:
            raise error from None
        try:
            return Kind("folder", "inode/directory"), os.stat(opened)
        finally:
            if isinstance(opened, int):
                os.close(opened)


def entries(host: WorkspaceHost, place: Place, offset: int, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Entries of a folder, folders first, by name, and whether there are more. Raises as open_folder does."""
    opened = open_folder(place)
    try:
        with os.scandir(opened) as found:
            known = [entry for entry in found if entry.name not in HIDDEN]
            known.sort(key=lambda entry: (not entry.is_dir(follow_symlinks=False), entry.name.casefold(), entry.name))
            page = [_entry(host, place, entry) for entry in known[offset : offset + limit]]
    finally:
        if isinstance(opened, int):
            os.close(opened)
    return [entry for entry in page if entry is not None], len(known) > offset + limit


def _entry(host: WorkspaceHost, folder: Place, entry: os.DirEntry[str]) -> dict[str, Any] | None:
    path = os.path.join(folder.path, entry.name)
    try:
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(found.st_mode):
            target = os.path.realpath(path)
            # One that leads elsewhere is shown as no more than that, so nothing is told of its target.
            found = os.stat(target) if is_allowed_link(host, target) else found
    except OSError:
        return None  # it has gone since
    is_file = stat.S_ISREG(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        kind = "folder"
    elif stat.S_ISLNK(found.st_mode):
        kind = "link"
    else:
        kind = kind_by_name(entry.name) if is_file else "special"
    return {
        # Names that are not text are shown as well as they can be; only by them they cannot be asked for.
        "name": _text(entry.name),
        "path": _text(shown_path(host, path)),
        "kind": kind,
        "size": found.st_size if is_file else None,
        "modified_at": iso(found.st_mtime_ns // 1000),
    }


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def text_of(place: Place, offset: int, limit: int) -> dict[str, Any]:
    """`limit` bytes of a file from `offset` as text, up to a line's end where one is near; see files.read_text."""
    with os.fdopen(open_file(place), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        encoding = _encoding(file.read(4))
        file.seek(offset)
        data = file.read(limit)
    if offset + len(data) < size:
        data = data[: _line_end(data, encoding)]
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = decoder.decode(data)
    # What is left of a character that is cut goes with the next part, unless nothing would come then.
    left = len(decoder.getstate()[0]) if offset + len(data) < size else 0
    if left and left < len(data):
        data = data[:-left]
    end = offset + len(data)
    return {
        "text": text.removeprefix("\ufeff"),
        "encoding": encoding,
        "offset": offset,
        "next": end if end < size and data else None,
        "size": size,
    }


def _encoding(start: bytes) -> str:
    return "utf-16-le" if start[:2] == b"\xff\xfe" else "utf-16-be" if start[:2] == b"\xfe\xff" else "utf-8"


def _line_end(data: bytes, encoding: str) -> int:
    """After the last line of `data`, when that is in its second half; else all of it."""
    if encoding != "utf-8":
        return len(data) & ~1
    end = data.rfind(b"\n") + 1
    return end if end > len(data) // 2 else len(data)
