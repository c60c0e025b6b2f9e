"""Cloning a built environment: hard links for what nobody writes into, files of its own for what holds its path.

Installers replace files instead of writing into them, and so does Python with its bytecode: a clone that packages are
installed into, or removed from, never touches its template. Only an editor that writes into a module in place would
change it in both, as it would in the installer's own cache.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from base64 import urlsafe_b64encode
from pathlib import Path

from flowstead.environments.conda_prefix import Placed, placed_files, sign, with_prefix

_LARGEST_TEXT = 1 << 20
_ALWAYS_OWN = ("pyvenv.cfg", "direct_url.json")
_OWN_FOLDERS = ("bin", "Scripts", "condabin", "conda-meta")
_RECORDED_SCRIPT = re.compile(rb"^((?:\.\./)+(?:bin|Scripts)/([^/,\r\n]+)),[^,\r\n]*,\d*", re.MULTILINE)


def clone(template: Path, target: Path) -> int:
    """Makes `target`, which must not exist, an environment like `template` that works by itself; returns its files.

    Both are roots of virtual environments, or of conda ones. What names the template's path names the clone's in it:
    scripts, `pyvenv.cfg`, `.pth` files, records, and what conda has on record as holding the path. Across file systems,
    and where there are no hard links, files are copied.
    Raises OSError; what was made by then is left to the caller.
    """
    cloning = _Cloning(os.fspath(template.absolute()), os.fspath(target.absolute()))
    cloning.folder(cloning.old, cloning.new, own=False)
    cloning.write_records()
    return cloning.count


class _Cloning:
    def __init__(self, old: str, new: str) -> None:
        self.old, self.new = old, new
        self.count = 0
        # The forms that a path has in scripts and settings: as it is, with slashes, escaped, as an address.
        self._paths = list(
            dict.fromkeys((a.encode(), b.encode()) for a, b in zip(_forms(old), _forms(new), strict=True))
        )
        self._records: list[tuple[str, str, os.stat_result]] = []
        self._scripts: dict[bytes, bytes] = {}
        self._linking = True
        self._by_conda = placed_files(Path(old))

    def folder(self, source: str, target: str, *, own: bool) -> None:
        """Clones one folder; `own` says that its files are to be looked into for the template's path."""
        os.mkdir(target)
        at_top = source == self.old
        with os.scandir(source) as entries:
            for entry in entries:
                name = entry.name
                there = f"{target}{os.sep}{name}"
                if entry.is_dir(follow_symlinks=False):
                    self.folder(entry.path, there, own=at_top and name in _OWN_FOLDERS)
                    continue
                self.count += 1
                if entry.is_symlink():
                    self._symlink(entry.path, there)
                elif (placed := self._by_conda.get(entry.path)) is not None and placed.placeholder is not None:
                    self._placed(entry.path, there, placed, entry.stat())
                elif own:
                    content = self._rewritten(entry.path, there, entry.stat())
                    if content is not None:
                        self._scripts[os.fsencode(name)] = content
                elif name == "RECORD":
                    self._records.append((entry.path, there, entry.stat()))
                elif name in _ALWAYS_OWN or name.endswith((".pth", ".egg-link")):
                    self._rewritten(entry.path, there, entry.stat())
                else:
                    self._linked(entry.path, there)

    def write_records(self) -> None:
        """Writes what packages have on record about their files, now that their scripts are there."""

        def told(found: re.Match[bytes]) -> bytes:
            content = self._scripts.get(found[2])
            if content is None:
                return found[0]
            digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            return b"%s,sha256=%s,%d" % (found[1], digest, len(content))

        for source, there, status in self._records:
            content = self._moved(_read(source))
            if b"../bin/" in content or b"../Scripts/" in content:
                content = _RECORDED_SCRIPT.sub(told, content)
            _write(there, content, status)

    def _symlink(self, source: str, there: str) -> None:
        points_to = os.readlink(source)
        if points_to == self.old or points_to.startswith(self.old + os.sep):
            points_to = self.new + points_to[len(self.old) :]
        os.symlink(points_to, there)

    def _linked(self, source: str, there: str) -> None:
        if self._linking:
            try:
                os.link(source, there, follow_symlinks=False)
                return
            except OSError:
                # Another file system, too many links to one file, or none at all: copies from here on.
                self._linking = False
        shutil.copy2(source, there)

    def _placed(self, source: str, there: str, placed: Placed, status: os.stat_result) -> None:
        """A file of a conda package: conda has on record whether it holds the path, also where it is a program."""
        if not placed.placeholder:
            self._linked(source, there)
            return
        old, new = self._paths[0]
        _write(there, with_prefix(_read(source), old, new, placed), status)
        # Else its compiled form, which holds the template's path, would still pass for it.
        os.utime(there, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
        if placed.binary:
            sign(there)

    def _rewritten(self, source: str, there: str, status: os.stat_result) -> bytes | None:
        """Writes a file that may name the template's path; returns its content where that is another now."""
        if status.st_size > _LARGEST_TEXT:
            shutil.copy2(source, there)
            return None
        before = _read(source)
        content = self._moved(before) if b"\0" not in before else self._launcher(before)
        _write(there, content, status)
        return content if content != before else None

    def _moved(self, content: bytes) -> bytes:
        for old, new in self._paths:
            content = content.replace(old, new)
        return content

    def _launcher(self, content: bytes) -> bytes:
        """A Windows launcher: a program, then `#!python`, then a zip archive, which is addressed from its end."""
        head, mark, archive = content.rpartition(b"PK\x03\x04")
        for old, new in self._paths:
            head = head.replace(b"#!" + old, b"#!" + new).replace(b'#!"' + old, b'#!"' + new)
        return head + mark + archive


def _forms(path: str) -> tuple[str, ...]:
    return path, path.replace("\\", "/"), path.replace("\\", "\\\\"), Path(path).as_uri()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _write(path: str, content: bytes, status: os.stat_result) -> None:
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, stat.S_IMODE(status.st_mode))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
