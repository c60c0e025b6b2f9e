"""What went wrong, as a person reads it or, with --json, as a program does. Never a bare traceback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from flowstead.cli.screen import Screen, one_line, visible
from flowstead.model.errors import FlowsteadError

MOST_WORDS = 16
"""Lines of what another tool said that are shown."""


def report(error: FlowsteadError, *, as_json: bool) -> int:
    """Prints `error` and returns its exit code: on stderr, or with `as_json` as an object on stdout."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}, indent=2, default=str))
        return error.exit_code
    screen = Screen(sys.stderr)
    head = screen.paint(f"error[{error.code}]:", "red")
    sys.stdout.flush()
    screen.print(f"{head} {visible(message_of({**error.detail, 'code': error.code, 'message': error.message}))}")
    for line in where_and_hint(screen, {**error.detail, "hint": error.hint}):
        screen.print(f"  {line}")
    return error.exit_code


def where_and_hint(screen: Screen, error: Mapping[str, Any]) -> Iterator[str]:
    """Lines that say in which file and line `error` came up, with that line, what a tool said of it, and what to do."""
    if error.get("file"):
        cell = f", cell {error['cell']}" if error.get("cell") else ""
        line = f":{error['line']}" if error.get("line") else ""
        yield screen.paint(f"{error['file']}{cell}{line}", "cyan")
        if error.get("source") and error.get("line"):
            number = screen.paint(f"{error['line']} {'│' if screen.unicode else '|'}", "dim")
            yield f"  {number} {one_line(error['source'])}"
    for line in visible(str(error.get("words") or "")).splitlines()[-MOST_WORDS:]:
        yield f"  {screen.paint(line, 'dim')}"
    if error.get("hint"):
        yield f"{screen.paint('hint:', 'bold')} {visible(error['hint'])}"


def message_of(error: Mapping[str, Any]) -> str:
    """The message of a run's or a module's error, with the kind of exception where an author's code raised it."""
    message = str(error["message"])
    kind = error.get("type")
    if not kind or error.get("code") not in ("step-failed", "module-error") or message.startswith(kind):
        return message
    return f"{kind}: {message}"


def unexpected(error: Exception) -> FlowsteadError:
    """A defect of Flowstead as a coded error; its traceback is kept in a file that the hint names.

    With FLOWSTEAD_DEBUG=1 it is raised as it is.
    """
    if os.environ.get("FLOWSTEAD_DEBUG") == "1":
        raise error
    import tempfile
    import traceback
    from datetime import UTC, datetime
    from pathlib import Path

    from flowstead.version import __version__
    from flowstead.workspace.layout import home

    text = f"flowstead {__version__}, Python {sys.version}, {sys.platform}\n{' '.join(sys.argv)}\n\n"
    text += "".join(traceback.format_exception(error))
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.getpid()}.txt"
    hint = "FLOWSTEAD_DEBUG=1 shows where it happened."
    for folder in (home() / "crashes", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, "utf-8", errors="backslashreplace")
        except OSError:
            continue
        hint = f"This is a defect of Flowstead. Where it happened is in {folder / name}; please report it with that."
        break
    message = f"{type(error).__name__}: {error}"
    return FlowsteadError(message, code="internal", hint=hint)


def interrupted() -> int:
    """Says that Ctrl-C ended the command; returns its exit code."""
    print("Interrupted.", file=sys.stderr)
    return 130


def broken_pipe() -> int:
    """Ends quietly when nobody reads stdout any more, as with `| head`; returns the exit code that shells expect."""
    # The interpreter flushes stdout once more at its end: into nothing, then.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
