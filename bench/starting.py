"""Rows about a process that starts: what a person waits for before anything happens."""

from __future__ import annotations

import os
import sys
import time
from itertools import count

from bench.floors import BARE_PYTHON, flowstead, seconds
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import THREE_STEPS, Workspace, seconds_to_end
from flowstead.client import Client
from flowstead.daemon.embedded import embedded
from flowstead.ledger import LedgerReader
from flowstead.model.run import now_us
from flowstead.workspace.layout import WorkspaceLayout

_PLAIN_SCRIPT = """
import sqlite3
def first(value): return 1
def second(value): return value + 1
def third(value): return value + 1
connection = sqlite3.connect("plain.sqlite3", isolation_level=None)
connection.execute("PRAGMA journal_mode = WAL")
connection.execute("PRAGMA synchronous = NORMAL")
connection.execute("CREATE TABLE IF NOT EXISTS steps (name TEXT, value TEXT)")
value = None
for step in (first, second, third):
    value = step(value)
    connection.execute("INSERT INTO steps VALUES (?, ?)", (step.__name__, str(value)))
connection.close()
"""

_MODULE = """
    '''Orders of one shop, number {number}.'''

    from dataclasses import dataclass
    from pathlib import Path

    from flowstead import Flow, FlowContext

    DESCRIPTION = "Adds up the orders of shop {number}."
    SHOP = {number}

    @dataclass
    class Order:
        product: str
        cents: int

    def build():
        return (
            Flow("Shops")
            .watch(mode="poll", source="../orders", interval="1h", extensions=[".csv"])
            .mirror(root="../totals")
            .step(read, save_as="orders")
            .map(price, use="orders", save_as="prices")
            .step(total, use="prices")
        )

    def read(context: FlowContext):
        return [Order(*line.split(",")) for line in Path(context.source.path).read_text().splitlines()]

    def price(order: Order):
        return int(order.cents) * SHOP

    def total(context: FlowContext):
        return sum(context.current)
"""


def version(setting: Setting) -> Samples:
    while True:
        yield (Sample(seconds(flowstead("--version")) * 1e3, seconds(BARE_PYTHON) * 1e3),)


def cold_run(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("three_steps", THREE_STEPS)
    reader = LedgerReader(WorkspaceLayout.of(workspace.root).ledger)
    plain = [sys.executable, "-c", _PLAIN_SCRIPT]
    while True:
        begun = now_us()
        took = seconds(flowstead("run", "three_steps"), cwd=workspace.root)
        seconds_to_end(reader, begun, 1)
        yield (Sample(took * 1e3, seconds(plain, cwd=setting.folder) * 1e3),)


def discovery(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    for number in range(setting.size(100, 20)):
        workspace.module(f"shop_{number:03}", _MODULE.format(number=number))
    modules = list((workspace.root / "flow_modules").iterdir())
    command = flowstead("list", "--json", "--workspace", str(workspace.root))
    for number in count():
        environment = {**os.environ, "FLOWSTEAD_HOME": str(setting.folder / f"home-{number}")}
        cold = seconds(command, env=environment) * 1e3
        unchanged = seconds(command, env=environment) * 1e3
        bare = seconds(BARE_PYTHON) * 1e3
        begun = time.perf_counter()
        with Client(embedded(workspace.root, command="bench")) as client:
            flows = client.flows()
        within = (time.perf_counter() - begun) * 1e3
        begun = time.perf_counter()
        for module in modules:
            module.read_bytes()
        read = (time.perf_counter() - begun) * 1e3
        if any(flow["status"] != "ok" for flow in flows):
            raise RuntimeError("A module could not be described.")
        yield Sample(cold, bare), Sample(unchanged, bare), Sample(within, read)


MEASUREMENTS = (
    Measurement(
        (Row("version", "flowstead --version, whole process", "ms", "bare python", Reach(80, above_floor=True)),),
        version,
        per_run=4,
    ),
    Measurement(
        (
            Row(
                "cold-run",
                "flowstead run of a known three-step flow, whole process",
                "ms",
                "python, 3 functions, 3 commits",
                Reach(200),
            ),
        ),
        cold_run,
        per_run=2,
    ),
    Measurement(
        (
            Row(
                "discovery-cold",
                "flowstead list of 100 new modules, whole process",
                "ms",
                "bare python",
                Reach(1000),
            ),
            Row("discovery", "the same when no module has changed", "ms", "bare python", Reach(150)),
            Row("discovery-within", "the same within a running process", "ms", "reading 100 files", Reach(150)),
        ),
        discovery,
    ),
)
