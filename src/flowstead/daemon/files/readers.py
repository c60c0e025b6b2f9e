"""The few children that read tables: kept warm for a while, handed out one question at a time."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flowstead.daemon.files.reader import PreviewCrashed, PreviewMemory, PreviewSuperseded, Reader
from flowstead.model.errors import FlowsteadError
from flowstead.workspace.layout import home

MOST_READERS = 2
SECONDS_WARM = 60.0
SECONDS_FOR_PAGE = 10.0
SECONDS_FOR_EXPORT = 120.0


class Readers:
    """Asks children, at most `most` at once; those that nobody asked for `seconds_warm` are ended."""

    def __init__(self, *, most: int = MOST_READERS, seconds_warm: float = SECONDS_WARM) -> None:
        self._most = most
        self._seconds_warm = seconds_warm
        self._changed = threading.Condition()
        self._idle: list[Reader] = []
        self._asked: list[_Question] = []
        self._started = 0
        self._exporting = threading.Semaphore(1)
        self._timer: threading.Timer | None = None

    def ask(
        self, question: dict[str, Any], *, memory_mb: int, seconds: float = SECONDS_FOR_PAGE, view: str | None = None
    ) -> Any:
        """The answer of a child to `question`, whose `file` tells what it is about.

        A newer question of the same `view` ends an older one, which then raises PreviewSuperseded. Raises besides what
        Reader.ask raises, and FlowsteadError (`preview-busy`) when no child becomes free in `seconds`.
        """
        mine = _Question(view)
        with self._changed:
            if view is not None:
                self._supersede(view)
            self._asked.append(mine)
        try:
            return self._answer(mine, question, memory_mb, seconds)
        finally:
            with self._changed:
                self._asked.remove(mine)
                self._changed.notify_all()

    def _answer(self, mine: _Question, question: dict[str, Any], memory_mb: int, seconds: float) -> Any:
        """Asks a warm child, and a fresh one when that fails, as it may for what earlier questions have left of it."""
        fresh = False
        while True:
            reader = self._take(mine, question.get("file"), memory_mb, seconds, fresh=fresh)
            fresh = reader.is_fresh
            try:
                return reader.ask(question, seconds)
            except (PreviewMemory, PreviewCrashed):
                if fresh:
                    raise
                fresh = True
            finally:
                self._give_back(mine, reader)

    def warm(self, memory_mb: int) -> None:
        """Starts a child where there is none, for a question that is about to come: loading DuckDB takes its time."""
        with self._changed:
            if self._idle or any(question.reader is not None for question in self._asked):
                return
            reader = Reader(self._scratch(), memory_mb)
            reader.idle_since = time.monotonic()
            self._idle.append(reader)
            self._end_later()

    def export(self, question: dict[str, Any], *, memory_mb: int, take: Callable[[Path], Any]) -> Any:
        """The same for work that takes long, in a child of its own, one at a time.

        `take` is given the file that the child has written, which is removed afterwards; returns what that returns.
        """
        if not self._exporting.acquire(timeout=SECONDS_FOR_EXPORT):
            raise _busy("Another export is still being made.")
        try:
            reader = Reader(self._scratch(), memory_mb)
            try:
                return take(reader.scratch / reader.ask(question, SECONDS_FOR_EXPORT)["file"])
            finally:
                reader.end()
        finally:
            self._exporting.release()

    def close(self) -> None:
        """Ends all children; questions under way fail."""
        with self._changed:
            for question in self._asked:
                question.end(PreviewSuperseded("The daemon is closing."))
                if question.reader is not None:
                    question.reader.usable = False  # whoever gives it back ends it
            idle, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
            self._changed.notify_all()
        for reader in idle:
            reader.end()

    @property
    def pids(self) -> list[int]:
        """Of the children that live."""
        with self._changed:
            busy = [question.reader for question in self._asked if question.reader is not None]
            return sorted(reader.process.pid for reader in (*self._idle, *busy))

    def _supersede(self, view: str) -> None:
        for question in self._asked:
            if question.view == view:
                question.end(PreviewSuperseded("A newer question of the same view was asked."))
        self._changed.notify_all()

    def _take(self, mine: _Question, file: Any, memory_mb: int, seconds: float, *, fresh: bool) -> Reader:
        deadline = time.monotonic() + seconds
        unfit: list[Reader] = []
        with self._changed:
            while True:
                if mine.ended is not None:
                    raise mine.ended
                unfit += [reader for reader in self._idle if reader.memory_mb != memory_mb or not reader.is_alive]
                self._idle = [reader for reader in self._idle if reader not in unfit]
                if self._idle and not fresh:
                    # One that has this file open already answers sooner.
                    reader = next((each for each in self._idle if each.last_file == file), self._idle[-1])
                    self._idle.remove(reader)
                    break
                busy = sum(question.reader is not None for question in self._asked)
                if busy < self._most:
                    reader = Reader(self._scratch(), memory_mb)
                    break
                left = deadline - time.monotonic()
                if left <= 0:
                    raise _busy(f"{self._most} other previews are still being made.")
                self._changed.wait(left)
            mine.reader = reader
            reader.last_file = file
        for each in unfit:
            each.end()
        return reader

    def _give_back(self, mine: _Question, reader: Reader) -> None:
        with self._changed:
            mine.reader = None
            keep = reader.usable
            if keep:
                reader.settle()
                reader.idle_since = time.monotonic()
                self._idle.append(reader)
                self._end_later()
            self._changed.notify_all()
        if not keep:
            reader.end()

    def _end_later(self) -> None:
        if self._timer is None or not self._timer.is_alive():
            self._timer = threading.Timer(self._seconds_warm, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        with self._changed:
            now = time.monotonic()
            cold = [reader for reader in self._idle if now - reader.idle_since >= self._seconds_warm * 0.99]
            self._idle = [reader for reader in self._idle if reader not in cold]
            self._timer = None
            if self._idle:
                self._end_later()
        for reader in cold:
            reader.end()

    def _scratch(self) -> Path:
        """A folder that is not there yet. Those that a killed process left behind are removed first."""
        folder = home() / "previews"
        self._started += 1
        if self._started == 1:
            _remove_abandoned(folder)
        return folder / f"{os.getpid()}-{id(self):x}-{self._started}"


class _Question:
    """One that waits for a child, or has one."""

    def __init__(self, view: str | None) -> None:
        self.view = view
        self.reader: Reader | None = None
        self.ended: FlowsteadError | None = None

    def end(self, cause: FlowsteadError) -> None:
        self.ended = self.ended or cause
        if self.reader is not None:
            self.reader.stop(cause)


def _busy(message: str) -> FlowsteadError:
    return FlowsteadError(message, code="preview-busy", hint="Try again in a moment.")


def _remove_abandoned(folder: Path) -> None:
    import shutil

    import psutil

    for entry in folder.glob("*-*"):
        pid = entry.name.partition("-")[0]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(entry, ignore_errors=True)


READERS = Readers()
"""Those of this process. Their children end with it."""
