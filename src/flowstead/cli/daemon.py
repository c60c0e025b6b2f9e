"""`flowstead daemon`: the process that stays, serves the API, and runs what is due."""

from __future__ import annotations

import json as jsonlib
import os
import sys
import time
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import App, Group, Parameter

from flowstead.cli import words
from flowstead.cli.invocation import Call
from flowstead.cli.screen import Cell, Column, Screen
from flowstead.client.finding import DaemonInfo, daemon_pid, find_daemon, ping
from flowstead.model.errors import DaemonUnreachable, FlowsteadError
from flowstead.model.home import home
from flowstead.version import __version__

SECONDS_BEYOND_GRACE = 15.0
SECONDS_BEFORE_FORCE = 3.0

app = App(
    name="daemon",
    help="The process that stays: it serves the API, and runs what is due.",
    group_commands=Group("Commands"),
)


@app.command(name="start")
def start(*, json: bool = False, invocation: Call) -> int:
    """Start the daemon, as a process of its own.

    There is one for each FLOWSTEAD_HOME; exit code 4 when it runs already.

    Parameters
    ----------
    json
        Print {"daemon": {pid, version, socket, url, started_at}, "log": PATH}.
    """
    from flowstead.client.launching import start_daemon

    return _tell_started(start_daemon(home()), json=json)


