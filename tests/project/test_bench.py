"""The benchmark runs: its rows are listed, and give numbers in the form that it promises. No time is asserted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def measured(*arguments: str) -> list[dict[str, Any]]:
    ended = bench("--quick", "--runs", "1", "--json", *arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    answer = json.loads(ended.stdout)
    assert answer["quick"] is True
    assert {"flowstead", "python", "sqlite", "system", "processors"} == answer["machine"].keys()
    return answer["rows"]


def test_every_row_is_listed_and_explained() -> None:
    listed = [line.split("  ")[0].strip() for line in bench("--list").stdout.splitlines()]
    assert {"version", "cold-run", "step", "map", "newest-runs"} <= set(listed)
    assert len(set(listed)) == len(listed)
    assert [row["row"] for row in json.loads(bench("--list", "--json").stdout)["rows"]] == listed
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in listed if not re.search(rf"^- .*`{name}`.*:", page, re.MULTILINE)] == []


@pytest.mark.parametrize("row", ["map", "version"])
def test_a_row_gives_numbers(row: str) -> None:
    (result,) = measured("--only", row)
    assert result["row"] == row
    assert result["error"] is None
    assert 0 < result["min"] <= result["median"] <= result["max"]
    floor = result["floor"]
    assert 0 < floor["min"] <= floor["median"] <= floor["max"]
    rate = result["unit"].endswith("/s")
    fraction = floor["median"] / result["median"] if rate else result["median"] / floor["median"]
    assert result["ratio"] == pytest.approx(fraction)
    # Only a row whose work a quick run leaves whole can tell whether it reaches what it should.
    assert (result["reached"] is None) == (row == "map")


def test_the_table_has_a_line_for_each_row() -> None:
    ended = bench("--quick", "--runs", "1", "--only", "step")
    heads, *lines = ended.stdout.splitlines()
    assert heads.split() == ["ROW", "MEDIAN", "MIN", "-", "MAX", "FLOOR", "FLOOR", "IS", "TIMES", "REACH", "REACHED"]
    assert [line.split()[0] for line in lines] == ["step", "steps", "step-full"]
    assert "step-full ..." in ended.stderr


@pytest.mark.parametrize("arguments", [("--only", "speed"), ("--runs", "0")])
def test_a_wrong_command_line_is_refused(arguments: tuple[str, ...]) -> None:
    ended = bench(*arguments)
    assert ended.returncode == 2
    assert arguments[1] in ended.stderr
    assert "Traceback" not in ended.stderr
