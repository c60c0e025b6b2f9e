"""A bench for each test of the engine: see engine_bench."""

from collections.abc import Iterator

import pytest
from engine_bench import MARKS, Bench, Fifo


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
