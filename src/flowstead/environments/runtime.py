"""Flowstead's own part of every environment: what a worker and a flow need, as copies, without dependencies."""

from __future__ import annotations

import hashlib
import os
import shutil
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path

from flowstead.environments.cloning import clone
from flowstead.version import __version__

COMPILED = ".runtime"
"""Where, in the folder of environments, the runtime lies as it was compiled once for each Python."""

_ROOMS = ("flow", "worker", "helpers")
_INFO = f"flowstead-{__version__}.dist-info"
_FILES = ("__init__.py", "version.py", "py.typed")


@cache
def runtime_files() -> tuple[tuple[str, bytes], ...]:
    """Name (below `flowstead/`) and content of each file, by name.

    Read once: when the files of a checkout change while a process runs, it goes on with what it speaks itself.
    """
    root = Path(__file__).parent.parent
    paths = [root / name for name in _FILES]
    for room in _ROOMS:
        paths += (root / room).rglob("*.py")
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in paths if path.exists()}
    return tuple(sorted(found.items()))


@cache
def runtime_digest() -> str:
    """Names these files by their content: 32 hex digits."""
    whole = hashlib.sha256()
    for name, content in runtime_files():
        whole.update(f"{name}\0{len(content)}\0".encode() + content)
    return whole.hexdigest()[:32]


def put_runtime(site_packages: Path, environments: Path | None = None) -> bool:
    """Puts Flowstead's runtime into an environment, as an installed package without dependencies. Raises OSError.

    `environments` is the folder where `keep_compiled` may have kept it for such a Python: then it is linked from there.
    Returns whether it is byte-compiled.
    """
    if environments is not None and _link(_compiled(environments, site_packages), site_packages):
        return True
    record: list[str] = []
    folders: set[Path] = set()

    def write(path: Path, content: bytes) -> None:
        if path.parent not in folders:
            path.parent.mkdir(parents=True, exist_ok=True)
            folders.add(path.parent)
        path.write_bytes(content)
        digest = urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record.append(f"{path.relative_to(site_packages).as_posix()},sha256={digest},{len(content)}\n")

    for name, content in runtime_files():
        write(site_packages / "flowstead" / name, content)
    info = site_packages / _INFO
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: flowstead\nVersion: {__version__}\n".encode())
    write(info / "INSTALLER", b"flowstead\n")
    write(info / "WHEEL", b"Wheel-Version: 1.0\nGenerator: flowstead\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    record.append(f"{info.name}/RECORD,,\n")
    (info / "RECORD").write_text("".join(record), "utf-8")
    return False


def keep_compiled(site_packages: Path, environments: Path) -> None:
    """Keeps the runtime of an environment, compiled by now, for others of the same Python. That may fail."""
    kept = _compiled(environments, site_packages)
    beside = kept.with_name(f"new-{os.urandom(4).hex()}")
    try:
        beside.mkdir(parents=True)
        for name in ("flowstead", _INFO):
            clone(site_packages / name, beside / name)
        os.rename(beside, kept)
    except OSError:
        shutil.rmtree(beside, ignore_errors=True)  # another build has kept it meanwhile, or the disk is full


def _compiled(environments: Path, site_packages: Path) -> Path:
    return environments / COMPILED / f"{runtime_digest()}-{site_packages.parent.name}"


def _link(kept: Path, site_packages: Path) -> bool:
    if not kept.exists():
        return False
    try:
        for name in ("flowstead", _INFO):
            clone(kept / name, site_packages / name)
        return True
    except OSError:
        # Race: it was collected as that of an older Flowstead, which we are.
        for name in ("flowstead", _INFO):
            shutil.rmtree(site_packages / name, ignore_errors=True)
        return False
