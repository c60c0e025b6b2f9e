"""`flowstead workspace`: which workspaces there are, who owns each, and how one changes hands."""

from __future__ import annotations

import json as jsonlib
import sys
import time
from pathlib import Path
from typing import Any

from cyclopts import App, Group

from flowstead.cli import words
from flowstead.cli.invocation import Call, Invocation
from flowstead.cli.screen import Column, Screen, visible
from flowstead.model.errors import UsageError, WorkspaceNotFound

app = App(name="workspace", group_commands=Group("Commands"))

_LOOKS: dict[str, str] = {
    "mine": "green",
    "free": "green",
    "owned": "cyan",
    "stale": "amber",
    "damaged": "red",
    "unreachable": "red",
}
_NAMES = {"mine": "yours"}
SECONDS_BETWEEN_LOOKS = 1.0


@app.default
def show_workspace(*, json: bool = False, invocation: Call) -> int:
    """Say which workspace is used here; the commands below are about workspaces and who owns them.

    Examples::

        flowstead workspace
        flowstead workspace status

    Parameters
    ----------
    json
        Print {"workspace": ..., "local": ...}.
    """
    from flowstead.workspace.layout import WorkspaceLayout

    layout = WorkspaceLayout.of(invocation.root())
    if json:
        print(jsonlib.dumps({"workspace": str(layout.root), "local": str(layout.local)}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(str(layout.root))
    screen.print(screen.paint(f"Its records on this machine: {layout.local}", "dim"))
    return 0


@app.command(name="list")
def list_workspaces(*, json: bool = False, invocation: Call) -> int:
    """List the workspaces that this machine knows, and who owns each.

    Examples::

        flowstead workspace list

    Parameters
    ----------
    json
        Print {"workspaces": [...], "collection_roots": [...]}.
    """
    from flowstead.workspace import known

    selected = known.selected_workspace()
    roots = sorted({*known.known_workspaces(), *_here(invocation)})
    rows = [{**_standing_of(invocation, root), "selected": root == selected} for root in roots]
    collections = [str(path) for path in known.collection_roots()]
    if json:
        print(jsonlib.dumps({"workspaces": rows, "collection_roots": collections}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if not rows:
        screen.print("No workspace is known here yet.")
        screen.print(f"Add one with: {invocation.command('workspace add PATH')}")
        return 0
    table = [
        [
            (row["name"], "bold" if row["selected"] else ""),
            _state(row),
            _owner_in_words(row),
            (words.place(Path(row["path"])), "dim"),
        ]
        for row in rows
    ]
    screen.table([Column("WORKSPACE"), Column("STATE"), Column("OWNER"), Column("PATH")], table)
    if selected is not None:
        screen.print(screen.paint(f"\nSelected: {words.place(selected)}", "dim"))
    return 0


def _here(invocation: Invocation) -> list[Path]:
    try:
        return [invocation.root().resolve()]
    except WorkspaceNotFound:
        return []


def _standing_of(invocation: Invocation, root: Path) -> dict[str, Any]:
    with invocation.client(root, "workspace list", wait=False) as client:
        return client.standing()


def _owner_in_words(standing: dict[str, Any]) -> str:
    owner = standing["owner"]
    return f"{owner['host']} (process {owner['pid']})" if owner else ""


@app.command(name="add")
def add_workspace(path: Path, /, *, invocation: Call) -> int:
    """Add a workspace, or a folder whose children are workspaces, to those that this machine knows.

    Examples::

        flowstead workspace add /mnt/team/sales
        flowstead workspace add /mnt/team

    Parameters
    ----------
    path
        A workspace (it has flow_modules/), or a collection root.
    """
    from flowstead.workspace import known

    root = path.expanduser().resolve()
    screen = Screen(sys.stdout)
    if known.is_workspace(root):
        known.remember_workspace(root)
        screen.print(f"{screen.glyph('ok')} {words.place(root)} is known now.")
        return 0
    children = known.workspaces_in(root)
    if not children:
        raise WorkspaceNotFound(f"{path} is no workspace (it has no flow_modules/), and holds none.")
    known.remember_collection(root)
    names = words.listed(child.name for child in children)
    screen.print(f"{screen.glyph('ok')} {words.place(root)} is a collection root now, with {names}.")
    return 0


@app.command(name="create")
def create_workspace(name: str, /, *, collection: Path | None = None, invocation: Call) -> int:
    """Make a new workspace in a collection root, and know it from now on.

    Examples::

        flowstead workspace create marketing
        flowstead workspace create marketing --collection /mnt/team

    Parameters
    ----------
    name
        The name of the workspace, which becomes a folder of the collection root.
    collection
        The collection root; without it, the only one that is known, else the current folder.
    """
    from flowstead.workspace import known
    from flowstead.workspace.provision import provision

    if not name or name != Path(name).name or name.startswith("."):
        raise UsageError(f"{name!r} cannot be the name of a workspace.", hint="Give the name of a folder to make.")
    known_roots = known.collection_roots()
    parent = collection or (known_roots[0] if len(known_roots) == 1 else Path.cwd())
    root = parent.expanduser().resolve() / name
    if root.exists():
        raise UsageError(f"{words.place(root)} exists.", hint=f"Make it a workspace with: flowstead init {root}")
    provision(root)
    known.remember_workspace(root)
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} {words.place(root)} is a workspace.")
    screen.print(f"Use it from anywhere with: {invocation.command(f'workspace select {name}')}")
    return 0


@app.command(name="select")
def select_workspace(workspace: str, /, *, invocation: Call) -> int:
    """Choose the workspace that commands use where none is named and none is around the current folder.

    Examples::

        flowstead workspace select sales

    Parameters
    ----------
    workspace
        The name of a known workspace, or the path of any.
    """
    from flowstead.workspace import known

    root = _find(workspace)
    known.remember_workspace(root)
    known.select_workspace(root)
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} {root} is used wherever no other workspace is around.")
    return 0


def _find(workspace: str) -> Path:
    from flowstead.workspace import known

    path = Path(workspace).expanduser().resolve()
    if known.is_workspace(path):
        return path
    named = [root for root in known.known_workspaces() if root.name == workspace]
    if not named:
        hint = "See those that are known with: flowstead workspace list"
        raise WorkspaceNotFound(f"There is no workspace {workspace!r}.", hint=hint)
    if len(named) > 1:
        raise UsageError(
            f"{len(named)} workspaces are called {workspace!r}.",
            hint="Give the path of one: " + ", ".join(map(str, named)),
        )
    return named[0]


@app.command(name="status")
def show_status(*, json: bool = False, invocation: Call) -> int:
    """Show who owns the workspace, how fresh that is, and what can be done about it.

    Examples::

        flowstead workspace status

    Parameters
    ----------
    json
        Print it as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "workspace status", wait=False) as client:
        standing = client.standing()
    if json:
        print(jsonlib.dumps(standing, indent=2))
    else:
        print_standing(Screen(sys.stdout), standing, invocation, root)
    return 1 if standing["state"] in ("damaged", "unreachable") else 0


def print_standing(screen: Screen, standing: dict[str, Any], invocation: Invocation, root: Path) -> None:
    """Says in words who owns a workspace, and which command changes that."""
    screen.print(f"{screen.paint(standing['name'], 'bold')}  {screen.paint(*_state(standing))}")
    screen.print(visible(standing["message"]))
    if standing["hint"]:
        screen.print(f"{screen.paint('hint:', 'bold')} {visible(standing['hint'])}")
    owner = standing["owner"]
    facts: list[tuple[str, str]] = []
    if owner:
        facts.append(("host", f"{owner['host']}, process {owner['pid']}, Flowstead {owner['version']}"))
        facts.append(("since", f"{words.moment(owner['since'])} by its clock"))
        if standing["state"] != "mine":
            quiet = words.duration(owner["unchanged_seconds"] * 1000)
            facts.append(("last sign", f"within the last {quiet}, as seen from here"))
    facts.append(("epoch", str(standing["epoch"])))
    facts.append(("published", f"{words.count(standing['generation'], 'generation')}"))
    if standing["engine"]:
        facts.append(("engine", standing["engine"]))
    request = standing["request"]
    if request:
        asked = "this machine" if request["mine"] else request["host"]
        facts.append(("asked for by", f"{asked} ({request['client_kind']})"))
    screen.table([Column(""), Column("")], [[(name, "dim"), value] for name, value in facts], indent="  ")
    for gap in standing["gaps"]:
        screen.print(f"{screen.glyph('warning')} {visible(gap)}")
    for action in standing["actions"]:
        screen.print(f"{_SAYS[action]}: {invocation.command(f'workspace {action}', root)}")


def _state(standing: dict[str, Any]) -> tuple[str, str]:
    """The name of a state, with its colour."""
    state: str = standing["state"]
    return _NAMES.get(state, state), _LOOKS[state]


_SAYS = {
    "request-control": "Ask for it with",
    "withdraw-request": "Stop asking with",
    "release": "Give it free with",
    "takeover": "Take it with",
}


@app.command(name="request-control")
def request_control(*, no_wait: bool = False, json: bool = False, invocation: Call) -> int:
    """Ask the workstation that owns the workspace to hand it over, and wait for it.

    The owner lets its running steps finish, publishes their records, and releases the workspace. A request that is
    not granted ends by itself after ten minutes.

    Examples::

        flowstead workspace request-control

    Parameters
    ----------
    no_wait
        Only ask.
    json
        Print how the workspace stands at the end as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "workspace request-control", wait=False) as client:
        standing = client.request_control()
        screen = Screen(sys.stderr if json else sys.stdout)
        if not no_wait and standing["state"] == "owned":
            host = standing["owner"]["host"]
            screen.print(f"Asked {host} for {standing['name']}. Waiting; Ctrl-C stops asking.")
            try:
                while standing["state"] == "owned" and standing["request"]:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
                    standing = client.standing()
            except KeyboardInterrupt:
                client.withdraw_request()
                raise
            if standing["state"] == "free" and not standing["holder"]:
                # Granted, and no daemon here takes it: whoever runs a flow next does.
                client.withdraw_request()
                standing = client.standing()
    if json:
        print(jsonlib.dumps(standing, indent=2))
    else:
        print_standing(screen, standing, invocation, root)
    return 0 if no_wait or standing["state"] in ("free", "mine", "stale") else 1


@app.command(name="withdraw-request")
def withdraw_request(*, invocation: Call) -> int:
    """Stop asking for the workspace.

    Examples::

        flowstead workspace withdraw-request
    """
    root = invocation.root()
    with invocation.client(root, "workspace withdraw-request", wait=False) as client:
        client.withdraw_request()
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} This machine no longer asks for {root.name}.")
    return 0


