"""The nouns of the benchmark: what is measured, against what, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Reach:
    """What a row is to reach, in its unit: at most `limit`, at least `limit`, or at most `limit` above the floor."""

    limit: float
    at_least: bool = False
    above_floor: bool = False

    def text(self, unit: str) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{sign} {'floor + ' if self.above_floor else ''}{self.limit:,g} {unit}"

    def is_met(self, value: float, floor: float) -> bool:
        if self.at_least:
            return value >= self.limit
        return value - (floor if self.above_floor else 0) <= self.limit


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `what` says what is measured, `floor` what is measured beside it, both in `unit`."""

    name: str
    what: str
    unit: str
    floor: str
    reach: Reach


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement and, taken right beside it, one of the floor."""

    value: float
    floor: float


Samples = Generator[tuple[Sample, ...]]


class Setting:
    """What a measurement is given: an empty folder of its own, and how large to make its work."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.reduced = False

    def size(self, full: int, quick: int) -> int:
        """`full`, or `quick` in a quick run, whose result then no longer tells whether the reach is met."""
        self.reduced = self.reduced or self.quick
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rows that come out of the same work.

    `samples` sets the work up, yields a sample for each row as often as it is asked, and cleans up when it is closed.
    The first round warms up and does not count. `per_run` is how many are taken for each run asked for.
    """

    rows: tuple[Row, ...]
    samples: Callable[[Setting], Samples]
    per_run: int = 1

    @property
    def name(self) -> str:
        return self.rows[0].name

    def take(self, setting: Setting, runs: int) -> list[dict[str, Any]]:
        """Measures; returns a result for each row, as JSON values."""
        with closing(self.samples(setting)) as samples:
            next(samples)
            taken = [next(samples) for _ in range(runs * self.per_run)]
        return [
            result(row, [sample[index] for sample in taken], judged=not setting.reduced)
            for index, row in enumerate(self.rows)
        ]


def result(row: Row, samples: list[Sample], *, judged: bool) -> dict[str, Any]:
    """A row's part of the JSON: medians and spreads, and how many times the floor's cost the value comes to."""
    values, floors = [sample.value for sample in samples], [sample.floor for sample in samples]
    value, floor = median(values), median(floors)
    return {
        "row": row.name,
        "what": row.what,
        "unit": row.unit,
        "median": value,
        "min": min(values),
        "max": max(values),
        "samples": len(samples),
        "floor": {"what": row.floor, "median": floor, "min": min(floors), "max": max(floors)},
        "ratio": floor / value if row.reach.at_least else value / floor,
        "reach": row.reach.text(row.unit),
        "reached": row.reach.is_met(value, floor) if judged else None,
        "error": None,
    }


def failure(row: Row, error: str) -> dict[str, Any]:
    """A row's part of the JSON when it could not be measured."""
    return {
        "row": row.name,
        "what": row.what,
        "unit": row.unit,
        "median": None,
        "min": None,
        "max": None,
        "samples": 0,
        "floor": {"what": row.floor, "median": None, "min": None, "max": None},
        "ratio": None,
        "reach": row.reach.text(row.unit),
        "reached": None,
        "error": error,
    }
