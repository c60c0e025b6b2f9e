"""Rows about work under way: recorded steps, whole runs, tracked items."""

from __future__ import annotations

from bench.floors import seconds_of_rows
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import THREE_STEPS, Workspace, run_all

PARALLEL_RUNS = 8

_MANY_STEPS = """
    from flowstead import Flow

    def build():
        flow = Flow("{group}")
        for _ in range({steps}):
            flow = flow.step(add_one)
        return flow

    def add_one(context):
        return (context.current or 0) + 1
"""

_MAP = """
    from flowstead import Flow

    def build():
        return Flow("Bench").step(numbers).map(same)

    def numbers(context):
        return range({items})

    def same(number):
        return number
"""


def step(setting: Setting) -> Samples:
    steps = setting.size(300, 100)
    workspace = Workspace(setting.folder)
    workspace.module("many_steps", _MANY_STEPS.format(group="Bench", steps=steps))
    with workspace.engine() as engine:
        while True:
            took = run_all(engine, ["many_steps"])
            floor = seconds_of_rows(setting.folder / "floor.sqlite3", steps)
            yield Sample(took / steps * 1e3, floor / steps * 1e3), Sample(steps / took, steps / floor)


def runs(setting: Setting) -> Samples:
    number = setting.size(2000, 200)
    workspace = Workspace(setting.folder)
    workspace.module("three_steps", THREE_STEPS)
    with workspace.engine() as engine:
        while True:
            took = run_all(engine, ["three_steps"] * number)
            yield (Sample(number / took, number / seconds_of_rows(setting.folder / "floor.sqlite3", 3 * number)),)


def step_full(setting: Setting) -> Samples:
    steps = setting.size(300, 50)
    flows = [f"many_steps_{number}" for number in range(PARALLEL_RUNS)]
    workspace = Workspace(setting.folder)
    for flow in flows:
        workspace.module(flow, _MANY_STEPS.format(group=flow, steps=steps))
    with workspace.engine(durability="full", worker_slots=PARALLEL_RUNS) as engine:
        while True:
            rate = len(flows) * steps / run_all(engine, flows)
            floor = steps / seconds_of_rows(setting.folder / "floor.sqlite3", steps, synchronous="FULL")
            yield (Sample(rate, floor),)


def tracked_map(setting: Setting) -> Samples:
    items = setting.size(10_000, 2000)
    workspace = Workspace(setting.folder)
    workspace.module("items", _MAP.format(items=items))
    with workspace.engine() as engine:
        while True:
            run_all(engine, ["items"])
            (run,) = engine.ledger.reader.runs(limit=1)
            mapped = run.steps[1]
            recorded = len(engine.ledger.reader.items(run.id, mapped.index))
            if recorded != items or mapped.started_at is None or mapped.finished_at is None:
                raise RuntimeError(f"{recorded} of {items} items were recorded.")
            took = (mapped.finished_at - mapped.started_at) / 1e6
            floor = seconds_of_rows(setting.folder / "floor.sqlite3", items, in_commit=100)
            yield (Sample(items / took, items / floor),)


MEASUREMENTS = (
    Measurement(
        (
            Row("step", "a recorded step of a run of 300, in a warm worker", "ms", "row and commit", Reach(0.15)),
            Row("steps", "the same as a rate", "steps/s", "row and commit", Reach(6000, at_least=True)),
        ),
        step,
        per_run=4,
    ),
    Measurement(
        (
            Row(
                "runs",
                "2,000 three-step runs, queued at once",
                "runs/s",
                "3 rows, a commit each",
                Reach(2000, at_least=True),
            ),
        ),
        runs,
    ),
    Measurement(
        (
            Row(
                "step-full",
                'steps of 8 runs at once, durability = "full"',
                "steps/s",
                "row and commit, FULL",
                Reach(4000, at_least=True),
            ),
        ),
        step_full,
    ),
    Measurement(
        (
            Row(
                "map",
                "a map over 10,000 trivial items, each tracked",
                "items/s",
                "rows, 100 a commit",
                Reach(100_000, at_least=True),
            ),
        ),
        tracked_map,
        per_run=2,
    ),
)
