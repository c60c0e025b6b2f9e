"""What a route is: one request, as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS_BETWEEN_HEARTBEATS = 0.25
"""A stream gives None at least that often while nothing happens."""

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` with `{name}` for a value; `streams` when the answer is an iterator of JSON objects.

    The handler takes what it works on (a WorkspaceHost, or the Machine), the values in the path, and the request's
    fields as keywords: query parameters of a GET, the JSON body's of anything else. What it returns goes out as JSON.
    """

    method: str
    path: str
    handler: Handler
    streams: bool = False
