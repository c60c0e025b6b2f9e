"""Which Python an environment is made with: the one that Flowstead runs on, or another of this machine."""

from __future__ import annotations

import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.environments.declaration import Interpreter
from flowstead.model.errors import ManifestInvalid, PythonMissing

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

OLDEST = (3, 11)
"""The oldest Python that Flowstead's workers run on."""

SECONDS_KEPT = 20.0
"""How long the absence of a Python is believed: finding out takes a second or two."""

_SECONDS_TO_LIST = 60.0
_SECONDS_TO_ASK = 20.0
_ASK = "import platform, sys; print(getattr(sys, '_base_executable', sys.executable)); print(platform.python_version())"


@dataclass(frozen=True, slots=True)
class Found:
    """An interpreter, and what its file looked like when it said its version."""

    interpreter: Interpreter
    mark: tuple[int, int, int]


class Interpreters:
    """The interpreters of this machine, as far as they were needed; safe for many threads.

    `search` lists those that there are besides our own, the path as it was found; `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        own: Interpreter | None,
        search: Callable[[], list[Interpreter]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own = own
        self._own_mark = mark_of(own.path) if own is not None else None
        self._search = search
        self._clock = clock
        self._lock = threading.Lock()
        self._chosen: dict[str, Found] = {}
        self._listed: tuple[float, list[Interpreter]] | None = None

    def find(self, requires_python: str | None) -> Interpreter:
        """See find_interpreter."""
        text = requires_python or ""
        own = self._own
        if own is not None and _admits(text, own.version) and self._own_mark == mark_of(own.path) is not None:
            return own
        known = self._chosen.get(text)
        if known is not None and mark_of(known.interpreter.path) == known.mark:
            return known.interpreter
        with self._lock:  # many ask at once when a daemon starts: they wait for one search
            known = self._chosen.get(text)
            if known is not None and mark_of(known.interpreter.path) == known.mark:
                return known.interpreter
            self._chosen.pop(text, None)
            if self._listed is None or self._clock() - self._listed[0] > SECONDS_KEPT:
                self._listed = self._clock(), self._search()
            listed = self._listed[1]
            for each in _newest_first(each for each in listed if _admits(text, each.version)):
                real = _asked(each)
                mark = None if real is None else mark_of(real.path)
                if real is not None and mark is not None and _admits(text, real.version):
                    self._chosen[text] = Found(real, mark)
                    return real
        raise _missing(text, [*([own] if own is not None and self._own_mark is not None else []), *listed])


def find_interpreter(requires_python: str | None) -> Interpreter:
    """The interpreter for an environment: the base of the one that runs this, where it fits, else the newest that does.

    The first look beyond our own takes a second or two. Raises PythonMissing naming those that there are,
    ManifestInvalid when `requires_python` is no version specifier, and BuildFailed when uv is not there to look.
    """
    return _of_this_machine().find(requires_python)


@lru_cache(maxsize=1)
def _of_this_machine() -> Interpreters:
    return Interpreters(own_interpreter(), installed_interpreters)


def own_interpreter() -> Interpreter | None:
    """The base interpreter of the one that runs this; None when it is not to be found, or none that workers run on."""
    path = Path(getattr(sys, "_base_executable", None) or sys.executable)
    fits = sys.implementation.name == "cpython" and "t" not in getattr(sys, "abiflags", "")
    if not fits or not path.is_absolute() or is_virtual(path) or mark_of(path) is None:
        return None
    version = platform.python_version()
    return Interpreter(path, version, f"cpython-{version}-{_platform_key()}")


def is_virtual(path: Path) -> bool:
    """Whether an interpreter is that of a virtual environment."""
    return any((folder / "pyvenv.cfg").exists() for folder in (path.parent, path.parent.parent))


def installed_interpreters() -> list[Interpreter]:
    """What uv finds on this machine. It starts some of them, which takes a second; broken ones are left out."""
    import json
    import subprocess

    from flowstead.environments.uv import uv_executable, uv_variables

    command = [uv_executable(), "python", "list", "--only-installed", "--output-format", "json", "--offline"]
    try:
        # Not in the folder of whoever started this: shims of pyenv look there for the version to be.
        said = subprocess.run(
            [*command, "--no-config"],
            cwd=Path(sys.executable).anchor,
            env=uv_variables(os.environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS_TO_LIST,
            check=False,
        )
        entries: list[dict[str, Any]] = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    found: list[Interpreter] = []
    for each in entries:
        path = each.get("path")
        if path and each.get("implementation") == "cpython" and each.get("variant", "default") == "default":
            found.append(Interpreter(Path(path), str(each["version"]), str(each["key"])))
    return found


def mark_of(path: Path) -> tuple[int, int, int] | None:
    """What tells that an interpreter's file was replaced; None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _asked(listed: Interpreter) -> Interpreter | None:
    """The interpreter itself behind a path that may be a shim or a link; None when it does not start."""
    import subprocess

    try:
        said = subprocess.run(
            [listed.path, "-I", "-c", _ASK],
            cwd=listed.path.anchor,
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS_TO_ASK,
            check=True,
        )
        path, version = said.stdout.decode().split("\n")[:2]
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    path, version = path.strip(), version.strip()
    if not os.path.isabs(path) or is_virtual(Path(path)):
        return None
    return Interpreter(Path(path), version, listed.key.replace(listed.version, version))


