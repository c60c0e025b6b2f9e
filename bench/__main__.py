"""`python -m bench`: measures, and prints one table (or JSON); progress goes to stderr."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.measuring import MEASUREMENTS, measure
from bench.rows import Measurement
from flowstead.version import __version__

HEADS = ("ROW", "MEDIAN", "MIN - MAX", "FLOOR", "FLOOR IS", "TIMES", "REACH", "REACHED")
LEFT = {"ROW", "FLOOR IS", "REACH", "REACHED"}


def main() -> int:
    arguments = _arguments()
    try:
        chosen = _chosen(arguments.only)
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 2
    if arguments.list:
        rows = [{"row": row.name, "what": row.what} for each in chosen for row in each.rows]
        width = max(len(row["row"]) for row in rows)
        lines = [f"{row['row']:{width}}  {row['what']}" for row in rows]
        print(json.dumps({"rows": rows}, indent=2) if arguments.json else "\n".join(lines))
        return 0
    runs = arguments.runs or (1 if arguments.quick else 5)
    results = _measure(chosen, runs=runs, quick=arguments.quick)
    if arguments.json:
        print(json.dumps({"machine": _machine(), "quick": arguments.quick, "rows": results}, indent=2))
    else:
        print("\n".join(_table(results)))
    return int(any(each["error"] for each in results))


def _measure(chosen: list[Measurement], *, runs: int, quick: bool) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    # Nothing is deleted before the end: ext4 creates files several times slower for minutes after many were deleted.
    with tempfile.TemporaryDirectory(prefix="flowstead-bench-", ignore_cleanup_errors=True) as folder:
        for number, measurement in enumerate(chosen, 1):
            begun = time.monotonic()
            print(f"[{number}/{len(chosen)}] {measurement.name} ... ", end="", file=sys.stderr, flush=True)
            place = Path(folder) / measurement.name
            place.mkdir()
            results += measure(measurement, place, runs=runs, quick=quick)
            print(f"{time.monotonic() - begun:.1f} s", file=sys.stderr)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Flowstead beside the least that the same work could cost."
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--only", action="append", metavar="ROW", help="only this row and those named after it")
    parser.add_argument("--runs", type=_positive, metavar="N", help="how often each row is measured (default 5)")
    parser.add_argument("--quick", action="store_true", help="one run each, of smaller work; most reaches not judged")
    parser.add_argument("--list", action="store_true", help="print the rows there are")
    return parser.parse_args()


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _chosen(only: list[str] | None) -> list[Measurement]:
    """The measurements that have a row of one of these names, or of one that begins with it and a hyphen."""
    if only is None:
        return list(MEASUREMENTS)
    chosen: list[Measurement] = []
    for name in only:
        found = [each for each in MEASUREMENTS if any(f"{row.name}-".startswith(f"{name}-") for row in each.rows)]
        if not found:
            raise LookupError(f"There is no row {name!r}. See: python -m bench --list")
        chosen += [each for each in found if each not in chosen]
    return chosen


def _machine() -> dict[str, Any]:
    return {
        "flowstead": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
    }


def _table(results: list[dict[str, Any]]) -> list[str]:
    rows = [HEADS, *(_cells(each) for each in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    return [
        "  ".join(
            f"{cell:{'<' if head in LEFT else '>'}{width}}"
            for cell, head, width in zip(row, HEADS, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _cells(each: dict[str, Any]) -> tuple[str, ...]:
    if each["error"]:
        return each["row"], "failed", "", "", each["floor"]["what"], "", each["reach"], each["error"][:60]
    return (
        each["row"],
        f"{_number(each['median'])} {each['unit']}",
        f"{_number(each['min'])} - {_number(each['max'])}",
        _number(each["floor"]["median"]),
        each["floor"]["what"],
        f"{each['ratio']:.3g}",
        each["reach"],
        {True: "yes", False: "NO", None: "not judged"}[each["reached"]],
    )


def _number(value: float) -> str:
    """Three digits that count, and no exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
