"""What a route is: one request, as a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

SECONDS_BETWEEN_HEARTBEATS = 0.25
"""A stream gives None at least that often while nothing happens."""

Handler = Callable[..., Any]


class Receiver(Protocol):
    """What takes in a body that is bytes: `write` for each piece, then `finish`, or `abort` when it breaks off."""

    def write(self, data: bytes) -> None: ...

    def finish(self) -> dict[str, Any]: ...

    def abort(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Route:
    """`path` with `{name}` for a value; `streams` when the answer is an iterator of JSON objects.

    One that `receives` has a file as its body: its fields come from the query, and its handler gives a Receiver, whose
    `finish` gives the answer.

    The handler takes what it works on (a WorkspaceHost, or the Machine), the values in the path, and the request's
    fields as keywords: query parameters of a GET, the JSON body's of anything else. What it returns goes out as JSON.
    """

    method: str
    path: str
    handler: Handler
    streams: bool = False
    receives: bool = False
