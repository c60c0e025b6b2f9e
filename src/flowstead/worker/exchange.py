"""One run's talk with the engine: frames that need an answer, the answers, and the word that the run is to end."""

from __future__ import annotations

import threading
import time
from typing import Any

from flowstead.flow.errors import RunCancelled
from flowstead.worker.channel import Channel

SECONDS_BETWEEN_LOOKS = 0.001


class Exchange:
    """Sends a run's frames and receives their answers; a step's threads may use it at the same time.

    Once the run has ended it sends nothing more: a thread that a step left behind may still speak while another run
    has the worker. `lock` may be held over several calls.
    """

    def __init__(self, channel: Channel) -> None:
        self.lock = threading.RLock()
        self.ended = False
        self._channel = channel
        self._unanswered = 0
        self._cancelled: str | None = None
        self._next_look = 0.0

    def tell(self, frame: dict[str, Any]) -> None:
        """Sends a frame that gets no answer."""
        with self.lock:
            if not self.ended:
                self._channel.send(frame)

    def post(self, frame: dict[str, Any]) -> None:
        """Sends a frame whose answer is awaited later."""
        with self.lock:
            if not self.ended:
                self._channel.send(frame)
                self._unanswered += 1

    def ask(self, frame: dict[str, Any]) -> None:
        """Sends a frame and waits for its answer: what it says is committed by then."""
        with self.lock:
            self.post(frame)
            self.await_answers()

    def end(self, frame: dict[str, Any]) -> None:
        """Sends the run's last frame."""
        with self.lock:
            # The next run must not take this one's answers for its own.
            self.await_answers()
            self._channel.send(frame)
            self.ended = True

    def await_answers(self) -> None:
        """Waits until every frame is answered. Raises EOFError when the engine is gone."""
        with self.lock:
            while self._unanswered:
                self._receive()

    def check_cancelled(self) -> None:
        """Raises RunCancelled when the engine has said so; looks at most every millisecond."""
        now = time.monotonic()
        # Race: threads of a map look too; the one that holds the lock looks for all.
        if now >= self._next_look and self.lock.acquire(blocking=False):
            try:
                self._next_look = now + SECONDS_BETWEEN_LOOKS
                while self._channel.ready():
                    self._receive()
            finally:
                self.lock.release()
        self.raise_if_cancelled()

    def wait(self, seconds: float) -> None:
        """Waits; raises RunCancelled as soon as the run is to end."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            # Without the lock: other items of a map go on meanwhile.
            if self._channel.ready(min(left, 0.5)):
                with self.lock:
                    while self._channel.ready():
                        self._receive()
            self.raise_if_cancelled()

    def raise_if_cancelled(self) -> None:
        if self._cancelled is not None:
            raise RunCancelled(self._cancelled)

    def _receive(self) -> None:
        frame = self._channel.receive()
        if frame["type"] == "go":
            self._unanswered -= 1
        elif frame["type"] == "cancel":
            self._cancelled = frame.get("reason") or "cancelled"
