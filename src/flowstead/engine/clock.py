"""Time as the engine sees it, so that tests can move it; and things to be done at a time."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from flowstead.model.run import now_us


class Clock:
    """The real time: `now` in microseconds since the epoch, `monotonic` in seconds."""

    def now(self) -> int:
        return now_us()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Waits on `condition` (held) until it is notified or `timeout` seconds of this clock have passed."""
        condition.wait(timeout)


class Alarms:
    """Runs callbacks at their time, on one thread of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._cancelled: set[int] = set()
        self._numbers = itertools.count()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="alarms", daemon=True)
        self._thread.start()

    def set(self, seconds: float, callback: Callable[[], None]) -> int:
        """Calls `callback` in `seconds`; returns a number to `unset` it by."""
        with self._condition:
            number = next(self._numbers)
            due = self._clock.monotonic() + seconds
            heapq.heappush(self._heap, (due, number, callback))
            if self._heap[0][1] == number:
                self._condition.notify()
            return number

    def unset(self, number: int | None) -> None:
        """Forgets an alarm; one whose callback is already running is not stopped, so callbacks check for themselves."""
        if number is not None:
            with self._condition:
                self._cancelled.add(number)

    def _work(self) -> None:
        while True:
            with self._condition:
                while True:
                    if self._closed:
                        return
                    while self._heap and self._heap[0][1] in self._cancelled:
                        self._cancelled.discard(heapq.heappop(self._heap)[1])
                    if not self._heap:
                        self._clock.wait(self._condition, None)
                        continue
                    left = self._heap[0][0] - self._clock.monotonic()
                    if left <= 0:
                        break
                    self._clock.wait(self._condition, left)
                _, number, callback = heapq.heappop(self._heap)
                if number in self._cancelled:
                    self._cancelled.discard(number)
                    continue
            callback()

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
