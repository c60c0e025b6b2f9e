"""Every request there is, as a function: the same ones in-process and over HTTP.

Handlers of workspace_routes() take a WorkspaceHost, and are below `/workspaces/{workspace}` over HTTP; those of
machine_routes() take the Machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from flowstead.daemon.routes.route import Route
from flowstead.model.errors import NotFound

OF_MACHINE = ("machine", "environments", "pool", "guides", "settings")
OF_WORKSPACES = (
    "overview",
    "flows",
    "flow_details",
    "flow_environment",
    "runs",
    "run_details",
    "logs",
    "events",
    "files",
    "uploads",
    "authoring",
    "engine",
    "workspace",
)

__all__ = ["OF_MACHINE", "OF_WORKSPACES", "Route", "find", "machine_routes", "workspace_routes"]


def workspace_routes() -> tuple[Route, ...]:
    return tuple(route for name in OF_WORKSPACES for route in _routes_in(name))


def machine_routes() -> tuple[Route, ...]:
    return tuple(route for name in OF_MACHINE for route in _routes_in(name))


def _routes_in(name: str) -> tuple[Route, ...]:
    return import_module(f"flowstead.daemon.routes.{name}").ROUTES


def find(method: str, path: str, among: Sequence[str] = OF_WORKSPACES) -> tuple[Route, dict[str, str]]:
    """The route of a request, a workspace's or one `among` others, and the values in its path. Raises NotFound."""
    parts = path.strip("/").split("/")
    # A command asks for one thing, and need not load what answers the others.
    for name in sorted(among, key=lambda name: name != parts[0]):
        for route in _routes_in(name):
            values = _match(route, method, parts)
            if values is not None:
                return route, values
    raise NotFound(f"There is no {method} {path}.", code="route-not-found")


def _match(route: Route, method: str, parts: list[str]) -> dict[str, str] | None:
    """The values in the path, if the route is the one that was asked for."""
    pattern = route.path.strip("/").split("/")
    if route.method != method or len(pattern) != len(parts):
        return None
    values: dict[str, str] = {}
    for expected, given in zip(pattern, parts, strict=True):
        if expected.startswith("{"):
            values[expected[1:-1]] = given
        elif expected != given:
            return None
    return values
