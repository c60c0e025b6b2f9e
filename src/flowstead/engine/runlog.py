"""A run's log, `events.ndjson`: what happened and what was printed, in one order, one JSON object a line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from flowstead.engine.lines import encode
from flowstead.model.run import iso, now_us

NAME = "events.ndjson"
LONGEST_LINE = 65_536
"""Bytes of output without a line end that become one log line; more are split."""


class RunLog:
    """Appends to the log of one run. A torn last line, left by a crash, is cut off first; its number is used again."""

    def __init__(self, folder: Path, context: dict[str, Any]) -> None:
        path = os.path.join(folder, NAME)
        try:
            os.mkdir(folder)
        except FileExistsError:
            pass
        self._context = context
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        self._seq = _mend(Path(path)) if self._file.tell() else 0
        self._lines: list[bytes] = []
        self._unwritten = b""
        self._partial = b""
        # The worker's thread writes most lines; a cancellation may come from another.
        self._lock = threading.Lock()

    def add(
        self,
        event: str,
        message: str,
        *,
        level: str = "info",
        step: str | None = None,
        data: dict[str, Any] | None = None,
        at: int | None = None,
    ) -> None:
        """Adds one line; it reaches the file with the next `flush`."""
        with self._lock:
            self._seq += 1
            context = self._context if step is None else {**self._context, "step": step}
            line = {
                "seq": self._seq,
                "timestamp": iso(now_us() if at is None else at),
                "level": level,
                "event": event,
                "message": message,
                "data": data or {},
                "context": context,
            }
            self._lines.append(encode(line))

    def add_output(self, data: bytes, step: str | None) -> None:
        """Adds what the flow printed: a line each, an unfinished one kept until the rest of it comes."""
        lines = (self._partial + data).split(b"\n")
        self._partial = lines.pop()
        for line in lines:
            self._add_line(line, step)
        while len(self._partial) > LONGEST_LINE:
            self._add_line(self._partial[:LONGEST_LINE], step)
            self._partial = self._partial[LONGEST_LINE:]
        if len(self._lines) > 256:
            self.flush()

    def finish_output(self, step: str | None) -> None:
        """Adds the unfinished line there is, as when a step ends."""
        if self._partial:
            self._add_line(self._partial, step)
            self._partial = b""

    def _add_line(self, line: bytes, step: str | None) -> None:
        self.add("output", line.rstrip(b"\r").decode("utf-8", "replace"), step=step)

    def finish_run(self, flow: str, status: str, error: dict[str, Any] | None = None) -> None:
        """Adds the line that says how the run ended."""
        message = f"Run of {flow} {status}" + (f": {error['message']}" if error else "")
        level = {"failed": "error", "cancelled": "warning", "interrupted": "warning"}.get(status, "info")
        self.add("run.finished", message, level=level, data={"status": status, "error": error})

    def flush(self) -> None:
        """Writes what was added; a reader sees whole lines only once this returns."""
        with self._lock:
            if self._lines:
                self._unwritten += b"".join(self._lines)
                self._lines = []
            while self._unwritten:
                # What a full disk refuses stays here, from the byte where it stopped.
                self._unwritten = self._unwritten[self._file.write(self._unwritten) or 0 :]

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._file.close()


def _mend(path: Path) -> int:
    """Cuts a torn end off the log at `path`; returns the number of its last whole line."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        size = 4096
        while True:
            start = max(0, end - size)
            file.seek(start)
            lines = file.read(end - start).split(b"\n")
            torn = lines.pop()
            if torn:
                file.truncate(end - len(torn))
                end -= len(torn)
            # Whole lines may still be garbage after a power cut: the last one that reads back counts.
            for line in reversed(lines if start == 0 else lines[1:]):
                seq = _seq(line)
                if seq is not None:
                    return seq
            if start == 0:
                return 0
            size *= 4


def last_event(folder: Path) -> str | None:
    """What the last line of a log tells of; None without a log, or with a torn end."""
    try:
        with (folder / NAME).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * LONGEST_LINE))
            return orjson.loads(file.read().splitlines()[-1])["event"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def read_lines(folder: Path, after: int = 0) -> Iterator[bytes]:
    """The whole lines of a log whose `seq` is above `after`; torn or damaged ones are left out."""
    path = folder / NAME
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            seq = _seq(line)
            if seq is not None and seq > after:
                yield line


def lines_from(folder: Path, position: int) -> Iterator[tuple[bytes, int]]:
    """The whole lines of a log from a position on, each with the position after it; for those who come again."""
    try:
        with (folder / NAME).open("rb") as file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                position += len(line)
                if _seq(line) is not None:
                    yield line, position
    except FileNotFoundError:
        return


def _seq(line: bytes) -> int | None:
    """The number of a line; None when it is damaged."""
    try:
        return int(orjson.loads(line)["seq"])
    except (ValueError, KeyError, TypeError):
        return None
