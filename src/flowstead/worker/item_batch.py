"""Outcomes of a map's items on their way to the ledger, and those that an earlier attempt has there."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.worker import checkpoints
from flowstead.worker.exchange import Exchange

if TYPE_CHECKING:
    from flowstead.flow.definition import Step

ITEMS_AT_ONCE = 100
SECONDS_BETWEEN_FRAMES = 0.2

Store = Callable[[Any, str, float | None], str | None]


class ItemBatch:
    """Item outcomes not yet recorded: at most ITEMS_AT_ONCE, and none for longer than 200 ms.

    `store` writes a value into a file by a stem and within an allowance; it gives the checkpoint, or None.
    """

    def __init__(self, exchange: Exchange, step: Step, total: int, done: int, store: Store) -> None:
        self._exchange = exchange
        self._step = step
        self._total = total
        self._done = done
        self._store = store
        self._failed = 0
        self._rows: list[tuple[Any, ...]] = []
        self._kept: list[tuple[int, int, Any]] = []
        self._next_send = time.monotonic() + SECONDS_BETWEEN_FRAMES
        self._in_flight = 0
        self._closed = threading.Event()
        self._send()
        threading.Thread(target=self._send_in_time, name="items", daemon=True).start()

    def add(self, index: int, status: str, duration_us: int, value: Any, error: str | None) -> None:
        """Takes an item's outcome; returns once no more than ITEMS_AT_ONCE are unrecorded."""
        with self._exchange.lock:
            text = None if error is not None else _inline(value)
            if text is None and error is None:
                self._kept.append((index, duration_us, value))
            self._rows.append((index, status, duration_us, text, error))
            self._done += 1
            self._failed += status == "failed"
            if len(self._rows) + self._in_flight >= ITEMS_AT_ONCE or time.monotonic() >= self._next_send:
                self._await()
                if len(self._rows) >= ITEMS_AT_ONCE or time.monotonic() >= self._next_send:
                    self._send()
                    self._await()

    def close(self) -> None:
        """Returns once everything is recorded."""
        self._closed.set()
        with self._exchange.lock:
            if self._rows:
                self._send()
            self._await()

    def _await(self) -> None:
        self._exchange.await_answers()
        self._in_flight = 0

    def _send_in_time(self) -> None:
        # A slow item must not keep finished ones unrecorded.
        while not self._closed.wait(SECONDS_BETWEEN_FRAMES):
            with self._exchange.lock:
                if self._rows and not self._closed.is_set():
                    self._in_flight += len(self._rows)
                    self._send()

    def _send(self) -> None:
        rows, self._rows = self._rows, []
        frame: dict[str, Any] = {
            "type": "items",
            "step": self._step.index,
            "rows": rows,
            "total": self._total,
            "done": self._done,
            "failed": self._failed,
        }
        if self._kept:
            frame["file"], frame["in_file"] = self._store_values()
        self._exchange.post(frame)
        self._next_send = time.monotonic() + SECONDS_BETWEEN_FRAMES

    def _store_values(self) -> tuple[str | None, list[int]]:
        """Writes values that do not fit a row into one file; those that cannot be stored run again on a resume."""
        kept, self._kept = self._kept, []
        values = {index: value for index, _, value in kept}
        allowance = None
        if self._step.save_as is None:
            allowance = checkpoints.auto_allowance(sum(duration for _, duration, _ in kept))
        stem = f"step-{self._step.index}-items-{kept[0][0]}"
        saved = self._store(values, stem, allowance)
        if saved is None:
            # One that cannot be stored must not cost the others theirs.
            values = checkpoints.storable(values, allowance)
            if 0 < len(values) < len(kept):
                saved = self._store(values, stem, allowance)
        return (None, []) if saved is None else (saved, list(values))


def recorded_items(recorded: dict[str, Any], folder: Path, total: int) -> dict[int, Any]:
    """Values by index of the items that an earlier attempt finished and stored."""
    known: dict[int, Any] = {}
    if recorded["total"] not in (None, total):
        return known
    for index, text in recorded["inline"]:
        known[index] = json.loads(text)
    for saved, indices in recorded["files"]:
        try:
            values = checkpoints.load(json.loads(saved), folder)
        except checkpoints.CheckpointDamaged:
            continue
        known.update((index, values[index]) for index in indices if index in values)
    return known


def _inline(value: Any) -> str | None:
    # The short way for what most items of a large map give.
    if value is None:
        return "null"
    if type(value) is int and value.bit_length() < 64:
        return str(value)
    return checkpoints.inline(value)
