"""Rows about what was recorded: reading it back when there is a lot of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

from bench.api import daemon, milliseconds
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import THREE_STEPS, Workspace, requests
from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.engine.engine import Engine
from flowstead.ledger import StepOutcome, Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.run import RunRequest, now_us

CALLS = 20
RUNS_IN_COMMIT = 1000
_NEWEST = "SELECT * FROM runs ORDER BY number DESC LIMIT 50"


def newest_runs(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("three_steps", THREE_STEPS)
    runs = setting.size(100_000, 2000)
    with workspace.engine() as engine:
        for first in range(0, runs, RUNS_IN_COMMIT):
            _record(engine, min(RUNS_IN_COMMIT, runs - first))
        ledger = engine.layout.ledger
    with (
        Client(embedded(workspace.root, command="bench")) as client,
        closing(sqlite3.connect(ledger)) as connection,
        daemon() as machine,
        machine.client(machine.open(workspace.root)["workspace"]) as remote,
    ):
        page = remote.runs(limit=50)["runs"]
        if len(page) != 50 or any(step["status"] != "succeeded" for run in page for step in run["steps"]):
            raise RuntimeError("The page is not that of 50 runs of three steps.")
        if page != client.runs(limit=50)["runs"]:
            raise RuntimeError("The page is not the same over the API.")
        while True:
            within = milliseconds(lambda: client.runs(limit=50), CALLS)
            yield (
                Sample(within, milliseconds(lambda: connection.execute(_NEWEST).fetchall(), CALLS)),
                Sample(milliseconds(lambda: remote.runs(limit=50), CALLS), within),
            )


def _record(engine: Engine, number: int) -> None:
    """Writes the record of `number` succeeded three-step runs, in one commit, as an engine writes it."""
    ready = requests(engine, ["three_steps"] * number)
    spec = engine.dispatcher.version(ready[0].version).spec.as_dict()

    def record(tx: Transaction) -> None:
        tx.put_version(ready[0].version, "three_steps", "Bench", json.dumps(spec))
        for request in ready:
            record_run(tx, request)

    engine.ledger.write(record)


def record_run(tx: Transaction, request: RunRequest, epoch: int = 1 << 30) -> None:
    """The record of one three-step run, from its start to its success."""
    fence, now = Fence(request.id, "bench", epoch), now_us()
    tx.enqueue(request)
    tx.claim(fence, "bench", first_step=True)
    for step in range(3):
        outcome = StepOutcome(step, 1, "succeeded", now, now, "int")
        tx.finish_step(fence, outcome, following=(step + 1, 1) if step < 2 else None)
    tx.end_run(fence, "succeeded")


MEASUREMENTS = (
    Measurement(
        (
            Row(
                "newest-runs",
                "the newest 50 of 100,000 runs, through the routes",
                "ms",
                "SELECT of 50 rows",
                Reach(10),
            ),
            Row(
                "api-list",
                "the newest 50 of 100,000 runs, through the daemon's API",
                "ms",
                "the same call within the process",
                Reach(10),
            ),
        ),
        newest_runs,
        per_run=4,
    ),
)
