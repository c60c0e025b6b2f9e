"""The machine, its workspaces, who owns them, and what they do by themselves."""

from __future__ import annotations

from typing import Literal, NotRequired

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error
from flowstead.daemon.shapes.runs import Status


class Health(TypedDict):
    status: Literal["ok"]
    version: str
    pid: int
    started_at: str
    workspaces: list[str]


class Workspace(TypedDict):
    """`workspace` is the key that addresses it; `state` is that of its Standing as seen last, `closed` while it is not
    open here. `active` counts the runs under way."""

    workspace: str
    name: str
    path: str
    open: bool
    state: str
    automated: bool
    active: int


class KnownWorkspace(Workspace):
    selected: bool


class Workspaces(TypedDict):
    workspaces: list[KnownWorkspace]
    collection_roots: list[str]


class Closed(TypedDict):
    closed: str


class Killed(TypedDict):
    """`released` is false when the workspace stays with the daemon until that ends; its workers are dead then too."""

    killed: str
    workers: int
    released: bool


class Stopping(TypedDict):
    """The process that is about to end."""

    stopping: int


class Finding(TypedDict):
    """One thing that was looked at, with what to do about it."""

    name: str
    status: Literal["ok", "warning", "problem"]
    message: str
    hint: str


class Findings(TypedDict):
    checks: list[Finding]


class Holder(TypedDict):
    """The process of this machine that has the workspace open; `since` is in seconds since 1970."""

    pid: NotRequired[int]
    command: NotRequired[str]
    since: NotRequired[int]


class Outcome(TypedDict):
    """A flow's last run."""

    id: str
    status: Status
    at: str | None


class AutomatedFlow(TypedDict):
    """How a flow stands; `condition` says in words what keeps it from starting by itself."""

    flow: str
    label: str
    mode: str | None
    interval: float | None
    source: str | None
    state: str
    condition: str | None
    since: str | None
    next_due: str | None
    last: Outcome | None


class EngineStatus(TypedDict):
    """Whether flows start by themselves; `active` are the ids of runs under way."""

    automated: bool
    trouble: str | None
    active: list[str]
    queued: int
    flows: list[AutomatedFlow]
    holder: Holder | None


class Owner(TypedDict):
    """The machine that owns a workspace, and for how long nothing has been heard of it."""

    machine_id: str | None
    host: str | None
    pid: int | None
    version: str | None
    since: str | None
    unchanged_seconds: float


class ControlRequest(TypedDict):
    """Who asked for the workspace; `mine` when that is this machine."""

    machine_id: str
    host: str
    pid: int
    client_kind: str
    time: str | None
    mine: bool


class Standing(TypedDict):
    """Who owns the workspace as seen from this machine, how fresh that is, and which actions there are.

    `refusal` is what would be answered to whoever runs something now.
    """

    workspace: str
    name: str
    path: str
    state: str
    message: str
    hint: str
    owner: Owner | None
    epoch: int
    generation: int
    gaps: list[str]
    request: ControlRequest | None
    engine: str
    handing_over_to: str | None
    holder: Holder | None
    actions: list[str]
    refusal: Error | None


class LaunchToken(TypedDict):
    """`path` is what a browser opens, below this server's address."""

    token: str
    path: str
    seconds: int
