"""The stream of changes, from which every view is folded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flowstead.daemon.routes.route import SECONDS_BETWEEN_HEARTBEATS, Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import iso

LONGEST_PAUSE = 0.05
MOST_AT_ONCE = 200
"""Events that are looked up together; a reader who takes nothing costs the memory of their rows."""


def events(host: WorkspaceHost, *, after: int | None = None) -> Iterator[dict[str, Any] | None]:
    """Changes above a number, in order and without end: `{seq, at, kind, id, change, row}`; `row` as it is by now.

    A view is the fold `rows[kind][id] = row`. None comes out while nothing happens. Raises what stopped the engine,
    and FlowsteadError (`events-gone`) when not all of what came after that number is still there.
    """
    seq = host.reader.last_event() if after is None else after
    if seq:
        _require_kept(host, seq)
    began = time.monotonic()
    while True:
        batch = host.reader.events(seq, MOST_AT_ONCE)
        run_ids = {row_id.partition("/")[0] for _, _, kind, row_id, _ in batch if kind in ("run", "step", "artifact")}
        rows = {run.id: run.as_dict() for run in host.reader.runs_by_id(run_ids)} if run_ids else {}
        # Rows are sent as they are by now, so of several changes to one row the last tells everything.
        newest = {(kind, row_id): seq for seq, _, kind, row_id, _ in batch}
        for seq, at, kind, row_id, change in batch:
            if newest[kind, row_id] == seq:
                row = rows.get(row_id.partition("/")[0])
                yield {"seq": seq, "at": iso(at), "kind": kind, "id": row_id, "change": change, "row": row}
        engine = host.open_engine
        if host.failure is not None:
            raise host.failure
        if batch:
            # To wake at every commit of many short runs would take from their time; one run is told of at once.
            time.sleep(min(LONGEST_PAUSE, (time.monotonic() - began) / 10))
            continue
        yield None
        if engine is not None:
            while not engine.ledger.wait_for_event(seq, SECONDS_BETWEEN_HEARTBEATS):
                yield None
                if engine is not host.open_engine or engine.failure is not None:
                    break
        else:
            time.sleep(SECONDS_BETWEEN_HEARTBEATS)


def _require_kept(host: WorkspaceHost, seq: int) -> None:
    """A view that missed changes that were forgotten since, or of a ledger that is no more, cannot be folded on."""
    first, last = host.reader.first_event(), host.reader.last_event()
    if not first - 1 <= seq <= last:
        raise FlowsteadError(
            f"Changes after number {seq} are not kept; those from {first} to {last} are.",
            code="events-gone",
            hint="Read the lists anew, then follow what changes from now on.",
            first=first,
            last=last,
        )


ROUTES = (Route("GET", "/events", events, streams=True),)
