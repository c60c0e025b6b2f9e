"""`flowstead workspace kill`: the kill switch of one workspace."""

from __future__ import annotations

import contextlib
import json as jsonlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

from flowstead.cli import words
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Screen
from flowstead.model.errors import FlowsteadError, UsageError
from flowstead.model.home import home
from flowstead.model.lock_holder import is_held, note_of
from flowstead.model.run import ACTIVE
from flowstead.workspace.layout import WorkspaceLayout

SECONDS_TO_FINISH = 3.0


def kill_workspace(*, yes: bool = False, json: bool = False, invocation: Call) -> int:
    """Stop all that runs in the workspace on this machine, within seconds, by force where it must be.

    Runs under way become interrupted and can go on later; the workspace is given free. The daemon and other
    workspaces go on.

    Examples::

        flowstead workspace kill
        flowstead workspace kill --yes

    Parameters
    ----------
    yes
        Do not ask first.
    json
        Print {"killed": WORKSPACE or null, "workers": NUMBER, "released": true}.
    """
    root = invocation.root()
    layout = WorkspaceLayout.of(root)
    screen = Screen(sys.stdout)
    if not is_held(layout.engine_lock):
        if json:
            print(jsonlib.dumps({"killed": None, "workers": 0, "released": True}, indent=2))
        else:
            screen.print(f"{screen.glyph('ok')} Nothing of this machine runs in {layout.workspace_id}.")
        return 0
    holder = note_of(layout.engine_lock)
    if not yes:
        _confirm(invocation, root, layout.workspace_id, holder)
    told = _kill_in_daemon(layout, holder)
    if told is None:
        told = _kill_command(layout, holder)
    if not told["released"]:
        raise FlowsteadError(
            f"What ran in {layout.workspace_id} is dead, but its engine hangs and keeps the workspace.",
            code="workspace-hangs",
            hint="End the daemon, with all its workspaces, with: flowstead daemon kill",
            **told,
        )
    if json:
        print(jsonlib.dumps(told, indent=2))
    else:
        force = words.count(told["workers"], "process", "processes")
        ended = f"; {force} had to be killed" if told["workers"] else ""
        screen.print(
            f"{screen.glyph('ok')} All that ran in {layout.workspace_id} has ended{ended}. The workspace is free."
        )
    return 0


def _confirm(invocation: Call, root: Path, name: str, holder: dict[str, Any]) -> None:
    """Raises UsageError unless the person says yes."""
    with invocation.client(root, "workspace kill", wait=False) as client:
        active = sum(len(client.runs(status=status, limit=1000)["runs"]) for status in ACTIVE)
    who = f"process {holder.get('pid')} ({holder.get('command')})"
    lost = "no run is under way"
    if active:
        become = "becomes" if active == 1 else "become"
        lost = f"{words.count(active, 'run')} under way {become} interrupted, what its step has not recorded is lost"
    print(f"{name} is run by {who}; {lost}.", file=sys.stderr)
    if not sys.stdin.isatty():
        raise UsageError("This has to be confirmed.", hint="Say it with: flowstead workspace kill --yes")
    print("Kill it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("Nothing was killed.", code="not-confirmed")


def _kill_in_daemon(layout: WorkspaceLayout, holder: dict[str, Any]) -> dict[str, Any] | None:
    """Kills it in the daemon, if that is what runs it. Raises DaemonUnresponsive."""
    from flowstead.client.finding import COMMAND, find_daemon, ping, transport_to

    info = find_daemon(home())
    if holder.get("command") != COMMAND or info is None or info.pid != holder.get("pid"):
        return None
    from flowstead.client.machine_client import MachineClient

    ping(info, home())
    with MachineClient(transport_to(info, home())) as machine:
        return machine.kill_workspace(layout.key)


def _kill_command(layout: WorkspaceLayout, holder: dict[str, Any]) -> dict[str, Any]:
    """Ends the command, in another terminal maybe, that runs it."""
    from flowstead.client.ending import end_by_force

    pid = int(holder.get("pid") or 0)
    if pid <= 0 or pid == os.getpid():
        raise FlowsteadError("Which process runs it is not known.", code="holder-unknown", hint="Look for it by hand.")

    def ask() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)

    def has_ended() -> bool:
        return not is_held(layout.engine_lock) or note_of(layout.engine_lock).get("pid") != pid

    killed = end_by_force(pid, ask, has_ended, patience=SECONDS_TO_FINISH)
    return {"killed": layout.key, "workers": killed, "released": True}
