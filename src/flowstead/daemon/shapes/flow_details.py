"""One flow in detail."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error


class Spread(TypedDict):
    """How long something took in `count` runs: the median, the tenth and the ninetieth percentile, the longest."""

    count: int
    median_ms: float
    p10_ms: float
    p90_ms: float
    longest_ms: float


class StepDuration(TypedDict):
    index: int
    name: str
    label: str
    took: Spread | None


class FlowDurations(TypedDict):
    """How long the last `runs` runs that succeeded took, and each step of the latest plan in them."""

    flow: str
    runs: int
    run: Spread | None
    steps: list[StepDuration]


class VersionUse(TypedDict):
    """A version of a flow; `stored` tells whether its texts are on this machine."""

    digest: str
    current: bool
    first_run_at: str | None
    runs: int
    stored: bool


class Versions(TypedDict):
    """Versions, the newest first; unless `runs_exact`, older runs than the last 10,000 of the flow are not counted."""

    versions: list[VersionUse]
    runs_exact: bool


class VersionText(TypedDict):
    """A text of a version, `cut` when it is longer than a megabyte."""

    file: str
    text: str
    cut: bool


class VersionTexts(TypedDict):
    """The module of a version, then its helpers."""

    digest: str
    flow: str
    texts: list[VersionText]


class SourceState(TypedDict):
    """A source file; `run` is the run that has it now, or had it last."""

    path: str
    state: Literal["fresh", "changed", "failed", "never", "queued", "running", "interrupted"]
    size: int
    modified_at: str
    run: str | None


class SourcePage(TypedDict):
    """Source files by path; `counts` are those of all files, whatever the filters; `next` is the next page's cursor."""

    source: str | None
    counts: dict[str, int]
    total: int
    files: list[SourceState]
    next: str | None
    problem: Error | None
