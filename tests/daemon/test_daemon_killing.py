"""The kill switch of a workspace where the engine itself hangs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest
from daemons import SECONDS, until

from flowstead.daemon import killing
from flowstead.daemon.machine import Machine
from flowstead.daemon.routes.flows import start
from flowstead.model.errors import NotFound

WAITS = """
    import time
    from pathlib import Path

    from flowstead import Flow

    def build():
        return Flow("Waits").step(works)

    def works(context):
        Path("reached").touch()
        time.sleep(600)
"""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(killing, "SECONDS_TO_FINISH", 0.1)
    monkeypatch.setattr(killing, "SECONDS_TO_CLOSE", 0.2)


def test_workers_die_although_the_engine_hangs(home: Path, workspace: Any, quick: None) -> None:
    workspace.module("waits", WAITS)
    machine = Machine(command="test")
    host = machine.open(workspace.root)
    key = host.layout.key
    start(host, "waits")
    until((workspace.flow_modules / "reached").exists, "the step began")
    workers = [psutil.Process(session.worker.process.pid) for session in host.engine.dispatcher._sessions.values()]
    assert workers
    with host.engine.dispatcher._lock:  # as a thread would that waits for a folder which does not answer
        told = killing.kill_workspace(machine, key)
        assert (told["workers"], told["released"]) == (1, False)
        assert psutil.wait_procs(workers, SECONDS)[1] == []
    until(lambda: not machine.hosts, "the workspace was closed once the engine went on")
    with pytest.raises(NotFound):
        killing.kill_workspace(machine, key)
    machine.close()


def test_a_workspace_in_which_nothing_runs(home: Path, workspace: Any) -> None:
    machine = Machine(command="test")
    key = machine.open(workspace.root).layout.key
    assert killing.kill_workspace(machine, key) == {"killed": key, "workers": 0, "released": True}
    assert machine.hosts == []
