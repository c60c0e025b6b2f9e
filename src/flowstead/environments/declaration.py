"""What a flow says it needs, whichever file said it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Provider = Literal["uv", "conda"]


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of a manifest: what the installer is given, and where it stands.

    `text` is a requirement as installers take it, local paths absolute, with `--hash` options where the file has them.
    `file` is relative to the workspace where it lies in it; `line` counts from 1, in a notebook within the first
    code cell.
    """

    text: str
    file: str
    line: int | None = None
    editable: bool = False


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an environment must hold. `content` is all that counts for that; the rest says where it came from.

    `file` is what decided, relative to the workspace, and `why` says so in a sentence. `options` are installer options
    of requirement files (indexes, `--pre`, ...), `tool_uv` the parts of `[tool.uv]` that bear on what is installed,
    `lock` the text of a lock file that goes with the manifest. `local` tells, for each local package by its path, what
    of it counts: of an editable one its metadata, of another all its files. `channels` and `platforms` are conda's,
    and `requirements` its match specs, while `pip` is what pip installs on top of them.
    """

    provider: Provider
    file: str
    why: str
    requires_python: str | None = None
    requires_python_line: int | None = None
    requirements: tuple[Requirement, ...] = ()
    constraints: tuple[Requirement, ...] = ()
    options: tuple[str, ...] = ()
    tool_uv: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lock: str | None = None
    groups: tuple[str, ...] = ()
    """Extras and dependency groups that are taken in; needed again to read the lock file."""
    local: Mapping[str, str] = field(default_factory=dict[str, str])
    channels: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    pip: tuple[Requirement, ...] = ()

    def content(self) -> dict[str, Any]:
        """Exactly what gets installed, as JSON: equal for two declarations that ask for the same."""
        return {
            "provider": self.provider,
            "requires_python": self.requires_python,
            "requirements": sorted([each.text, each.editable] for each in self.requirements),
            "constraints": sorted([each.text, each.editable] for each in self.constraints),
            "options": list(self.options),
            "tool_uv": dict(self.tool_uv),
            "lock": self.lock,
            "groups": sorted(self.groups),
            "local": dict(sorted(self.local.items())),
            "channels": list(self.channels),
            "platforms": sorted(self.platforms),
            "pip": sorted([each.text, each.editable] for each in self.pip),
        }

    def with_packages(self, packages: tuple[str, ...], why: str) -> Declaration:
        """The same and these packages, as a kernel needs them beside what the flow asks for."""
        added = tuple(Requirement(package, why) for package in packages)
        return replace(self, requirements=(*self.requirements, *added))


@dataclass(frozen=True, slots=True)
class Considered:
    """A file that could have decided, and in a few words why it did or did not."""

    file: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Decision:
    """Which file decides for a flow. Without a declaration it runs in the interpreter that runs Flowstead."""

    declaration: Declaration | None
    considered: tuple[Considered, ...]

    @property
    def why(self) -> str:
        if self.declaration is not None:
            return self.declaration.why
        return "Nothing says what it needs, so it runs in the interpreter that runs Flowstead."


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python interpreter of this machine; `key` names implementation, version and platform (`cpython-3.11.7-...`)."""

    path: Path
    version: str
    key: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package as it is installed."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a build is: `phase` is one of resolving, downloading, installing, compiling, checking."""

    phase: str
    message: str
    done: int | None = None
    total: int | None = None
