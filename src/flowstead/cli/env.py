"""`flowstead env`: what flows run in, and the environments of this machine."""

from __future__ import annotations

import json as jsonlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter

from flowstead.cli import words
from flowstead.cli.completing import flow_names
from flowstead.cli.failures import where_and_hint
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen, visible
from flowstead.model.home import home

if TYPE_CHECKING:
    from flowstead.client.machine_client import MachineClient

app = App(name="env", help="What flows run in, and the environments of this machine.", group_commands=Group("Commands"))

_LOOKS = {"ready": "green", "building": "blue", "queued": "dim", "failed": "red", "cold": "dim"}
_SHORT = 12


@app.command(name="show")
def show(flow: Annotated[str, Parameter(completer=flow_names)], /, *, json: bool = False, invocation: Call) -> int:
    """Say what a flow runs in: which file decided and why, and whether it is built.

    Examples::

        flowstead env show first_flow

    Parameters
    ----------
    flow
        The flow's name: that of its module, without .py.
    json
        Print {"file": ..., "why": ..., "considered": [...], "requirements": [...], "environment": ...}.
    """
    root = invocation.root()
    with invocation.client(root, f"env show {flow}", wait=False) as client:
        found = client.environment(flow)
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(screen.paint(flow, "bold"))
    screen.print(f"  {found['why']}")
    if found["requires_python"]:
        screen.print(f"  It asks for Python {found['requires_python']}.")
    if found["considered"]:
        screen.print()
        rows: list[list[Cell]] = [[each["file"], (each["verdict"], "dim")] for each in found["considered"]]
        screen.table([Column("FILE"), Column("", least=20)], rows, indent="  ")
    if found["requirements"]:
        screen.print()
        needs: list[list[Cell]] = [
            [visible(each["text"]), (_place(each["file"], each["line"]), "dim")] for each in found["requirements"]
        ]
        screen.table([Column("NEEDS", least=20), Column("FROM")], needs, indent="  ")
    if found["digest"]:
        screen.print()
        _say_state(screen, found["environment"], found["digest"], invocation.command(f"env build {flow}", root))
    return 0


def _place(file: str, line: int | None) -> str:
    return file if line is None else f"{file}:{line}"


def _say_state(screen: Screen, environment: dict[str, Any] | None, digest: str, build: str) -> None:
    short = digest[:_SHORT]
    if environment is None:
        screen.print(f"  Environment {short} is not built yet. Running the flow builds it, or: {build}")
        return
    state = screen.paint(environment["state"], _LOOKS[environment["state"]])
    about = ""
    if environment["packages"]:
        about = f": Python {environment['python']}, {words.count(len(environment['packages']), 'package')}"
        about += f", {words.size(environment['size'] or 0)}"
    if environment["progress"]:
        about = f": {visible(environment['progress']['message'])}"
    screen.print(f"  Environment {short} is {state}{about}")
    _say_error(screen, environment["error"])


def _say_error(screen: Screen, error: dict[str, Any] | None) -> None:
    if error is None:
        return
    screen.print(f"  {screen.glyph('problem')} {visible(error['message'])}")
    for line in where_and_hint(screen, {**error["detail"], "hint": error["hint"]}):
        screen.print(f"    {line}")


