"""Requests about what a workspace does by itself: start it, stop it, and how it stands."""

from __future__ import annotations

from typing import Any

from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost


def engine_status(host: WorkspaceHost) -> dict[str, Any]:
    """Whether flows start by themselves here, and how each of them stands. `holder` is who has the workspace open."""
    return {**host.automation_status(), "holder": host.holder}


def start_engine(host: WorkspaceHost) -> dict[str, Any]:
    """Lets flows start by themselves, when files arrive or their time has come; returns the status.

    Raises WorkspaceOwned, WorkspaceBusy, WorkspaceUntrusted.
    """
    host.automate()
    return engine_status(host)


def stop_engine(host: WorkspaceHost) -> dict[str, Any]:
    """Lets nothing start by itself any more. What has started goes on; what waits stays queued. Returns the status.

    Raises TransitionRefused when it is another process that lets flows start.
    """
    host.stop_automation()
    return engine_status(host)


ROUTES = (
    Route("GET", "/engine", engine_status),
    Route("POST", "/engine/start", start_engine),
    Route("POST", "/engine/stop", stop_engine),
)
