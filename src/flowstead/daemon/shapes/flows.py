"""Flows, their plans and previews."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, Union

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Failure
from flowstead.daemon.shapes.runs import Run


class Trigger(TypedDict):
    """When a flow runs; `interval` is in seconds, `settle` is `{looks}` or `{seconds}`."""

    mode: str
    run_as: str
    max_parallel: int
    source: str | None
    interval: float | None
    time: list[str]
    cron: str | None
    timezone: str | None
    missed: str
    extensions: list[str]
    settle: dict[str, float] | None


class Param(TypedDict):
    """A typed input of a manual run."""

    name: str
    type: str
    choices: list[Any]
    label: str | None
    default: Any
    required: bool
    secret: bool


class FlowStep(TypedDict):
    """A step as a list shows it."""

    index: int
    name: str
    label: str
    kind: str
    use: str | None
    save_as: str | None


class Flow(TypedDict):
    """A flow as its module is now; a `broken` one has its `error` instead of a plan.

    So has a `pending` one: its environment is not there yet, without which nobody can read it."""

    name: str
    label: str
    group: str | None
    mode: str | None
    status: Literal["ok", "pending", "broken"]
    error: Failure | None
    version: str | None
    description: str | None
    source: str | None
    file: str
    trigger: Trigger | None
    params: list[Param]
    steps: list[FlowStep]


class Flows(TypedDict):
    flows: list[Flow]


class PlannedStep(FlowStep):
    """A step with all that its plan says; times are in seconds, `line` is where it stands in its module."""

    retries: int
    retry_delay: float
    timeout: float | None
    checkpoint: bool | str
    workers: int
    on_error: str
    extensions: list[str]
    root: str | None
    recursive: bool
    line: int | None


class Plan(TypedDict):
    """A flow's whole plan."""

    name: str
    group: str
    label: str
    resume: str
    timeout: float | None
    trigger: Trigger
    mirror: str | None
    params: list[Param]
    steps: list[PlannedStep]
    description: str | None


class FlowDetails(Flow):
    """A flow with its plan, its module's text, and its last runs."""

    plan: Plan | None
    text: str | None
    runs: list[Run]


class Warning(TypedDict):
    """What is right in a flow's code and will still go wrong when it runs."""

    code: str
    message: str
    line: int | None


class CheckedFlow(Flow):
    warnings: list[Warning]


class CheckedFlows(TypedDict):
    flows: list[CheckedFlow]


class PreviewOutput(TypedDict):
    """What the flow printed."""

    output: str


class PreviewColumn(TypedDict):
    name: str
    type: str


class PreviewValue(TypedDict):
    """A value as text: `frame` with columns and rows, `items`, `json` with its value, or `text`."""

    kind: Literal["frame", "items", "json", "text"]
    type: str
    columns: NotRequired[list[PreviewColumn]]
    rows: NotRequired[list[list[str | None]]]
    items: NotRequired[list[str]]
    total: NotRequired[int | None]
    value: NotRequired[Any]
    text: NotRequired[str]


class PreviewResult(TypedDict):
    """The last item of a preview."""

    value: PreviewValue


Preview = Union[PreviewOutput, PreviewResult]  # noqa: UP007 - a name of its own
