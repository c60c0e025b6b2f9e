"""Reads server-sent events as they come, and says every now and then that none came."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import orjson

from flowstead.client.errors import error_from
from flowstead.model.errors import DaemonLost

SECONDS_BETWEEN_HEARTBEATS = 0.25
SECONDS_OF_SILENCE = 45.0
"""The server gives a sign of life three times in that time."""

MOST_WAITING = 16
"""Pieces of at most 64 KiB that were read and not asked for yet."""

_END = object()


class EventReader:
    """The items of one stream, None while nothing comes. `last_id` is the number after which to take it up again.

    A thread of its own waits for the socket. Raises DaemonLost when the stream stops without its end being told, and
    what the server says went wrong.
    """

    def __init__(self, response: http.client.HTTPResponse, connection: http.client.HTTPConnection) -> None:
        self._response = response
        self._connection = connection
        self._socket: socket.socket = connection.sock
        self._socket.settimeout(SECONDS_OF_SILENCE)
        self._waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(MOST_WAITING)
        self._closed = False
        self.last_id: int | None = None
        self._thread = threading.Thread(target=self._read, name="event-reader", daemon=True)
        self._thread.start()

    def __enter__(self) -> EventReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection, and with it the stream in the server."""
        self._closed = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, as closing would not
        except OSError:
            pass
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._thread.join(5)
        self._response.close()
        self._connection.close()

    def _read(self) -> None:
        try:
            while not self._closed:
                data = self._response.read1(65536)
                self._waiting.put(data or None)
                if not data:
                    return
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._waiting.put(error)

    def __iter__(self) -> Iterator[dict[str, Any] | None]:
        rest = b""
        while True:
            try:
                data = self._waiting.get(timeout=SECONDS_BETWEEN_HEARTBEATS)
            except queue.Empty:
                yield None
                continue
            if not isinstance(data, bytes):
                why = "" if data is None else f" ({data or type(data).__name__})"
                raise DaemonLost(f"The daemon went away in the middle of a stream{why}.")
            *blocks, rest = (rest + data).split(b"\n\n")
            for block in blocks:
                item = self._understand(block)
                if item is _END:
                    return
                if item is not None:
                    yield item

    def _understand(self, block: bytes) -> Any:
        """The item that a block of lines brings; None when it brings none, `_END` when it says so."""
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        kind = fields.get(b"event")
        if kind == b"failure":
            raise error_from(fields[b"data"], fields.get(b"class", b"").decode())
        if b"id" in fields:
            self.last_id = int(fields[b"id"])
        if kind == b"end":
            return _END
        return orjson.loads(fields[b"data"]) if kind == b"item" else None
