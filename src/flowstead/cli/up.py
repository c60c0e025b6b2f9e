"""`flowstead up`: the workspace runs by itself, in the foreground, until Ctrl-C."""

from __future__ import annotations

import json as jsonlib
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from flowstead.cli import words
from flowstead.cli.engine_table import print_flows, state_of
from flowstead.cli.following import interrupt
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen, columns, one_line
from flowstead.cli.telling import SETTLED, Row, Teller
from flowstead.client import Client
from flowstead.model.errors import WorkspaceBusy

SECONDS_BETWEEN_GLANCES = 2.0
"""How often it looks whether a flow stands differently."""


def up(*, json: bool = False, no_wait: bool = False, invocation: Call) -> int:
    """Run what is due, as files arrive and times come, until Ctrl-C.

    Ctrl-C, or SIGTERM, stops it: what has started is finished, what waits stays in the queue. A second Ctrl-C
    interrupts what is under way; it goes on with the next `up`.

    Examples::

        flowstead up
        flowstead up --json | jq .

    Parameters
    ----------
    json
        Print one JSON object a line: {"event": "status" | "change" | "stopping" | "stopped", ...}.
    no_wait
        Exit with code 4 when another process runs the workspace, instead of waiting for it.
    """
    root = invocation.root()
    signal.signal(signal.SIGTERM, interrupt)
    with invocation.client(root, "up", wait=not no_wait) as client:
        if client.outlived:
            raise WorkspaceBusy(
                "The daemon has this workspace.", hint="Let it run what is due with: flowstead engine start"
            )
        show = _Lines() if json else _Told(root, lambda text: invocation.command(text, root))
        try:
            client.engine_start()
            status = _once_begun(client)
            with _asked_to_stop() as asked, show:
                show.begins(status)
                _conduct(client, show, asked)
        except KeyboardInterrupt:
            client.close()
            show.interrupted()
            return 130
    return 0


def _once_begun(client: Client) -> dict[str, Any]:
    """How the flows stand once each has found its source, or after a second."""
    until = time.monotonic() + 1.0
    while True:
        status = client.engine_status()
        if time.monotonic() >= until or all(flow["state"] != "starting" for flow in status["flows"]):
            return status
        time.sleep(0.02)


def _conduct(client: Client, show: _Lines | _Told, asked: SimpleQueue[int]) -> None:
    """Tells what happens until it was asked to stop and what had started has ended; asked twice, it is interrupted."""
    stopping = False
    glance_at = 0.0
    for event in client.events():
        if event is not None and event["row"] is not None and event["kind"] in ("run", "step"):
            show.change(event)
        if not asked.empty():
            asked.get()
            if stopping:
                raise KeyboardInterrupt
            stopping = True
            show.stopping(client.engine_stop())
        now = time.monotonic()
        if not stopping and now >= glance_at:
            glance_at = now + SECONDS_BETWEEN_GLANCES
            show.glance(client.engine_status())
        if stopping and event is None:
            status = client.engine_status()
            if not status["active"]:
                show.stopped(status)
                return


@contextmanager
def _asked_to_stop() -> Iterator[SimpleQueue[int]]:
    """Notes Ctrl-C and SIGTERM, instead of raising them in the middle of something."""
    asked: SimpleQueue[int] = SimpleQueue()
    before = [
        (kind, signal.signal(kind, lambda number, _: asked.put(number))) for kind in (signal.SIGINT, signal.SIGTERM)
    ]
    try:
        yield asked
    finally:
        for kind, handler in before:
            signal.signal(kind, handler)


class _Lines:
    """For programs: an object a line."""

    def __init__(self) -> None:
        self._shown: Any = None

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return

    def begins(self, status: dict[str, Any]) -> None:
        self.glance(status)

    def glance(self, status: dict[str, Any]) -> None:
        shown = _stands(status)
        if shown != self._shown:
            self._shown = shown
            _line("status", status)

    def change(self, event: dict[str, Any]) -> None:
        _line("change", event)

    def stopping(self, status: dict[str, Any]) -> None:
        _line("stopping", status)

    def stopped(self, status: dict[str, Any]) -> None:
        _line("stopped", status)

    def interrupted(self) -> None:
        _line("interrupted", {})


def _line(event: str, fields: dict[str, Any]) -> None:
    print(jsonlib.dumps({"event": event, **fields}), flush=True)


