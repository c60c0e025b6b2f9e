"""JSON lines as the engine writes and reads them: frames to and from workers, and the logs of runs."""

from __future__ import annotations

from typing import Any, cast

import orjson


def encode(value: dict[str, Any]) -> bytes:
    """`value` as one line, with its end."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        from flowstead.worker.channel import encode as encode_anything

        # A number of more than 64 bits, or half of a surrogate pair: an author may keep these in metadata.
        return encode_anything(value).encode() + b"\n"


def decode(line: bytes) -> dict[str, Any]:
    """The frame that a line holds: an object with a `type`. Raises ValueError for anything else."""
    found: Any = orjson.loads(line)
    if not isinstance(found, dict) or "type" not in found:
        raise ValueError("a line holds no frame")
    return cast(dict[str, Any], found)
