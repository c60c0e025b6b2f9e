"""Facts in words."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from flowstead.cli import words
from flowstead.cli.screen import Column, Screen, columns, one_line


@pytest.mark.parametrize(
    ("milliseconds", "said"),
    [
        (None, ""),
        (0, "1 ms"),
        (12.4, "12 ms"),
        (99.4, "99 ms"),
        (99.6, "0.1 s"),
        (1240, "1.2 s"),
        (59_940, "59.9 s"),
        (59_960, "1 m 00 s"),
        (184_000, "3 m 04 s"),
        (3_599_700, "1 h 00 m"),
        (7_500_000, "2 h 05 m"),
    ],
)
def test_durations(milliseconds: float | None, said: str) -> None:
    assert words.duration(milliseconds) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "250 ms"), (1.5, "1.5 s"), (5, "5 s"), (60, "1 min"), (90, "90 s"), (7200, "2 h"), (172_800, "2 days")],
)
def test_settings(seconds: float, said: str) -> None:
    assert words.setting(seconds) == said


NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("then", "said"),
    [
        ("2026-03-02T12:00:00.000Z", "just now"),
        ("2026-03-02T12:00:03.000Z", "just now"),  # a clock that was set back
        ("2026-03-02T11:59:48.000Z", "12 s ago"),
        ("2026-03-02T11:56:00.000Z", "4 min ago"),
        ("2026-03-02T09:00:00.000Z", "3 h ago"),
    ],
)
def test_how_long_ago(then: str, said: str) -> None:
    assert words.ago(then, NOW) == said


def test_long_ago_is_a_date() -> None:
    assert words.ago("2026-02-20T12:00:00.000Z", NOW).startswith(("19 Feb", "20 Feb", "21 Feb"))
    assert " 2024 " in words.ago("2024-06-10T12:00:00.000Z", NOW)


def test_lists_and_counts() -> None:
    assert [words.listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [words.count(1, "file"), words.count(1204, "file")] == ["1 file", "1,204 files"]


TRIGGER = {
    "mode": "manual",
    "run_as": "individual",
    "max_parallel": 1,
    "source": None,
    "interval": None,
    "time": [],
    "cron": None,
    "timezone": None,
    "extensions": [],
}


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ({}, "by hand"),
        ({"source": "../in"}, "by hand; one run for each file in {in}"),
        (
            {"mode": "poll", "source": "../in", "interval": 5.0, "extensions": [".csv", ".txt"], "max_parallel": 2},
            "when files arrive in {in}, looked at every 5 s; one run for each .csv or .txt file, up to 2 at once",
        ),
        (
            {"mode": "poll", "source": "../in", "interval": 60.0, "run_as": "batch"},
            "when files arrive in {in}, looked at every 1 min; one run for all files",
        ),
        ({"mode": "schedule", "interval": 900.0}, "every 15 min"),
        (
            {"mode": "schedule", "time": ["06:00", "18:30"], "timezone": "Europe/Berlin"},
            "daily at 06:00 and 18:30 (Europe/Berlin)",
        ),
        ({"mode": "schedule", "cron": "0 6 * * 1-5"}, "by cron 0 6 * * 1-5"),
    ],
)
def test_triggers(trigger: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flow = {"source": trigger.get("source"), "trigger": {**TRIGGER, **trigger}}
    assert words.trigger(flow, tmp_path) == said.replace("{in}", "in")


def test_places_are_as_short_as_they_can_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "collection" / "workspace"
    (root / "flow_modules").mkdir(parents=True)
    monkeypatch.chdir(root)
    assert words.place(root / "flow_modules" / ".." / "data" / "x.csv", root) == "data/x.csv"
    assert words.place(root.parent / "reports" / "x", root) == "../reports/x"
    monkeypatch.chdir("/")
    assert words.place(root / "flow_modules" / "a.py") == str(root / "flow_modules" / "a.py").lstrip("/")
    (elsewhere := tmp_path / "a" / "b" / "c" / "d").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    assert words.place(root / "flow_modules" / "a.py", root) == "flow_modules/a.py"
    assert words.place(tmp_path / "other" / "x") == str(tmp_path / "other" / "x")


def test_what_flows_print_cannot_drive_the_terminal() -> None:
    assert one_line("a\x1b[2Jb\nc\td") == "a [2Jb c d"


def test_wide_characters_take_two_columns() -> None:
    assert [columns(text) for text in ("abc", "日本", "e\u0301")] == [3, 4, 1]
    stream = io.StringIO()
    Screen(stream).table([Column("NAME"), Column("N", right=True)], [["日本", "1"], ["abcde", "22"]])
    assert stream.getvalue() == "NAME    N\n日本    1\nabcde  22\n"
