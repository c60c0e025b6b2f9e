"""What went wrong."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict


class Error(TypedDict):
    """What went wrong: `code` is stable, `message` a sentence, `hint` what to do next, `detail` facts."""

    code: str
    message: str
    hint: str
    detail: dict[str, Any]


class Failure(TypedDict):
    """What went wrong in a flow, and where in its text."""

    code: str
    message: str
    type: NotRequired[str | None]
    file: NotRequired[str | None]
    line: NotRequired[int | None]
    source: NotRequired[str | None]
    words: NotRequired[str]
    hint: NotRequired[str]
    traceback: NotRequired[str | None]
    step: NotRequired[str]