def _stands(status: dict[str, Any]) -> dict[str, tuple[str, str | None]]:
    """What is worth telling when it changes: that a schedule goes on to its next time is not."""
    return {flow["flow"]: (flow["state"], flow["condition"]) for flow in status["flows"]}


class _Told:
    """For people: what is watched, then each run as it ends, and live below what is under way."""

    def __init__(self, root: Path, command: Callable[[str], str]) -> None:
        self._root = root
        self._screen = Screen(sys.stdout)
        self._teller = _Onlooker(self._screen, root, command)
        self._live: Any = None
        self._shown: dict[str, tuple[str, str | None]] = {}

    def __enter__(self) -> _Told:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self._live is not None:
            self._live.__exit__(*exc_info)
            self._live = None

    def begins(self, status: dict[str, Any]) -> None:
        if not status["flows"]:
            self._screen.print("There is no flow here yet; each one begins when its module appears.")
        print_flows(self._screen, status, self._root)
        if status["queued"]:
            self._screen.print(f"{words.count(status['queued'], 'run')} waited already.")
        self._screen.print(self._screen.paint("Ctrl-C stops.", "dim"))
        self._shown = _stands(status)
        if self._screen.is_terminal:
            from flowstead.cli.live import LiveView

            self._live = LiveView(self._teller)
            self._live.__enter__()

    def glance(self, status: dict[str, Any]) -> None:
        shown = _stands(status)
        for flow in status["flows"]:
            before, now = self._shown.get(flow["flow"]), shown[flow["flow"]]
            if before == now or (before is not None and before[0] == "starting" and now[1] is None):
                continue
            glyph = self._screen.glyph("warning" if now[1] else "ok")
            self._print([f"{glyph} {flow['flow']}: {now[1] or state_of(flow, self._root)}"])
        for name in self._shown.keys() - shown.keys():
            self._print([f"{self._screen.glyph('warning')} {name}: its module is gone"])
        self._shown = shown

    def change(self, event: dict[str, Any]) -> None:
        row = event["row"]
        self._print(self._teller.seen(row))
        if row["status"] in SETTLED:
            self._teller.forget(row["id"])

    def stopping(self, status: dict[str, Any]) -> None:
        active, queued = len(status["active"]), status["queued"]
        left = (
            [f"{words.count(active, 'run')} under way {'finishes' if active == 1 else 'finish'} first"]
            if active
            else []
        )
        if queued:
            left.append(f"{queued:,} {'waits' if queued == 1 else 'wait'} in the queue for the next time")
        again = " Ctrl-C again interrupts." if active else ""
        said = f"Stopping: {words.listed(left)}." if left else "Stopping."
        self._print([self._screen.paint(f"{said}{again}", "orange")])

    def stopped(self, status: dict[str, Any]) -> None:
        self._print(["Stopped."])

    def interrupted(self) -> None:
        self._print([self._screen.paint("Interrupted. What was under way goes on with the next `up`.", "orange")])

    def _print(self, lines: Iterable[str]) -> None:
        if self._live is not None:
            self._live.print(lines)
            return
        for line in lines:
            self._screen.print(line)


class _Onlooker(Teller):
    """Tells of runs that nobody asked for: each in a line when it ends."""

    endless = True

    def __init__(self, screen: Screen, root: Path, command: Callable[[str], str]) -> None:
        super().__init__(screen, root, (), (), command)
        self._tells_steps = self._tells_starts = False
        self._tells_ends = True
        self._lately: deque[tuple[str, int]] = deque(maxlen=200)

    def name(self, row: Row) -> str:
        return one_line(f"{row['flow']} {row['source_path'] or ''}".strip())

    def seen(self, row: Row) -> Iterator[str]:
        # The last steps of a run are told of with the run as it is by then: ended.
        if (row["id"], row["attempt"]) in self._lately and row["status"] in SETTLED:
            return
        self._name_width = max(self._name_width, min(40, columns(self.name(row))))
        yield from super().seen(row)

    def forget(self, run_id: str) -> None:
        """Keeps little of a run that was told of: there is no end to them."""
        row = self.rows.pop(run_id, None)
        self.begun_at.pop(run_id, None)
        self._ended.discard(run_id)
        if row is not None:
            self._lately.append((run_id, row["attempt"]))
            self._begun -= {(run_id, attempt) for attempt in range(row["attempt"] + 1)}
        self._failures = 0
