"""Which machine this is, whether a process of the past ran on it, and a clock that counts the time it slept.

A machine is a random id in `$FLOWSTEAD_HOME`: two homes on one computer are two machines, two computers of one name
too. A copy of a home or of a whole disk carries the id along, so the id alone proves nothing.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from flowstead.model.errors import HomeUnwritable


class MachineIdentity(NamedTuple):
    """`id` is random; `boot_id` is new at each start of the system; `node` is a network card's address.

    `boot_id` and `node` are empty where the system does not tell them, `node` also where the address is made up,
    as in a container.
    """

    id: str
    host: str
    boot_id: str
    node: str


def this_machine(home: Path) -> MachineIdentity:
    """The machine of this home; its id is made at the first call. Raises HomeUnwritable."""
    return MachineIdentity(_machine_id(home), host_name(), _boot_id(), _node())


def same_boot(mine: MachineIdentity, my_lock: str, theirs: MachineIdentity, their_lock: str) -> bool:
    """Whether a process of this very machine wrote `theirs`, so that it is gone once I hold the lock that it held.

    A lock is named by `lock_name`. Under one boot of one system only the lock file tells a home from its copy (two
    containers of one image). After another boot every process of before is gone; then it only has to be the same
    computer, and not one that was set up from a copy of its disk: that has other network cards.
    """
    if mine.id != theirs.id:
        return False
    same_lock = my_lock != "" and my_lock == their_lock
    if mine.boot_id and mine.boot_id == theirs.boot_id:
        return same_lock
    same_computer = mine.host == theirs.host and mine.node != "" and mine.node == theirs.node
    return same_computer and (same_lock or bool(mine.boot_id and theirs.boot_id))


def lock_name(path: Path) -> str:
    """Names a lock file by device and number: a copy of the file is another lock. Empty when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}" if found.st_ino else ""


if sys.platform == "win32":

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        import ctypes

        ticks = ctypes.windll.kernel32.GetTickCount64
        ticks.restype = ctypes.c_uint64
        return ticks() / 1000

elif sys.platform == "darwin":

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # unlike time.monotonic, which stands still meanwhile

elif hasattr(time, "CLOCK_BOOTTIME"):

    def boottime() -> float:
        """Seconds on a clock that also counts the time for which the machine was suspended."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:
    boottime = time.monotonic


def host_name() -> str:
    if hasattr(os, "uname"):
        return os.uname().nodename
    import socket

    return socket.gethostname()


def _machine_id(home: Path) -> str:
    path = home / "machine-id"
    try:
        for _ in range(100):
            try:
                known = path.read_text("ascii").strip()
            except FileNotFoundError:
                _make_machine_id(path)
                continue
            if known:
                return known
            time.sleep(0.01)  # race: another process has just made the file and is about to fill it
    except (OSError, ValueError) as error:
        raise HomeUnwritable(f"Cannot read or make {path}: {error}.") from error
    raise HomeUnwritable(f"{path} is empty.", hint=f'Remove it, then try again: "{path}"')


def _make_machine_id(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    value = os.urandom(16).hex().encode()
    part = path.with_name(f".machine-id.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        _write_private(part, value)
        try:
            os.link(part, path)  # whole, or another process was first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            with suppress(FileExistsError):
                _write_private(path, value)
    finally:
        part.unlink(missing_ok=True)


def _write_private(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def _boot_id() -> str:
    if sys.platform == "linux":
        try:
            with open("/proc/sys/kernel/random/boot_id", "rb", buffering=0) as file:
                return file.read(64).decode("ascii").strip()
        except (OSError, ValueError):
            return ""
    if sys.platform == "darwin":
        import ctypes

        text, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        system = ctypes.CDLL(None)
        if system.sysctlbyname(b"kern.bootsessionuuid", text, ctypes.byref(size), None, 0) == 0:
            return text.value.decode("ascii")
    return ""


def _node() -> str:
    """The lowest network address given by a manufacturer, as 12 hex digits."""
    if sys.platform == "linux":
        # Not uuid.getnode: it may start a program, and takes what a container's network made up.
        found: list[str] = []
        try:
            for name in os.listdir("/sys/class/net"):
                with open(f"/sys/class/net/{name}/address", "rb", buffering=0) as file:
                    found.append(file.read(64).decode("ascii").strip().replace(":", ""))
        except (OSError, ValueError):
            pass
        return min((each for each in found if _is_real(each)), default="")
    import uuid

    node = f"{uuid.getnode():012x}"
    return node if _is_real(node) else ""


def _is_real(node: str) -> bool:
    """Whether an address is one that a manufacturer gave: not made up, not for a group, not that of loopback."""
    return len(node) == 12 and int(node, 16) != 0 and not int(node[:2], 16) & 0b11
