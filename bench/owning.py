"""Rows about owning a workspace: claiming it, taking it over, and a click that goes through the daemon."""

from __future__ import annotations

import os
import time
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.api import daemon
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.waking import FIRST_LINE, SECONDS_BETWEEN_STARTS, sleeper
from bench.workspaces import THREE_STEPS, Workspace, run_all
from flowstead.client import Client, connect
from flowstead.engine.engine import Engine
from flowstead.engine.flow_environments import FlowEnvironments
from flowstead.engine.holding import Holding
from flowstead.environments.cache import EnvironmentCache
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.ownership import Ownership

PUBLISHED_RUNS = 1000


def claim(setting: Setting) -> Samples:
    times = setting.size(50, 5)
    workspace = Workspace(setting.folder)
    layout = WorkspaceLayout.of(workspace.root)
    layout.prepare()
    bare = setting.folder / "bare"
    while True:
        begun = time.perf_counter()
        for _ in range(times):
            ownership = Ownership(layout)
            ownership.claim("bench", accepted=lambda: 0)
            ownership.release(0)
        ours = (time.perf_counter() - begun) / times
        begun = time.perf_counter()
        for _ in range(times):
            for _ in ("claim", "release"):
                _put_durably(bare)
                bare.unlink()
        yield (Sample(ours * 1e3, (time.perf_counter() - begun) / times * 1e3),)


def _put_durably(path: Path) -> None:
    """The least that a file costs which is whole, on the disk, and put only if it is not there."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(b"x" * 400)
        os.fsync(file.fileno())
    os.link(part, path)
    part.unlink()


def takeover(setting: Setting) -> Samples:
    """Each time by a machine that has seen nothing yet, of an owner that fell silent with its runs published."""
    runs = setting.size(PUBLISHED_RUNS, 50)
    workspace = Workspace(setting.folder)
    workspace.module("three_steps", THREE_STEPS)
    with workspace.engine() as engine:
        run_all(engine, ["three_steps"] * runs)
    layout, number = WorkspaceLayout.of(workspace.root), 0
    bare = setting.folder / "bare"
    while True:
        number += 1
        silent = Ownership(layout, machine=MachineIdentity(f"dead-{number}", "elsewhere", "", ""))
        silent.claim("bench", accepted=lambda: _last(layout))
        taking = WorkspaceLayout.of(workspace.root, setting.folder / f"home-{number}")
        with closing(Holding(taking, Settings(), command="bench")) as holding:
            # Only the silence is made up: any is taken for long enough.
            holding.ownership.look()
            holding.ownership.times = holding.ownership.times._replace(stale=0.0)
            environments = FlowEnvironments(taking, lambda: EnvironmentCache(setting.folder, Settings()))
            begun = time.perf_counter()
            with Engine(holding, environments, only=()):
                ours = time.perf_counter() - begun
        begun = time.perf_counter()
        _put_durably(bare)
        bare.unlink()
        yield (Sample(ours * 1e3, (time.perf_counter() - begun) * 1e3),)


def _last(layout: WorkspaceLayout) -> int:
    folder = layout.shared_state / "state" / "runs"
    return max((int(name.name.split("-")[2][:8]) for name in folder.glob("*.parquet")), default=0)


def click(setting: Setting) -> Samples:
    starts = setting.size(200, 20)
    workspace = Workspace(setting.folder)
    workspace.module("first_line", FIRST_LINE)
    with daemon(), connect(workspace.root) as client, sleeper() as connection:
        _first_line(client.start("first_line")["started"][0], client)
        while True:
            ours: list[float] = []
            bare: list[float] = []
            for _ in range(starts):
                clock = time.perf_counter_ns()
                run_id = client.start("first_line")["started"][0]
                ours.append((_first_line(run_id, client) - clock) / 1e6)
                time.sleep(SECONDS_BETWEEN_STARTS)
                clock = time.perf_counter_ns()
                connection.sendall(b"!")
                bare.append((int.from_bytes(connection.recv(8), "big") - clock) / 1e6)
            yield (Sample(median(ours), median(bare)),)


def _first_line(run_id: str, client: Client) -> int:
    """When the run's code began, as it noted itself; waits for its end."""
    while True:
        run = client.run(run_id)
        if run["status"] == "succeeded":
            return int(run["summary"])


MEASUREMENTS = (
    Measurement(
        (Row("claim", "a workspace is claimed and released", "ms", "two small files, made durable", Reach(10)),), claim
    ),
    Measurement(
        (
            Row(
                "takeover",
                "a silent owner's workspace with 1,000 runs: to a new owner that has them",
                "ms",
                "a small file, made durable",
                Reach(1000),
            ),
        ),
        takeover,
    ),
    Measurement(
        (
            Row(
                "click",
                "a request to the daemon to the first line of user code, p50 of 200",
                "ms",
                "socket wake, p50",
                Reach(10),
            ),
        ),
        click,
    ),
)
