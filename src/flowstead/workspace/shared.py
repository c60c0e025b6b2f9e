"""The few operations on the folder through which workstations tell each other things.

It may lie on a local disk, on NFS or on SMB. There a listing may be old, a reply may be lost although the request
was carried out, and a process may stop for an hour between any two lines. So nothing here trusts a reply where it
matters: whether a file was put is seen by the file itself.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from flowstead.model.errors import StorageError

_NO_LINKS = {getattr(errno, name, 0) for name in ("EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EXDEV")} | (
    {errno.EINVAL, errno.EACCES} if sys.platform == "win32" else set[int]()
)
"""What `link` says on a file system that has none: FAT, many SMB servers."""

_UNREACHABLE = {
    getattr(errno, name, 0)
    for name in ("EIO", "ESTALE", "ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH")
}
_PART = ".part"
_BINARY = getattr(os, "O_BINARY", 0)
LEFT_OVER_AFTER = 3600.0
"""Seconds after which a temporary file is taken for what a dead process left; by the share's own time stamps."""


class SharedFolder:
    """The files below `root`, a folder in the workspace; names are relative, with `/`.

    Folders are made when something is put into them, but never the workspace itself: where that is gone, the share
    is not connected. Every method raises StorageError (`workspace-unwritable`, `workspace-unreadable`).
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._has_links = True

    # -- looking -----------------------------------------------------------------------------------------------

    def names(self, folder: str, *, fresh: bool = False) -> list[str]:
        """Names of the files in `folder`, in no order; empty when there is no such folder.

        A network file system may answer from a memory that is a minute old. `fresh` costs two more requests, and
        makes it ask the server: a client forgets its listing of a folder in which it has just changed something.
        """
        path = self.root / folder
        with self._reading(folder):
            try:
                if fresh:
                    with suppress(OSError):  # whoever may only read has to take what is remembered
                        os.unlink(self._write_beside(path / "fresh", b""))
                return [name for name in os.listdir(path) if name[0] != "."]
            except FileNotFoundError:
                if self.root.parent.is_dir():
                    return []
                raise

    def read(self, name: str) -> bytes | None:
        """The content of a file; None when there is none. Opening asks the server, so it is as of now."""
        with self._reading(name):
            try:
                return self._read(self.root / name)
            except FileNotFoundError:
                return None

    def changed_at(self, name: str) -> float | None:
        """When a file was last written, by the server's clock: to be compared with others of this folder only."""
        with self._reading(name):
            try:
                return os.stat(self.root / name).st_mtime
            except FileNotFoundError:
                return None

    # -- changing ----------------------------------------------------------------------------------------------

    def put_new(self, name: str, data: bytes) -> bool:
        """Puts a file that must not exist yet, whole or not at all; returns whether it was this call that put it.

        Of any number of callers exactly one is told True. `data` must be unlike that of every other caller.
        """
        target = self.root / name
        with self._writing(name):
            if self._has_links:
                put = self._link(target, data)
                if put is not None:
                    return put
            return self._create(target, data)

    def replace(self, name: str, data: bytes) -> None:
        """Puts a file, in place of the one of that name; a reader sees one or the other, whole."""
        target = self.root / name
        with self._writing(name):
            part = self._write_beside(target, data)
            try:
                self._rename(part, target)
            except OSError:
                if not self._holds(target, data):  # else only the reply was lost
                    raise
            finally:
                with suppress(OSError):
                    os.unlink(part)

    def move(self, name: str, to: str) -> bool:
        """Renames a file; returns False when it is not there (any more)."""
        with self._writing(to):
            self._make_folder((self.root / to).parent)
            try:
                os.replace(self.root / name, self.root / to)
            except FileNotFoundError:
                return False
            return True

    def remove(self, name: str) -> bool:
        """Removes a file; returns False when it is not there (any more)."""
        with self._writing(name):
            try:
                os.unlink(self.root / name)
            except FileNotFoundError:
                return False
            return True

    def sweep(self, folder: str) -> int:
        """Removes what processes that died while they wrote have left in `folder`; returns how many files.

        One that was only stopped for so long finds its temporary file gone, and fails as if the disk had.
        """
        path = self.root / folder
        with self._writing(folder):
            try:
                found = [name for name in os.listdir(path) if name.startswith(".") and name.endswith(_PART)]
            except FileNotFoundError:
                return 0
            if not found:
                return 0
            part = self._write_beside(path / "sweep", b"")
            now = os.stat(part).st_mtime
            os.unlink(part)
            swept = 0
            for name in found:
                with suppress(FileNotFoundError):
                    if now - os.stat(path / name).st_mtime > LEFT_OVER_AFTER:
                        os.unlink(path / name)
                        swept += 1
            return swept

    # -- how ---------------------------------------------------------------------------------------------------

    def _link(self, target: Path, data: bytes) -> bool | None:
        """Puts a whole file by linking it to its name; None where the file system knows no links.

        The reply is not to be trusted: a request whose reply was lost is sent again, and then finds the name taken,
        by itself. The link count of our own file tells, or the content behind the name, which only we can have
        written. A link that is carried out even later than that is a claim by nobody, and goes the way of those.
        """
        part = self._write_beside(target, data)
        failure: OSError | None = None
        try:
            try:
                os.link(part, target)
            except FileExistsError:
                pass
            except OSError as error:
                if error.errno in _NO_LINKS:
                    self._has_links = False
                    return None
                failure = error
            if self._links_of(part) > 1 or self._holds(target, data):
                return True
        finally:
            with suppress(OSError):
                os.unlink(part)
        if failure is not None:
            raise failure
        return False

    def _create(self, target: Path, data: bytes) -> bool:
        """Puts a file where there are no links: made exclusively, then filled, then read again.

        Others may see it empty for a moment, and forever when this process dies in it.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY
        try:
            fd = self._open_new(target, flags)
        except FileExistsError:
            return False
        try:
            self._fill(fd, data)
        except OSError:
            with suppress(OSError):
                os.unlink(target)  # a full disk: it was made by us alone, and holds nothing that anyone can use
            raise
        return self._holds(target, data)

    def _write_beside(self, target: Path, data: bytes) -> str:
        """Writes a temporary file of a name of its own, to the disk, and returns its path."""
        part = f"{target.parent}{os.sep}.{target.name}.{os.getpid()}.{os.urandom(6).hex()}{_PART}"
        fd = self._open_new(Path(part), os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY)
        try:
            self._fill(fd, data)
        except OSError:
            with suppress(OSError):
                os.unlink(part)
            raise
        return part

    def _open_new(self, path: Path, flags: int) -> int:
        try:
            return os.open(path, flags, 0o666)
        except FileNotFoundError:
            self._make_folder(path.parent)
            return os.open(path, flags, 0o666)

    def _fill(self, fd: int, data: bytes) -> None:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if data:
                os.fsync(fd)
        finally:
            os.close(fd)

    def _make_folder(self, folder: Path) -> None:
        """Makes a folder below the workspace, as open to others as the workspace is, whatever this user's umask."""
        missing: list[Path] = []
        while not folder.is_dir():
            if folder == self.root.parent:
                raise FileNotFoundError(errno.ENOENT, "The workspace folder is gone", str(folder))
            missing.append(folder)
            folder = folder.parent
        mode = self.root.parent.stat().st_mode & 0o7777
        for each in reversed(missing):
            with suppress(FileExistsError):
                each.mkdir()
                with suppress(OSError):
                    each.chmod(mode)

    def _rename(self, part: str, target: Path) -> None:
        for attempt in range(10):
            try:
                os.replace(part, target)
                return
            except PermissionError:
                # Windows does not replace a file while someone reads it, which takes a moment.
                if sys.platform != "win32" or attempt == 9:
                    raise
                time.sleep(0.02)

    def _links_of(self, part: str) -> int:
        try:
            fd = os.open(part, os.O_RDONLY)  # opening asks the server; a mere stat may answer from memory
        except OSError:
            return 0
        try:
            return os.fstat(fd).st_nlink
        finally:
            os.close(fd)

    def _holds(self, target: Path, data: bytes) -> bool:
        try:
            return self._read(target) == data
        except OSError:
            return False

    def _read(self, path: Path) -> bytes:
        for _ in range(3):
            try:
                with open(path, "rb", buffering=0) as file:
                    return file.readall()
            except OSError as error:
                if error.errno != errno.ESTALE:  # NFS: replaced since it was opened
                    raise
        with open(path, "rb", buffering=0) as file:
            return file.readall()

    @contextmanager
    def _reading(self, name: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed("read", "workspace-unreadable", name, error) from error

    @contextmanager
    def _writing(self, name: str) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise self._failed("write", "workspace-unwritable", name, error) from error

    def _failed(self, doing: str, code: str, name: str, error: OSError) -> StorageError:
        if error.errno in (errno.EACCES, errno.EPERM):
            hint = f"Ask for the right to {doing} in {self.root}."
        elif error.errno == errno.EROFS:
            hint = f"The drive of {self.root} is read-only here; use a copy that you can write to."
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"Free some space on the drive of {self.root}."
        elif error.errno in _UNREACHABLE or not self.root.parent.is_dir():
            hint = f"Check that the drive of {self.root.parent} is connected, then try again."
        else:
            hint = "See what is wrong with: flowstead doctor"
        path = self.root / name
        return StorageError(
            f"Cannot {doing} {path}: {error.strerror or error}.",
            code=code,
            hint=hint,
            path=str(path),
            errno=error.errno,
        )
