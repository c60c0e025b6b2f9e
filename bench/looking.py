"""Rows about looking at what is large: the first page of many flows, a run of many steps, a log of a million lines."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial

from bench.api import milliseconds
from bench.large import FLOWS, make_large
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.engine.runlog import NAME
from flowstead.model.home import home

CALLS = 20
WINDOW = 200
_NEWEST = "SELECT * FROM runs WHERE flow = ? ORDER BY number DESC LIMIT 20"
_STEPS = "SELECT * FROM step_runs WHERE run_id = ?"


def large_records(setting: Setting) -> Samples:
    runs, steps = setting.size(100_000, 2000), setting.size(1000, 100)
    lines = setting.size(1_000_000, 20_000)
    large = make_large(setting.folder / "workspace", home(), runs=runs, steps=steps, lines=lines, rows=0)
    log = large.layout.run_folder(large.long) / NAME
    with (
        Client(embedded(large.layout.root, command="bench")) as client,
        closing(sqlite3.connect(large.layout.ledger)) as connection,
        log.open("rb") as file,
    ):
        select = partial(_select, connection)

        def window() -> list[bytes]:
            file.seek(log.stat().st_size // 2)
            file.readline()
            return [file.readline() for _ in range(WINDOW)]

        def search() -> int:
            """The whole log, as far as a moment allows at a time, for its last line but one."""
            start, found = 0, 0
            while start is not None:
                answer = client.search_log(large.long, text=f"line {lines - 2}:", start=start)
                start, found = answer["next"], found + len(answer["lines"])
            return found

        def scan() -> int:
            file.seek(0)
            wanted = b'"line %d:' % (lines - 2)
            return sum(wanted in line for line in file)

        shown, wide = client.overview(), client.run_steps(large.wide)
        middle = client.log_lines(large.long, start=lines // 2, limit=WINDOW)
        if len(shown["flows"]) != FLOWS + 1 or len(wide["steps"]) != steps or len(middle["lines"]) != WINDOW:
            raise RuntimeError("The overview, the steps or the lines are not those that were recorded.")
        if (search(), scan()) != (1, 1):
            raise RuntimeError("The line was not found once.")
        while True:
            yield (
                Sample(
                    milliseconds(client.overview, CALLS),
                    milliseconds(lambda: [select(_NEWEST, flow) for flow in large.flows], CALLS),
                ),
                Sample(
                    milliseconds(lambda: client.run_steps(large.wide), CALLS),
                    milliseconds(lambda: select(_STEPS, large.wide), CALLS),
                ),
                Sample(
                    milliseconds(lambda: client.log_lines(large.long, start=lines // 2, limit=WINDOW), CALLS),
                    milliseconds(window, CALLS),
                ),
                Sample(milliseconds(search, 1), milliseconds(scan, 1)),
            )


def _select(connection: sqlite3.Connection, statement: str, *values: str) -> list[tuple[object, ...]]:
    return connection.execute(statement, values).fetchall()


MEASUREMENTS = (
    Measurement(
        (
            Row("overview", "all that the first page shows, 100,000 runs of 100 flows", "ms", "their rows", Reach(20)),
            Row("wide-run", "each step of a run of 1,000", "ms", "their rows", Reach(50)),
            Row("log-window", "200 lines amid 1,000,000", "ms", "as many lines read", Reach(10)),
            Row("log-search", "a line in 1,000,000, 40 ms at a time", "ms", "a loop over the lines", Reach(1000)),
        ),
        large_records,
    ),
)
