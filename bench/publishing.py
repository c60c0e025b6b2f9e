"""Rows about the shared folder: publishing what changed, and taking in what others published."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from bench.reading import record_run
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from flowstead.engine.following import follow
from flowstead.engine.publishing import CURSOR, Publisher
from flowstead.ledger import Ledger, Transaction
from flowstead.model.run import RunRequest
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.segments import Accepted, Segments
from flowstead.workspace.shared import SharedFolder

CHANGES = 10
RUNS_IN_COMMIT = 1000
EPOCH = 1
SPEC = '{"name": "three_steps", "group": "Bench", "label": "", "trigger": {}, "steps": []}'


def ten_changes(setting: Setting) -> Samples:
    """Ten runs of three steps are recorded beside 100,000 others, published, and merged by another machine that has
    those too."""
    shared = setting.folder / "workspace"
    (shared / "flow_modules").mkdir(parents=True)
    here, there = (WorkspaceLayout(shared, setting.folder / name) for name in ("here", "there"))
    here.prepare()
    there.prepare()
    with closing(Ledger(here.ledger)) as ledger:
        for _ in range(setting.size(100_000, 2000) // RUNS_IN_COMMIT):
            _record(ledger, RUNS_IN_COMMIT)
        ledger.write(lambda tx: tx.begin_epoch(EPOCH))
        ledger.write(lambda tx: tx.put_meta(CURSOR, str(ledger.last_event)))
    shutil.copy(here.ledger, there.ledger)
    segments = Segments(SharedFolder(here.shared_state))
    with closing(Ledger(here.ledger)) as mine, closing(Ledger(there.ledger)) as theirs:
        theirs.write(lambda tx: tx.put_meta("own_epochs", "[]"))
        with closing(Publisher(here, mine, segments, epoch=EPOCH, generation=0)) as publisher:
            while True:
                _record(mine, CHANGES)
                begun = time.perf_counter()
                generation = publisher.publish()
                published = time.perf_counter()
                followed = follow(there, theirs, segments, Accepted(EPOCH, generation, lambda _: None))
                merged = time.perf_counter()
                if followed.runs != CHANGES or followed.gaps:
                    raise RuntimeError(f"{followed.runs} of {CHANGES} runs arrived.")
                yield (
                    Sample((published - begun) * 1e3, _put_files(here.shared_state, setting.folder / "floor") * 1e3),
                    Sample((merged - published) * 1e3, _put_rows(setting.folder / "floor.sqlite3") * 1e3),
                )


def _record(ledger: Ledger, number: int) -> None:
    requests = [RunRequest("three_steps", "Bench", "v1", "manual") for _ in range(number)]

    def record(tx: Transaction) -> None:
        tx.put_version("v1", "three_steps", "Bench", SPEC)
        for request in requests:
            record_run(tx, request, EPOCH)

    ledger.write(record)


def _put_files(state: Path, target: Path) -> float:
    """Puts copies of the latest segment's files, each whole or not at all."""
    newest = [max((state / "state" / table).iterdir()).read_bytes() for table in ("runs", "step_runs")]
    target.mkdir(exist_ok=True)
    begun = time.perf_counter()
    for number, data in enumerate(newest):
        part = target / f"{number}.part"
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target / str(number))
    return time.perf_counter() - begun


def _put_rows(path: Path) -> float:
    """One commit of as many rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text TEXT)")
        begun = time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO rows (text) VALUES (?)", [("x" * 200,)] * CHANGES * 8)
        connection.execute("COMMIT")
        return time.perf_counter() - begun


MEASUREMENTS = (
    Measurement(
        (
            Row(
                "publish-10",
                "10 changed runs among 100,000, published",
                "ms",
                "writing as many bytes as files",
                Reach(50),
            ),
            Row(
                "follow-10",
                "the same taken in by another machine that has 100,000",
                "ms",
                "a commit of as many rows",
                Reach(50),
            ),
        ),
        ten_changes,
        per_run=4,
    ),
)
