"""From where a run can go on: the last point whose values can all be had back from checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowstead.ledger import LedgerReader
from flowstead.model.flow import StepSpec
from flowstead.worker import checkpoints


@dataclass(slots=True)
class ResumePoint:
    """What a worker needs to go on at step `first_step`: checkpoints as `(step, JSON text)`."""

    first_step: int = 0
    attempts: dict[int, int] = field(default_factory=dict[int, int])
    failures: int = 0
    current: tuple[int, str] | None = None
    objects: dict[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    items: dict[str, Any] | None = None


def resume_point(reader: LedgerReader, run_id: str, steps: Sequence[StepSpec], folder: Path) -> ResumePoint:
    """Plans the next attempt at a run from its recorded steps. A fresh run gets the point before step 0.

    Steps before `first_step` are not repeated. A value that was not stored, or is damaged, moves the point back to
    where it can be made again.
    """
    rows = reader.step_rows(run_id)
    if not rows:
        return ResumePoint()
    attempts: dict[int, int] = {}
    failed: dict[int, int] = {}
    done: dict[int, str | None] = {}
    for row in rows:
        step, attempt, status, checkpoint = row[1], row[2], row[3], row[12]
        attempts[step] = attempt
        if status == "succeeded":
            done[step] = checkpoint
        elif status == "failed":
            failed[step] = failed.get(step, 0) + 1
    finished = 0
    while finished < len(steps) and finished in done:
        finished += 1
    intact: dict[int, bool] = {}

    def stored(step: int) -> bool:
        if step not in intact:
            text = done[step]
            intact[step] = text is not None and checkpoints.intact(json.loads(text), folder)
        return intact[step]

    for first in range(finished, -1, -1):
        point = _point_at(first, steps, done, stored)
        if point is not None:
            point.attempts = attempts
            point.failures = failed.get(first, 0)
            if first == finished and first < len(steps) and steps[first].kind == "map":
                point.items = _items(reader, run_id, first, rows)
            return point
    raise AssertionError("the point before the first step needs nothing")


def _point_at(
    first: int, steps: Sequence[StepSpec], done: dict[int, str | None], stored: Callable[[int], bool]
) -> ResumePoint | None:
    point = ResumePoint(first)
    for step in steps[:first]:
        if step.save_as is not None:
            if not stored(step.index):
                return None
            point.objects[step.save_as] = (step.index, done[step.index] or "")
    needs_current = 0 < first < len(steps) and steps[first].use in (None, "current")
    if needs_current:
        if not stored(first - 1):
            return None
        point.current = (first - 1, done[first - 1] or "")
    return point


def _items(reader: LedgerReader, run_id: str, step: int, rows: list[tuple[Any, ...]]) -> dict[str, Any] | None:
    """Recorded item values of a map that did not finish: inline JSON by index, and files with the indices in them.

    `total` is None in a retry, which was given items, and the very input they came from, by the run it retries.
    """
    totals = [row[9] for row in rows if row[1] == step and row[9] is not None]
    inline: list[tuple[int, str]] = []
    files: dict[str, list[int]] = {}
    for item, status, value, file, _, _ in reader.items(run_id, step):
        if status != "succeeded":
            continue
        if value is not None:
            inline.append((item, value))
        elif file is not None:
            files.setdefault(file, []).append(item)
    if not inline and not files:
        return None
    return {"total": totals[-1] if totals else None, "inline": inline, "files": list(files.items())}
