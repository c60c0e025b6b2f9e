"""Time as the engine sees it, so that tests can move it; and things to be done at a time."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable

from flowstead.model.run import now_us
from flowstead.workspace import machine


class Clock:
    """The real time: `now` in microseconds since the epoch, `monotonic` and `boottime` in seconds.

    `boottime` also counts the time for which the machine was suspended.
    """

    def now(self) -> int:
        return now_us()

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return machine.boottime()

    def wait(self, condition: threading.Condition, timeout: float | None) -> None:
        """Waits on `condition` (held) until it is notified or `timeout` seconds of this clock have passed."""
        condition.wait(timeout)


class Alarms:
    """Runs callbacks at their time, on one thread of its own. What a callback raises goes to `on_failure`."""

    def __init__(self, clock: Clock, on_failure: Callable[[Exception], None]) -> None:
        self._clock = clock
        self._on_failure = on_failure
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int]] = []
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="alarms", daemon=True)
        self._thread.start()

    def set(self, seconds: float, callback: Callable[[], None]) -> int:
        """Calls `callback` in `seconds`; returns a number to `unset` it by."""
        with self._condition:
            number = next(self._numbers)
            self._callbacks[number] = callback
            heapq.heappush(self._heap, (self._clock.monotonic() + seconds, number))
            if self._heap[0][1] == number:
                self._condition.notify()
            return number

    def unset(self, number: int | None) -> None:
        """Forgets an alarm; one whose callback is already running is not stopped, so callbacks check for themselves."""
        if number is None:
            return
        with self._condition:
            if self._callbacks.pop(number, None) is not None and len(self._heap) > 64 + 2 * len(self._callbacks):
                # Steps with a long time limit end long before it: their alarms must not pile up until then.
                self._heap = [entry for entry in self._heap if entry[1] in self._callbacks]
                heapq.heapify(self._heap)

    def _work(self) -> None:
        while (callback := self._next()) is not None:
            try:
                callback()
            except Exception as error:
                self._on_failure(error)

    def _next(self) -> Callable[[], None] | None:
        """Waits for the next alarm's time; None once closed."""
        with self._condition:
            while not self._closed:
                if not self._heap:
                    self._clock.wait(self._condition, None)
                    continue
                due, number = self._heap[0]
                left = due - self._clock.monotonic()
                if left > 0 and number in self._callbacks:
                    self._clock.wait(self._condition, left)
                    continue
                heapq.heappop(self._heap)
                callback = self._callbacks.pop(number, None)
                if callback is not None:
                    return callback
            return None

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=5)
