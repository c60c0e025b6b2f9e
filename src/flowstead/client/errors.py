"""What went wrong in the daemon, raised again on this side."""

from __future__ import annotations

import orjson

from flowstead.model import errors
from flowstead.model.errors import FlowsteadError


def error_from(data: bytes, class_name: str | None) -> FlowsteadError:
    """The error that an answer brings as JSON, of the class that was raised in the daemon."""
    try:
        content = orjson.loads(data)
        code, message, hint, detail = (content[name] for name in ("code", "message", "hint", "detail"))
    except (ValueError, LookupError, TypeError):
        text = data[:200].decode("utf-8", "replace").strip()
        return FlowsteadError(
            f"What answers there is not Flowstead's daemon: {text or 'it says nothing'}.", code="answer-not-understood"
        )
    kind = getattr(errors, class_name or "", FlowsteadError)
    if not (isinstance(kind, type) and issubclass(kind, FlowsteadError)):
        kind = FlowsteadError
    error = kind(message, hint=hint, code=code)
    error.detail = detail
    return error
