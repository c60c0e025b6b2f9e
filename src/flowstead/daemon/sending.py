"""Sends a file in pieces, or the part of it that was asked for; never more of it in memory than one piece."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from typing import BinaryIO

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from flowstead.daemon.files.answers import FileAnswer

PIECE = 256 * 1024
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class FileSending(Response):
    """The answer that sends `file`; reads in threads of `limiter`. Closes it, and tells it that it was sent."""

    def __init__(self, file: FileAnswer, opened: BinaryIO, limiter: CapacityLimiter) -> None:
        self._file = file
        self._opened = opened
        self._limiter = limiter
        self.status_code = 200
        self.media_type = file.media_type
        self.background = None
        self.body = b""
        self.init_headers({**file.headers, "accept-ranges": "bytes"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watching = asyncio.ensure_future(_disconnect(receive))
        try:
            size = os.fstat(self._opened.fileno()).st_size
            part = range_of(scope["headers"], size)
            status, first, length = 200, 0, size
            if part is not None and not part:
                status, length = 416, 0
                self.headers["content-range"] = f"bytes */{size}"
            elif part is not None:
                status, first, length = 206, part.start, len(part)
                self.headers["content-range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
            self.headers["content-length"] = str(length)
            await send({"type": "http.response.start", "status": status, "headers": self.raw_headers})
            self._opened.seek(first)
            while length and not watching.done():
                piece = await anyio.to_thread.run_sync(self._opened.read, min(PIECE, length), limiter=self._limiter)
                if not piece:
                    # It became shorter meanwhile: the connection breaks off, so that nobody takes it for whole.
                    raise OSError(f"{self._file.path} ended {length} bytes early")
                length -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if not length:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            watching.cancel()
            self._opened.close()
            await anyio.to_thread.run_sync(self._file.sent, limiter=self._limiter)


async def _disconnect(receive: Receive) -> None:
    """Ends when the reader is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def range_of(headers: Iterable[tuple[bytes, bytes]], size: int) -> range | None:
    """The bytes that a request asks for; None for all of them, an empty range for none that there are.

    Only one range is understood; a list of them is answered with all, as RFC 9110 allows.
    """
    given = dict(headers)
    found = _RANGE.fullmatch(given.get(b"range", b"").decode("latin-1"))
    if found is None or b"if-range" in given or found[0] == "bytes=-":
        return None
    first, last = found.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    end = min(int(last) + 1 if last else size, size)
    # A range whose end is before its begin is none.
    return None if last and int(last) < int(first) else range(int(first), max(end, int(first)))
