"""Putting files in place: whole or not at all, and never through a link."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from flowstead.daemon.files.opening import PathOutside, Place, open_folder
from flowstead.model.errors import NotFound, StorageError, TransitionRefused

PART_PREFIX = ".flowstead-upload-"
PART_SUFFIX = ".part"
SECONDS_ABANDONED = 6 * 3600.0
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EXDEV, errno.EINVAL)


class OpenFolder:
    """A folder that was opened part by part without following a link; names are of entries right in it.

    Whatever becomes of its path meanwhile, files land in this folder. Raises what open_folder raises, and StorageError
    (`disk-full`, `file-unwritable`) of whatever the disk refuses. Use it with `with`.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._opened = open_folder(place)

    def __enter__(self) -> OpenFolder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets the folder go. Safe to call twice."""
        opened, self._opened = self._opened, ""
        if isinstance(opened, int):
            os.close(opened)

    @property
    def _at(self) -> int | None:
        return self._opened if isinstance(self._opened, int) else None

    def _name(self, name: str) -> str:
        return name if self._at is not None else os.path.join(self.place.path, name)

    def status(self, name: str) -> os.stat_result | None:
        """What is there by that name, itself and not what it leads to; None when there is nothing."""
        try:
            return os.stat(self._name(name), dir_fd=self._at, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def begin(self, mode: int | None = None) -> tuple[int, str]:
        """A new file under a temporary name that no trigger takes up: its descriptor, and that name."""
        name = f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        with self._telling(name):
            opened = os.open(self._name(name), flags | getattr(os, "O_NOFOLLOW", 0), 0o666, dir_fd=self._at)
            if mode is not None and sys.platform != "win32":
                os.fchmod(opened, stat.S_IMODE(mode))
        return opened, name

    def settle(self, part: str, name: str, *, replace: bool) -> None:
        """Gives a temporary file its name; raises TransitionRefused (`file-exists`) unless it may `replace`."""
        with self._telling(name):
            if replace:
                found = self.status(name)
                if found is not None and not stat.S_ISREG(found.st_mode):
                    raise PathOutside(f"{name} is no ordinary file.")
                os.replace(self._name(part), self._name(name), src_dir_fd=self._at, dst_dir_fd=self._at)
            else:
                self.move(part, name)
            self._sync()

    def move(self, name: str, to: str) -> None:
        """Renames a file and never replaces another. Raises TransitionRefused (`file-exists`)."""
        with self._telling(to):
            move_between(self, name, self, to)

    def put(
        self, name: str, content: bytes, *, mode: int | None = None, before: Callable[[], None] | None = None
    ) -> None:
        """Writes a file whole, onto the disk. With `before` it replaces one that is there, after calling that."""
        self.tidy()
        opened, part = self.begin(mode)
        try:
            with self._telling(name), os.fdopen(opened, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if before is not None:
                before()
            self.settle(part, name, replace=before is not None)
        except BaseException:
            self.discard(part)
            raise

    def remove(self, name: str) -> None:
        """Deletes a file. Raises NotFound."""
        with self._telling(name):
            os.unlink(self._name(name), dir_fd=self._at)
            self._sync()

    def discard(self, part: str) -> None:
        """Removes a temporary file, if it is there."""
        with suppress(OSError):
            os.unlink(self._name(part), dir_fd=self._at)

    def tidy(self) -> None:
        """Removes temporary files whose writer is long gone."""
        with suppress(OSError), os.scandir(self._opened) as entries:
            for entry in entries:
                if entry.name.startswith(PART_PREFIX) and entry.name.endswith(PART_SUFFIX):
                    with suppress(OSError):
                        if time.time() - entry.stat(follow_symlinks=False).st_mtime > SECONDS_ABANDONED:
                            self.discard(entry.name)

    def _sync(self) -> None:
        if self._at is not None:
            with suppress(OSError):  # not every file system can
                os.fsync(self._at)

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise refused(os.path.join(self.place.path, name), error) from error


def move_between(source: OpenFolder, name: str, target: OpenFolder, to: str) -> None:
    """Renames a file from one folder into another and never replaces one that is there. Raises OSError too."""
    old, new = source._name(name), target._name(to)
    if sys.platform == "win32":
        try:
            os.rename(old, new)
        except FileExistsError:
            raise _exists(to) from None
        return
    here, there = source.status(name), target.status(to)
    if there is not None and (here is None or not os.path.samestat(here, there) or name == to):
        raise _exists(to)
    if there is None:
        try:
            # Unlike a rename, a link never replaces a file that appeared since the check.
            os.link(old, new, src_dir_fd=source._at, dst_dir_fd=target._at, follow_symlinks=False)
            os.unlink(old, dir_fd=source._at)
            return
        except FileExistsError:
            raise _exists(to) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
    # Another spelling of one name where case does not count, or a file system without links.
    os.rename(old, new, src_dir_fd=source._at, dst_dir_fd=target._at)


def _exists(name: str) -> TransitionRefused:
    return TransitionRefused(f"There is a {name} already.", code="file-exists", hint="Choose another name.", file=name)


def refused(path: str, error: OSError) -> StorageError | NotFound:
    """What the disk said, as an error that people can act on."""
    if isinstance(error, FileNotFoundError):
        return NotFound(f"There is no {path}.", code="file-not-found", hint="It may have been moved.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk is full: {path} could not be written.", code="disk-full", hint="Free some space."
        )
    why = error.strerror or error
    return StorageError(f"{path} cannot be written: {why}.", code="file-unwritable", hint="See who may write there.")
