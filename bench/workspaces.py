"""A workspace made for one measurement, and an engine in this process that runs it."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from flowstead.engine.engine import Engine
from flowstead.engine.flow_environments import FlowEnvironments
from flowstead.engine.holding import Holding
from flowstead.environments.cache import EnvironmentCache
from flowstead.ledger import LedgerReader
from flowstead.model.home import home
from flowstead.model.run import OPEN, RunRequest, now_us
from flowstead.model.settings import Settings
from flowstead.workspace.layout import WorkspaceLayout

SECONDS_BETWEEN_LOOKS = 0.005
LONGEST_WAIT = 120.0

_OPEN = ", ".join(f"'{status}'" for status in OPEN)
_ANY_OPEN = f"SELECT 1 FROM runs WHERE status IN ({_OPEN}) LIMIT 1"
_ENDED_SINCE = """
SELECT count(*), coalesce(sum(status = 'succeeded'), 0), max(finished_at) FROM runs WHERE finished_at >= ?
"""

THREE_STEPS = """
    from flowstead import Flow

    def build():
        return Flow("Bench").step(first).step(second).step(third)

    def first(context):
        return 1

    def second(context):
        return context.current + 1

    def third(context):
        return context.current + 1
"""


class Workspace:
    """A workspace below `folder`. Its machine-local state goes to the FLOWSTEAD_HOME of this process."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "workspace"
        (self.root / "flow_modules").mkdir(parents=True)

    def module(self, name: str, source: str) -> None:
        """Writes the flow module `name`."""
        (self.root / "flow_modules" / f"{name}.py").write_text(textwrap.dedent(source), "utf-8")

    @contextmanager
    def engine(self, **settings: Any) -> Iterator[Engine]:
        """Opens the workspace for running, with these settings beside the defaults."""
        chosen = Settings(**settings)
        layout = WorkspaceLayout.of(self.root)
        environments = FlowEnvironments(layout, lambda: EnvironmentCache(chosen.environments_in(home()), chosen))
        holding = Holding(layout, chosen, command="bench")
        with closing(holding), Engine(holding, environments) as engine:
            yield engine


def requests(engine: Engine, flows: Sequence[str]) -> list[RunRequest]:
    """A run of each of `flows`, in order, ready to be started."""
    found: dict[str, tuple[str, str]] = {}
    for name in set(flows):
        entry = engine.catalog.entry(name)
        if entry.spec is None or entry.digest is None:
            raise RuntimeError(f"{name} could not be described: {entry.error}")
        found[name] = (entry.spec.group, entry.digest)
    return [RunRequest(name, *found[name], "manual") for name in flows]


def run_all(engine: Engine, flows: Sequence[str]) -> float:
    """Starts a run of each of `flows` at once; returns the seconds from then to the recorded end of the last."""
    ready = requests(engine, flows)
    begun = now_us()
    engine.start_runs(ready)
    return await_ends(engine, begun, len(ready))


def await_ends(engine: Engine, begun: int, runs: int) -> float:
    """Waits for `runs` runs started since `begun` (ledger time); returns the seconds to the end of the last.

    The end is the one that the ledger recorded, so looking for it now and then costs no precision. Raises when one
    did not succeed.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    dispatcher = engine.dispatcher
    while dispatcher.active or engine.ledger.reader.rows(_ANY_OPEN):
        if dispatcher.failure is not None:
            raise dispatcher.failure
        if time.monotonic() > deadline:
            raise TimeoutError(f"The runs did not end within {LONGEST_WAIT:g} s.")
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return seconds_to_end(engine.ledger.reader, begun, runs)


def seconds_to_end(reader: LedgerReader, begun: int, runs: int) -> float:
    """Seconds from `begun` to the recorded end of the last run since. Raises unless it were `runs` that succeeded."""
    ((ended, succeeded, last),) = reader.rows(_ENDED_SINCE, (begun,))
    if ended != runs or succeeded != runs:
        raise RuntimeError(f"{runs} runs were started; {ended} ended, {succeeded} of them well.")
    return (last - begun) / 1e6
