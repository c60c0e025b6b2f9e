"""Streams over HTTP: server-sent events, from handlers that yield JSON objects.

A handler's generator lives in a thread of its own, because it may wait there; no other request ever waits for it. It
is advanced only while less than MOST_UNSENT bytes wait for the reader, so one that reads slowly, or not at all, costs
that much and its thread, and nobody else anything.

On the wire each object is `event: item`, with its `seq`, if it has one, as `id:`. `event: end` says that nothing
follows, `event: failure` brings an error as `{code, message, hint, detail}`, and a stream that stops without either was
cut off: the reader asks again, with the last id it saw.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from flowstead.daemon.failures import TooManyStreams, class_of, internal_error
from flowstead.engine.lines import encode
from flowstead.model.errors import FlowsteadError

MOST_STREAMS = 256
MOST_UNSENT = 64 * 1024
SECONDS_BETWEEN_SIGNS_OF_LIFE = 15.0
SECONDS_BETWEEN_GLANCES = 0.02
SIGN_OF_LIFE = b": still here\n\n"
RETRY = b"retry: 1000\n\n"
END = b"event: end\ndata: {}\n\n"

Items = Iterator["dict[str, Any] | None"]
Start = Callable[[], "tuple[int | None, Items]"]
"""Gives a stream's items, and the number that they begin after, if they are numbered."""

_log = logging.getLogger("flowstead.daemon")


class Streams:
    """All streams that are open in this server."""

    def __init__(self, most: int = MOST_STREAMS) -> None:
        self._most = most
        self._open: set[Stream] = set()
        self._closed = False

    def open(self, start: Start) -> Stream:
        """Begins a stream of what `start()` gives, which is called in its thread too. Raises TooManyStreams."""
        if len(self._open) >= self._most:
            raise TooManyStreams(f"{self._most} streams are open already.")
        stream = Stream(start, self._open.discard)
        self._open.add(stream)
        if self._closed:
            stream.close()
        return stream

    def __len__(self) -> int:
        return len(self._open)

    def settle(self, seconds: float) -> None:
        """Waits, at most so long, until all that happened by now was told to those who read. In any thread."""
        deadline = time.monotonic() + seconds
        pauses = {stream: stream.pauses for stream in list(self._open)}
        while time.monotonic() < deadline:
            if all(stream.has_told(since) or stream not in self._open for stream, since in pauses.items()):
                return
            time.sleep(SECONDS_BETWEEN_GLANCES)

    def close(self) -> None:
        """Cuts all of them off; readers notice that no end was told."""
        self._closed = True
        for stream in list(self._open):
            stream.close()


class Stream:
    """One stream: `first` waits until it is clear that it can begin, `chunks` gives its bytes, `close` ends it early.

    All methods belong to the event loop's thread.
    """

    def __init__(self, start: Start, forget: Callable[[Stream], None]) -> None:
        self._start = start
        self._forget = forget
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._room = threading.Condition()
        # What the thread tells, guarded by `_room`:
        self._begin = RETRY
        self._unsent: list[bytes] = []
        self._size = 0
        self._alive = False
        self._finished = False
        self._failure: FlowsteadError | None = None
        self._closed = False
        self.pauses = 0
        """How often there was nothing to tell."""
        self._thread = threading.Thread(target=self._produce, name="stream", daemon=True)
        self._thread.start()

    async def first(self) -> None:
        """Waits for the first sign from the handler. Raises what it raised instead."""
        while not (self._unsent or self._alive or self._finished or self._failure or self._closed):
            await self._news.wait()
            self._news.clear()
        if self._failure and not self._unsent:
            raise self._failure
        self._news.set()

    async def chunks(self) -> AsyncIterator[bytes]:
        """What there is to send, many items at once when they are there, and signs of life when there are none."""
        yield self._begin
        while not self._closed:
            try:
                async with asyncio.timeout(SECONDS_BETWEEN_SIGNS_OF_LIFE):
                    await self._news.wait()
            except TimeoutError:
                yield SIGN_OF_LIFE
                continue
            self._news.clear()
            with self._room:
                chunk, self._unsent, self._size = b"".join(self._unsent), [], 0
                finished, failure = self._finished, self._failure
                self._room.notify()
            if chunk:
                yield chunk
            if failure is not None:
                told = encode(failure.as_dict())
                yield b"event: failure\nclass: %b\ndata: %b\n" % (class_of(failure).encode(), told)
                return
            if finished:
                yield END
                return

    def has_told(self, pauses: int) -> bool:
        """Whether there was nothing to tell once more since `pauses` was read, and all before it has gone out."""
        return self._finished or (self.pauses > pauses and not self._unsent)

    def close(self) -> None:
        """Ends the stream; its generator is closed at its next sign of life."""
        with self._room:
            self._closed = True
            self._unsent, self._size = [], 0
            self._room.notify()
        self._news.set()

    # -- in the stream's own thread ------------------------------------------------------------------------------

    def _produce(self) -> None:
        failure: FlowsteadError | None = None
        try:
            after, items = self._start()
            if after is not None:
                # Told at once: a reader that is cut off before the first item knows where to take it up.
                self._begin = b"id: %d\n" % after + RETRY
            try:
                for item in items:
                    if not self._take(item):
                        break
            finally:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
        except FlowsteadError as error:
            failure = error
        except Exception:
            _log.exception("A stream failed.")
            failure = internal_error()
        with self._room:
            self._failure = failure
            self._finished = True
        self._tell(ended=True)

    def _take(self, item: dict[str, Any] | None) -> bool:
        """Hands an item on, once there is room for it; False when nobody wants it any more."""
        if item is None:
            self.pauses += 1
            if not self._alive:
                self._alive = True
                self._tell()
            return not self._closed
        chunk = _encode(item)
        with self._room:
            while self._size >= MOST_UNSENT and not self._closed:
                self._room.wait()
            if self._closed:
                return False
            first = not self._unsent
            self._unsent.append(chunk)
            self._size += len(chunk)
        if first:
            self._tell()
        return True

    def _tell(self, *, ended: bool = False) -> None:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
            if ended:
                self._loop.call_soon_threadsafe(self._forget, self)
        except RuntimeError:
            pass  # the server is gone


def _encode(item: dict[str, Any]) -> bytes:
    seq = item.get("seq")
    number = b"" if seq is None else b"id: %d\n" % seq
    return number + b"event: item\ndata: " + encode(item) + b"\n"


class StreamAnswer(Response):
    """Sends a stream until it ends, or until the reader goes."""

    media_type = "text/event-stream"

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["streams"] = True  # read by the server's connection
        watching = asyncio.ensure_future(self._await_disconnect(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for chunk in self._stream.chunks():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.cancel()
            self._stream.close()

    async def _await_disconnect(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._stream.close()
