"""What the first page shows."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Failure
from flowstead.daemon.shapes.flows import Trigger
from flowstead.daemon.shapes.runs import Status


class Counts(TypedDict):
    """`runs` are those of the last `days` days; `interrupted` counts no further than 10,000."""

    modules: int
    groups: int
    flows: int
    runs: int
    days: int
    active: int
    queued: int
    interrupted: int


class OutcomeError(TypedDict):
    message: str | None
    step: str | None


class RunBar(TypedDict):
    """A run as a bar shows it."""

    id: str
    status: Status
    finished_at: str | None
    duration_ms: int | None


class LastOutcome(RunBar):
    """How the newest run ended that is not under way."""

    queued_at: str
    started_at: str | None
    summary: str | None
    error: OutcomeError | None


class ProgressStep(TypedDict):
    index: int
    label: str
    status: str
    started_at: str | None
    items_done: int | None
    items_total: int | None


class Progress(TypedDict):
    """How far a run is; `step` is the one under way, or the last one that was."""

    id: str
    status: Status
    started_at: str | None
    steps: int
    steps_done: int
    step: ProgressStep | None
    actions: list[str]


class FlowOverview(TypedDict):
    """A flow with its last runs, the newest first; `last` is the newest one that is not under way.

    `state`, `condition`, `since` and `next_due` are those of AutomatedFlow. `params` tells whether it takes any,
    so that whoever runs it is asked."""

    name: str
    label: str
    group: str | None
    status: Literal["ok", "pending", "broken"]
    error: Failure | None
    description: str | None
    trigger: Trigger | None
    params: bool
    state: str
    condition: str | None
    since: str | None
    next_due: str | None
    last: LastOutcome | None
    runs: list[RunBar]
    running: list[Progress]
    queued: int


class Need(TypedDict):
    """Something that waits for a person: a broken module, a flow whose last run failed, an interrupted run."""

    kind: Literal["broken", "failed", "interrupted"]
    flow: str
    label: str
    at: str | None
    run: str | None
    error: Failure | None
    actions: list[str]


class SeenStanding(TypedDict):
    """Who owns the workspace, as this machine knows it without looking; `unchanged_seconds` without a sign of life."""

    state: str
    message: str
    host: str | None
    mine: bool
    since: str | None
    unchanged_seconds: float
    handing_over_to: str | None
    actions: list[str]


class Overview(TypedDict):
    """`after` is the number of the last event before it: what changes is told from there on."""

    counts: Counts
    flows: list[FlowOverview]
    needs_you: list[Need]
    needs_total: int
    automated: bool
    standing: SeenStanding
    after: int
