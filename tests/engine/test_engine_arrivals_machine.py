"""Files that come, grow, change and go in any order, while looks, runs and restarts fall between: each is run once."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

from desk import Desk, HandClock
from engine_bench import COMPLETE_RUN
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from flowstead.engine.arrivals import FileArrivals
from flowstead.engine.watching import Watch

INTERVAL = 30.0
NAMES = st.sampled_from(["a.csv", "b.csv", "deep/c.csv", "deep/d.csv", "~$a.csv", ".deep/e.csv", "f.txt"])
HOW = ["write", "replace", "touch", "append"]


class TellingByHand:
    """Watches what the test tells it, and nothing where the system would not."""

    def __init__(self) -> None:
        self.watches: list[Watch] = []

    def add(self, folder, tell):
        watch = Watch(folder, tell)
        watch.active = True
        self.watches.append(watch)
        tell(None)
        return watch

    def remove(self, watch):
        self.watches.remove(watch)

    def tell(self, name: str) -> None:
        for watch in self.watches:
            watch.tell({name})


class ArrivalsMachine(RuleBasedStateMachine):
    @initialize(
        run_as=st.sampled_from(["individual", "batch"]),
        settle=st.sampled_from([{"looks": 0}, {"looks": 1}, {"looks": 3}, {"seconds": 10.0}]),
        watch=st.sampled_from(["auto", "poll"]),
        resume=st.sampled_from(["auto", "never"]),
    )
    def begin(self, run_as, settle, watch, resume):
        self.folder = tempfile.TemporaryDirectory()
        self.clock = HandClock()
        base = Path(self.folder.name)
        self.desk = Desk(base / "workspace", base / "home", self.clock)
        object.__setattr__(self.desk.settings, "watch", watch)
        self.root = self.desk.layout.root / "in"
        self.away = self.desk.layout.root / "away"
        self.root.mkdir()
        self.trigger = {
            "mode": "poll",
            "source": str(self.root),
            "interval": INTERVAL,
            "extensions": (".csv",),
            "run_as": run_as,
            "settle": settle,
            "max_parallel": 2,
        }
        self.resume = resume
        self.time = 1_700_000_000_000_000_000
        self.succeeded: Counter[tuple[str, tuple[int, int]]] = Counter()
        self.failed: set[tuple[str, tuple[int, int]]] = set()
        self.restart()

    @rule()
    def restart(self):
        """The process is gone, and with it whatever it had in memory."""
        self.watcher = TellingByHand()
        self.flow = FileArrivals(self.desk, self.desk.entry(resume=self.resume, **self.trigger), self.watcher)
        for run_id in list(self.desk.running):
            self.desk.running.pop(run_id)
            self.desk.ledger.write(lambda tx, run_id=run_id: tx.abandon(run_id, "interrupted", None))
            if self.resume == "auto":
                self.desk.ledger.write(lambda tx, run_id=run_id: tx.resume(run_id))

    # -- files -------------------------------------------------------------------------------------------------

    def there(self) -> bool:
        return self.root.exists()

    @precondition(there)
    @rule(
        name=NAMES,
        size=st.integers(1, 3),
        how=st.sampled_from(HOW),
        told=st.booleans(),
    )
    def change(self, name, size, how, told):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        if how == "replace":
            beside = path.with_name("new.tmp")
            beside.write_bytes(b"x" * size)
            os.replace(beside, path)
        elif how == "append":
            with path.open("ab") as file:
                file.write(b"x" * size)
        elif how == "write" or not path.exists():
            path.write_bytes(b"x" * size)
        self.time += 1_000_000
        os.utime(path, ns=(self.time, self.time))
        if told:
            self.watcher.tell(name)

    @precondition(there)
    @rule(name=NAMES, told=st.booleans())
    def delete(self, name, told):
        (self.root / name).unlink(missing_ok=True)
        if told:
            self.watcher.tell(name)

    @precondition(there)
    @rule(told=st.booleans())
    def move_folder_away_and_back_as_another(self, told):
        deep = self.root / "deep"
        if deep.exists():
            deep.rename(self.root / "moved")
            shutil.copytree(self.root / "moved", deep)
            shutil.rmtree(self.root / "moved")
            if told:
                self.watcher.tell("deep")

    @precondition(there)
    @rule()
    def vanish(self):
        self.root.rename(self.away)

    @precondition(lambda self: self.away.exists())
    @rule()
    def come_back(self):
        self.away.rename(self.root)

    # -- time and runs -----------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.3, 1.0, 1.0, 5.0, INTERVAL]))
    def look(self, seconds):
        self.clock.advance(seconds)
        self.flow.turn()

    @precondition(lambda self: self.desk.waiting and len(self.desk.running) < 2)
    @rule()
    def begin_run(self):
        self.desk.begin(self.desk.waiting[0])

    @precondition(lambda self: self.desk.running)
    @rule(status=st.sampled_from(["succeeded", "succeeded", "failed"]))
    def end_run(self, status):
        run_id = next(iter(self.desk.running))
        files = self.desk.ledger.reader.rows("SELECT path, size, mtime_ns FROM run_files WHERE run_id = ?", (run_id,))
        self.desk.end(run_id, status)
        for path, size, mtime_ns in files:
            version = (path, (size, mtime_ns))
            if status == "failed":
                self.failed.add(version)
            elif self.trigger["run_as"] == "individual":
                self.succeeded[version] += 1
            else:
                self.succeeded[version] = 1

    # -- what must hold ----------------------------------------------------------------------------------------

    @invariant()
    def one_run_ahead(self):
        if not hasattr(self, "desk"):
            return
        open_paths = [
            row[0]
            for row in self.desk.ledger.reader.rows(
                "SELECT source_path FROM runs WHERE status IN ('queued', 'starting', 'running')"
            )
        ]
        assert len(open_paths) == len(set(open_paths)), "a file has two runs ahead"
        assert all(count == 1 for count in self.succeeded.values()), "a version of a file succeeded twice"

    def teardown(self):
        if not hasattr(self, "desk"):
            return
        try:
            if self.away.exists():
                self.come_back()
            for _ in range(8):
                self.look(INTERVAL)
                for _ in range(12):
                    self.look(1.0)
                while self.desk.waiting:
                    self.begin_run()
                    self.end_run("succeeded")
                while self.desk.running:
                    self.end_run("succeeded")
            self.one_run_ahead()
            before = len(self.desk.started)
            self.look(INTERVAL)
            assert len(self.desk.started) == before, "what is done is queued again"
            for name in ("a.csv", "b.csv", "deep/c.csv", "deep/d.csv"):
                path = self.root / name
                if path.exists():
                    version = (name, (path.stat().st_size, path.stat().st_mtime_ns))
                    done = version in self.succeeded or version in self.failed or self.interrupted(version)
                    assert done, f"{name} was never run as it is"
            ran = {path for path, _ in (*self.succeeded, *self.failed)}
            assert ran <= {"a.csv", "b.csv", "deep/c.csv", "deep/d.csv"}
        finally:
            self.desk.close()
            self.folder.cleanup()

    def interrupted(self, version) -> bool:
        """With resume="never", an interrupted run is the end of its files, until they change."""
        rows = self.desk.ledger.reader.rows(
            "SELECT path, size, mtime_ns FROM runs JOIN run_files ON run_id = id WHERE status = 'interrupted'"
        )
        return self.resume == "never" and any((path, (size, mtime)) == version for path, size, mtime in rows)


def test_whatever_happens_to_files_each_version_is_run_once():
    examples, steps = (30, 40) if COMPLETE_RUN else (15, 30)
    run_state_machine_as_test(
        ArrivalsMachine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    )
