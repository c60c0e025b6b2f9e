"""Requests about this machine: whether the daemon is well, and which workspaces there are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flowstead.daemon.killing import kill_workspace
from flowstead.daemon.machine import Machine
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import TransitionRefused, UsageError
from flowstead.model.run import iso
from flowstead.version import __version__
from flowstead.workspace import known
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.provision import provision


def health(machine: Machine) -> dict[str, Any]:
    """Who answers, since when, and what it has open."""
    return {
        "status": "ok",
        "version": __version__,
        "pid": os.getpid(),
        "started_at": iso(int(machine.started * 1_000_000)),
        "workspaces": [host.layout.key for host in machine.hosts],
    }


def list_workspaces(machine: Machine) -> dict[str, Any]:
    """Every workspace that this machine knows, by path; `open` tells whether it is served now."""
    hosts = {host.layout.root: host for host in machine.hosts}
    selected = known.selected_workspace()
    rows: list[dict[str, Any]] = []
    for root in sorted({*known.known_workspaces(), *hosts}):
        host = hosts.get(root)
        rows.append({**_workspace(WorkspaceLayout.of(root), host), "selected": root == selected})
    return {"workspaces": rows, "collection_roots": [str(path) for path in known.collection_roots()]}


def open_workspace(machine: Machine, *, path: str) -> dict[str, Any]:
    """Opens the workspace at `path` (absolute) and remembers it. Raises WorkspaceNotFound."""
    host = machine.open(Path(path))
    known.remember_workspace(host.layout.root)
    return _workspace(host.layout, host)


def create_workspace(machine: Machine, *, path: str) -> dict[str, Any]:
    """Makes the folder `path` (absolute, or from `~`) a workspace, where it is none yet, and opens it.

    Only adds what is missing: files that exist stay as they are. Raises UsageError and StorageError.
    """
    root = _folder(path)
    provision(root)
    return open_workspace(machine, path=str(root))


def create_demo(machine: Machine, *, path: str) -> dict[str, Any]:
    """Lays the demo out in the folder `path` (absolute, or from `~`), and opens its workspace.

    One that is there already is left as it is. Raises UsageError and StorageError.
    """
    from flowstead.demo import create_demo

    return open_workspace(machine, path=str(create_demo(_folder(path), restore=False).workspace))


def close_workspace(machine: Machine, workspace: str) -> dict[str, Any]:
    """Closes an open workspace: what is under way in it becomes interrupted."""
    machine.close_workspace(workspace)
    return {"closed": workspace}


def stop(machine: Machine) -> dict[str, Any]:
    """Ends the daemon: runs under way have the grace time to end, then they are interrupted.

    Raises TransitionRefused when it is no daemon that answers.
    """
    if machine.on_stop is None:
        raise TransitionRefused("This process is not a daemon.")
    machine.on_stop()
    return {"stopping": os.getpid()}


def _folder(path: str) -> Path:
    try:
        folder = Path(path.strip()).expanduser()
    except RuntimeError:
        folder = Path(path)
    if not folder.is_absolute():
        raise UsageError(f"{path!r} is not a whole path.", hint="Give it from the root, or from ~, your own folder.")
    return folder


def _workspace(layout: WorkspaceLayout, host: WorkspaceHost | None) -> dict[str, Any]:
    engine = None if host is None else host.open_engine
    return {
        "workspace": layout.key,
        "name": layout.workspace_id,
        "path": str(layout.root),
        "open": host is not None,
        "state": "closed" if host is None else host.seen_state,
        "automated": host is not None and host.is_automated,
        "active": 0 if engine is None else len(engine.dispatcher.active),
    }


ROUTES = (
    Route("GET", "/health", health),
    Route("GET", "/workspaces", list_workspaces),
    Route("POST", "/workspaces", open_workspace),
    Route("POST", "/workspaces/create", create_workspace),
    Route("POST", "/workspaces/demo", create_demo),
    Route("POST", "/workspaces/{workspace}/close", close_workspace),
    Route("POST", "/workspaces/{workspace}/kill", kill_workspace),
    Route("POST", "/daemon/stop", stop),
)
