"""Environments, and what a flow runs in."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error


class Package(TypedDict):
    name: str
    version: str


class BuildProgress(TypedDict):
    """How far a build is; `done` of `total` where that can be counted."""

    phase: str
    message: str
    done: int | None
    total: int | None


class Environment(TypedDict):
    """An environment of this machine. `manifest` is exactly what it was made from; `own_size` is what removing it gives
    back at least, for files are shared with the installer's cache. `in_use` are processes."""

    digest: str
    state: Literal["queued", "building", "ready", "failed", "cold"]
    provider: Literal["uv", "conda"]
    python: str | None
    manifest: dict[str, Any]
    packages: list[Package]
    size: int | None
    own_size: int | None
    created: str
    last_used: str
    pinned: bool
    in_use: list[int]
    progress: BuildProgress | None
    error: Error | None


class Environments(TypedDict):
    folder: str
    size: int
    environments: list[Environment]


class RemovedEnvironment(TypedDict):
    removed: str


class CollectedEnvironment(TypedDict):
    """`step` is cold (removed after the grace, unless somebody asks for it), deleted, or leftover of a killed build."""

    digest: str
    id: str | None
    step: Literal["cold", "deleted", "leftover"]
    why: str
    size: int


class Collected(TypedDict):
    dry_run: bool
    collected: list[CollectedEnvironment]


class ConsideredFile(TypedDict):
    file: str
    verdict: str


class Requirement(TypedDict):
    text: str
    file: str
    line: int | None
    editable: bool


class FlowEnvironment(TypedDict):
    """What a flow runs in. `file` is what decided, null where nothing says what it needs: then it runs in the
    interpreter that runs Flowstead. `environment` is null while it was never built."""

    flow: str
    file: str | None
    why: str
    considered: list[ConsideredFile]
    provider: Literal["uv", "conda"] | None
    requires_python: str | None
    requirements: list[Requirement]
    digest: str | None
    environment: Environment | None


class WantedEnvironment(TypedDict):
    """The environment that a flow runs in, by its digest; `error` says why that cannot be told."""

    flow: str
    file: str | None
    why: str | None
    provider: Literal["uv", "conda"] | None
    digest: str | None
    error: Error | None


class WantedEnvironments(TypedDict):
    flows: list[WantedEnvironment]


class Ready(TypedDict):
    python: str
    digest: str | None


class Preparation(TypedDict):
    """How far it is, and at last the interpreter."""

    progress: NotRequired[BuildProgress]
    ready: NotRequired[Ready]
