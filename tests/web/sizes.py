"""A workspace in which everything is large, made once; and how a page of it is opened, scrolled and measured."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import NamedTuple

from bench.large import record_runs, write_log, write_table
from bench.workspaces import THREE_STEPS
from flowstead.workspace.layout import WorkspaceLayout

FLOWS, RUNS, STEPS, LINES, ROWS = 100, 100_000, 1_000, 1_000_000, 12_000_000
TABLE = "large.parquet"
WIDE = """
    from flowstead import Flow

    def part(number):
        def work(context):
            return number
        return work

    def build():
        flow = Flow("Bench")
        for number in range({steps}):
            flow = flow.step(part(number), label=f"Part {{number}}")
        return flow
"""


class Large(NamedTuple):
    """The workspace, and the runs in it that are large by themselves."""

    root: Path
    newest: str
    wide: str
    long: str


def make_large(root: Path, home: Path) -> Large:
    """Writes the workspace at `root`: the newest run has a long log, the one before it many steps."""
    (root / "flow_modules").mkdir(parents=True)
    names = [f"flow_{number:02}" for number in range(FLOWS)]
    for name in names:
        (root / "flow_modules" / f"{name}.py").write_text(textwrap.dedent(THREE_STEPS), "utf-8")
    (root / "flow_modules" / "wide.py").write_text(textwrap.dedent(WIDE.format(steps=STEPS)), "utf-8")
    layout = WorkspaceLayout.of(root, home)
    long = record_runs(layout, names, RUNS - 1)[-1]
    (wide,) = record_runs(layout, ["wide"], 1)
    steps = ["first", "second", "third"]
    write_log(layout.run_folder(long), long, names[(RUNS - 2) % FLOWS], steps, LINES)
    write_log(layout.run_folder(wide), wide, "wide", [f"work_{number + 1}" for number in range(STEPS)], 10 * STEPS)
    write_table(root / TABLE, ROWS)
    return Large(root, wide, wide, long)
