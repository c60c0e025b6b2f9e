"""Ownership over a simulated share, as random histories: one owner, nothing published lost, nothing late accepted.

Each process is a thread that runs only when it is told to, up to its next request to the share or look at the clock;
there it can be left standing for any time, killed, or told that a request failed which was, or later will be, carried
out. Listings are up to a minute old, reads some seconds; the machines' clocks run unevenly.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowstead.model.errors import FlowsteadError, StorageError
from flowstead.workspace.claims import Claim, ClaimDamaged, Claims
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.ownership import Ownership
from flowstead.workspace.shared import SharedFolder

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
OLDEST_LISTING = 60.0
OLDEST_READ = 5.0
SETTLED = 100.0


class Killed(BaseException):
    pass


@dataclass
class Share:
    """The files as they truly are, and as they were at any time before."""

    now: float = 1000.0
    versions: dict[str, list[tuple[float, bytes | None]]] = field(default_factory=dict)
    late: list[Callable[[], object]] = field(default_factory=list)
    claims: list[Claim] = field(default_factory=list)

    def get(self, name: str, at: float | None = None) -> bytes | None:
        content = None
        for time, data in self.versions.get(name, []):
            if at is None or time <= at:
                content = data
        return content

    def set(self, name: str, data: bytes | None) -> None:
        self.versions.setdefault(name, []).append((self.now, data))

    def names(self, folder: str, at: float | None = None) -> list[str]:
        inside = [name for name in self.versions if name.startswith(f"{folder}/")]
        return [name.removeprefix(f"{folder}/") for name in inside if self.get(name, at) is not None]

    def segments(self) -> list[tuple[int, int]]:
        """(epoch, generation) of every published file that is there."""
        return [tuple(map(int, name.split("-"))) for name in self.names("state")]  # type: ignore[misc]

    def bound(self, epoch: int) -> int | None:
        """What the next claim that was ever made accepts."""
        return min(((c.epoch, c.accepted) for c in self.claims if c.epoch > epoch), default=(0, None))[1]


class SimulatedFolder(SharedFolder):
    """The share as one process gets to see it."""

    def __init__(self, share: Share, process: Process | Onlooker) -> None:
        super().__init__(Path("/nowhere/workspace/.workspace_state"))
        self.share = share
        self.process = process
        self.wrote: dict[str, float] = {}

    def request(self, carry_out: Callable[[], Any]) -> Any:
        self.process.pause()
        fault, self.process.fault = self.process.fault, "none"
        if fault == "refused":
            raise StorageError("The server did not answer.")
        if fault == "late":
            self.share.late.append(carry_out)
            raise StorageError("The server did not answer in time.")
        answer = carry_out()
        self.process.pause()
        if fault == "lost":
            raise StorageError("The answer was lost.")
        return answer

    def names(self, folder: str, *, fresh: bool = False) -> list[str]:
        age = 0.0 if fresh else min(self.process.age, OLDEST_LISTING)
        return self.request(lambda: self.share.names(folder, self.share.now - age))

    def read(self, name: str) -> bytes | None:
        def carry_out() -> bytes | None:
            at = self.share.now - min(self.process.age, OLDEST_READ)
            return self.share.get(name, max(at, self.wrote.get(name, 0.0)))

        return self.request(carry_out)

    def changed_at(self, name: str) -> float | None:
        history = self.share.versions.get(name, [(0.0, None)])
        return self.request(lambda: history[-1][0] if history[-1][1] is not None else None)

    def put_new(self, name: str, data: bytes) -> bool:
        def carry_out() -> bool:
            if self.share.get(name) is not None:
                return False
            self.share.set(name, data)
            if name.startswith("claims/"):
                claim = Claim.decode(int(name[7:15]), data)
                # An old number that was tidied away may be put again: whoever does it must notice.
                if not self.share.claims or claim.epoch > self.share.claims[-1].epoch:
                    self.share.claims.append(claim)
            return True

        self.wrote[name] = self.share.now
        return self.request(carry_out)

    def replace(self, name: str, data: bytes) -> None:
        self.wrote[name] = self.share.now
        self.request(lambda: self.share.set(name, data))

    def move(self, name: str, to: str) -> bool:
        def carry_out() -> bool:
            data = self.share.get(name)
            if data is None:
                return False
            self.share.set(to, data)
            self.share.set(name, None)
            return True

        return self.request(carry_out)

    def remove(self, name: str) -> bool:
        def carry_out() -> bool:
            there = self.share.get(name) is not None
            if there:
                self.share.set(name, None)
            return there

        return self.request(carry_out)

    def sweep(self, folder: str) -> int:
        return 0


class Onlooker:
    """Sees the share as it is."""

    fault, age = "none", 0.0

    def pause(self) -> None:
        pass


class Process:
    """One after another on its machine; it does one thing at a time, in steps."""

    def __init__(self, share: Share, folder: Path, number: int, rate: float) -> None:
        self.share = share
        self.rate = rate
        self.number = number
        self.layout = WorkspaceLayout(Path("/nowhere/workspace"), folder)
        folder.mkdir()
        self.layout.engine_lock.touch()
        self.machine = MachineIdentity(f"machine-{number}", "one-name-for-all", f"boot-{number}", "")
        self.thread: threading.Thread | None = None
        self.acknowledged: list[tuple[int, int]] = []
        self.surprise: BaseException | None = None
        self.restart()

    def restart(self) -> None:
        self.fault, self.age, self.killed = "none", 0.0, False
        self.go, self.stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.ownership = Ownership(
            self.layout,
            machine=self.machine,
            folder=SimulatedFolder(self.share, self),
            boottime=self.look_at_the_clock,
            wall=lambda: int((self.share.now + 86_400 * self.number) * 1e6),
        )
        self.ownership.claims = Claims(self.ownership.folder, kept=2, settled=SETTLED)
        self.generation = 0
        self.unsure = False

    def clock(self) -> float:
        return 5000.0 * self.number + self.share.now * self.rate

    def look_at_the_clock(self) -> float:
        self.pause()
        return self.clock()

    def pause(self) -> None:
        if threading.current_thread() is self.thread:
            self.stopped.release()
            self.go.acquire()
            if self.killed:
                raise Killed

    @property
    def is_busy(self) -> bool:
        return self.thread is not None

    def begin(self, operation: Callable[[], None]) -> None:
        def work() -> None:
            self.go.acquire()
            try:
                operation()
            except (FlowsteadError, Killed):
                pass
            except BaseException as error:
                self.surprise = error
            self.thread = None
            self.stopped.release()

        self.thread = threading.Thread(target=work, daemon=True)
        self.thread.start()
        self.step()

    def step(self) -> None:
        self.go.release()
        self.stopped.acquire()
        if self.surprise is not None:
            raise self.surprise

    def finish(self) -> None:
        while self.is_busy:
            self.step()

    def kill(self) -> None:
        self.killed = True
        self.finish()
        self.restart()

    # -- what an engine does -----------------------------------------------------------------------------------

    def claim(self) -> None:
        if self.ownership.valid:
            return
        self.ownership.claim("to run", accepted=self.visible)
        self.generation, self.unsure = self.ownership.accepted, False

    def visible(self) -> int:
        """The end of the chain of generations that is in the folder, late ones left out."""
        names = self.ownership.folder.names("state", fresh=True)
        self.ownership.claims.listing(fresh=True)
        there = set()
        for name in names:
            epoch, generation = map(int, name.split("-"))
            bound = self.ownership.claims.bound(epoch)
            if bound is None or generation <= bound:
                there.add(generation)
        end = 0
        while end + 1 in there:
            end += 1
        return end

    def renew(self) -> None:
        self.ownership.renew(self.generation)

    def publish(self) -> None:
        self.ownership.check()
        epoch, generation = self.ownership.epoch, self.generation + 1
        self.unsure = True
        self.ownership.folder.put_new(f"state/{epoch}-{generation}", b"rows")
        self.ownership.check()
        self.generation, self.unsure = generation, False
        self.acknowledged.append((epoch, generation))

    def release(self) -> None:
        if self.unsure:
            self.ownership.fall_silent()
        else:
            self.ownership.release(self.generation)

    def look(self) -> None:
        self.ownership.look()


OPERATIONS = [Process.claim, Process.renew, Process.publish, Process.release, Process.look]
PROCESSES = st.integers(0, 2)
ALL = 1000
FAULTS = st.sampled_from(["none", "none", "none", "refused", "lost", "late"])
AGES = st.sampled_from([0.0, 0.0, 4.9, 59.0])
SECONDS = st.sampled_from([0.5, 5.0, 14.0, 29.0, 31.0, 44.0, 74.0, 76.0, 89.0, 93.0, 300.0])


class Histories(RuleBasedStateMachine):
    @initialize(rates=st.tuples(*[st.sampled_from([1.0, 0.98, 1.02])] * 3))
    def begin(self, rates) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.share = Share()
        self.processes = [
            Process(self.share, Path(self.folder.name) / str(number), number, rate) for number, rate in enumerate(rates)
        ]

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            for process in self.processes:
                process.kill()
            self.folder.cleanup()

    @rule(at=PROCESSES, operation=st.sampled_from(OPERATIONS), steps=st.integers(0, 12), fault=FAULTS, age=AGES)
    def begin_something(self, at, operation, steps, fault, age) -> None:
        process = self.processes[at]
        process.finish()
        process.age = age
        self.part(process, lambda: operation(process), steps)
        process.fault = fault

    @rule(at=PROCESSES, operation=st.sampled_from(OPERATIONS), age=AGES)
    def do_something(self, at, operation, age) -> None:
        process = self.processes[at]
        process.finish()
        process.age = age
        self.whole(process, lambda: operation(process))

    @rule(at=PROCESSES, steps=st.integers(1, 6), fault=FAULTS)
    def go_on(self, at, steps, fault) -> None:
        process = self.processes[at]
        process.fault = fault
        for _ in range(steps):
            if process.is_busy:
                process.step()

    @rule(at=PROCESSES)
    def go_on_to_the_end(self, at) -> None:
        self.processes[at].finish()

    @rule(at=PROCESSES, steps=st.integers(0, 30))
    def see_silence_and_claim(self, at, steps) -> None:
        """What an observer does: others stand still meanwhile, and so may it, before it has finished."""
        process = self.processes[at]
        self.whole(process, process.look)
        self.share.now += 93.0
        self.part(process, process.claim, steps)

    @rule(at=PROCESSES)
    def live_on(self, at) -> None:
        """A healthy owner over two beats."""
        process = self.processes[at]
        process.finish()
        process.age = 0.0
        for operation in (process.renew, process.publish, process.renew):
            self.whole(process, operation)
            self.share.now += 15.0

    # -- what is most likely to go wrong -------------------------------------------------------------------------

    @rule(
        operation=st.sampled_from([Process.renew, Process.renew, Process.release, Process.publish]),
        looks=st.sampled_from(["before", "meanwhile"]),
        before=st.sampled_from([10.0, 31.0, 60.0, 73.0]),
        steps=st.integers(0, 14),
        fault=FAULTS,
        after=st.sampled_from([3.0, 19.0, 29.0, 60.0]),
        first=st.sampled_from(["owner", "rival"]),
        rest=st.sampled_from([0.0, 31.0]),
        rival_steps=st.sampled_from([*range(0, 30, 5), *[ALL] * 12]),
    )
    def owner_stands_still(self, operation, looks, before, steps, fault, after, first, rest, rival_steps) -> None:
        """In the middle of a request; a rival looks at the clock."""
        owner, rival, _ = self.an_owner_and_others()
        if looks == "before":
            self.whole(rival, rival.look)
        self.share.now += before
        self.part(owner, lambda: operation(owner), steps)
        if looks == "meanwhile":
            self.whole(rival, rival.look)
        owner.fault = fault
        self.share.now += after
        if first == "owner":
            owner.finish()
        self.share.now += rest
        self.part(rival, rival.claim, rival_steps)
        owner.finish()

    @rule(steps=st.integers(0, 9), after=st.sampled_from([1.0, 19.0, 40.0]))
    def heartbeat_takes_until_after_the_deadline(self, steps, after) -> None:
        owner, rival, _ = self.an_owner_and_others()
        self.whole(rival, rival.look)
        self.share.now += 73.0
        self.part(owner, owner.renew, steps)
        self.share.now += after
        self.whole(rival, rival.claim)
        owner.finish()

    @rule(
        steps=st.integers(0, 9),
        gap=st.sampled_from([29.0, 60.0, 73.0]),
        rest=st.sampled_from([16.0, 19.0, 35.0, 63.0]),
    )
    def rival_takes_long_to_look(self, steps, gap, rest) -> None:
        owner, rival, _ = self.an_owner_and_others()
        self.part(rival, rival.look, steps)
        self.share.now += gap
        self.whole(owner, owner.renew)
        rival.finish()
        self.share.now += rest
        self.whole(rival, rival.claim)

    @rule(steps=st.integers(0, 16), operations=st.lists(st.sampled_from(OPERATIONS[1:4]), min_size=1, max_size=3))
    def rival_takes_long_to_claim(self, steps, operations) -> None:
        """It stands still somewhere between its decision and its claim, and the owner goes on for its last time."""
        owner, rival, _ = self.an_owner_and_others()
        self.whole(rival, rival.look)
        self.share.now += 31.0
        self.part(rival, rival.claim, steps)
        for operation in operations:
            self.whole(owner, lambda operation=operation: operation(owner))
        self.share.now += 62.0
        rival.finish()

    @rule(steps=st.integers(0, 20), age=AGES, operation=st.sampled_from([Process.publish, Process.renew]))
    def new_owner_stands_still(self, steps, age, operation) -> None:
        """Its claim is there, without a sign of life."""
        owner, rival, _ = self.an_owner_and_others()
        owner.kill()
        owner.age = age
        self.part(owner, owner.claim, steps)
        self.whole(rival, rival.look)
        self.share.now += 93.0
        self.whole(rival, rival.claim)
        owner.finish()
        self.whole(owner, lambda: operation(owner))

    @rule(
        operation=st.sampled_from([Process.renew, Process.claim]),
        steps=st.integers(0, 30),
        seen=st.sampled_from(["at once", "later"]),
    )
    def what_one_wrote_late_hides_a_heartbeat(self, operation, steps, seen) -> None:
        late, owner, third = self.an_owner_and_others()
        if operation is Process.claim:
            late, owner = owner, late
            self.whole(late, late.look)
            self.share.now += 93.0
        self.part(late, lambda: operation(late), steps)
        self.whole(owner, owner.look)
        self.share.now += 93.0
        self.whole(owner, owner.claim)
        if seen == "at once":
            self.whole(third, third.look)
        self.share.now += 31.0
        self.whole(owner, owner.renew)
        late.finish()
        if seen == "later":
            self.whole(third, third.look)
        self.share.now += 62.0
        self.whole(third, third.claim)

    @rule(
        steps=st.integers(4, 20),
        age=st.sampled_from([0.0, 59.0]),
        times=st.sampled_from([1, 4, 5]),
        held=st.booleans(),
        wait=st.sampled_from([0.5, 31.0, 200.0]),
    )
    def rival_wakes_up_in_a_busy_folder(self, steps, age, times, held, wait) -> None:
        """The number that it decided for was taken meanwhile, released, and tidied away."""
        owner, rival, _ = self.an_owner_and_others()
        self.whole(owner, owner.release)
        rival.age = age
        self.part(rival, rival.claim, steps)
        for _ in range(times):
            self.whole(owner, owner.claim)
            self.whole(owner, owner.publish)
            self.whole(owner, owner.release)
        self.share.now += wait
        if held:
            self.whole(owner, owner.claim)
        rival.finish()

    @rule(steps=st.integers(0, 6), times=st.integers(1, 5))
    def owner_wakes_up_much_later(self, steps, times) -> None:
        """In the middle of publishing, when the claim of its successor is an old one."""
        owner, rival, _ = self.an_owner_and_others()
        self.part(owner, owner.publish, steps)
        self.whole(rival, rival.look)
        self.share.now += 93.0
        for _ in range(times):
            self.whole(rival, rival.claim)
            self.whole(rival, rival.publish)
            self.whole(rival, rival.release)
            self.share.now += SETTLED
        owner.finish()

    @rule(fault=FAULTS, killed=st.booleans(), again=st.booleans(), times=st.integers(1, 5))
    def owner_ends_after_a_write_that_failed(self, fault, killed, again, times) -> None:
        """What it wrote may be there, or come later: when the claim of its successor is an old one."""
        owner, rival, _ = self.an_owner_and_others()
        successor = owner if again else rival
        self.whole(rival, rival.look)
        owner.fault = fault
        self.whole(owner, owner.publish)
        if killed:
            owner.kill()
        else:
            self.whole(owner, owner.release)
        for _ in range(times):
            self.share.now += SETTLED
            for operation in (successor.claim, successor.publish, successor.release):
                self.whole(successor, operation)
        while self.share.late:
            self.share.late.pop()()

    def an_owner_and_others(self) -> list[Process]:
        """The processes, none in the middle of anything; the first owns, and has just given a sign of life."""
        for process in self.processes:
            process.finish()
            process.age = 0.0
        found = sorted(self.processes, key=lambda each: each.clock() >= each.ownership.deadline)
        if found[0].clock() >= found[0].ownership.deadline:
            self.whole(found[0], found[0].look)
            self.share.now += 93.0
            self.whole(found[0], found[0].claim)
        self.whole(found[0], found[0].renew)
        return found

    def whole(self, process: Process, operation: Callable[[], None]) -> None:
        process.finish()
        process.begin(operation)
        process.finish()

    def part(self, process: Process, operation: Callable[[], None], steps: int) -> None:
        process.finish()
        process.begin(operation)
        for _ in range(steps):
            if process.is_busy:
                process.step()

    @rule(seconds=SECONDS)
    def time_passes(self, seconds) -> None:
        self.share.now += seconds

    @rule(at=PROCESSES)
    def kill(self, at) -> None:
        self.processes[at].kill()

    @precondition(lambda self: self.share.late)
    @rule(data=st.data())
    def a_late_request_arrives(self, data) -> None:
        self.share.late.pop(data.draw(st.integers(0, len(self.share.late) - 1), "which"))()

    # -- what must hold ----------------------------------------------------------------------------------------

    @invariant()
    def there_is_one_owner(self) -> None:
        owners = [process.number for process in self.processes if process.clock() < process.ownership.deadline]
        assert len(owners) <= 1, owners

    @invariant()
    def what_was_published_is_accepted(self) -> None:
        for process in self.processes:
            for epoch, generation in process.acknowledged:
                bound = self.share.bound(epoch)
                assert bound is None or generation <= bound, (epoch, generation, bound)

    @invariant()
    def each_generation_is_there_once(self) -> None:
        """Of the segments that count there is one for each generation: what came late counts nowhere."""
        counted: dict[int, int] = {}
        for epoch, generation in self.share.segments():
            bound = self.share.bound(epoch)
            if bound is None or generation <= bound:
                assert generation not in counted, (generation, epoch, counted[generation])
                counted[generation] = epoch

    @invariant()
    def whoever_reads_the_claims_finds_the_same(self) -> None:
        """Also after old claims were tidied away."""
        reader = Claims(SimulatedFolder(self.share, Onlooker()))
        for epoch, generation in self.share.segments():
            try:
                found = reader.bound(epoch)
            except ClaimDamaged:
                raise AssertionError("no claim was damaged") from None
            true = self.share.bound(epoch)
            assert (found is None or generation <= found) == (true is None or generation <= true), (epoch, generation)


Histories.TestCase.settings = settings(
    max_examples=80 if COMPLETE_RUN else 60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestHistories = Histories.TestCase
