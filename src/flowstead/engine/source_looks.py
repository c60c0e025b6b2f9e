"""The source files of a flow as people look at them: which are fresh, which changed, which failed, and which run now.

A look at very many files takes a while, so its pages are cut from one look, which is kept for a moment.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from flowstead.engine.freshness import Signature
from flowstead.ledger import LedgerReader
from flowstead.ledger import statements as sql
from flowstead.model.flow import FlowSpec
from flowstead.model.run import ACTIVE

STATES = ("fresh", "changed", "failed", "never", "queued", "running", "interrupted")
SECONDS_KEPT = 30.0
WORTH_KEEPING = 2000
"""Files; a look at fewer costs no more than keeping it would."""
_AHEAD = '["queued", "starting", "running", "waiting", "cancelling", "interrupted"]'


class SourceFile(NamedTuple):
    """A file of a source; `run` is the one that has it now, or else had it last."""

    path: str
    state: str
    size: int
    mtime_ns: int
    run: str | None


class Look(NamedTuple):
    """All files of a source at one moment, by path, and how many there are of each state."""

    at: float
    files: list[SourceFile]
    counts: dict[str, int]


def look_at(spec: FlowSpec, root: str, files: dict[str, Signature], reader: LedgerReader) -> Look:
    """What has become of each file, by the runs of the flow on the source that is recorded as `root`."""
    # Race: a run may end between the two reads. In this order it is seen as ahead, or by what it recorded, or both.
    ahead: dict[str | None, tuple[str, str]] = {}
    for path, status, run_id in reader.rows(sql.SOURCE_RUNS, (_AHEAD, spec.name, root)):
        ahead[path] = ("running" if status in ACTIVE else status, run_id)
    recorded = {row[0]: row[1:] for row in reader.rows(sql.FILE_RUNS, (spec.name, root))}
    whole = ahead.pop(None, None)
    found: list[SourceFile] = []
    for path in sorted(files):
        size, mtime_ns = signature = files[path]
        known = recorded.get(path)
        state, run = "never", None
        if known is not None:
            run = known[3]
            state = "changed" if known[:2] != signature else "fresh" if known[2] == "succeeded" else "failed"
        now = ahead.get(path)
        if now is None and whole is not None and state != "fresh":
            now = whole
        if now is not None:
            state, run = now
        found.append(SourceFile(path, state, size, mtime_ns, run))
    return Look(time.monotonic(), found, dict(Counter(file.state for file in found)))


class SourceLooks:
    """The looks at large sources that are kept for the pages that follow, each for a moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[Path, str], Look] = {}

    def look(self, key: tuple[Path, str], take: Callable[[], Look], *, again: bool) -> Look:
        """The look that is kept, or a new one; with `again` always a new one."""
        now = time.monotonic()
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and not again and now - kept.at < SECONDS_KEPT:
            return kept
        look = take()
        if len(look.files) >= WORTH_KEEPING:
            with self._lock:
                self._kept[key] = look
            timer = threading.Timer(SECONDS_KEPT, self._forget, (key, look))
            timer.daemon = True
            timer.start()
        return look

    def _forget(self, key: tuple[Path, str], look: Look) -> None:
        with self._lock:
            if self._kept.get(key) is look:
                del self._kept[key]


LOOKS = SourceLooks()
