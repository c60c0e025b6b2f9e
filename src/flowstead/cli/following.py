"""From an answer that names runs to their end: follows the events, and tells what happens."""

from __future__ import annotations

import json as jsonlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowstead.cli import words
from flowstead.cli.invocation import Invocation
from flowstead.cli.screen import Screen
from flowstead.cli.telling import FEW, SETTLED, Row, Teller
from flowstead.client import Client
from flowstead.model.run import ACTIVE, short_id

Answer = dict[str, Any]
Announce = Callable[[Screen, Answer, dict[str, Row]], None]
"""Says what the answer to a start means; the rows are those of its runs."""


def conduct(
    invocation: Invocation,
    root: Path,
    command: str,
    ask: Callable[[Client], Answer],
    announce: Announce,
    *,
    json: bool,
    wait: bool,
) -> int:
    """Starts runs with `ask`, follows them to their end and returns the exit code of it all.

    `command` is the one that was given, for others to see and to go on with; `announce` says what the answer means.
    Ctrl-C and SIGTERM interrupt what is under way, and nothing recorded is lost by it; what a daemon runs goes on, and
    only the watching ends.
    """
    signal.signal(signal.SIGTERM, interrupt)
    with invocation.client(root, command, wait=wait) as client:
        answer = None
        try:
            answer = ask(client)
            rows = follow(invocation, client, root, answer, None if json else announce)
        except KeyboardInterrupt:
            client.close()
            if client.outlived:
                return say_detached(invocation, root, ids_of(answer) if answer else [], json=json)
            return say_interrupted(
                invocation, root, invocation.command(command, root), ids_of(answer) if answer else [], json=json
            )
    if json:
        print(jsonlib.dumps({"runs": rows}, indent=2))
    return 0 if all(row["status"] == "succeeded" for row in rows) else 1


def ids_of(answer: Answer) -> list[str]:
    """The runs of an answer, those that go on first."""
    return list(dict.fromkeys([*answer["resumed"], *answer["waiting"], *answer["started"]]))


def follow(
    invocation: Invocation,
    client: Client,
    root: Path,
    answer: Answer,
    announce: Announce | None,
) -> list[Row]:
    """Waits for the runs of `answer` to end and returns them; tells what happens, unless `announce` is None."""
    ids = ids_of(answer)
    rows = {row["id"]: row for row in client.runs_by_id(ids)} if ids else {}
    if announce is None:
        for row in _changes(client, rows, answer["after"]):
            if row is not None:
                rows[row["id"]] = row
        return list(rows.values())
    screen = Screen(sys.stdout)
    announce(screen, answer, rows)
    if not rows:
        return []
    teller = Teller(screen, root, rows.values(), answer["resumed"], lambda text: invocation.command(text, root))
    changes = _changes(client, rows, answer["after"])
    if screen.is_terminal:
        from flowstead.cli.live import LiveView

        with LiveView(teller) as view:
            for row in changes:
                if row is not None:
                    view.print(teller.seen(row))
    else:
        for row in changes:
            if row is not None:
                for line in teller.seen(row):
                    screen.print(line)
    for line in teller.totals():
        screen.print(line)
    return list(teller.rows.values())


def _changes(client: Client, rows: dict[str, Row], after: int) -> Iterator[Row | None]:
    """The rows as they are, then as they change, until each has ended; None while nothing happens."""
    yield from rows.values()
    ahead = {run_id for run_id, row in rows.items() if row["status"] not in SETTLED}
    if not ahead:
        return
    for event in client.events(after=after):
        row = event and event["row"]
        if row is None or row["id"] not in rows:
            yield None
            continue
        yield row
        if row["status"] in SETTLED:
            ahead.discard(row["id"])
        else:
            ahead.add(row["id"])
        if not ahead:
            return


def announce_resumed(screen: Screen, answer: Answer) -> None:
    """Says how many runs go on, where they are too many to be told of one by one."""
    if len(ids_of(answer)) > FEW and answer["resumed"]:
        screen.print(f"Continuing {words.count(len(answer['resumed']), 'interrupted run')}.")
    if answer["waiting"]:
        were = "1 run was" if len(answer["waiting"]) == 1 else f"{len(answer['waiting']):,} runs were"
        screen.print(f"{were} waiting already.")


def say_interrupted(invocation: Invocation, root: Path, go_on: str, ids: list[str], *, json: bool = False) -> int:
    """After the client was closed by Ctrl-C: says what it left, and the command to go on; returns the exit code."""
    # A client that only reads: the engine is closed, and these are the rows it left.
    with invocation.client(root, "runs", wait=False) as client:
        rows = client.runs_by_id(ids)
    if json:
        print(jsonlib.dumps({"runs": rows}, indent=2))
        return 130
    interrupted = sum(row["status"] in ("interrupted", *ACTIVE) for row in rows)
    queued = sum(row["status"] == "queued" for row in rows)
    left: list[str] = []
    if interrupted:
        left.append(f"{words.count(interrupted, 'run')} under way {'was' if interrupted == 1 else 'were'} interrupted")
    if queued:
        left.append(f"{words.count(queued, 'run')} {'waits' if queued == 1 else 'wait'} in the queue")
    screen = Screen(sys.stderr)
    if not left:
        screen.print(screen.paint("Interrupted.", "orange"))
    else:
        screen.print(screen.paint(f"Interrupted: {words.listed(left)}. Finished steps are kept.", "orange"))
    screen.print(f"Go on with: {go_on}")
    return 130


def say_detached(invocation: Invocation, root: Path, ids: list[str], *, json: bool = False) -> int:
    """After Ctrl-C while a daemon runs what was started: says how to go on watching; returns the exit code."""
    if json:
        with invocation.client(root, "runs", wait=False) as client:
            print(jsonlib.dumps({"runs": client.runs_by_id(ids)}, indent=2))
        return 130
    screen = Screen(sys.stderr)
    if len(ids) == 1:
        short = short_id(ids[0])
        screen.print(screen.paint(f"Run {short} goes on in the daemon.", "orange"))
        screen.print(f"Watch it with: {invocation.command(f'logs {short} --follow', root)}")
        screen.print(f"Cancel it with: {invocation.command(f'cancel {short}', root)}")
    elif ids:
        screen.print(screen.paint(f"{words.count(len(ids), 'run')} go on in the daemon.", "orange"))
        screen.print(f"See them with: {invocation.command('runs', root)}")
    else:
        screen.print(screen.paint("Interrupted; the daemon may have started it all the same.", "orange"))
        screen.print(f"See what runs with: {invocation.command('runs', root)}")
    return 130


def interrupt(signum: int, frame: object) -> None:
    """A signal handler that makes of SIGTERM what Ctrl-C is."""
    raise KeyboardInterrupt
