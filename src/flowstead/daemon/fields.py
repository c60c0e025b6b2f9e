"""What a route takes, read from its handler."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from flowstead.daemon.routes.route import Route


def signature_of(route: Route) -> tuple[list[str], dict[str, Any]]:
    """The names in a route's path, and its fields as pydantic takes them: `name -> (type, default)`."""
    handler = route.handler
    hints = typing.get_type_hints(handler, include_extras=True)
    parameters = list(inspect.signature(handler).parameters.values())[1:]
    values = [each.name for each in parameters if f"{{{each.name}}}" in route.path]
    fields = {
        each.name: (hints[each.name], ... if each.default is each.empty else each.default)
        for each in parameters
        if each.name not in values
    }
    return values, fields
