"""A bench for each test of the engine: see engine_bench; and machines that share a folder: see machines."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from engine_bench import MARKS, Bench, Fifo
from machines import FakeClaims, Machine


@pytest.fixture
def bench(workspace, home) -> Iterator[Bench]:
    workspace.file("flow_modules/flow_helpers/marks.py", MARKS)
    bench = Bench(workspace.root, home)
    yield bench
    bench.close()


@pytest.fixture
def signals(bench) -> Fifo:
    return bench.fifo("signal")


@pytest.fixture
def gate(bench) -> Fifo:
    return bench.fifo("gate")


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    """Machines by name, all of one workspace."""
    (tmp_path / "shared" / "flow_modules").mkdir(parents=True)
    claims, made = FakeClaims(), dict[str, Machine]()

    def machine(name: str) -> Machine:
        if name not in made:
            made[name] = Machine(tmp_path / "shared", tmp_path, claims, name)
        return made[name]

    yield machine
    for each in made.values():
        each.close()
