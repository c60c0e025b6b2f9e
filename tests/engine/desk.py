"""An engine without workers: runs are queued in a real ledger, and the test says when one begins and how it ends."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from flowstead.catalog import CatalogEntry
from flowstead.engine.freshness import signatures
from flowstead.ledger import Ledger, Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.flow import FlowSpec, TriggerSpec
from flowstead.model.run import RunRequest
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout


class HandClock:
    """`now` in microseconds and `monotonic` in seconds, as the test sets them."""

    def __init__(self, now: int = 1_800_000_000_000_000) -> None:
        self._now = now
        self._monotonic = 1000.0

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        raise AssertionError("turns are taken by hand")

    def advance(self, seconds: float) -> None:
        self._now += round(seconds * 1_000_000)
        self._monotonic += seconds

    def set(self, seconds: float) -> None:
        """Sets the wall clock forward or back."""
        self._now += round(seconds * 1_000_000)


class Desk:
    """What an AutomatedFlow needs of an engine. `started` are the requests that became new runs, in order."""

    def __init__(self, root: Path, home: Path, clock: HandClock) -> None:
        (root / "flow_modules").mkdir(parents=True, exist_ok=True)
        self.layout = WorkspaceLayout.of(root, home)
        self.layout.prepare()
        self.settings = Settings()
        self.clock = clock
        self.ledger = Ledger(self.layout.ledger, clock=clock.now)
        self.starting = threading.Lock()
        self.failure = None
        self.started: list[RunRequest] = []
        self.running: dict[str, tuple[Fence, RunRequest]] = {}
        self.spec = FlowSpec("flow", "Test", "Flow")

    def entry(self, digest: str = "d1", resume: str = "auto", **trigger: object) -> CatalogEntry:
        self.spec = FlowSpec("flow", "Test", "Flow", resume=resume, trigger=TriggerSpec(**trigger))
        return CatalogEntry("flow", self.layout.flow_modules / "flow.py", digest, self.spec, None)

    def start_runs(self, requests, take_over=None):
        def enqueue(tx: Transaction):
            tx.put_version("d1", "flow", "Test", json.dumps(self.spec.as_dict()))
            queued = [tx.enqueue(request) for request in requests]
            if take_over is not None:
                take_over(tx)
            return queued

        results = self.ledger.write(enqueue)
        self.started += [request for request, (_, new) in zip(requests, results, strict=True) if new]
        return results

    @property
    def waiting(self) -> list[str]:
        return self.ledger.reader.open_runs(statuses=("queued",))

    def begin(self, run_id: str) -> None:
        run = self.ledger.reader.run(run_id)
        request = next(each for each in self.started if each.id == run_id)
        fence = Fence(run_id, f"token-{run_id}-{run.attempt}", 1 << 30)
        files = []
        if run.source_root is not None:
            files = list(signatures(self.spec, self.layout.root_path(run.source_root), run.source_path))

        def claim(tx: Transaction) -> None:
            assert tx.claim(fence, "worker")
            tx.put_run_files(fence, files)

        self.ledger.write(claim)
        self.running[run_id] = (fence, request)

    def end(self, run_id: str, status: str = "succeeded") -> None:
        fence, request = self.running.pop(run_id)
        root = request.source_root
        assert self.ledger.write(lambda tx: tx.end_run(fence, status, error=None, flow="flow", source_root=root))

    def work_off(self, status: str = "succeeded") -> None:
        """Runs everything that is queued or under way to its end."""
        for run_id in self.waiting:
            self.begin(run_id)
        for run_id in list(self.running):
            self.end(run_id, status)

    def close(self) -> None:
        self.ledger.close()
