"""`flowstead engine`: let the daemon run what is due in this workspace."""

from __future__ import annotations

import json as jsonlib
import sys
from pathlib import Path
from typing import Any

from cyclopts import App, Group

from flowstead.cli import words
from flowstead.cli.engine_table import print_flows
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen

app = App(
    name="engine",
    help="Let the daemon run what is due in this workspace, as files arrive and times come.",
    group_commands=Group("Commands"),
)


@app.command(name="start")
def start(*, json: bool = False, invocation: Call) -> int:
    """Run what is due, as files arrive and times come, in the daemon, which is started when there is none.

    Interrupted runs go on first. `flowstead up` does the same in the foreground.

    Parameters
    ----------
    json
        Print the engine's status as JSON.
    """
    root = invocation.root()
    with invocation.daemon_client(root) as client:
        return _tell(client.engine_start(), root, json=json)


@app.command(name="stop")
def stop(*, json: bool = False, invocation: Call) -> int:
    """Start nothing more: what has started is finished, what waits stays in the queue.

    Parameters
    ----------
    json
        Print the engine's status as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "engine stop", wait=False) as client:
        return _tell(client.engine_stop(), root, json=json)


@app.command(name="status")
def status(*, json: bool = False, invocation: Call) -> int:
    """How each flow stands: what is watched, what is due when, and what keeps a flow from its work.

    Parameters
    ----------
    json
        Print {automated, trouble, active, queued, holder, flows: [{flow, mode, state, condition, since, ...}]}.
    """
    root = invocation.root()
    with invocation.client(root, "engine status", wait=False) as client:
        return _tell(client.engine_status(), root, json=json)


def _tell(status: dict[str, Any], root: Path, *, json: bool) -> int:
    if json:
        print(jsonlib.dumps(status, indent=2))
        return 0
    screen = Screen(sys.stdout)
    holder = status["holder"]
    if status["automated"]:
        left = f"{words.count(len(status['active']), 'run')} under way, {status['queued']:,} waiting"
        screen.print(f"{screen.glyph('ok')} Runs by itself; {left}.")
    elif holder and holder.get("command") == "flowstead up":
        screen.print(f"{screen.glyph('ok')} Runs by itself, in process {holder['pid']} (flowstead up).")
    else:
        screen.print("Nothing runs by itself here. Let it with: flowstead engine start")
        if status["active"]:
            screen.print(f"{words.count(len(status['active']), 'run')} under way finish first.")
    print_flows(screen, status, root)
    return 0
