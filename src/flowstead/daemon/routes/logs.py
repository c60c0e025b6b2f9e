"""Requests about the log of a run: parts of it by line number, lines that match, and the whole of it as a file."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any, Literal

from flowstead.daemon.files.answers import FileAnswer, exports_folder, headers_for
from flowstead.daemon.files.opening import Place
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.engine.log_windows import LEVELS, LineFilter, as_text, find_lines, read_window
from flowstead.engine.runlog import NAME, read_lines
from flowstead.model.errors import NotFound, StorageError, UsageError
from flowstead.model.run import short_id

MOST_LINES = 2000
LONGEST_TEXT = 1000


def log_lines(host: WorkspaceHost, run_id: str, *, start: int = 0, limit: int = 200) -> dict[str, Any]:
    """Lines of a run's log by number, from 0: `start` is the first of them, or counts from the end when negative.

    `end` is the number after the last line of the answer. `total` counts the lines there are; while it is not `exact`,
    the rest of a long log is still being counted, and a later answer tells more.
    """
    _check_limit(limit)
    window = read_window(_folder(host, run_id), start, limit)
    return window._asdict()


def search_log(
    host: WorkspaceHost,
    run_id: str,
    *,
    step: str | None = None,
    level: str | None = None,
    text: str | None = None,
    start: int | None = None,
    backward: bool = False,
    limit: int = 200,
) -> dict[str, Any]:
    """Lines of a run's log of a step (its name), of at least a level, or with a text; from line `start` on.

    With `backward`, those before `start`, or before the end. An answer looks through as much of the log as a moment
    allows, from `looked_from` to below `looked_to`; `next` is the `start` with which to go on, null at the end.
    """
    _check_limit(limit)
    if level is not None and level not in LEVELS:
        raise UsageError(f"There is no level {level!r}.", hint="One of: " + ", ".join(LEVELS))
    if text is not None and len(text) > LONGEST_TEXT:
        raise UsageError(f"The text is longer than {LONGEST_TEXT} letters.")
    wanted = LineFilter(step, level, text)
    hits = find_lines(_folder(host, run_id), wanted, start=start, backward=backward, limit=limit)
    return hits._asdict()


def download_log(host: WorkspaceHost, run_id: str, *, format: Literal["text", "ndjson"] = "ndjson") -> FileAnswer:
    """The whole log of a run as a file: `ndjson` as it was written, `text` for people."""
    full_id = host.reader.run_id(run_id)
    folder = host.layout.run_folder(full_id)
    if not (folder / NAME).exists():
        raise NotFound(f"Run {full_id} has no log on this machine.", code="log-missing")
    name = f"{host.reader.run(full_id).flow}-{short_id(full_id)}"
    if format == "ndjson":
        kind = "application/x-ndjson"
        headers = headers_for(f"{name}.ndjson", kind, attached=True)
        return FileAnswer(Place(os.path.realpath(folder), NAME), kind, headers)
    kind = "text/plain; charset=utf-8"
    return FileAnswer(_as_text(folder), kind, headers_for(f"{name}.log", kind, attached=True), temporary=True)


def _as_text(folder: Path) -> Place:
    import orjson

    exports = exports_folder()
    name = f"{secrets.token_hex(8)}.log"
    try:
        with (exports / name).open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(as_text(orjson.loads(line)) for line in read_lines(folder))
    except OSError as error:
        (exports / name).unlink(missing_ok=True)
        raise StorageError(f"The log cannot be written to {exports}: {error.strerror or error}.") from error
    return Place(os.path.realpath(exports), name)


def _folder(host: WorkspaceHost, run_id: str) -> Path:
    return host.layout.run_folder(host.reader.run_id(run_id))


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_LINES:
        raise UsageError(f"limit is {limit}.", hint=f"Give a number from 1 to {MOST_LINES}.")


ROUTES = (
    Route("GET", "/runs/{run_id}/log/lines", log_lines),
    Route("GET", "/runs/{run_id}/log/search", search_log),
    Route("GET", "/runs/{run_id}/log/download", download_log),
)
