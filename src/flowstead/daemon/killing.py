"""The kill switch of a workspace: it stops, whatever runs in it, and the daemon and all other workspaces go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from flowstead.daemon.machine import Machine
from flowstead.engine.engine import Engine
from flowstead.engine.worker_process import kill_leftovers
from flowstead.model.errors import NotFound

SECONDS_TO_FINISH = 2.0
SECONDS_TO_CLOSE = 6.0
SECONDS_BETWEEN_GLANCES = 0.1


def let_finish(engines: Iterable[Engine], seconds: float) -> None:
    """Lets these engines start nothing that waits any more, and what is under way end, for at most `seconds`."""
    deadline = time.monotonic() + seconds
    running = list(engines)
    for engine in running:
        engine.dispatcher.hold()
    for engine in running:
        while engine.dispatcher.active and engine.failure is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            engine.ledger.wait_for_event(engine.ledger.last_event, min(left, SECONDS_BETWEEN_GLANCES))


def kill_workspace(machine: Machine, workspace: str) -> dict[str, Any]:
    """Stops everything in an open workspace within seconds, by force where it must be, and closes it.

    What was under way becomes interrupted. `released` is false when the engine itself hangs: its workers are dead then,
    and only the daemon's end frees the workspace.
    """
    host = next((host for host in machine.hosts if host.layout.key == workspace), None)
    if host is None:
        raise NotFound(f"No workspace {workspace} is open here.", code="workspace-not-open")
    engine = host.open_engine
    workers: set[str] = set() if engine is None else set(engine.dispatcher.workers.ids)

    def close() -> None:
        if engine is not None:
            let_finish([engine], SECONDS_TO_FINISH)
            workers.update(engine.dispatcher.workers.ids)
        machine.close_workspace(workspace)

    # In a thread of its own: it may wait for a lock that never comes free, or for a folder that does not answer.
    closing = threading.Thread(target=close, name=f"kill-{workspace}", daemon=True)
    closing.start()
    closing.join(SECONDS_TO_FINISH + SECONDS_TO_CLOSE)
    if closing.is_alive():
        kill_leftovers(workers)
        closing.join(SECONDS_TO_CLOSE)
    return {"killed": workspace, "workers": len(workers), "released": not closing.is_alive()}
