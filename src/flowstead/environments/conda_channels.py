"""What both kinds of conda manifests have: channels, platforms, and package specifications."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from flowstead.environments.manifest import invalid
from flowstead.model.errors import EnvironmentUnusable, ManifestInvalid

DEFAULT_CHANNELS = ("conda-forge",)
"""What a manifest without channels is solved against."""

PYTHONS = "python >=3.11,<3.15"
"""What runs flows: asked for where a manifest names no Python, and true of any that it names."""

_PLATFORM = re.compile(r"(linux|osx|win|freebsd|emscripten|wasi|zos)-[a-z0-9]+")
_PATH = re.compile(r"\.{1,2}([/\\]|$)|[/~\\]|[A-Za-z]:[/\\]")
_WIDER = ("unix", "linux", "osx", "win")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


def this_platform() -> str:
    """The platform of this machine, as conda calls it (`linux-64`)."""
    import platform

    machine = platform.machine().lower()
    if sys.platform == "win32":
        return {"amd64": "win-64", "arm64": "win-arm64"}.get(machine, f"win-{machine}")
    if sys.platform == "darwin":
        return "osx-arm64" if machine == "arm64" else "osx-64"
    short = {"x86_64": "64", "amd64": "64", "i686": "32", "i386": "32", "arm64": "aarch64"}
    return f"linux-{short.get(machine, machine)}"


def selectors(platform: str) -> tuple[str, ...]:
    """The names of pixi's `target` tables that hold for a platform, the widest first."""
    family = platform.partition("-")[0]
    return (*(each for each in _WIDER if each == family or (each == "unix" and family != "win")), platform)


def is_selector(name: str) -> bool:
    return name in _WIDER or _PLATFORM.fullmatch(name) is not None


def channels_of(names: Sequence[tuple[str, int | None]], folder: Path, file: str) -> tuple[str, ...]:
    """Channels in their order: names and addresses as they are, folders as `file://`, `defaults` as what it stands for.

    `names` has each with its line; paths are relative to `folder`. Raises ManifestInvalid when none is left.
    """
    found: list[str] = []
    for name, _ in names:
        if name == "nodefaults":
            continue
        found += ("main", "r") if name == "defaults" else (channel_address(name, folder),)
    if names and not found:
        raise invalid("names no channel to get packages from", file, names[0][1])
    return tuple(dict.fromkeys(found)) or DEFAULT_CHANNELS


def channel_address(name: str, folder: Path) -> str:
    """A channel's name or address; a path is made a `file://` one."""
    if "://" in name or not _PATH.match(name):
        return name
    return _uri(name, folder)


def spec_of(text: str, folder: Path) -> str:
    """A package specification with the path of its channel, or of the package itself, made absolute."""
    channel, separator, rest = text.rpartition("::")
    if separator:
        return f"{channel_address(channel, folder)}::{rest}"
    if _PATH.match(text) and text.endswith((".conda", ".tar.bz2")):
        return _uri(text, folder)
    return text


def check_name(text: str, file: str, line: int | None) -> str:
    """The package's name that a specification begins with, in small letters. Raises ManifestInvalid."""
    found = _NAME.match(text.rpartition("::")[2].strip())
    if found is None and "://" not in text:
        raise invalid(f"names no package: {text!r}", file, line, hint="Write it like: numpy >=1,<2")
    return found.group().lower() if found is not None else ""


def check_platforms(names: Sequence[tuple[str, int | None]], file: str) -> str:
    """This machine's platform, if `names` (each with its line) has it or is empty. Raises ManifestInvalid."""
    here = this_platform()
    for name, line in names:
        if not _PLATFORM.fullmatch(name):
            raise invalid(f"has an unknown platform {name!r}", file, line, hint=f"This machine is {here!r}.")
    if names and here not in {name for name, _ in names}:
        raise ManifestInvalid(
            f"{file} is for {', '.join(name for name, _ in names)}, and this machine is {here}.",
            code="platform-excluded",
            hint=f"Add {here} to the platforms in {file}, or run the flow on another machine.",
            file=file,
            line=names[0][1],
            platform=here,
        )
    return here


def _uri(name: str, folder: Path) -> str:
    return (folder / Path(name).expanduser()).resolve().as_uri()


def require_rattler(file: str) -> None:
    """Raises EnvironmentUnusable (`conda-missing`) where the extra `conda` is not installed, which `file` asks for."""
    from importlib.util import find_spec

    if find_spec("rattler") is None or find_spec("yaml") is None:
        raise EnvironmentUnusable(
            f"{file} asks for conda packages, and the part of Flowstead that installs these is not there.",
            code="conda-missing",
            hint='Install it with: pip install "flowstead[conda]"',
            file=file,
        )
