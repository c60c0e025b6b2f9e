"""`flowstead pool`: environments that are ready to be taken."""

from __future__ import annotations

import json as jsonlib
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Group, Parameter

from flowstead.cli import words
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen, visible
from flowstead.model.errors import PoolRefused
from flowstead.model.home import home

if TYPE_CHECKING:
    from flowstead.client.machine_client import MachineClient

Kind = Literal["uv", "conda"]

SECONDS_BETWEEN_TRIES = 0.1

app = App(
    name="pool",
    help="Environments with a Jupyter kernel that are ready to be taken.",
    group_commands=Group("Commands"),
)


@app.command(name="status")
def status(*, json: bool = False, invocation: Call) -> int:
    """Show what is ready, what is lent and to whom, and what keeps it from being filled.

    Parameters
    ----------
    json
        Print {"kinds": [...], "members": [...]}.
    """
    with _machine() as machine:
        found = machine.pool_status()
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    heads = [Column("POOL"), Column("READY", right=True), Column("OF", right=True), Column("WARMING", right=True)]
    heads += [Column("LENT", right=True), Column("STATE", least=20)]
    rows: list[list[Cell]] = []
    for kind in found["kinds"]:
        counts = [str(kind[name]) for name in ("ready", "target", "warming", "lent")]
        rows.append([kind["kind"], *counts, _state(kind)])
    screen.table(heads, rows)
    for kind in found["kinds"]:
        if kind["error"] is not None:
            screen.print()
            about = f" ({kind['package']})" if kind["package"] else ""
            screen.print(f"{screen.glyph('problem')} {kind['kind']}{about}: {visible(kind['error']['message'])}")
            if kind["error"]["detail"].get("words"):
                for line in visible(kind["error"]["detail"]["words"]).splitlines()[-12:]:
                    screen.print(f"    {line}")
            if kind["error"]["hint"]:
                screen.print(f"    {screen.paint('hint:', 'bold')} {visible(kind['error']['hint'])}")
    lent = [each for each in found["members"] if each["holder"] is not None]
    if lent:
        screen.print()
        heads = [Column("LENT TO", right=True), Column("SINCE"), Column("PATH", least=20, from_left=True)]
        screen.table(heads, [[str(each["holder"]), words.ago(each["lent_at"]), each["path"]] for each in lent])
    return 0


def _state(kind: dict[str, Any]) -> Cell:
    if kind["off"]:
        return f"off: {kind['off']}", "dim"
    if kind["error"] is not None:
        again = "" if kind["retry_in"] is None else f", tried again in {words.duration(kind['retry_in'] * 1000)}"
        what = f"{kind['package']} cannot be installed" if kind["package"] else "something is wrong"
        served = "; served without the packages of the settings" if kind["base_only"] else ""
        return f"{what}{served}{again}", "amber"
    if kind["progress"] is not None:
        return f"building: {kind['progress']}", "blue"
    return ("warming", "blue") if kind["deficit"] or kind["warming"] else ("full", "green")


@app.command(name="ping")
def ping(*, json: bool = False, invocation: Call) -> int:
    """Ask whether somebody tends the pool.

    Exit code 1 when not.

    Parameters
    ----------
    json
        Print {"running", "pid", "milliseconds"}.
    """
    with _machine() as machine:
        machine.health()
        begun = time.perf_counter()
        found = machine.pool_ping()
        took = (time.perf_counter() - begun) * 1000
    if json:
        print(jsonlib.dumps({**found, "milliseconds": round(took, 2)}, indent=2))
    else:
        screen = Screen(sys.stdout)
        said = f"The pool is tended by the daemon (process {found['pid']}), which answers within {took:.1f} ms."
        if not found["running"]:
            said = f"The daemon (process {found['pid']}) does not tend the pool. See: flowstead daemon logs"
        screen.print(f"{screen.glyph('ok' if found['running'] else 'problem')} {said}")
    return 0 if found["running"] else 1