@app.command(name="release")
def release_workspace(*, json: bool = False, invocation: Call) -> int:
    """Give the workspace free: running work finishes within the grace time, then others may own it.

    Examples::

        flowstead workspace release

    Parameters
    ----------
    json
        Print how the workspace stands then as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "workspace release", wait=False) as client:
        standing = client.release()
        screen = Screen(sys.stderr if json else sys.stdout)
        if standing["state"] == "mine":
            screen.print("Releasing it as soon as running work is done; Ctrl-C stops waiting for that.")
        while standing["state"] == "mine" and standing["holder"]:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            standing = client.standing()
    return _say(standing, invocation, root, json)


@app.command(name="takeover")
def take_over(*, force: bool = False, json: bool = False, invocation: Call) -> int:
    """Take the workspace from a workstation that has shown no sign of life for 90 seconds.

    What it published stays; its open runs become interrupted and can go on here.

    Examples::

        flowstead workspace takeover

    Parameters
    ----------
    force
        Also when the claim of the last owner is damaged. Be sure that no other workstation runs the workspace.
    json
        Print how the workspace stands then as JSON.
    """
    root = invocation.root()
    with invocation.client(root, "workspace takeover", wait=False) as client:
        standing = client.take_over(force=force)
    return _say(standing, invocation, root, json)


app.command("flowstead.cli.killing:kill_workspace", name="kill")


def _say(standing: dict[str, Any], invocation: Invocation, root: Path, json: bool) -> int:
    if json:
        print(jsonlib.dumps(standing, indent=2))
    else:
        print_standing(Screen(sys.stdout), standing, invocation, root)
    return 0


@app.command(name="trust")
def trust_workspace(path: Path | None = None, /, *, invocation: Call) -> int:
    """Trust a workspace whose flows others can change: they can then run code as you, on this machine.

    Examples::

        flowstead workspace trust shared/sales

    Parameters
    ----------
    path
        The workspace; without it, the one that is used here.
    """
    from flowstead.workspace.layout import WorkspaceLayout
    from flowstead.workspace.trust import trust, writable_by_others

    layout = WorkspaceLayout.of(path or invocation.root())
    reason = writable_by_others(layout)
    trust(layout.root)
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} You trust {layout.root} on this machine.")
    if reason is not None:
        screen.print(f"  Others can change its flows: {reason}.")
    return 0
