"""What went wrong in an author's code: a coded record with the author's own file and line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

from flowstead.flow.errors import CodedError, StepFailure
from flowstead.flow.hints import hint_for

_PACKAGE = str(Path(__file__).parent.parent)
_HELPERS = re.compile(r"flow_helpers_[0-9a-f]{12}\b")


def describe_failure(error: BaseException, root: Path | None, *, code: str = "step-failed") -> dict[str, Any]:
    """`{code, type, message, file, line, source, cell?, hint, traceback}` of an exception.

    `file` and `line` are those of the deepest frame below `root` (the workspace), the file relative to it; `cell` is
    given for a notebook; `code` is used for errors that carry none of their own.
    """
    cause = error.__cause__ if isinstance(error, StepFailure) and error.__cause__ is not None else error
    file, line, source = _place(cause, root)
    file, _, cell = (file or "").partition("#cell-")
    found = {
        "code": _code(error, cause, code),
        "type": type(cause).__name__,
        "message": _plain(_message(error))[:4000],
        "file": file or None,
        "line": line,
        "source": source,
        "hint": _hint(error, cause, root),
        "traceback": _plain(_traceback(cause))[:20_000],
    }
    if cell:
        found["cell"] = int(cell)
    return found


def _code(error: BaseException, cause: BaseException, otherwise: str) -> str:
    if isinstance(error, CodedError):
        return error.code
    if isinstance(cause, MemoryError):
        return "step-memory"
    return "step-exited" if isinstance(error, SystemExit) else otherwise


def _message(error: BaseException) -> str:
    if isinstance(error, CodedError):
        return error.message
    if isinstance(error, SystemExit):
        return f"The step called sys.exit({error.code!r})."
    try:
        return str(error) or type(error).__name__
    except Exception:
        return f"{type(error).__name__} (its message cannot be read)"


def _plain(text: str) -> str:
    # Helpers are imported under a name of their workspace, which authors have never seen; and what half of a
    # surrogate pair stands for can be put into no file.
    return _HELPERS.sub("flow_helpers", text).encode("utf-8", "backslashreplace").decode()


def _hint(error: BaseException, cause: BaseException, root: Path | None) -> str:
    if isinstance(cause, MemoryError):
        return "Work on smaller pieces (scan instead of read, or map over files), or raise worker_memory_mb."
    own = hint_for(cause, root or Path.cwd())
    return own or (error.hint if isinstance(error, CodedError) else "")


def _place(error: BaseException, root: Path | None) -> tuple[str | None, int | None, str | None]:
    if root is None:
        return None, None, None
    folder = str(root)
    if isinstance(error, SyntaxError) and error.filename and error.filename.startswith(folder):
        return _relative(error.filename, folder), error.lineno, (error.text or "").strip() or None
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(folder):
            return _relative(frame.filename, folder), frame.lineno, (frame.line or "").strip() or None
    return None, None, None


def _relative(filename: str, folder: str) -> str:
    return filename[len(folder) :].lstrip("/\\").replace("\\", "/")


def _traceback(error: BaseException) -> str:
    """The traceback from the author's code on; frames of this package that merely called it are left out."""
    start: TracebackType | None = error.__traceback__
    while start is not None and start.tb_frame.f_code.co_filename.startswith((_PACKAGE, "<frozen importlib")):
        start = start.tb_next
    try:
        return "".join(traceback.format_exception(type(error), error, start or error.__traceback__, limit=40))
    except Exception:
        return ""