@app.command(name="build")
def build(flow: Annotated[str, Parameter(completer=flow_names)], /, *, json: bool = False, invocation: Call) -> int:
    """Build what a flow runs in, where it is not there, and wait for it. What could not be built before is tried again.

    Parameters
    ----------
    flow
        The flow's name: that of its module, without .py.
    json
        Print {"python": ..., "digest": ...}.
    """
    from flowstead.cli.preparing import prepare

    root = invocation.root()
    with invocation.client(root, f"env build {flow}", wait=False) as client:
        ready = prepare(client, flow, quiet=json)
    if json:
        print(jsonlib.dumps(ready, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if ready["digest"] is None:
        screen.print(f"{flow} asks for no environment of its own: it runs with {ready['python']}.")
    else:
        screen.print(f"{screen.glyph('ok')} {flow} runs with {ready['python']}.")
    return 0


@app.command(name="list")
def list_environments(*, json: bool = False, invocation: Call) -> int:
    """List the environments of this machine, the last used first, also what is being built and what could not be.

    Parameters
    ----------
    json
        Print {"folder": ..., "size": ..., "environments": [...]}.
    """
    with _machine() as machine:
        found = machine.environments()
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    environments = found["environments"]
    if not environments:
        screen.print("No environments yet: they are built for flows that say what they need.")
        return 0
    heads = [Column("DIGEST"), Column("STATE"), Column("PYTHON"), Column("SIZE", right=True), Column("USED")]
    heads += [Column("HOLDS", least=20)]
    rows: list[list[Cell]] = []
    for each in environments:
        state = each["state"] + (", pinned" if each["pinned"] else "") + (", in use" if each["in_use"] else "")
        size = words.size(each["size"]) if each["size"] is not None else ""
        row: list[Cell] = [each["digest"][:_SHORT], (state, _LOOKS[each["state"]]), each["python"] or "", size]
        rows.append([*row, words.ago(each["last_used"]), _holds(each)])
    screen.table(heads, rows)
    for each in environments:
        if each["error"]:
            screen.print()
            screen.print(f"{each['digest'][:_SHORT]}")
            _say_error(screen, each["error"])
    screen.print()
    total = words.size(found["size"])
    screen.print(screen.paint(f"{words.count(len(environments), 'environment')}, {total} in {found['folder']}", "dim"))
    return 0


def _holds(environment: dict[str, Any]) -> Cell:
    if environment["progress"]:
        return visible(environment["progress"]["message"]), "blue"
    if environment["packages"]:
        return ", ".join(f"{each['name']} {each['version']}" for each in environment["packages"])
    asked = environment["manifest"].get("requirements", [])
    return ", ".join(visible(each[0]) for each in asked), "dim"


@app.command(name="pin")
def pin(digest: str, /, *, off: bool = False, json: bool = False, invocation: Call) -> int:
    """Keep an environment from being tidied away.

    Parameters
    ----------
    digest
        The environment's digest, or the beginning of it.
    off
        Let it be tidied away again.
    json
        Print the environment.
    """
    with _machine() as machine:
        found = machine.pin_environment(digest, pinned=not off)
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        print(f"Environment {found['digest'][:_SHORT]} is {'kept' if found['pinned'] else 'no longer kept'} for good.")
    return 0


@app.command(name="remove")
def remove(digest: str, /, *, json: bool = False, invocation: Call) -> int:
    """Delete an environment, or forget a failure. One in use is not deleted.

    Parameters
    ----------
    digest
        The environment's digest, or the beginning of it.
    json
        Print {"removed": ...}.
    """
    with _machine() as machine:
        removed = machine.remove_environment(digest)
    if json:
        print(jsonlib.dumps({"removed": removed}, indent=2))
    else:
        print(f"Environment {removed[:_SHORT]} is removed.")
    return 0


@app.command(name="gc")
def collect(*, dry_run: bool = False, json: bool = False, invocation: Call) -> int:
    """Tidy away environments that nothing has used for long, or that take too much space.

    What is in use, lent, being built, pinned or young stays. The daemon does this by itself; the settings
    environment_days, environment_disk_mb and environment_grace say when.

    Parameters
    ----------
    dry_run
        Say what would go, and let nothing go.
    json
        Print {"dry_run": ..., "collected": [...]}.
    """
    with _machine() as machine:
        collected = machine.collect_environments(dry_run=dry_run)
    if json:
        print(jsonlib.dumps({"dry_run": dry_run, "collected": collected}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if not collected:
        screen.print("Nothing to tidy away.")
        return 0
    rows: list[list[Cell]] = [
        [each["digest"][:_SHORT], each["step"], words.size(each["size"]) if each["size"] else "", (each["why"], "dim")]
        for each in collected
    ]
    screen.table([Column("DIGEST"), Column("STEP"), Column("FREED", right=True), Column("WHY", least=20)], rows)
    if any(each["step"] == "cold" for each in collected):
        screen.print(
            screen.paint("What is cold is deleted later (environment_grace), unless a flow asks for it.", "dim")
        )
    if dry_run:
        screen.print(screen.paint("Nothing was touched: this was a dry run.", "dim"))
    return 0


def _machine() -> MachineClient:
    """The environments of this machine, by way of the daemon where one runs."""
    from flowstead.client.finding import find_daemon, transport_to
    from flowstead.client.machine_client import MachineClient

    info = find_daemon(home())
    if info is not None:
        return MachineClient(transport_to(info, home()))
    from flowstead.daemon.embedded import embedded_machine

    return MachineClient(embedded_machine(command="flowstead env"))
