"""Runs, their logs and what changes."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error, Failure

Status = Literal[
    "queued",
    "starting",
    "running",
    "waiting",
    "cancelling",
    "succeeded",
    "failed",
    "rejected",
    "cancelled",
    "interrupted",
]
StepStatus = Literal[
    "pending", "running", "waiting", "succeeded", "failed", "cancelled", "interrupted", "superseded", "skipped"
]


class FailedItem(TypedDict):
    """An item of a map that failed or was skipped; `item` counts from 0."""

    item: int
    status: str
    error: Failure | None


class Step(TypedDict):
    """The latest attempt at one step of a run; `pending` while there is none."""

    index: int
    name: str
    label: str
    kind: str
    status: StepStatus
    attempt: int
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    items_total: int | None
    items_done: int | None
    items_failed: int | None
    output_path: str | None
    output_kind: str | None
    rows: int | None
    error: Failure | None
    failed_items: NotRequired[list[FailedItem]]


class Artifact(TypedDict):
    """A file that a run kept for people to look at; `path` is below the run's folder."""

    name: str
    kind: str
    path: str
    step: int | None
    info: dict[str, Any]


class Run(TypedDict):
    """One execution of one version of a flow; `actions` is what may be done with it now."""

    id: str
    flow: str
    version: str
    status: Status
    trigger: str
    source_path: str | None
    attempt: int
    params: dict[str, Any]
    key: str | None
    queued_at: str
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    summary: str | None
    metadata: dict[str, Any]
    error: Failure | None
    retry_of: str | None
    environment: str | None
    waiting_for: str | None
    steps: list[Step]
    artifacts: list[Artifact]
    actions: list[Literal["cancel", "retry", "resume"]]


class RunDetails(Run):
    """A run, and the folder of what it left."""

    folder: str


class RunPage(TypedDict):
    """Runs, newest first; `next` is the cursor of the next page, `cursor` that of this one, `total` how many there are,
    or are at least. `left` of the offset were not left out yet: go on from `next` with that offset."""

    runs: list[Run]
    next: int | None
    cursor: int
    left: int
    total: NotRequired[int]
    total_exact: NotRequired[bool]


class BatchResult(TypedDict):
    """What came of one of many runs; `started` is the run that a retry began."""

    id: str
    outcome: Literal["cancelled", "cancelling", "requested", "started", "refused"]
    started: str | None
    error: Error | None


class BatchResults(TypedDict):
    """`next` is not null where filters chose as many runs as were asked for: there may be more."""

    results: list[BatchResult]
    next: int | None


class Runs(TypedDict):
    runs: list[Run]


class Started(TypedDict):
    """Ids of runs: new ones, ones that go on, ones that were waiting already. Follow them from event `after`."""

    started: list[str]
    resumed: list[str]
    waiting: list[str]
    after: int
    source: NotRequired[str | None]
    files: NotRequired[int | None]
    failed_before: NotRequired[int]


class LogLine(TypedDict):
    """One line of a run's log."""

    seq: int
    timestamp: str
    level: str
    event: str
    message: str
    data: dict[str, Any]
    context: dict[str, Any]


class Event(TypedDict):
    """One change. A view is the fold `rows[kind][id] = row`; `row` is the run that it belongs to, as it is by now.

    In a brief stream a change of a step has it as `step`. What has no number has a `state`: of kind `standing` a
    SeenStanding, of kind `engine` `{automated, flows}` with those flows whose state changed (null: no longer)."""

    seq: int | None
    at: str
    kind: str
    id: str
    change: str
    row: Run | None
    step: NotRequired[Step | None]
    state: NotRequired[dict[str, Any]]
