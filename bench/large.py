"""Makers of what is large: many runs, many steps, a long log, a table beyond memory; as fast as a disk takes them.

Nobody may have the workspace meanwhile.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from bench.workspaces import THREE_STEPS
from flowstead.catalog import Catalog, CatalogEntry
from flowstead.engine.runlog import NAME
from flowstead.ledger import Ledger
from flowstead.ledger.pages import id_at
from flowstead.model.run import iso, now_us
from flowstead.workspace.layout import WorkspaceLayout

FLOWS = 100
TABLE = "large.parquet"
MINUTE = 60_000_000
ROWS_AT_ONCE = 1_000_000
ROWS_IN_GROUP = 125_000
LINES_AT_ONCE = 10_000

_PUT_RUNS = """
INSERT INTO runs (id, flow, group_name, version, status, trigger, source_path, summary, error, due_at, queued_at,
                  started_at, finished_at)
VALUES (?, ?, ?, ?, ?, 'schedule', ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_STEPS = """
INSERT INTO step_runs (run_id, step, attempt, status, started_at, finished_at, output_kind, error)
VALUES (?, ?, 1, ?, ?, ?, 'int', ?)
"""
_TABLE = """
SELECT i AS id, random() * 1e6 AS amount, CAST(random() * 1000 AS INTEGER) AS quantity,
       'carrier ' || CAST(random() * 16 AS INTEGER) AS carrier, md5(CAST(i AS VARCHAR)) AS token,
       TIMESTAMP '2013-01-01' + to_seconds(CAST(random() * 31e6 AS BIGINT)) AS departed,
       CASE WHEN random() < 0.1 THEN NULL ELSE random() * 100 END AS delay, random() < 0.5 AS late,
       'note ' || CAST(random() * 1e9 AS BIGINT) AS note
FROM range(?) AS numbers(i)
"""


_WIDE = """
    from flowstead import Flow

    def part(number):
        def work(context):
            return number
        return work

    def build():
        flow = Flow("Bench")
        for number in range({}):
            flow = flow.step(part(number), label=f"Part {{number}}")
        return flow
"""


class Large(NamedTuple):
    """A workspace in which everything is large: its newest run has many steps, the one before it a long log."""

    layout: WorkspaceLayout
    flows: list[str]
    wide: str
    long: str


def make_large(root: Path, home: Path, *, runs: int, steps: int, lines: int, rows: int) -> Large:
    """Writes the workspace at `root`: many runs of 100 flows, one of many steps, one of many lines, and a table."""
    modules = root / "flow_modules"
    modules.mkdir(parents=True)
    flows = [f"flow_{number:02}" for number in range(FLOWS)]
    for name in flows:
        (modules / f"{name}.py").write_text(textwrap.dedent(THREE_STEPS), "utf-8")
    (modules / "wide.py").write_text(textwrap.dedent(_WIDE.format(steps)), "utf-8")
    layout = WorkspaceLayout.of(root, home)
    long = record_runs(layout, flows, runs - 1)[-1]
    (wide,) = record_runs(layout, ["wide"], 1)
    write_log(layout.run_folder(long), long, flows[(runs - 2) % FLOWS], ["first", "second", "third"], lines)
    write_log(layout.run_folder(wide), wide, "wide", [f"work_{number + 1}" for number in range(steps)], 10 * steps)
    if rows:
        write_table(root / TABLE, rows)
    return Large(layout, flows, wide, long)


def record_runs(layout: WorkspaceLayout, flows: list[str], number: int, *, steps: bool = True) -> list[str]:
    """Records `number` runs that ended, one a minute up to now, of `flows` in turn; their ids, oldest first.

    Every fiftieth failed in its last step. Without `steps`, only the runs themselves are recorded.
    """
    layout.prepare()
    entries = {entry.name: entry for entry in Catalog(layout).entries()}
    chosen = [entries[name] for name in flows]
    begun = now_us() - (number + 1) * MINUTE
    with closing(Ledger(layout.ledger)) as ledger:
        ledger.write(lambda tx: [tx.put_version(*_version(entry)) for entry in chosen])
        connection = ledger._connection
        connection.execute("BEGIN")
        connection.executemany(_PUT_RUNS, _runs(chosen, number, begun))
        if steps:
            connection.executemany(_PUT_STEPS, _steps(chosen, number, begun))
        connection.execute("COMMIT")
    return [_id(begun, each) for each in range(number)]


def _version(entry: CatalogEntry) -> tuple[str, str, str, str]:
    assert entry.spec is not None and entry.digest is not None, entry.error
    return entry.digest, entry.name, entry.spec.group, json.dumps(entry.spec.as_dict())


def _id(begun: int, number: int) -> str:
    return f"{id_at(begun + number * MINUTE)}7{number:019x}"


def _failed(number: int) -> bool:
    return number % 50 == 7


def _error(entry: CatalogEntry) -> str:
    assert entry.spec is not None
    step = entry.spec.steps[-1].name
    return json.dumps({"code": "step-failed", "type": "ValueError", "message": "no such month: 13", "step": step})


def _runs(entries: list[CatalogEntry], number: int, begun: int) -> Iterator[tuple[object, ...]]:
    for each in range(number):
        entry, at = entries[each % len(entries)], begun + each * MINUTE
        assert entry.spec is not None
        failed = _failed(each)
        yield (
            *(_id(begun, each), entry.name, entry.spec.group, entry.digest, "failed" if failed else "succeeded"),
            f"inbox/day_{each}.csv",
            *((None, _error(entry)) if failed else (f"run {each} of {number}", None)),
            *(at, at, at + 5_000, at + 5_000 + 1_000_000 * (1 + each % 30)),
        )


def _steps(entries: list[CatalogEntry], number: int, begun: int) -> Iterator[tuple[object, ...]]:
    for each in range(number):
        entry, at = entries[each % len(entries)], begun + each * MINUTE + 5_000
        assert entry.spec is not None
        steps = len(entry.spec.steps)
        long = 1_000_000 * (1 + each % 30) // steps
        for step in range(steps):
            failed = _failed(each) and step == steps - 1
            outcome = ("failed", _error(entry)) if failed else ("succeeded", None)
            yield _id(begun, each), step, outcome[0], at + step * long, at + (step + 1) * long, outcome[1]


def write_log(folder: Path, run_id: str, flow: str, steps: list[str], lines: int) -> None:
    """Writes the log of an ended run, `line 0` to the last one, by each step a part; one in 1,000 is a warning."""
    folder.mkdir(parents=True, exist_ok=True)
    begun = now_us() - lines * 1000
    with (folder / NAME).open("wb") as file:
        for first in range(0, lines, LINES_AT_ONCE):
            file.write("".join(_lines(run_id, flow, steps, lines, begun, first)).encode())


def _lines(run_id: str, flow: str, steps: list[str], lines: int, begun: int, first: int) -> Iterator[str]:
    last = min(first + LINES_AT_ONCE, lines)
    time = iso(begun + first * 1000)
    for number in range(first, last):
        step = steps[number * len(steps) // lines]
        level, event = ("warning" if number % 1000 == 5 else "info"), "output"
        if number == lines - 1:
            event = "run.finished"
        yield (
            f'{{"seq":{number + 1},"timestamp":"{time}","level":"{level}","event":"{event}",'
            f'"message":"line {number}: read a part of the day, and nothing was wrong with it","data":{{}},'
            f'"context":{{"run_id":"{run_id}","flow":"{flow}","step":"{step}"}}}}\n'
        )


def write_table(path: Path, rows: int) -> None:
    """Writes a Parquet file of nine columns, some 90 bytes a row; `id` counts the rows from 0.

    All but `id` repeats after a million rows, and nothing is compressed: so 1 GB takes seconds.
    """
    with duckdb.connect() as connection:
        piece = connection.sql(_TABLE, params=[min(rows, ROWS_AT_ONCE)]).to_arrow_table()
    with pq.ParquetWriter(path, piece.schema, compression="none", use_dictionary=False) as writer:
        for first in range(0, rows, ROWS_AT_ONCE):
            size = min(ROWS_AT_ONCE, rows - first)
            ids = pa.array(range(first, first + size), piece.schema.field("id").type)
            writer.write_table(piece.slice(0, size).set_column(0, "id", ids), row_group_size=ROWS_IN_GROUP)