def _platform_key() -> str:
    """System, processor and C library, as uv writes them."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    multiarch = getattr(sys.implementation, "_multiarch", "")
    libc = ("musl" if "musl" in multiarch else "gnu") if system == "linux" else "none"
    return f"{system}-{machine}-{libc}"


@lru_cache(maxsize=256)
def _specifiers(text: str) -> SpecifierSet:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise ManifestInvalid(
            f"requires-python is no version specifier: {text!r}.", hint='Write it like: requires-python = ">=3.11"'
        ) from None


@lru_cache(maxsize=1024)
def _admits(text: str, version: str) -> bool:
    """Whether workers run on that version, and the specifier has it."""
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST:
        return False
    return not text or _specifiers(text).contains(version, prereleases=True)


def _version(text: str) -> Version:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _newest_first(found: Iterable[Interpreter]) -> list[Interpreter]:
    """The newest first, releases before what comes ahead of one."""
    return sorted(found, key=lambda each: (not (v := _version(each.version)).is_prerelease, v), reverse=True)


def _missing(text: str, found: list[Interpreter]) -> PythonMissing:
    there = {each.version: each for each in reversed(found)}
    newest = sorted(there, key=_version, reverse=True)
    detail = {"requires_python": text or None, "found": [[each, str(there[each].path)] for each in newest]}
    oldest = ".".join(map(str, OLDEST))
    listed = ", ".join(f"{each} ({there[each].path})" for each in newest) or "none at all"
    wanted = f"requires-python is {text!r}" if text else f"It takes Python {oldest} or newer"
    install = _to_install(text)
    if install is None:
        return PythonMissing(
            f"{wanted}, and Flowstead runs flows on Python {oldest} or newer only. This machine has {listed}.",
            hint=f"Let requires-python have a Python of {oldest} or newer.",
            **detail,
        )
    return PythonMissing(
        f"{wanted}, and no Python of this machine fits. It has {listed}.",
        hint=f"Install one with: uv python install {install}",
        install=install,
        **detail,
    )


def _to_install(text: str) -> str | None:
    """What to ask uv for: a minor version, or a whole one where only that fits; None where none can."""
    for minor in (*range(14, OLDEST[1] - 1, -1), *range(15, 40)):
        patches = [patch for patch in range(60) if _admits(text, f"3.{minor}.{patch}")]
        if patches:
            return f"3.{minor}.{patches[0]}" if len(patches) == 1 else f"3.{minor}"
    return None
