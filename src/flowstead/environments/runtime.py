"""Flowstead's own part of every environment: what a worker and a flow need, as copies, without dependencies."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path

from flowstead.version import __version__

_ROOMS = ("flow", "worker", "helpers")
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


def put_runtime(site_packages: Path) -> None:
    """Puts Flowstead's runtime into an environment, as an installed package without dependencies. Raises OSError."""
    package = site_packages / "flowstead"
    info = site_packages / f"flowstead-{__version__}.dist-info"
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
        write(package / name, content)
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: flowstead\nVersion: {__version__}\n".encode())
    write(info / "INSTALLER", b"flowstead\n")
    write(info / "WHEEL", b"Wheel-Version: 1.0\nGenerator: flowstead\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    record.append(f"{info.name}/RECORD,,\n")
    (info / "RECORD").write_text("".join(record), "utf-8")
