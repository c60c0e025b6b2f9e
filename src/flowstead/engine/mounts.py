"""Whether a folder is on a network share, where the operating system tells nobody what other machines change."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

# fmt: off
_SHARED = frozenset((
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "smb", "afs", "afpfs", "ncpfs", "9p", "ceph", "glusterfs",
    "lustre", "beegfs", "gpfs", "orangefs", "panfs", "davfs", "webdav", "vboxsf", "prl_fs", "vmhgfs", "virtiofs",
    "drvfs", "coda", "autofs",
))
# fmt: on
_LOCAL_FUSE = frozenset(("fuseblk", "fuse.ntfs", "fuse.ntfs-3g", "fuse.fuse-overlayfs", "fuse.bindfs"))


def is_on_share(folder: Path) -> bool:
    """Whether `folder` (or, where it is missing, what is above it) lies on a network file system.

    What cannot be told counts as local. File systems in user space count as shares: few of them pass changes on.
    """
    path = os.path.realpath(folder)
    if sys.platform == "win32":
        return _is_remote_drive(path)
    kind = file_system_of(path, _mounts())
    return kind in _SHARED or (kind.startswith(("fuse", "macfuse", "osxfuse")) and kind not in _LOCAL_FUSE)


def file_system_of(path: str, mounts: list[tuple[str, str]]) -> str:
    """The type of the file system that has `path`, of mounts `(place, type)`; the last one at a place covers others."""
    best, found = -1, ""
    for place, kind in mounts:
        inside = path == place or path.startswith(place.rstrip("/") + "/")
        if inside and len(place) >= best:
            best, found = len(place), kind
    return found


def _mounts() -> list[tuple[str, str]]:
    if sys.platform == "darwin":
        import subprocess

        try:
            text = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=False).stdout
        except (OSError, subprocess.SubprocessError):
            return []
        return parse_mount(text)
    try:
        return parse_mountinfo(Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
    except OSError:
        return []


def parse_mountinfo(text: str) -> list[tuple[str, str]]:
    """`(place, type)` of each line of /proc/self/mountinfo."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        fields = before.split(" ")
        if dash and len(fields) > 4:
            place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
            found.append((place, after.split(" ")[0]))
    return found


def parse_mount(text: str) -> list[tuple[str, str]]:
    """`(place, type)` of each line of macOS' `mount`: `//me@server/team on /Volumes/team (smbfs, nodev)`."""
    lines = re.finditer(r"^.*? on (/.*) \(([^,)]+)[^()]*\)$", text, re.MULTILINE)
    return [(line[1], line[2]) for line in lines]


if sys.platform == "win32":

    def _is_remote_drive(path: str) -> bool:
        import ctypes

        drive = os.path.splitdrive(path)[0]
        if drive.startswith("\\\\"):
            return not drive.startswith(("\\\\?\\", "\\\\.\\")) or drive.upper().startswith("\\\\?\\UNC\\")
        remote = 4
        return ctypes.windll.kernel32.GetDriveTypeW(drive + "\\") == remote

else:

    def _is_remote_drive(path: str) -> bool:
        return False
