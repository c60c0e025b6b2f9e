"""The pool of environments."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error


class PoolMember(TypedDict):
    """An environment of the pool: `path` is its folder, and what is returned. `base_only` when the packages of the
    settings are missing in it; `holder` is the process that has it."""

    id: str
    kind: str
    state: Literal["warming", "ready", "lending", "lent", "returning", "leaving"]
    path: str
    python: str
    base_only: bool
    created_at: str
    holder: int | None
    lent_at: str | None


class PoolKind(TypedDict):
    """How the pool of one kind stands. `off` says why there is none; `error` what keeps its environments from being
    built, `package` which package that is about, `retry_in` in how many seconds it is tried again."""

    kind: str
    target: int
    off: str
    ready: int
    warming: int
    lent: int
    deficit: int
    base_only: bool
    packages: list[str]
    digest: str | None
    progress: str | None
    error: Error | None
    package: str | None
    retry_in: float | None


class PoolStatus(TypedDict):
    kinds: list[PoolKind]
    members: list[PoolMember]


class PoolAlive(TypedDict):
    """`running` when the pool is tended; by which process."""

    running: bool
    pid: int


class PoolCleared(TypedDict):
    """How many environments were ready or warming."""

    cleared: int
