"""Opening a file below a root without following a link, so that what is opened is what was allowed."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from flowstead.model.errors import FlowsteadError, NotFound, UsageError


class FileUnreadable(FlowsteadError):
    code = "file-unreadable"


class PathOutside(UsageError):
    code = "path-outside"
    default_hint = "Only files of this workspace, and those that its runs read or wrote, can be looked at."


class Place(NamedTuple):
    """A file or folder: `relative` (parts joined by `/`, empty for the root itself) holds no link and no `..`."""

    root: str
    relative: str

    @property
    def path(self) -> str:
        return os.path.join(self.root, *self.relative.split("/")) if self.relative else self.root

    @property
    def name(self) -> str:
        return os.path.basename(self.path)


def open_file(place: Place) -> int:
    """A descriptor for reading a regular file. Raises PathOutside, NotFound, FileUnreadable.

    Race: a part of the path may be replaced by a link after it was allowed. So each part is opened from the one before
    it, and none may be a link. On Windows, which has no such opening, the path is looked at again afterwards.
    """
    descriptor = _open(place, stat.S_ISREG)
    if sys.platform != "win32":
        os.set_blocking(descriptor, True)
    return descriptor


def open_folder(place: Place) -> int | str:
    """What os.scandir takes to list a folder: a descriptor, or on Windows its path. Raises as `open_file` does."""
    if sys.platform == "win32":
        _check_unmoved(place)
        return place.path
    return _open(place, stat.S_ISDIR)


if sys.platform == "win32":

    def _open(place: Place, wanted: Callable[[int], bool]) -> int:
        try:
            descriptor = os.open(place.path, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)
        except OSError as error:
            _refuse(place, error)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _not_a_file(place)
            _check_unmoved(place)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check_unmoved(place: Place) -> None:
        if os.path.normcase(os.path.realpath(place.path)) != os.path.normcase(place.path):
            raise PathOutside(f"{place.path} leads elsewhere.")

else:
    _THROUGH = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
    _AT_END = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

    def _open(place: Place, wanted: Callable[[int], bool]) -> int:
        folder = -1
        try:
            folder = os.open(place.root, _THROUGH)
            *between, last = place.relative.split("/") if place.relative else ["."]
            for part in between:
                inner = os.open(part, _THROUGH | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            # Looked at before it is opened: opening alone may already wake up whoever waits at a fifo or a device.
            mode = os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISLNK(mode):
                raise PathOutside(f"{place.path} is a link that leads elsewhere.")
            if not wanted(mode):
                raise _not_a_file(place) if wanted is stat.S_ISREG else _not_a_folder(place)
            descriptor = os.open(last, _AT_END, dir_fd=folder)
        except OSError as error:
            _refuse(place, error)
        finally:
            if folder >= 0:
                os.close(folder)
        if not wanted(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise _not_a_file(place)
        return descriptor


def _not_a_file(place: Place) -> FileUnreadable:
    return FileUnreadable(f"{place.path} is no ordinary file.", code="not-a-file", hint="Name a file, not a folder.")


def _not_a_folder(place: Place) -> FileUnreadable:
    return FileUnreadable(f"{place.path} is no folder.", code="not-a-folder", hint="Name a folder.")


def _refuse(place: Place, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise NotFound(f"There is no {place.path}.", code="file-not-found", hint="It may have been moved.")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        raise PathOutside(f"{place.path} leads through something that is no folder.")
    hint = "See who may read it." if isinstance(error, PermissionError) else ""
    raise FileUnreadable(f"{place.path} cannot be read: {error.strerror or error}.", hint=hint)