@app.command(name="take")
def take(
    kind: Kind,
    /,
    *,
    pid: int | None = None,
    wait: float = 120.0,
    json: bool = False,
    invocation: Call,
) -> int:
    """Take an environment; it is yours until you return it, or the process that holds it ends.

    Examples::

        flowstead pool take uv

    Parameters
    ----------
    kind
        uv or conda.
    pid
        The process that holds it; without it, the shell that called.
    wait
        How many seconds to wait while the first one is being built (120).
    json
        Print {"path", "python", "base_only", "holder", ...}.
    """
    holder = os.getppid() if pid is None else pid
    with _machine() as machine:
        member = _taken(machine, kind, holder, wait)
    if json:
        print(jsonlib.dumps(member, indent=2))
        return 0
    screen = Screen(sys.stdout)
    print(member["path"], flush=True)
    path = shlex.quote(member["path"])
    told = Screen(sys.stderr)
    if member["base_only"]:
        told.print(f"{told.glyph('warning')} The packages of the settings are missing in it: flowstead pool status")
    told.print(f"  run    {shlex.quote(member['python'])}")
    if kind == "uv" and sys.platform != "win32":
        told.print(f"  use    . {path}/bin/activate")
    told.print(f"  return {invocation.command(f'pool return {path}')}")
    told.print(f"  It is deleted when process {holder} ends.")
    screen.stream.flush()
    return 0


def _taken(machine: MachineClient, kind: str, holder: int, seconds: float) -> dict[str, Any]:
    """What is taken, waiting for the first one to be built. Raises as MachineClient.pool_take."""
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            return machine.pool_take(kind, holder)
        except PoolRefused as error:
            if error.code != "pool-warming" or time.monotonic() >= deadline:
                raise
        if not told:
            print(f"The first {kind} environment is being built; Ctrl-C stops waiting.", file=sys.stderr)
            told = True
        time.sleep(SECONDS_BETWEEN_TRIES)


@app.command(name="return")
def return_(
    path: Annotated[Path, Parameter(allow_leading_hyphen=True)], /, *, json: bool = False, invocation: Call
) -> int:
    """Give an unchanged environment back.

    One that was changed, that is not lent, or that is none of the pool is refused, and left as it is.

    Examples::

        flowstead pool return "$path"

    Parameters
    ----------
    path
        What take has printed.
    json
        Print {"state": "ready" | "leaving", ...}.
    """
    with _machine() as machine:
        # As it is spelled: a path with a link or `..` in it is not the one that was given out.
        member = machine.pool_return(os.path.join(os.getcwd(), path))
    if json:
        print(jsonlib.dumps(member, indent=2))
        return 0
    screen = Screen(sys.stdout)
    said = "is ready for the next one" if member["state"] == "ready" else "is deleted: as many as wanted are ready"
    screen.print(f"{screen.glyph('ok')} Returned; it {said}.")
    return 0


@app.command(name="flush")
def flush(kind: Kind | None = None, /, *, json: bool = False, invocation: Call) -> int:
    """Delete what is ready, and make it anew; also after a shutdown. What is lent stays with its holder.

    Parameters
    ----------
    kind
        uv or conda; without it, both.
    json
        Print {"cleared": NUMBER}.
    """
    with _machine() as machine:
        found = machine.pool_flush(kind)
    return _tell_cleared(found, "New ones are made.", json=json)


@app.command(name="shutdown")
def shutdown(kind: Kind | None = None, /, *, json: bool = False, invocation: Call) -> int:
    """Delete what is ready, and make no more until flush, or until the daemon starts again.

    What is lent stays with its holder.

    Parameters
    ----------
    kind
        uv or conda; without it, both.
    json
        Print {"cleared": NUMBER}.
    """
    with _machine() as machine:
        found = machine.pool_shutdown(kind)
    return _tell_cleared(found, "Begin again with: flowstead pool flush", json=json)


def _tell_cleared(found: dict[str, Any], then: str, *, json: bool) -> int:
    if json:
        print(jsonlib.dumps(found, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} {words.count(found['cleared'], 'environment')} deleted. {then}")
    return 0


def _machine() -> MachineClient:
    """The daemon, started when there is none. Raises what keeps it from starting."""
    from flowstead.client.finding import transport_to
    from flowstead.client.launching import running_daemon
    from flowstead.client.machine_client import MachineClient

    return MachineClient(transport_to(running_daemon(home()), home()))
