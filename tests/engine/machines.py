"""Machines that share a folder: each with a ledger of its own, by turns the owner, without any engine or worker."""

from __future__ import annotations

from pathlib import Path

from flowstead.engine.following import Followed, follow, last_generation
from flowstead.engine.publishing import Publisher
from flowstead.engine.runlog import RunLog
from flowstead.ledger import Ledger, StepOutcome, Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.flow import FlowSpec
from flowstead.model.run import Run, RunRequest
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.segments import Accepted, Segments
from flowstead.workspace.shared import SharedFolder

SPEC = (
    '{"name": "daily", "group": "Sales", "label": "Daily", "trigger": {}, "steps": [{"index": 0, "name": "load",'
    ' "label": "Load", "kind": "step"}, {"index": 1, "name": "save", "label": "Save", "kind": "step"}]}'
)


class FakeClaims:
    """What every machine sees of the claims: `accepted` by epoch, and what the last owner announced."""

    def __init__(self) -> None:
        self.accepted: dict[int, int] = {}
        self.announced = 0

    @property
    def highest(self) -> int:
        return max(self.accepted, default=0)

    def listing(self) -> FakeClaims:
        return self

    def bound(self, epoch: int) -> int | None:
        return next((self.accepted[each] for each in sorted(self.accepted) if each > epoch), None)

    def counting(self) -> Accepted:
        known = max(self.announced, self.accepted.get(self.highest, 0))
        return Accepted(self.highest, known, self.bound)


class Machine:
    """One machine's part: `own` claims, merges and publishes from then on; `lose` is what a crash leaves of that."""

    def __init__(self, shared: Path, home: Path, claims: FakeClaims, name: str = "a") -> None:
        self.layout = WorkspaceLayout(shared, home / name)
        self.layout.prepare()
        self.name = name
        self.claims = claims
        self.folder = SharedFolder(self.layout.shared_state)
        self.segments = Segments(self.folder)
        self.publisher: Publisher | None = None
        self.epoch = 0
        self.open()

    def open(self) -> None:
        self.ledger = Ledger(self.layout.ledger)

    def close(self) -> None:
        self.lose()
        self.ledger.close()

    def lose(self) -> None:
        if self.publisher is not None:
            self.publisher.close()
            self.publisher = None

    def own(self) -> Followed:
        epoch = max(self.claims.highest, int(self.ledger.write(lambda tx: tx.get_meta("epoch")) or 0)) + 1
        generation = last_generation(self.ledger, self.segments, self.claims)  # type: ignore[arg-type]
        before = self.claims.accepted.get(self.claims.highest, 0)
        self.claims.accepted[epoch] = max(generation, self.claims.announced, before)
        self.claims.announced = 0
        self.epoch = epoch
        followed = self.follow()
        self.ledger.write(lambda tx: tx.begin_epoch(epoch))

        def reconcile(tx: Transaction) -> None:
            for run_id, status, _, _ in tx.abandoned():
                tx.abandon(run_id, "cancelled" if status == "cancelling" else "interrupted", None)

        self.ledger.write(reconcile)
        accepted = self.claims.accepted[epoch]
        self.publisher = Publisher(self.layout, self.ledger, self.segments, epoch=epoch, generation=accepted)
        return followed

    def publish(self) -> int:
        assert self.publisher is not None
        generation = self.publisher.publish()
        if self.epoch == self.claims.highest:
            self.claims.announced = generation
        return generation

    def follow(self) -> Followed:
        return follow(self.layout, self.ledger, self.segments, self.claims.counting())

    # -- runs --------------------------------------------------------------------------------------------------

    def enqueue(self, **more) -> str:
        request = RunRequest(**{"flow": "daily", "group": "Sales", "version": "v1", "trigger": "manual", **more})

        def enqueue(tx: Transaction) -> str:
            tx.put_version("v1", "daily", "Sales", SPEC)
            return tx.enqueue(request)[0]

        return self.ledger.write(enqueue)

    def begin(self, run_id: str, *, files: list[tuple[str, int, int]] | None = None) -> Fence:
        fence = Fence(run_id, f"{self.name}-{self.epoch}", self.epoch)

        def claim(tx: Transaction) -> bool:
            claimed = tx.claim(fence, f"w-{self.name}", first_step=True)
            if files:
                tx.put_run_files(fence, files)
            return claimed

        assert self.ledger.write(claim)
        self.log(run_id, "run.started")
        return fence

    def end(self, fence: Fence, status: str = "succeeded", **more) -> None:
        outcome = StepOutcome(0, 1, status, None, 2, checkpoint='{"inline": 1}')

        def end(tx: Transaction) -> bool:
            tx.finish_step(fence, outcome)
            return tx.end_run(fence, status, **more)

        assert self.ledger.write(end)
        self.log(fence.run_id, "run.finished")

    def log(self, run_id: str, event: str, lines: int = 1) -> None:
        log = RunLog(self.layout.run_folder(run_id), {"run_id": run_id})
        for number in range(lines):
            log.add(event, f"{event} {number} on {self.name}")
        log.close()

    def complete(self, status: str = "succeeded", **more) -> str:
        """A run from its start to its end."""
        run_id = self.enqueue(**more)
        self.end(self.begin(run_id), status)
        return run_id

    def runs(self) -> dict[str, str]:
        return {run.id: run.status for run in self.ledger.reader.runs(limit=10_000)}

    def run(self, run_id: str) -> Run:
        return self.ledger.reader.run(run_id)

    def log_text(self, run_id: str) -> list[str]:
        path = self.layout.run_folder(run_id) / "events.ndjson"
        return path.read_text().splitlines() if path.exists() else []


assert FlowSpec.from_dict(__import__("json").loads(SPEC)).steps, "the plan that runs are shown by"
