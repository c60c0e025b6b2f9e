"""Taking published state into a ledger: which of two states of a run or a file stands.

Every row carries the epoch of its last change and the generation in which it was published; what this machine changed
itself has generation 0 until then. The later one stands, and merging a row a second time changes nothing, so segments
can be read again, and in any order. Two things stand against the order:

- What this machine did in an epoch of its own, it knows best: the published row is the same, or older.
- A run that has ended here is not reopened by one who did not know that. It is kept, and published again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flowstead.ledger import statements as sql
from flowstead.ledger.transaction import Transaction
from flowstead.model.run import ENDED, supersedes

Row = tuple[Any, ...]

_STATUS = sql.PUBLISHED_RUN.index("status")
_FLOW = sql.PUBLISHED_RUN.index("flow")
_KEY = sql.PUBLISHED_RUN.index("key")
_FILE_FLOW, _FILE_STATUS = sql.PUBLISHED_FILE.index("flow"), sql.PUBLISHED_FILE.index("status")
_STEP, _ATTEMPT, _STEP_STATUS = (sql.PUBLISHED_STEP.index(name) for name in ("step", "attempt", "status"))


class IncomingRun(NamedTuple):
    """A run as it was published in `generation`, whole.

    `columns` are those of PUBLISHED_RUN, `steps` have those of PUBLISHED_STEP. `artifacts` are
    `(path, step, name, kind, info, created_at)`, `files` the `(path, size, mtime_ns)` that it read, None when they are
    as they were told before.
    """

    columns: Row
    generation: int
    steps: Sequence[Row]
    artifacts: Sequence[Row]
    files: Sequence[Row] | None

    @property
    def id(self) -> str:
        return self.columns[0]

    @property
    def version(self) -> tuple[int, int]:
        return self.columns[-1], self.generation

    @property
    def status(self) -> str:
        return self.columns[_STATUS]


class Merged(NamedTuple):
    """Ids of the runs that were taken in; and of those of this machine that were kept though a later state of them
    came, or had to leave their key to another: they are to be published again."""

    taken: list[str]
    kept: list[str]


def merge_runs(tx: Transaction, runs: Sequence[IncomingRun]) -> Merged:
    """Takes published runs in, each of them once, as far as they are newer than what is here."""
    own = tx.own_epochs()
    ids = json.dumps([run.id for run in runs])
    here = {
        run_id: ((epoch, generation), status)
        for run_id, epoch, generation, status in tx.execute(sql.MERGED_RUNS, (ids,))
    }
    steps = _by_run(tx.execute(sql.MERGED_STEPS, (ids,)))
    artifacts = _by_run(tx.execute(sql.PUBLISHED_ARTIFACTS, (ids,)))
    merged = Merged([], [])
    for run in runs:
        known = here.get(run.id)
        if known is not None:
            version, status = known
            if run.version <= version or (version == (run.columns[-1], 0) and own(version[0])):
                continue
            if not supersedes(run.version, run.status, version, status):
                tx.execute(sql.KEEP_RUN, (run.id,))
                tx.events.append(("run", run.id, status))
                merged.kept.append(run.id)
                continue
        merged.kept.extend(_take(tx, run, steps.get(run.id, []), artifacts.get(run.id, [])))
        merged.taken.append(run.id)
    if merged.kept:
        tx.keep_for_next_epoch(merged.kept)
    return merged


def merge_files(tx: Transaction, rows: Iterable[Row]) -> int:
    """Takes file states in, with the columns of PUBLISHED_FILE and `generation`. Returns how many were newer."""
    own = tx.own_epochs()
    changed = 0
    flows: dict[str, str] = {}
    for row in rows:
        if tx.execute(sql.MERGE_FILE, (*row, own(row[-2]))).rowcount:
            changed += 1
            flows[row[_FILE_FLOW]] = row[_FILE_STATUS]
    tx.events.extend(("files", flow, status) for flow, status in flows.items())
    return changed


def put_specs(tx: Transaction, specs: Iterable[tuple[str, str, str]]) -> None:
    """Keeps the plans `(version, flow, spec)` by which runs are shown."""
    tx.executemany(sql.PUT_VERSION, [(*each, tx.at) for each in specs])


def _by_run(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[0], []).append(row)
    return found


def _take(tx: Transaction, run: IncomingRun, steps: list[Row], artifacts: list[Row]) -> list[str]:
    """Returns the ids of runs that changed here because of it."""
    columns, key = run.columns, run.columns[_KEY]
    # Two machines may each have begun a run under one key, one before the other's was published. The later keeps it.
    rival = None if key is None else tx.execute(sql.RUN_OF_KEY, (columns[_FLOW], key, run.id)).fetchone()
    wins = rival is None or run.version > rival[1:3]
    if rival is not None and wins:
        _yield_key(tx, rival[0], rival[3], to=run.id)
    elif rival is not None:
        columns = (*columns[:_KEY], None, *columns[_KEY + 1 :])
    tx.execute(sql.MERGE_RUN, (*columns, run.generation))
    _take_steps(tx, run, steps)
    _take_artifacts(tx, run, artifacts)
    if run.files is not None or run.status in ENDED:
        tx.execute(sql.DROP_RUN_FILES, (run.id,))
        tx.executemany(sql.PUT_RUN_FILE, [(run.id, *each) for each in run.files or ()])
    tx.events.append(("run", run.id, run.status))
    if rival is None:
        return []
    if wins:
        return [rival[0]]
    _yield_key(tx, run.id, run.status, to=rival[0])
    return [run.id]


def _yield_key(tx: Transaction, run_id: str, status: str, *, to: str) -> None:
    """Leaves a key to another run. What has not ended must not be done a second time."""
    if status in ENDED:
        tx.execute(sql.DROP_KEY, (run_id,))
        tx.events.append(("run", run_id, status))
        return
    error = {
        "code": "run-elsewhere",
        "type": None,
        "message": f"Another workstation ran it meanwhile, as {to}.",
        "step": None,
        "file": None,
        "line": None,
        "hint": f"See it with: flowstead logs {to}",
    }
    tx.execute(sql.CANCEL_RIVAL, (tx.at, json.dumps(error), run_id))
    for step, attempt in tx.execute(sql.CLOSE_OPEN_STEPS, ("cancelled", tx.at, None, run_id)).fetchall():
        tx.events.append(("step", f"{run_id}/{step}/{attempt}", "cancelled"))
    tx.events.append(("run", run_id, "cancelled"))


def _take_steps(tx: Transaction, run: IncomingRun, before: list[Row]) -> None:
    """Replaces the steps. What only this machine has of one that did not change stays: its checkpoint and items."""
    if sorted(run.steps) == sorted(row[:-1] for row in before):
        return
    known = {row[_STEP : _ATTEMPT + 1]: row for row in before}
    rows: list[Row] = []
    for row in run.steps:
        old = known.get(row[_STEP : _ATTEMPT + 1])
        rows.append((*row, old[-1] if old is not None and old[:-1] == tuple(row) else None))
        if old is None or old[:-1] != tuple(row):
            tx.events.append(("step", f"{run.id}/{row[_STEP]}/{row[_ATTEMPT]}", row[_STEP_STATUS]))
    if before:
        tx.execute(sql.DROP_STEPS, (run.id,))
        latest, was = _latest(run.steps), _latest(before)
        for step, attempt in was.items():
            if latest.get(step) != attempt:
                tx.execute(sql.DROP_ITEMS, (run.id, step))
    tx.executemany(sql.MERGE_STEP, rows)


def _latest(steps: Iterable[Row]) -> dict[int, int]:
    latest: dict[int, int] = {}
    for row in steps:
        latest[row[_STEP]] = max(row[_ATTEMPT], latest.get(row[_STEP], 0))
    return latest


def _take_artifacts(tx: Transaction, run: IncomingRun, before: list[Row]) -> None:
    incoming, was = set(run.artifacts), {row[1:] for row in before}
    if incoming == was:
        return
    if before:
        tx.execute(sql.DROP_RUN_ARTIFACTS, (run.id,))
    tx.executemany(sql.PUT_ARTIFACT, [(run.id, *each) for each in run.artifacts])
    paths = {row[0] for row in incoming}
    tx.events.extend(("artifact", f"{run.id}/{path}", "added") for path in sorted({row[0] for row in incoming - was}))
    tx.events.extend(("artifact", f"{run.id}/{row[0]}", "dropped") for row in sorted(was) if row[0] not in paths)
