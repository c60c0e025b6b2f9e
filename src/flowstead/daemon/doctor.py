"""What can be wrong with this machine and this workspace: each looked at, and said in a sentence with what to do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flowstead.daemon.standing import gap_in_words
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.following import gaps_of
from flowstead.model.errors import FlowsteadError
from flowstead.workspace.layout import home

LOW_ON_SPACE = 1 << 30
OUT_OF_SPACE = 100 << 20


class Finding(NamedTuple):
    """One thing that was looked at; `status` is `ok`, `warning` or `problem`."""

    name: str
    status: str
    message: str
    hint: str = ""


def diagnose(host: WorkspaceHost) -> dict[str, Any]:
    """Looks at everything that can keep flows from running; what cannot be looked at is a problem by itself."""
    found: list[Finding] = []
    for name, look in _LOOKS:
        try:
            found += look(host)
        except FlowsteadError as error:
            found.append(Finding(name, "problem", error.message, error.hint))
        except Exception as error:
            found.append(Finding(name, "problem", f"This could not be looked at: {type(error).__name__}: {error}."))
    # One cause may keep several looks from being taken; it is told once.
    return {"checks": [finding._asdict() for finding in {each[1:]: each for each in reversed(found)}.values()][::-1]}


def _programs(host: WorkspaceHost) -> Iterator[Finding]:
    from flowstead.version import __version__

    yield Finding(
        "programs", "ok", f"Flowstead {__version__} on Python {platform.python_version()} ({sys.executable})."
    )
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        hint = "Only needed for flows with an environment of their own: install it with: pip install uv"
        yield Finding("uv", "warning", "uv is not installed.", hint)
    else:
        import subprocess

        answer = subprocess.run([uv, "--version"], capture_output=True, text=True, timeout=10, check=False)
        version = " ".join(answer.stdout.split()[:2]) or "uv, of unknown version"
        yield Finding("uv", "ok", f"{version} ({uv}).")


def _home(host: WorkspaceHost) -> Iterator[Finding]:
    folder = home()
    host.layout.prepare()
    probe = host.layout.local / f".probe-{os.getpid()}"
    try:
        with probe.open("wb") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        hint = "Free some space there, or set FLOWSTEAD_HOME to a folder you can write to."
        yield Finding("home", "problem", f"{folder} cannot be written: {error.strerror or error}.", hint)
    else:
        yield Finding("home", "ok", f"The home folder {folder} can be written.")
    finally:
        probe.unlink(missing_ok=True)


def _space(host: WorkspaceHost) -> Iterator[Finding]:
    for name, folder in (("home", _existing(home())), ("workspace", host.layout.root)):
        free = shutil.disk_usage(folder).free
        message = f"{free / 1e9:,.1f} GB are free on the disk of the {name} ({folder})."
        status = "problem" if free < OUT_OF_SPACE else "warning" if free < LOW_ON_SPACE else "ok"
        hint = "" if status == "ok" else "Free some space before flows fail for want of it."
        yield Finding("space", status, message, hint)


def _existing(folder: Path) -> Path:
    return next((each for each in (folder, *folder.parents) if each.exists()), folder)


def _settings(host: WorkspaceHost) -> Iterator[Finding]:
    settings = host.settings
    path = home() / "settings.toml"
    message = f"{path} is sound." if path.exists() else f"There is no {path}: every setting has its default."
    yield Finding("settings", "ok", f"{message} Up to {settings.slots} workers run at once.")


def _trust(host: WorkspaceHost) -> Iterator[Finding]:
    from flowstead.workspace.trust import require_trust, writable_by_others

    reason = writable_by_others(host.layout)
    require_trust(host.layout)
    if reason is None:
        yield Finding("trust", "ok", f"Only you can change the flows of {host.layout.root}.")
    else:
        yield Finding("trust", "ok", f"You trust this workspace, whose flows others can change: {reason}.")


def _ledger(host: WorkspaceHost) -> Iterator[Finding]:
    path = host.layout.ledger
    if not path.exists():
        yield Finding("ledger", "ok", "Nothing has run here yet: the ledger begins with the first run.")
        return
    version = host.reader.rows("PRAGMA user_version")[0][0]
    answers = [row[0] for row in host.reader.rows("PRAGMA quick_check(3)")]
    if answers != ["ok"]:
        hint = f"Move {path} away (keep it); a new one is begun at the next run."
        yield Finding("ledger", "problem", f"The ledger is damaged: {'; '.join(map(str, answers))}.", hint)
        return
    ((runs,),) = host.reader.rows("SELECT count(*) FROM runs")
    megabytes = path.stat().st_size / 1e6
    yield Finding("ledger", "ok", f"The ledger is sound: {runs:,} runs, {megabytes:,.1f} MB, schema {version}.")
    interrupted = len(host.reader.open_runs())
    if interrupted:
        was = "1 run was" if interrupted == 1 else f"{interrupted:,} runs were"
        yield Finding("runs", "warning", f"{was} interrupted and can go on.", "Go on with: flowstead resume")


def _holder(host: WorkspaceHost) -> Iterator[Finding]:
    holder = host.holder
    if holder is None:
        yield Finding("lock", "ok", "No process runs this workspace now.")
        return
    if "pid" not in holder:
        yield Finding("lock", "ok", "Another process runs this workspace now.")
        return
    minutes = max(0, int(time.time() - holder["since"])) // 60
    message = f"Process {holder['pid']} ({holder['command']}) has run this workspace for {minutes} min."
    if _is_stopped(holder["pid"]):
        hint = f"Let it go on with: kill -CONT {holder['pid']}, or end it with: kill {holder['pid']}"
        yield Finding("lock", "problem", f"{message} It is suspended, and holds everything up.", hint)
    else:
        yield Finding("lock", "ok", message)


def _ownership(host: WorkspaceHost) -> Iterator[Finding]:
    standing = host.standing
    match standing.state:
        case "mine" if host.holder is None:
            message = f"The process of this machine that owned it (pid {standing.pid}) is gone without releasing it."
            yield Finding("owner", "ok", f"{message} The next run here goes on from there.")
        case "stale":
            hint = "Take it over by running a flow, or with: flowstead workspace takeover"
            yield Finding("owner", "warning", standing.reason, hint)
        case "damaged":
            hint = "If no other machine runs this workspace: flowstead workspace takeover --force"
            yield Finding("owner", "problem", standing.reason, hint)
        case _:
            yield Finding("owner", "ok", standing.reason)
    if standing.request is not None:
        yield Finding("owner", "ok", f"{standing.request.host} asks for the workspace.")
    for gap in gaps_of(host.reader):
        hint = "It is taken in once it appears. If it never does, what it told of is only in that machine's own ledger."
        yield Finding("published", "warning", gap_in_words(gap), hint)


def _is_stopped(pid: int) -> bool:
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def _flows(host: WorkspaceHost) -> Iterator[Finding]:
    entries = host.catalog.entries()
    broken = [entry.name for entry in entries if entry.status == "broken"]
    sound = len(entries) - len(broken)
    yield Finding("flows", "ok", f"{sound:,} {'flow is' if sound == 1 else 'flows are'} sound.")
    if broken:
        what = "1 flow is" if len(broken) == 1 else f"{len(broken):,} flows are"
        names = ", ".join(broken[:5]) + (", ..." if len(broken) > 5 else "")
        yield Finding("flows", "problem", f"{what} broken: {names}.", "See why with: flowstead check")


_LOOKS: tuple[tuple[str, Callable[[WorkspaceHost], Iterator[Finding]]], ...] = (
    ("programs", _programs),
    ("home", _home),
    ("space", _space),
    ("settings", _settings),
    ("trust", _trust),
    ("ledger", _ledger),
    ("lock", _holder),
    ("owner", _ownership),
    ("flows", _flows),
)
