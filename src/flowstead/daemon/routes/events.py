"""The stream of changes, from which every view is folded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from flowstead.daemon.routes.route import SECONDS_BETWEEN_HEARTBEATS, Route
from flowstead.daemon.standing import standing_as_seen
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError
from flowstead.model.run import iso, now_us

LONGEST_PAUSE = 0.05
MOST_AT_ONCE = 200
"""Events that are looked up together; a reader who takes nothing costs the memory of their rows."""
SECONDS_BETWEEN_STATES = 1.0
_TOLD = ("state", "host", "mine", "since", "handing_over_to", "actions")


def events(
    host: WorkspaceHost, *, after: int | None = None, brief: bool = False, states: bool = False
) -> Iterator[dict[str, Any] | None]:
    """Changes above a number, in order and without end: `{seq, at, kind, id, change, row}`; `row` as it is by now.

    A view is the fold `rows[kind][id] = row`. None comes out while nothing happens. Raises what stopped the engine,
    and FlowsteadError (`events-gone`) when not all of what came after that number is still there.

    With `brief`, runs come without their steps and artifacts, and what is told of a step has it as `step`: of a run of
    many steps each change costs no more than that. With `states` there also come items without a number, at first and
    whenever they change: of kind `standing` (who owns the workspace) and `engine` (how the flows stand that start by
    themselves), each with its `state`; they are not on record, so a stream that is taken up again begins with them.
    """
    seq = host.reader.last_event() if after is None else after
    if seq:
        _require_kept(host, seq)
    watch = States(host) if states else None
    began = time.monotonic()
    while True:
        if watch is not None:
            yield from watch.news()
        batch = host.reader.events(seq, MOST_AT_ONCE)
        # Rows are sent as they are by now, so of several changes to one row the last tells everything.
        newest = {(kind, row_id): number for number, _, kind, row_id, _ in batch}
        yield from _items(host, [event for event in batch if newest[event[2], event[3]] == event[0]], brief)
        if batch:
            seq = batch[-1][0]
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
                if watch is not None:
                    yield from watch.news()
                if engine is not host.open_engine or engine.failure is not None:
                    break
        else:
            time.sleep(SECONDS_BETWEEN_HEARTBEATS)


def _items(host: WorkspaceHost, batch: list[tuple[int, int, str, str, str]], brief: bool) -> Iterator[dict[str, Any]]:
    run_ids = {row_id.partition("/")[0] for _, _, kind, row_id, _ in batch if kind in ("run", "step", "artifact")}
    found = host.reader.runs_by_id(run_ids, with_steps=not brief) if run_ids else []
    rows = {run.id: run.as_dict() for run in found}
    plans = {run.id: run.version for run in found}
    for seq, at, kind, row_id, change in batch:
        run_id = row_id.partition("/")[0]
        item = {"seq": seq, "at": iso(at), "kind": kind, "id": row_id, "change": change, "row": rows.get(run_id)}
        if brief and kind == "step" and run_id in plans:
            _, step, attempt = row_id.split("/")
            item["step"] = host.reader.step(run_id, plans[run_id], int(step), int(attempt))
        yield item


class States:
    """What changes of a workspace without being on record: who owns it, and how its flows stand. For one stream."""

    def __init__(self, host: WorkspaceHost) -> None:
        self._host = host
        self._looked = -SECONDS_BETWEEN_STATES
        self._standing: dict[str, Any] = {}
        self._automated: bool | None = None
        self._flows: dict[str, dict[str, Any]] = {}

    def news(self) -> Iterator[dict[str, Any]]:
        """An item for each of them that is new or has changed; looks at most once a second, and at no shared folder."""
        now = time.monotonic()
        if now - self._looked < SECONDS_BETWEEN_STATES:
            return
        self._looked = now
        standing, before = standing_as_seen(self._host), self._standing
        self._standing = standing
        # Silence grows by itself; that it is over is news.
        renewed = standing["unchanged_seconds"] < before.get("unchanged_seconds", 0.0)
        if renewed or any(standing[name] != before.get(name) for name in _TOLD):
            yield self._item("standing", standing["state"], standing)
        automated, flows = self._host.is_automated, self._host.automated_flows()
        changed: dict[str, Any] = {name: state for name, state in flows.items() if state != self._flows.get(name)}
        changed.update(dict.fromkeys(self._flows.keys() - flows.keys()))
        if changed or automated != self._automated:
            self._automated, self._flows = automated, flows
            yield self._item("engine", "on" if automated else "off", {"automated": automated, "flows": changed})

    def _item(self, kind: str, change: str, state: dict[str, Any]) -> dict[str, Any]:
        named = {"kind": kind, "id": self._host.layout.key, "change": change}
        return {"seq": None, "at": iso(now_us()), **named, "row": None, "state": state}


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
