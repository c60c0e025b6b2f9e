"""Requests about the workspace itself: whether it is well, who owns it, and how it changes hands."""

from __future__ import annotations

from typing import Any

from flowstead.daemon.doctor import diagnose
from flowstead.daemon.routes.route import Route
from flowstead.daemon.standing import standing_as_dict
from flowstead.daemon.workspace_host import WorkspaceHost


def show_standing(host: WorkspaceHost) -> dict[str, Any]:
    """Who owns the workspace as seen from this machine, how fresh that is, and what can be done about it."""
    return standing_as_dict(host)


def request_control(host: WorkspaceHost) -> dict[str, Any]:
    """Asks the owner to hand the workspace over; a daemon takes it as soon as it is free."""
    host.request_control()
    return standing_as_dict(host)


def withdraw_request(host: WorkspaceHost) -> dict[str, Any]:
    """Takes back what request_control asked for."""
    host.withdraw_request()
    return standing_as_dict(host)


def release(host: WorkspaceHost) -> dict[str, Any]:
    """Gives the workspace free once running work is done, at the latest when the grace is over."""
    host.hand_over()
    return standing_as_dict(host)


def take_over(host: WorkspaceHost, *, force: bool = False) -> dict[str, Any]:
    """Takes the workspace from an owner that has shown no sign of life for long enough. Raises WorkspaceOwned.

    With `force` also past a claim file that is damaged.
    """
    host.take_over(force=force)
    return standing_as_dict(host)


ROUTES = (
    Route("GET", "/standing", show_standing),
    Route("POST", "/request-control", request_control),
    Route("POST", "/withdraw-request", withdraw_request),
    Route("POST", "/release", release),
    Route("POST", "/takeover", take_over),
    Route("GET", "/doctor", diagnose),
)
