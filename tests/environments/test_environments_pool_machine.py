"""The pool under whatever happens, in whatever order: takes, returns, deaths, crashes, flushes, failures."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
from cheap_supply import CheapSupply, Killed
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flowstead.environments import pool_members as members
from flowstead.environments.pool import Job, Pool
from flowstead.environments.pool_rows import PoolRows
from flowstead.model.errors import FlowsteadError, PoolRefused

KINDS = ("uv", "conda")
CODES = {"pool-warming", "pool-off", "pool-failed", "environment-failed"}


class PoolMachine(RuleBasedStateMachine):
    """Holds the pool against what was given out: a path and its holder each, and whether it was changed since."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.now = 0.0
        self.starts: dict[int, str] = {pid: f"{pid}-0" for pid in range(1, 5)}
        self.deaths = 0
        self.lent: dict[str, tuple[int, str, bool]] = {}
        self.jobs: list[Job] = []
        self.opened: list[PoolRows] = []

    @initialize(number=st.integers(1, 3), packages=st.sampled_from([(), ("pandas",)]))
    def begin(self, number: int, packages: tuple[str, ...]) -> None:
        self.supplies = {
            kind: CheapSupply(self.folder / "templates", kind=kind, target=number, packages=packages) for kind in KINDS
        }
        self.open()
        self.settle()

    def open(self) -> None:
        rows = PoolRows(self.folder / "environments.sqlite3")
        self.opened.append(rows)
        self.jobs = []
        self.pool = Pool(
            self.folder / "pool",
            rows,
            self.supplies.values(),
            clock=lambda: self.now,
            chance=lambda: 0.5,
            start_of=lambda pid: self.starts.get(pid),
        )
        self.pool.adopt()

    def perform(self, job: Job) -> None:
        try:
            job.do()
        except Killed:
            self.open()

    # -- what people do ---------------------------------------------------------------------------------------------

    @rule(kind=st.sampled_from(KINDS), pid=st.integers(1, 5))
    def take(self, kind: str, pid: int) -> None:
        try:
            member = self.pool.take(kind, pid)
        except PoolRefused as error:
            assert error.code in CODES or pid not in self.starts
        except FlowsteadError as error:
            assert error.code in CODES
            assert self.supplies[kind].broken is not None
        except Killed:
            self.open()
        else:
            path = str(self.pool.path(member))
            assert pid in self.starts and path not in self.lent, "it is somebody's"
            assert members.is_whole(Path(path).parent)
            assert member.base_only is False or self.supplies[kind].packages
            self.lent[path] = (pid, self.starts[pid], False)

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        path = data.draw(st.sampled_from(sorted(self.lent)))
        pid, start, changed = self.lent[path]
        gone = self.starts.get(pid) != start
        try:
            self.pool.give_back(path)
        except PoolRefused as error:
            assert (error.code == "pool-changed" and changed) or (error.code == "pool-not-lent" and gone)
        else:
            assert not changed
            del self.lent[path]
            try:
                self.pool.give_back(path)
                raise AssertionError("taken back twice")
            except PoolRefused as error:
                assert error.code == "pool-not-lent"

    @precondition(lambda self: self.lent)
    @rule(data=st.data())
    def change(self, data: Any) -> None:
        path = data.draw(st.sampled_from(sorted(self.lent)))
        pid, start, _ = self.lent[path]
        if self.starts.get(pid) == start:
            (Path(path) / "added").write_text("x")
            self.lent[path] = (pid, start, True)

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), to=st.integers(1, 4))
    def hand_over(self, data: Any, to: int) -> None:
        path = data.draw(st.sampled_from(sorted(self.lent)))
        pid, start, changed = self.lent[path]
        try:
            self.pool.hand_over(path, to)
        except PoolRefused as error:
            assert error.code == "pool-not-lent" and self.starts.get(pid) != start
        else:
            self.lent[path] = (to, self.starts[to], changed)

    @rule(kind=st.sampled_from((None, *KINDS)))
    def flush(self, kind: str | None) -> None:
        self.pool.flush(kind)

    @rule(kind=st.sampled_from((None, *KINDS)))
    def shutdown(self, kind: str | None) -> None:
        self.pool.shutdown(kind)

    # -- what happens -----------------------------------------------------------------------------------------------

    @rule(pid=st.integers(1, 4))
    def die(self, pid: int) -> None:
        """The process ends, and another one of its number begins."""
        self.deaths += 1
        self.starts[pid] = f"{pid}-{self.deaths}"

    @rule()
    def tend(self) -> None:
        self.jobs += self.pool.tend()

    @rule()
    def settle(self) -> None:
        """Whoever has threads gets everything done."""
        pool = self.pool
        self.jobs += pool.tend()
        while self.jobs and pool is self.pool:
            self.perform(self.jobs.pop(0))
            if pool is self.pool:
                self.jobs += pool.tend()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def work(self, data: Any) -> None:
        self.perform(self.jobs.pop(data.draw(st.integers(0, len(self.jobs) - 1))))

    @rule(seconds=st.sampled_from((1.0, 10.0, 1000.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def crash(self) -> None:
        self.open()

    @rule(kind=st.sampled_from(KINDS))
    def crash_while_cloning(self, kind: str) -> None:
        self.supplies[kind].kills = True

    @rule(kind=st.sampled_from(KINDS), base=st.booleans())
    def break_package(self, kind: str, base: bool) -> None:
        self.supplies[kind].broken, self.supplies[kind].base_broken = "pandas", base

    @rule(kind=st.sampled_from(KINDS))
    def mend_package(self, kind: str) -> None:
        self.supplies[kind].broken = None

    @rule(kind=st.sampled_from(KINDS), full=st.booleans())
    def fill_disk(self, kind: str, full: bool) -> None:
        self.supplies[kind].cannot_clone = OSError(28, "No space left on device") if full else None

    @rule(kind=st.sampled_from(KINDS))
    def lose_template(self, kind: str) -> None:
        for folder in (self.folder / "templates").glob(f"{kind}-*"):
            shutil.rmtree(folder)

    @rule(kind=st.sampled_from(KINDS), version=st.sampled_from("12"), number=st.integers(0, 3))
    def set(self, kind: str, version: str, number: int) -> None:
        """Other settings, with the restart that they need."""
        supply = self.supplies[kind]
        supply.version, supply.target, supply.off = version, number, "" if number else "it is 0"
        self.open()

    # -- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def nobody_is_disturbed_and_no_more_is_made_than_wanted(self) -> None:
        if not self.opened:
            return
        rows = {str(self.pool.path(each)): each for each in self.pool.members()}
        for path, (pid, start, changed) in list(self.lent.items()):
            if self.starts.get(pid) != start:
                if path not in rows:
                    del self.lent[path]  # reclaimed
                continue
            assert rows[path].state == "lent" and (rows[path].holder, rows[path].holder_started) == (pid, start)
            assert changed or members.is_whole(Path(path).parent), "what is lent has been touched"
        for path, row in rows.items():
            if row.state == "ready":
                assert members.is_whole(Path(path).parent)
        for status in self.pool.status():
            # A target that is less than what is there shrinks it when the pool is tended next.
            if self.supplies[status.kind].version == "1" and not self.jobs:
                assert status.deficit == max(0, status.target - status.ready - status.warming)

    def teardown(self) -> None:
        if self.opened:
            for supply in self.supplies.values():
                supply.broken = supply.cannot_clone = None
                supply.kills = False
            for job in self.jobs:
                job.do()
            self.pool.flush()
            for _ in range(4):
                while jobs := self.pool.tend():
                    for status in self.pool.status():
                        assert status.ready + status.warming <= status.target
                    for job in jobs:
                        job.do()
                self.now += 2000
            self.nobody_is_disturbed_and_no_more_is_made_than_wanted()
            for status in self.pool.status():
                assert (status.ready, status.warming, status.error) == (status.target, 0, None)
            on_disk = {each.name for each in (self.folder / "pool").glob("*") if each.is_dir()}
            assert on_disk == {each.name for each in self.pool.members()}
            for member in self.pool.members():
                alive = member.holder is not None and self.starts.get(member.holder) == member.holder_started
                assert member.state == ("lent" if alive else "ready"), "the dead hold nothing"
        for rows in self.opened:
            rows.close()
        shutil.rmtree(self.folder)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
