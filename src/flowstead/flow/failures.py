"""What went wrong in an author's code: a coded record with the author's own file and line."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from flowstead.flow.errors import FlowDefinitionError, StepFailure

_IMPORTS = {
    "pl": "import polars as pl",
    "pd": "import pandas as pd",
    "np": "import numpy as np",
    "plt": "import matplotlib.pyplot as plt",
    "duckdb": "import duckdb",
    "Path": "from pathlib import Path",
    "datetime": "from datetime import datetime",
}


def describe_failure(error: BaseException, folder: Path | None, *, code: str = "step-failed") -> dict[str, Any]:
    """`{code, type, message, file, line, source, hint, traceback}` of an exception.

    `file` and `line` are those of the deepest frame below `folder` (the workspace), the file relative to it; `code`
    is used for errors that carry none of their own.
    """
    cause = error.__cause__ if isinstance(error, StepFailure) and error.__cause__ is not None else error
    file, line, source = _place(cause, folder)
    own_code = getattr(error, "code", None) if isinstance(error, (StepFailure, FlowDefinitionError)) else None
    if isinstance(cause, MemoryError):
        code = "step-memory"
    elif isinstance(error, SystemExit):
        code = "step-exited"
    return {
        "code": own_code or code,
        "type": type(cause).__name__,
        "message": _message(error),
        "file": file,
        "line": line,
        "source": source,
        "hint": _hint(error, cause),
        "traceback": _traceback(cause),
    }


def _message(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"The step called sys.exit({error.code!r})."
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be read)"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text[:4000] or type(error).__name__


def _place(error: BaseException, folder: Path | None) -> tuple[str | None, int | None, str | None]:
    root = None if folder is None else str(folder)
    if isinstance(error, SyntaxError) and error.filename:
        return _relative(error.filename, root), error.lineno, (error.text or "").strip() or None
    found: tuple[str | None, int | None, str | None] = (None, None, None)
    for frame in traceback.extract_tb(error.__traceback__):
        if root is not None and frame.filename.startswith(root):
            found = (_relative(frame.filename, root), frame.lineno, (frame.line or "").strip() or None)
    return found


def _relative(filename: str, root: str | None) -> str:
    if root is None or not filename.startswith(root):
        return filename
    return filename[len(root) :].lstrip("/\\").replace("\\", "/")


def _hint(error: BaseException, cause: BaseException) -> str:
    own = getattr(error, "hint", "")
    if isinstance(own, str) and own and isinstance(error, (StepFailure, FlowDefinitionError)):
        return own
    if isinstance(cause, NameError) and cause.name:
        known = _IMPORTS.get(cause.name)
        return f'Add "{known}".' if known else f"Define {cause.name} before it is used, or import it."
    if isinstance(cause, ModuleNotFoundError) and cause.name:
        return f"Install {cause.name.partition('.')[0]} in the environment that runs this flow."
    if isinstance(cause, MemoryError):
        return "Work on smaller pieces (scan instead of read, or a map over files), or raise worker_memory_mb."
    if isinstance(error, SystemExit):
        return "Return from the step, or raise an exception that says what is wrong."
    return ""


def _traceback(error: BaseException) -> str:
    """The traceback from the author's code on; frames of this package that merely called it are left out."""
    start: TracebackType | None = error.__traceback__
    while start is not None and _ours(start.tb_frame.f_code.co_filename):
        start = start.tb_next
    lines = traceback.format_exception(type(error), error, start or error.__traceback__, limit=40)
    return "".join(lines).encode("utf-8", "backslashreplace").decode()[:20_000]


_PACKAGE = str(Path(__file__).parent.parent)


def _ours(filename: str) -> bool:
    return filename.startswith((_PACKAGE, "<frozen importlib"))
