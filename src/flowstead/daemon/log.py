"""`daemon.log`: what the daemon has to say, one JSON object a line, moved aside when it has become large.

It is the standard library's logging: that is what uvicorn and asyncio speak, and a library for structured logs takes a
tenth of the time in which a restarted daemon is to answer.
"""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import os
import re
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from flowstead.model.errors import HomeUnwritable

FILES_KEPT = 3
LOGGER = "flowstead.daemon"

_SECRETS = re.compile(r"(?i)(token=|bearer\s+)[^\s&'\"]+")


def start_log(folder: Path, *, megabytes: int, takes_stderr: bool) -> None:
    """Lets everything that is logged in this process go to `daemon.log` of `folder`. Raises HomeUnwritable.

    `takes_stderr` says that the standard error of this process is that file too, and goes along when it is moved
    aside; otherwise, if it is a terminal, it is shown what is logged.
    """
    try:
        file = LogFile(folder / "daemon.log", megabytes << 20, takes_stderr=takes_stderr)
    except OSError as error:
        raise HomeUnwritable(f"Cannot write {folder / 'daemon.log'}: {error.strerror}.") from error
    file.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers = [file]
    root.setLevel(logging.WARNING)
    logging.getLogger("flowstead").setLevel(logging.INFO)
    if not takes_stderr and sys.stderr is not None and sys.stderr.isatty():
        shown = logging.StreamHandler(sys.stderr)
        shown.setFormatter(logging.Formatter("%(asctime)s  %(levelname)-8s  %(message)s", "%H:%M:%S"))
        root.addHandler(shown)
    logging.captureWarnings(True)
    sys.excepthook = _on_uncaught
    threading.excepthook = lambda told: _on_uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Logs a sentence and the facts that belong to it; `error` with its traceback."""
    logging.getLogger(LOGGER).log(level, "%s", event, exc_info=error, extra={"fields": fields})


class JsonLines(logging.Formatter):
    """A record as `{time, level, event, ...fields, logger, traceback}`; tokens are left out."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        told: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.name != LOGGER:
            told["logger"] = record.name
        if record.exc_info and record.exc_info[1] is not None:
            told["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return _SECRETS.sub(r"\1***", json.dumps(told, ensure_ascii=False, default=str))


class LogFile(logging.handlers.RotatingFileHandler):
    """The file, readable by this user alone. `takes_stderr` keeps the process' standard error on the newest one."""

    def __init__(self, path: Path, most_bytes: int, *, takes_stderr: bool) -> None:
        self._takes_stderr = takes_stderr
        super().__init__(path, maxBytes=most_bytes, backupCount=FILES_KEPT, encoding="utf-8", errors="backslashreplace")

    def _open(self) -> io.TextIOWrapper:
        stream = open(  # noqa: SIM115 - it stays open
            self.baseFilename,
            "a",
            encoding=self.encoding,
            errors=self.errors,
            opener=lambda path, flags: os.open(path, flags, 0o600),
        )
        if self._takes_stderr:
            os.dup2(stream.fileno(), 2)
        return stream

    def doRollover(self) -> None:  # noqa: N802 - the name that logging calls
        if self._takes_stderr and sys.platform == "win32":
            _to_nowhere(2)  # or the file could not be renamed
        super().doRollover()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """A full disk must not end what is logged about."""


def to_nowhere(stream: TextIO | None, fd: int) -> None:
    """Lets what is written to a standard stream from here on vanish."""
    if stream is not None:
        stream.flush()
    _to_nowhere(fd)


def _to_nowhere(fd: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def _on_uncaught(kind: type[BaseException], error: BaseException | None, traceback: TracebackType | None) -> None:
    logging.getLogger(LOGGER).critical("Something went wrong within Flowstead.", exc_info=error)
