"""`flowstead demo`: a newcomer's first command, killed and repeated."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from calling import CommandLine, read_until


def runs_of(cli: CommandLine, root: Path) -> list[dict[str, Any]]:
    return cli("-w", root / "flights", "runs", "--limit", "100", "--json").json["runs"]


def test_the_demo_runs_once_and_then_only_what_changed(cli: CommandLine, tmp_path: Path) -> None:
    first = cli("demo", cwd=tmp_path)
    assert (first.code, first.err) == (0, "")
    root = tmp_path / "flowstead-demo"
    for said in ("31 of 31 files in flowstead-demo/inbox/flights/ are due.", "United Air Lines", "Next, try:"):
        assert said in first.out
    for result in ("reports/delays.xlsx", "reports/delays.png", "flights/databases/flights.duckdb"):
        assert f"flowstead-demo/{result}" in first.out
        assert (root / result).is_file()
    runs = runs_of(cli, root)
    assert len(runs) == 33
    assert {run["status"] for run in runs} == {"succeeded"}

    commands = first.out.partition("Next, try:\n")[2].splitlines()
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "flowstead"
        assert cli(*arguments, cwd=tmp_path).code == 0, command
    known = {run["id"] for run in runs_of(cli, root)}

    second = cli("demo", cwd=tmp_path)
    assert second.code == 0
    assert second.out.count("Nothing to do: ") == 3
    assert {run["id"] for run in runs_of(cli, root)} == known

    os.utime(root / "inbox" / "flights" / "flights-2013-01-05.csv")
    third = cli("demo", cwd=tmp_path)
    assert third.code == 0
    new = [(run["flow"], run["source_path"]) for run in runs_of(cli, root) if run["id"] not in known]
    assert new == [
        ("delay_report", None),
        ("join_weather", None),
        ("ingest_flights", "flights-2013-01-05.csv"),
    ]


def test_the_demo_goes_on_after_a_kill_and_after_an_interrupt(cli: CommandLine, tmp_path: Path) -> None:
    root = tmp_path / "demo"
    killed = cli.start("demo", root, cwd=tmp_path)
    read_until(killed, "✓ ")
    killed.kill()
    killed.communicate()
    begun = {run["id"] for run in runs_of(cli, root)}
    assert len(begun) == 31

    interrupted = cli.start("demo", root, cwd=tmp_path)
    read_until(interrupted, "join_weather started")
    stopped = cli.interrupt(interrupted)
    assert stopped.code == 130
    assert f"Go on with: flowstead demo {root.name}" in stopped.err

    done = cli("demo", root, cwd=tmp_path)
    assert done.code == 0
    runs = runs_of(cli, root)
    assert len(runs) == 33
    assert begun < {run["id"] for run in runs}
    assert {run["status"] for run in runs} == {"succeeded"}


def test_keep_leaves_the_demo_as_it_is(cli: CommandLine, tmp_path: Path) -> None:
    assert cli("demo", "d", cwd=tmp_path).code == 0
    day = tmp_path / "d" / "inbox" / "flights" / "flights-2013-01-31.csv"
    day.unlink()
    assert cli("demo", "d", "--keep", cwd=tmp_path).code == 0
    assert not day.exists()
    assert cli("demo", "d", cwd=tmp_path).code == 0
    assert day.exists()
