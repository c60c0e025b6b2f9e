"""One run in detail."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Failure
from flowstead.daemon.shapes.runs import Status, StepStatus


class Attempt(TypedDict):
    """One attempt at a step; `checkpoint` tells whether its output was kept."""

    attempt: int
    status: StepStatus
    started_at: str | None
    finished_at: str | None
    duration_ms: int | None
    items_total: int | None
    items_done: int | None
    items_failed: int | None
    output_kind: str | None
    output_path: str | None
    rows: int | None
    checkpoint: bool
    error: Failure | None


class StepName(TypedDict):
    index: int
    name: str
    label: str


class StepAttempts(StepName):
    """A step of the run's plan; one that has not begun has no attempts."""

    kind: str
    attempts: list[Attempt]


class RunSteps(TypedDict):
    """A run as a timeline shows it."""

    id: str
    status: Status
    queued_at: str
    started_at: str | None
    finished_at: str | None
    steps: list[StepAttempts]


class Neighbour(TypedDict):
    id: str
    status: Status


class RunNeighbours(TypedDict):
    """The runs of the same flow right before and after a run."""

    previous: Neighbour | None
    next: Neighbour | None


class Item(TypedDict):
    """One item of a map; `item` counts from 0."""

    item: int
    status: str
    duration_ms: int
    error: Failure | None


class ItemPage(TypedDict):
    """Items, those that failed first; `next` is the cursor of the next page."""

    items: list[Item]
    items_total: int | None
    items_done: int | None
    items_failed: int | None
    next: str | None


class SourceExcerpt(TypedDict):
    """Lines of a text as it was: `lines` begin with number `first`, and `line` is the one that is meant.

    Of a notebook they are those of the code cell `cell`, from 1."""

    file: str
    cell: int | None
    version: str
    line: int
    first: int
    lines: list[str]


class RunError(TypedDict):
    """What went wrong in a run, where, and from which steps it can be retried; `changed`: the module is another now."""

    id: str
    status: Status
    error: Failure | None
    step: StepName | None
    source: SourceExcerpt | None
    changed: bool
    retry_from: list[StepName]
    actions: list[Literal["cancel", "retry", "resume"]]