def _tell_started(info: DaemonInfo, *, json: bool) -> int:
    log = home() / "daemon.log"
    if json:
        print(jsonlib.dumps({"daemon": info.as_dict(), "log": str(log)}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} The daemon serves {home()}.")
    _print_facts(screen, [("process", str(info.pid)), *_places(info), ("log", str(log))])
    return 0


@app.command(name="run")
def run(*, invocation: Call) -> int:
    """Be the daemon, in the foreground, until Ctrl-C.

    This is what start-up entries call.
    """
    command = [sys.executable, "-P", "-m", "flowstead.daemon"]
    if sys.platform != "win32":
        sys.stdout.flush()
        os.execv(sys.executable, command)
    import subprocess

    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue  # it was meant for the daemon too, which ends now


@app.command(name="stop")
def stop(*, json: bool = False, invocation: Call) -> int:
    """Stop the daemon.

    It starts nothing any more, gives runs under way some time to end (daemon_grace in the settings), interrupts what
    is left, and ends. Interrupted runs go on when it starts again.

    Parameters
    ----------
    json
        Print {"stopped": PID or null}.
    """
    pid = _stop()
    if json:
        print(jsonlib.dumps({"stopped": pid}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    said = f"No daemon served {home()}." if pid is None else f"The daemon (process {pid}) has ended."
    screen.print(f"{screen.glyph('ok')} {said}")
    return 0


def _stop() -> int | None:
    """Ends the daemon, and returns which process it was. Raises FlowsteadError (`daemon-still-running`)."""
    from flowstead.client.ending import ask_to_end, await_end
    from flowstead.model.settings import Settings

    folder = home()
    pid = daemon_pid(folder)
    if pid is None:
        return None
    seconds = Settings.load(folder).daemon_grace + SECONDS_BEYOND_GRACE
    ask_to_end(folder, pid)
    if not await_end(folder, pid, seconds):
        raise FlowsteadError(
            f"The daemon (process {pid}) was asked to end, and has not within {seconds:g} s.",
            code="daemon-still-running",
            hint="End it by force with: flowstead daemon kill",
            pid=pid,
        )
    return pid


@app.command(name="restart")
def restart(*, json: bool = False, invocation: Call) -> int:
    """Stop the daemon, if it runs, and start it.

    Parameters
    ----------
    json
        Print {"daemon": {pid, version, socket, url, started_at}, "log": PATH}.
    """
    from flowstead.client.launching import start_daemon

    _stop()
    return _tell_started(start_daemon(home()), json=json)


@app.command(name="ping")
def ping_daemon(*, timeout: float = 5.0, json: bool = False, invocation: Call) -> int:
    """Ask the daemon whether it is there.

    Exit code 1 when it does not answer.

    Parameters
    ----------
    timeout
        How many seconds it has to answer (5).
    json
        Print {"pid", "version", "milliseconds"}.
    """
    info = _found()
    begun = time.perf_counter()
    ping(info, home(), seconds=timeout)
    took = (time.perf_counter() - begun) * 1000
    if json:
        print(jsonlib.dumps({"pid": info.pid, "version": info.version, "milliseconds": round(took, 2)}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    screen.print(f"{screen.glyph('ok')} The daemon (process {info.pid}) answers, within {took:.1f} ms.")
    return 0


def _found() -> DaemonInfo:
    """The daemon of this home. Raises DaemonUnreachable."""
    info = find_daemon(home())
    if info is not None:
        return info
    pid = daemon_pid(home())
    if pid is None:
        raise DaemonUnreachable(f"No daemon serves {home()}.")
    raise DaemonUnreachable(
        f"The daemon (process {pid}) does not listen: it is starting, or ending.",
        hint="Try again in a moment; see what it does with: flowstead daemon logs",
        pid=pid,
    )


@app.command(name="status")
def status(*, json: bool = False, invocation: Call) -> int:
    """Show whether the daemon runs, where it listens, and which workspaces it has open.

    Exit code 3 when it does not run.

    Parameters
    ----------
    json
        Print {"running", "home", "daemon", "uptime", "memory_bytes", "workers_memory_bytes", "workspaces"}.
    """
    folder = home()
    screen = Screen(sys.stdout)
    if daemon_pid(folder) is None:
        if json:
            print(jsonlib.dumps({"running": False, "home": str(folder), "daemon": None}, indent=2))
        else:
            screen.print(f"{screen.glyph('cancelled')} No daemon serves {folder}.")
            screen.print(f"Start it with: {invocation.command('daemon start')}")
        return 3
    info = _found()
    ping(info, folder)
    from flowstead.client.finding import transport_to
    from flowstead.client.machine_client import MachineClient

    with MachineClient(transport_to(info, folder)) as machine:
        workspaces = [row for row in machine.workspaces()["workspaces"] if row["open"]]
    own, workers = _memory(info.pid)
    uptime = (datetime.now(UTC) - words.parsed(info.started_at)).total_seconds()
    if json:
        told = {
            "running": True,
            "home": str(folder),
            "daemon": info.as_dict(),
            "uptime": round(uptime, 3),
            "memory_bytes": own,
            "workers_memory_bytes": workers,
            "workspaces": workspaces,
        }
        print(jsonlib.dumps(told, indent=2))
        return 0
    screen.print(f"{screen.glyph('ok')} The daemon serves {folder}.")
    version = info.version
    if version != __version__:
        version += f" {screen.paint(f'(this command is {__version__}: restart the daemon)', 'amber')}"
    memory = words.size(own) + (f", and {words.size(workers)} in its workers" if workers else "")
    facts = [
        ("process", str(info.pid)),
        ("since", f"{words.moment(info.started_at)} ({words.duration(uptime * 1000)})"),
        ("version", version),
        ("memory", memory),
        *_places(info),
        ("log", str(folder / "daemon.log")),
    ]
    _print_facts(screen, facts)
    screen.print()
    if not workspaces:
        screen.print("No workspace is open.")
        return 0
    heads = [Column("WORKSPACE"), Column("STATE"), Column("PATH", least=12, from_left=True)]
    rows: list[list[Cell]] = [[row["name"], _state(row), row["path"]] for row in workspaces]
    screen.table(heads, rows)
    return 0


def _state(row: dict[str, Any]) -> str:
    """Who runs an open workspace, and what happens in it."""
    state: str = row["state"]
    state = {"mine": "yours", "owned": "watching"}.get(state, state)
    if row["automated"]:
        state += ", runs by itself"
    return state + (f", {words.count(row['active'], 'run')} under way" if row["active"] else "")


def _places(info: DaemonInfo) -> list[tuple[str, str]]:
    return [*([("socket", info.socket)] if info.socket else []), ("url", info.url)]


def _print_facts(screen: Screen, facts: list[tuple[str, str]]) -> None:
    for name, value in facts:
        screen.print(f"  {screen.paint(f'{name:<8}', 'dim')}  {value}")


def _memory(pid: int) -> tuple[int, int]:
    """Resident memory of a process, and of all that it has started, in bytes."""
    import psutil

    sizes: list[int] = []
    process = psutil.Process(pid)
    for each in [process, *process.children(recursive=True)]:
        try:
            sizes.append(each.memory_info().rss)
        except psutil.Error:
            sizes.append(0)  # it has just ended
    return sizes[0], sum(sizes[1:])


@app.command(name="kill")
def kill(*, json: bool = False, invocation: Call) -> int:
    """End the daemon by force, with all that it runs.

    It is asked first; after three seconds its processes are killed. Runs under way become interrupted, and go on when
    the daemon starts again.

    Parameters
    ----------
    json
        Print {"killed": PID or null, "processes": NUMBER}.
    """
    from flowstead.client.ending import kill_daemon

    folder = home()
    pid = daemon_pid(folder)
    killed = 0 if pid is None else kill_daemon(folder, pid, patience=SECONDS_BEFORE_FORCE)
    if json:
        print(jsonlib.dumps({"killed": pid, "processes": killed}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    said = f"No daemon served {folder}."
    if pid is not None:
        force = f"; {words.count(killed, 'process', 'processes')} had to be killed" if killed else ""
        said = f"The daemon (process {pid}) has ended{force}."
    screen.print(f"{screen.glyph('ok')} {said}")
    return 0


@app.command(name="logs")
def logs(
    *,
    follow: Annotated[bool, Parameter(["--follow", "-f"])] = False,
    lines: Annotated[int, Parameter(["--lines", "-n"])] = 50,
    json: bool = False,
    invocation: Call,
) -> int:
    """Print the daemon's log.

    Parameters
    ----------
    follow
        Go on with what is logged from now on, until Ctrl-C.
    lines
        How many of the last lines to print (50).
    json
        Print the lines as they are, one JSON object each.
    """
    from flowstead.cli.daemon_log import last_lines, new_lines, shown

    path = home() / "daemon.log"
    screen = Screen(sys.stdout)
    found, place = last_lines(path, lines)
    if not found and not follow:
        where = screen.paint(str(path), "cyan")
        print(f"Nothing was logged yet in {where}.", file=sys.stderr)
    for line in found:
        screen.stream.write((line if json else shown(screen, line)) + "\n")
    screen.stream.flush()
    if follow:
        for line in new_lines(path, place):
            screen.print(line if json else shown(screen, line))
    return 0


@app.command(name="install")
def install(*, print_: Annotated[bool, Parameter("--print")] = False, json: bool = False, invocation: Call) -> int:
    """Let the daemon start with your session: a systemd user unit, a launchd agent, or a start-up entry of Windows.

    Parameters
    ----------
    print_
        Print what would be written, and where, and change nothing.
    json
        Print {"path", "content", "next"}.
    """
    from flowstead.cli.startup_entry import StartupEntry

    entry = StartupEntry.of_this_machine(home())
    notes = [] if print_ else entry.install()
    if json:
        print(jsonlib.dumps({"path": str(entry.path), "content": entry.content, "next": notes}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    if print_:
        print(f"{screen.paint(f'# {entry.path}', 'dim')}\n{entry.content}", end="")
        return 0
    screen.print(f"{screen.glyph('ok')} The daemon starts with your session, by {entry.path}.")
    for note in notes:
        screen.print(f"  {note}")
    return 0


@app.command(name="uninstall")
def uninstall(*, json: bool = False, invocation: Call) -> int:
    """Undo install: the daemon no longer starts with your session. One that runs goes on.

    Parameters
    ----------
    json
        Print {"removed": PATH or null}.
    """
    from flowstead.cli.startup_entry import StartupEntry

    entry = StartupEntry.of_this_machine(home())
    removed: Any = str(entry.path) if entry.uninstall() else None
    if json:
        print(jsonlib.dumps({"removed": removed}, indent=2))
        return 0
    screen = Screen(sys.stdout)
    said = "There was none to remove." if removed is None else f"Removed {removed}."
    screen.print(f"{screen.glyph('ok')} {said}")
    return 0
