"""A ledger in a folder of its own, and the shortest way to a run in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowstead.ledger import Ledger
from flowstead.ledger.transaction import Fence
from flowstead.model.run import RunRequest


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.sqlite3")
    yield opened
    opened.close()


@pytest.fixture
def request_run() -> Callable[..., RunRequest]:
    def make(flow: str = "daily", **more) -> RunRequest:
        return RunRequest(**{"flow": flow, "group": "Sales", "version": "v1", "trigger": "manual", **more})

    return make


@pytest.fixture
def claimed(request_run) -> Callable[..., Fence]:
    """Queues a run in a ledger, claims it, begins its first step, and returns the fence of that attempt."""

    def make(ledger: Ledger, token: str = "t1", epoch: int = 1, **more) -> Fence:
        request = request_run(**more)
        fence = Fence(request.id, token, epoch)
        ledger.write(lambda tx: tx.enqueue(request))
        assert ledger.write(lambda tx: tx.claim(fence, "w-1", first_step=True))
        return fence

    return make
