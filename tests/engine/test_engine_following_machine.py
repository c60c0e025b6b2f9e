"""Several machines on one shared folder, by turns its owner: crashes, late writes, damage, compaction, lost ledgers.

Whatever happens in between, at the end every machine has every run that was recorded, in one and the same state.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from machines import FakeClaims, Machine

from flowstead.engine.compacting import Compactor
from flowstead.ledger.transaction import Fence
from flowstead.model.errors import OwnershipLost, StorageError
from flowstead.model.run import ENDED
from flowstead.workspace import compaction
from flowstead.workspace.segments import Accepted, Gap

LONG = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
PHASES = [Phase.reuse, Phase.generate]  # a history of fifty steps over files takes minutes to shrink
NAMES = ("a", "b", "c")
WORK = ("enqueue", "start", "start", "succeed", "fail", "cancel", "resume")


class Shared(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.home = Path(self.folder.name)
        (self.home / "shared" / "flow_modules").mkdir(parents=True)
        self.claims = FakeClaims()
        self.machines = {name: Machine(self.home / "shared", self.home, self.claims, name) for name in NAMES}
        self.patched = mock.patch.object(compaction, "FANOUT", 3)
        self.patched.start()
        self.fences: dict[str, dict[str, Fence]] = {name: {} for name in NAMES}
        self.recorded: dict[str, dict[str, str]] = {name: {} for name in NAMES}
        """Per machine, the runs that it changed, and their status after that."""
        self.published: dict[str, int] = {}
        """Runs that count as published, and the generation in which they first were."""
        self.tried: dict[tuple[int, int], set[str]] = {}
        """By epoch and generation, the runs in a segment that was put but did not come to count."""
        self.ended: set[str] = set()
        """Runs of which an end was published."""
        self.taken_away: dict[Path, bytes] = {}
        self.count = 0

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.settle()
        finally:
            for machine in self.machines.values():
                machine.close()
            self.patched.stop()
            self.folder.cleanup()

    @property
    def owner(self) -> Machine | None:
        """The machine whose epoch is the last one claimed, while it lives."""
        found = [each for each in self.machines.values() if each.publisher and each.epoch == self.claims.highest]
        return found[0] if found else None

    def has_owner(self) -> bool:
        return hasattr(self, "machines") and self.owner is not None

    def has_paused(self) -> bool:
        """Whether a machine was stopped while it owned, and another has claimed since."""
        return hasattr(self, "machines") and bool(self.paused())

    def paused(self) -> list[Machine]:
        return [each for each in self.machines.values() if each.publisher and each.epoch != self.claims.highest]

    # -- owners ------------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES))
    def claim(self, name: str) -> None:
        """Whoever owned it before is paused from here on: its publisher stays, and may yet write late."""
        machine = self.machines[name]
        machine.lose()
        machine.ledger.guard = None
        before = machine.runs()
        highest = self.claims.highest
        followed = machine.own()
        accepted = self.claims.accepted[machine.epoch]
        for (epoch, generation), runs in list(self.tried.items()):
            if generation <= accepted and epoch == highest:
                for run_id in runs:
                    self.published.setdefault(run_id, generation)
                del self.tried[epoch, generation]
        self.check_followed(machine, before, followed.gaps)
        for run_id, status in machine.runs().items():
            if before.get(run_id) != status or run_id in self.recorded[name]:
                self.recorded[name][run_id] = status
        self.fences[name] = {}
        machine.ledger.guard = lambda: self.check_owner(machine, machine.epoch)

    def check_owner(self, machine: Machine, epoch: int) -> None:
        if machine.epoch != epoch or self.claims.highest != epoch:
            raise OwnershipLost("It is another's.")

    @precondition(has_owner)
    @rule(work=st.lists(st.tuples(st.sampled_from(WORK), st.integers(0, 3)), min_size=1, max_size=5))
    def work(self, work: list[tuple[str, int]]) -> None:
        assert self.owner
        owner, recorded = self.owner, self.recorded[self.owner.name]
        for what, number in work:
            if what == "enqueue":
                key = f"slot-{number}" if number else None
                self.count += 1
                run_id = owner.enqueue(key=key, id=f"r_{self.count:032d}")
                recorded[run_id] = owner.run(run_id).status
                continue
            leaves = {"start": "queued", "succeed": "running", "fail": "running"}.get(what, "interrupted")
            found = sorted(run_id for run_id, status in owner.runs().items() if status == leaves)
            if not found:
                continue
            run_id = found[number % len(found)]
            if what == "start" and not owner.ledger.reader.step_rows(run_id):
                self.fences[owner.name][run_id] = owner.begin(run_id)
            elif what in ("succeed", "fail"):
                owner.end(self.fences[owner.name].pop(run_id), "succeeded" if what == "succeed" else "failed")
            elif what == "cancel":
                owner.ledger.write(lambda tx, run_id=run_id: tx.cancel(run_id))
            elif what == "resume":
                owner.ledger.write(lambda tx, run_id=run_id: tx.resume(run_id))
            recorded[run_id] = owner.run(run_id).status

    @precondition(has_owner)
    @rule()
    def publish(self) -> None:
        assert self.owner and self.owner.publisher
        self.owner.publish()
        self.tried.pop((self.owner.epoch, self.owner.publisher.generation), None)
        for run_id, status in self.owner.runs().items():
            self.published.setdefault(run_id, self.owner.publisher.generation)
            if status in ENDED:
                self.ended.add(run_id)

    @precondition(has_owner)
    @rule(after=st.integers(0, 4), dies=st.booleans())
    def publish_in_vain(self, after: int, dies: bool) -> None:
        """The share, or the disk here, fails at one of the writes of a publication; the machine dies of it, or not."""
        assert self.owner and self.owner.publisher
        machine, generation, left = self.owner, self.owner.publisher.generation + 1, after
        replace, guard = machine.folder.replace, machine.ledger.guard

        def failing(name: str, data: bytes) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise StorageError("The share is gone.")
            replace(name, data)

        def refuse() -> None:
            raise StorageError("The disk is full.")

        runs = set(machine.runs())
        machine.ledger.guard = refuse
        with mock.patch.object(machine.folder, "replace", failing):
            try:
                machine.publish()
            except StorageError:
                self.tried.setdefault((machine.epoch, generation), runs)
        machine.ledger.guard = guard
        if dies:
            self.crash(machine)

    @precondition(has_paused)
    @rule(data=st.data(), dies=st.booleans())
    def publish_late(self, data: st.DataObject, dies: bool) -> None:
        """A machine that was paused while another claimed goes on where it was."""
        machine = data.draw(st.sampled_from(self.paused()))
        try:
            machine.publish()
        except OwnershipLost:
            pass
        machine.lose()
        if dies:
            self.crash(machine)

    def crash(self, machine: Machine) -> None:
        machine.close()
        machine.open()

    @precondition(has_owner)
    @rule()
    def compact(self) -> None:
        assert self.owner and self.owner.publisher
        owner = self.owner
        compactor = Compactor(owner.layout, owner.ledger, owner.segments, epoch=owner.epoch)
        compactor.step(Accepted(owner.epoch, owner.publisher.generation, self.claims.bound))
        compactor.close()

    # -- everyone else -----------------------------------------------------------------------------------------

    @rule()
    def follow(self) -> None:
        for name, machine in self.machines.items():
            if machine.publisher is not None:
                continue
            machine.ledger.guard = None
            before = machine.runs()
            followed = machine.follow()
            self.check_followed(machine, before, followed.gaps)
            for run_id, status in machine.runs().items():
                if run_id in self.recorded[name]:
                    self.recorded[name][run_id] = status

    @rule(data=st.data(), what=st.sampled_from(["crash", "lose", "damage", "remove", "heal", "heal"]))
    def trouble(self, data: st.DataObject, what: str) -> None:
        machine = self.machines[data.draw(st.sampled_from(NAMES))]
        state = self.home / "shared" / ".workspace_state" / "state"
        files = sorted(each for each in state.rglob("*.parquet") if each not in self.taken_away)
        if what == "crash":
            self.crash(machine)
        elif what == "lose" and machine.publisher is None:
            machine.close()
            shutil.rmtree(machine.layout.local)
            machine.layout.prepare()
            machine.open()
            self.recorded[machine.name] = {}
        elif what == "heal":
            self.heal()
        elif files and what in ("damage", "remove"):
            file = data.draw(st.sampled_from(files))
            self.taken_away[file] = file.read_bytes()
            if what == "damage":
                file.write_bytes(file.read_bytes()[:-20])
            else:
                file.unlink()

    def heal(self) -> None:
        for file, content in self.taken_away.items():
            file.write_bytes(content)
        self.taken_away = {}

    # -- what must hold ----------------------------------------------------------------------------------------

    def check_followed(self, machine: Machine, before: dict[str, str], gaps: list[Gap]) -> None:
        now = machine.runs()
        for run_id, generation in self.published.items():
            # What it could not read it tells of; what is nowhere any more may have been compacted with its neighbours.
            assert run_id in now or gaps, f"{run_id} of {generation} is missing, and nothing said so"
        known = self.published.keys() | {run_id for each in self.recorded.values() for run_id in each}
        for run_id, status in now.items():
            assert run_id in self.published or run_id in before, f"{run_id} shows, of a segment that came too late"
            assert run_id in known
            if before.get(run_id) in ENDED:
                assert status in ENDED, f"{run_id} was {before[run_id]} and is {status}"

    def settle(self) -> None:
        self.heal()
        for machine in self.machines.values():
            machine.lose()
            machine.ledger.guard = None
        for _ in range(2):
            for name in NAMES:
                self.claim(name)
                self.publish()
        expected = self.machines[NAMES[-1]].runs()
        for machine in self.machines.values():
            machine.lose()
            machine.ledger.guard = None
            followed = machine.follow()
            assert followed.gaps == []
            assert machine.runs() == expected
            for run_id in expected:
                theirs = self.machines[NAMES[-1]].ledger.reader.run(run_id)
                assert machine.run(run_id).as_dict()["steps"] == theirs.as_dict()["steps"]
                assert machine.run(run_id).key == theirs.key
        for run_id in self.published:
            assert run_id in expected
        for run_id in self.ended:
            assert expected[run_id] in ENDED
        for recorded in self.recorded.values():
            assert recorded.keys() <= expected.keys()
            for run_id, status in recorded.items():
                if status in ENDED:
                    assert expected[run_id] in ENDED


TestShared = Shared.TestCase
TestShared.settings = settings(
    max_examples=30 if LONG else 25,
    stateful_step_count=50,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow],
)
