"""The nouns of execution: a run, its steps, its artifacts, and what a person may do with them."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

OPEN = ("queued", "starting", "running", "waiting", "cancelling")
"""A run in one of these has work ahead of it."""

ACTIVE = ("starting", "running", "waiting", "cancelling")
"""A run in one of these was claimed by an engine."""

ENDED = ("succeeded", "failed", "rejected", "cancelled")
"""Terminal is final: no statement in the ledger leaves these."""

STATUSES = (*OPEN, *ENDED, "interrupted")


def supersedes(version: tuple[int, int], status: str, before: tuple[int, int], status_before: str) -> bool:
    """Whether one published state of a run takes the place of another.

    A version is `(epoch, generation)`: that of the last change, and in which it was published. The later stands, but
    who did not know that a run had ended does not reopen it.
    """
    return version > before and (status in ENDED or status_before not in ENDED)


def now_us() -> int:
    """The wall clock in microseconds since the epoch (UTC), the unit of every time in the ledger."""
    return time.time_ns() // 1000


def iso(microseconds: int | None) -> str | None:
    """A ledger time as ISO 8601 in UTC with milliseconds, such as `2026-03-01T08:15:02.114Z`."""
    if microseconds is None:
        return None
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{_to_the_second(seconds)}.{rest // 1000:03d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]  # a tenth of what strftime costs


_numbering = threading.Lock()
_last_tick = 0


def new_run_id() -> str:
    """`r_` and a UUID version 7 in hex: unique without coordination, sorts by time and after those made before here.

    RFC 9562, section 5.7; the twelve bits after the milliseconds are their fraction (section 6.2, method 3).
    """
    global _last_tick
    with _numbering:  # two threads in one tick, and a clock that is set back, still leave their order
        _last_tick = tick = max(time.time_ns() * 4096 // 1_000_000, _last_tick + 1)
    milliseconds, fraction = divmod(tick, 4096)
    rest = int.from_bytes(os.urandom(8), "big") & ~(0x3 << 62)
    return f"r_{milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0x2 << 62 | rest:032x}"


def short_id(run_id: str) -> str:
    """The last eight characters: random, so they tell runs of one second apart."""
    return run_id[-8:]


def _milliseconds(started: int | None, finished: int | None) -> int | None:
    return None if started is None or finished is None else max(0, (finished - started) // 1000)


@dataclass(frozen=True, slots=True)
class StepRun:
    """The latest attempt at one step of a run; `status` is `pending` while there is none."""

    index: int
    name: str
    label: str
    kind: str
    status: str = "pending"
    attempt: int = 0
    started_at: int | None = None
    finished_at: int | None = None
    items_total: int | None = None
    items_done: int | None = None
    items_failed: int | None = None
    output_path: str | None = None
    output_kind: str | None = None
    rows: int | None = None
    error: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The step's part of RUN in every JSON answer."""
        return {
            "index": self.index,
            "name": self.name,
            "label": self.label,
            "kind": self.kind,
            "status": self.status,
            "attempt": self.attempt,
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "duration_ms": _milliseconds(self.started_at, self.finished_at),
            "items_total": self.items_total,
            "items_done": self.items_done,
            "items_failed": self.items_failed,
            "output_path": self.output_path,
            "output_kind": self.output_kind,
            "rows": self.rows,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a run kept for people to look at; `path` is relative to the run's folder."""

    name: str
    kind: str
    path: str
    step: int | None = None
    info: dict[str, Any] = field(default_factory=dict[str, Any])

    def as_dict(self) -> dict[str, Any]:
        return {"name": self.name, "kind": self.kind, "path": self.path, "step": self.step, "info": self.info}


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of one flow version; times are microseconds since the epoch."""

    number: int
    id: str
    flow: str
    version: str
    status: str
    trigger: str
    source_root: str | None
    source_path: str | None
    attempt: int
    params: dict[str, Any]
    key: str | None
    queued_at: int
    started_at: int | None
    finished_at: int | None
    summary: str | None
    metadata: dict[str, Any]
    error: dict[str, Any] | None
    retry_of: str | None
    environment: str | None = None
    """Digest of the environment it ran in; None for the interpreter that runs Flowstead."""
    waiting_for: str | None = None
    """What a queued run waits for, beyond its turn."""
    resume: str = "auto"
    steps: tuple[StepRun, ...] = ()
    artifacts: tuple[Artifact, ...] = ()

    @property
    def actions(self) -> list[str]:
        """What a person may do with this run now; computed here once, sent with every run."""
        match self.status:
            case "queued" | "starting" | "running" | "waiting":
                return ["cancel"]
            case "interrupted":
                return ["retry"] if self.resume == "never" else ["resume", "retry", "cancel"]
            case "succeeded" | "failed" | "rejected" | "cancelled":
                return ["retry"]
            case _:
                return []

    def as_dict(self) -> dict[str, Any]:
        """RUN: the shape of a run in every JSON answer."""
        return {
            "id": self.id,
            "flow": self.flow,
            "version": self.version,
            "status": self.status,
            "trigger": self.trigger,
            "source_path": self.source_path,
            "attempt": self.attempt,
            "params": self.params,
            "key": self.key,
            "queued_at": iso(self.queued_at),
            "started_at": iso(self.started_at),
            "finished_at": iso(self.finished_at),
            "duration_ms": _milliseconds(self.started_at, self.finished_at),
            "summary": self.summary,
            "metadata": self.metadata,
            "error": self.error,
            "retry_of": self.retry_of,
            "environment": self.environment,
            "waiting_for": self.waiting_for,
            "steps": [step.as_dict() for step in self.steps],
            "artifacts": [artifact.as_dict() for artifact in self.artifacts],
            "actions": self.actions,
        }


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked to be; everything that starts a run makes one of these."""

    flow: str
    group: str
    version: str
    trigger: str
    params: dict[str, Any] = field(default_factory=dict[str, Any])
    source_root: str | None = None
    source_path: str | None = None
    key: str | None = None
    retry_of: str | None = None
    id: str = field(default_factory=new_run_id)
