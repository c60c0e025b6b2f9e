"""Rows about source files: many that arrive, and many that have not changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import polars as pl

from bench.flights import write_days
from bench.floors import flowstead, seconds
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import LONGEST_WAIT, SECONDS_BETWEEN_LOOKS, Workspace, await_ends, requests
from flowstead.engine.automation import Automation
from flowstead.engine.engine import Engine
from flowstead.engine.freshness import compare, find_files, signatures
from flowstead.engine.starting import StartRequest, start_flow
from flowstead.ledger import Transaction
from flowstead.ledger.transaction import Fence
from flowstead.model.run import now_us

FILES_IN_FOLDER = 1000

_INGEST = """
    import polars as pl

    from flowstead import Flow

    def build():
        return (
            Flow("Bench")
            .watch(mode="poll", source="../inbox", interval="1h", extensions=[".csv"], max_parallel=2)
            .mirror(root="../tables")
            .step(to_parquet)
        )

    def to_parquet(context):
        target = context.mirror.with_extension(".parquet")
        pl.read_csv(context.source.path, null_values="NA").write_parquet(target)
        return target
"""

_WATCHED = """
    from flowstead import Flow

    def build():
        return Flow("Bench").watch(mode="poll", source="../inbox", interval="1h", extensions=[".csv"]).step(nothing)

    def nothing(context):
        return None
"""


def arriving(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("ingest", _INGEST)
    days = _Days(workspace.root, setting.size(500, 50))
    for number in count():
        days.arrive()
        cold = seconds(flowstead("run", "ingest", "--json"), cwd=workspace.root)
        days.check()
        with workspace.engine() as engine:
            _ingest(engine, days)  # starts the workers
            warm = _ingest(engine, days)
        floor = _plain_loop(days.inbox, setting.folder / f"plain-{number}")
        yield Sample(warm, floor), Sample(cold, floor)


class _Days:
    """Source files, a day of flights each, and the folder of what a flow makes of them."""

    def __init__(self, root: Path, files: int) -> None:
        self.inbox, self.tables = root / "inbox", root / "tables"
        self.files = files
        self._rounds = 0
        self._outside = root / "outside"
        write_days(self.inbox, files)

    def leave(self) -> None:
        """Moves all files out of the inbox."""
        self._outside.mkdir(exist_ok=True)
        for file in self.inbox.iterdir():
            file.rename(self._outside / file.name)

    def drop(self) -> None:
        """Moves them back into it, one after the other."""
        for file in self._outside.iterdir():
            file.rename(self.inbox / file.name)

    def arrive(self) -> None:
        """Makes all files new, and puts aside (deleting would slow down what follows) what came of the old ones."""
        now = time.time_ns()
        for file in (*self.inbox.iterdir(), *(self._outside.iterdir() if self._outside.exists() else ())):
            os.utime(file, ns=(now, now))
        if self.tables.exists():
            self._rounds += 1
            self.tables.rename(self.tables.with_name(f"tables-{self._rounds}"))

    def written(self) -> int:
        """How many tables there are."""
        return len(list(self.tables.glob("*.parquet")))

    def check(self) -> None:
        if (written := self.written()) != self.files:
            raise RuntimeError(f"{written} of {self.files} Parquet files were written.")


def _ingest(engine: Engine, days: _Days) -> float:
    days.arrive()
    begun = now_us()
    start_flow(engine, StartRequest("ingest", {}))
    took = await_ends(engine, begun, days.files)
    days.check()
    return took


def dropped(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("ingest", _INGEST.replace("max_parallel=2", "max_parallel=2, settle=0"))
    days = _Days(workspace.root, setting.size(500, 50))
    with workspace.engine() as engine:
        automation = Automation(engine)
        automation.start()
        try:
            _await(lambda: automation.status()["flows"][0]["state"] == "watching")
            _await(lambda: days.written() == days.files)  # those of the beginning; it starts the workers
            for number in count():
                days.leave()
                days.arrive()
                begun = now_us()
                days.drop()
                _await(lambda: days.written() == days.files)
                took = await_ends(engine, begun, days.files)
                yield (Sample(took, _plain_loop(days.inbox, setting.folder / f"plain-{number}")),)
        finally:
            automation.stop()


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONGEST_WAIT
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not happen within {LONGEST_WAIT:g} s.")
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _plain_loop(inbox: Path, target: Path) -> float:
    target.mkdir()
    begun = time.perf_counter()
    for file in sorted(inbox.iterdir()):
        pl.read_csv(file, null_values="NA").write_parquet(target / f"{file.stem}.parquet")
    return time.perf_counter() - begun


def fresh_check(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    workspace.module("watched", _WATCHED)
    inbox = workspace.root / "inbox"
    files = setting.size(100_000, 10_000)
    for number in range(files):
        folder = inbox / f"{number // FILES_IN_FOLDER:03}"
        if number % FILES_IN_FOLDER == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.csv").touch()
    with workspace.engine(retention_runs=1000) as engine:
        spec = engine.catalog.entry("watched").spec
        assert spec is not None
        root = engine.layout.root_key(inbox)
        (request,) = requests(engine, ["watched"])
        fence = Fence(request.id, "bench", 1 << 30)
        found = list(signatures(spec, inbox, None))

        def record(tx: Transaction) -> None:
            """One batch run, from its start to its success, as an engine records it."""
            tx.enqueue(request)
            tx.claim(fence, "bench")
            tx.put_run_files(fence, found)
            tx.end_run(fence, "succeeded", flow=spec.name, source_root=root)

        engine.ledger.write(record)
        while True:
            begun = time.perf_counter()
            sources = compare(spec, root, inbox, find_files(spec, inbox), engine.ledger.reader)
            took = time.perf_counter() - begun
            if len(sources.files) != files or sources.due:
                raise RuntimeError(f"{len(sources.files)} files were seen, {len(sources.due)} of them due.")
            yield (Sample(took * 1e3, _walk(inbox) * 1e3),)


def _walk(root: Path) -> float:
    begun = time.perf_counter()
    pending = [os.fspath(root)]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                else:
                    entry.stat()
    return time.perf_counter() - begun


MEASUREMENTS = (
    Measurement(
        (
            Row("files", "500 arriving CSV files, one run each, Parquet out", "s", "plain Polars loop", Reach(1.5)),
            Row("files-cold", "the same with flowstead run, whole process", "s", "plain Polars loop", Reach(1.5)),
        ),
        arriving,
    ),
    Measurement(
        (
            Row(
                "files-watched",
                "500 CSV files dropped into a watched folder, one run each, Parquet out",
                "s",
                "plain Polars loop",
                Reach(1.5),
            ),
        ),
        dropped,
    ),
    Measurement(
        (
            Row(
                "fresh-check",
                "a look at 100,000 recorded files, none of them due",
                "ms",
                "scandir and stat",
                Reach(1000),
            ),
        ),
        fresh_check,
        per_run=2,
    ),
)
