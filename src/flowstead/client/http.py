"""The daemon's API as a client's transport, over its Unix socket or its loopback port.

It is the standard library's HTTP client, because any other takes longer to import than a whole command may take.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode, urlsplit

import orjson

from flowstead.client.errors import error_from
from flowstead.client.event_reader import EventReader
from flowstead.model.errors import DaemonLost, DaemonUnreachable

SECONDS_TO_CONNECT = 5.0
SECONDS_TO_ANSWER = 600.0
"""Describing a hundred flows that all hang until their time limit takes longest."""

SECONDS_KEPT = 30.0
"""How long an unused connection is kept; the server closes it later than that."""

BYTES_AT_ONCE = 1 << 18
MOST_LOST = 5
SECONDS_BETWEEN_TRIES = 0.25

Fields = dict[str, Any]
Item = dict[str, Any]


class HttpTransport:
    """Carries requests to the API at `address`: `unix:PATH`, or `http://127.0.0.1:PORT`, which needs the `token`.

    `below` is put before each path, an answer may take `patience` seconds. Safe to share between threads. Raises,
    beside the coded errors that come back, DaemonUnreachable when nobody answers and DaemonLost when the answer
    breaks off.
    """

    def __init__(
        self,
        address: str,
        *,
        token: str | None = None,
        below: str = "/api/v1",
        patience: float = SECONDS_TO_ANSWER,
    ) -> None:
        self._address = address
        self._token = token
        self._below = below
        self._patience = patience
        self._lock = threading.Lock()
        self._idle: list[tuple[float, http.client.HTTPConnection]] = []

    def at(self, below: str) -> HttpTransport:
        """Another transport to the same daemon, for paths below `below`."""
        return HttpTransport(self._address, token=self._token, below=below, patience=self._patience)

    def request(self, method: str, path: str, fields: Fields) -> Any:
        connection = self._connection()
        try:
            response = self._ask(connection, method, path, fields)
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _lost(method, path, error) from error
        if response.will_close:
            connection.close()
        else:
            with self._lock:
                self._idle.append((time.monotonic(), connection))
        if response.status >= 400:
            raise error_from(data, response.headers.get("Flowstead-Error"))
        # A file comes as its bytes.
        return orjson.loads(data) if response.headers.get_content_type() == "application/json" else data

    def stream(self, method: str, path: str, fields: Fields) -> Iterator[Item | None]:
        """What the route gives, None while nothing happens.

        A stream of numbered items that breaks off is taken up again after the last one, MOST_LOST times in a row.
        """
        resumes = method == "GET" and "after" in fields
        lost = 0
        while True:
            reader: EventReader | None = None
            try:
                with EventReader(*self._open_stream(method, path, fields)) as reader:
                    for item in reader:
                        lost = 0
                        yield item
                    return
            except DaemonUnreachable:
                lost += 1
                if not resumes or lost > MOST_LOST:
                    raise
                if reader is not None and reader.last_id is not None:
                    fields = {**fields, "after": reader.last_id}
            for _ in range(lost):
                yield None
                time.sleep(SECONDS_BETWEEN_TRIES)

    def __enter__(self) -> HttpTransport:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def download(self, method: str, path: str, fields: Fields, target: BinaryIO) -> None:
        """Writes the file that the route answers with to `target`, in pieces."""
        response, connection = self._open_stream(method, path, fields)
        try:
            while piece := response.read(BYTES_AT_ONCE):
                target.write(piece)
            if response.length:
                raise http.client.IncompleteRead(b"", response.length)
        except http.client.HTTPException as error:
            raise _lost(method, path, error) from error
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise _lost(method, path, error) from error
            raise  # of the target
        finally:
            connection.close()

    def upload(self, method: str, path: str, fields: Fields, source: BinaryIO) -> Any:
        """Sends what `source` gives as the body, in pieces; the fields go with the address."""
        connection = self._connection()
        headers = {**self._headers(), "Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"}
        try:
            connection.request(method, self._address_of(path, fields), source, headers, encode_chunked=True)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _lost(method, path, error) from error
        finally:
            connection.close()
        if response.status >= 400:
            raise error_from(data, response.headers.get("Flowstead-Error"))
        return orjson.loads(data)

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    # -- connections -----------------------------------------------------------------------------------------------

    def _connection(self) -> http.client.HTTPConnection:
        """One that is kept and still good, else a new one. Raises DaemonUnreachable."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                since, connection = self._idle.pop()
            # The server says nothing unasked: what is to be read is the end of the connection.
            if time.monotonic() - since < SECONDS_KEPT and not select.select([connection.sock], [], [], 0)[0]:
                return connection
            connection.close()
        connection = _connection_to(self._address)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise DaemonUnreachable(f"Nobody answers at {self._address}: {error.strerror or error}.") from error
        connection.sock.settimeout(self._patience)
        return connection

    def _ask(
        self, connection: http.client.HTTPConnection, method: str, path: str, fields: Fields
    ) -> http.client.HTTPResponse:
        headers, body = self._headers(), None
        if method != "GET":
            body = orjson.dumps(fields)
            headers["Content-Type"] = "application/json"
        target = self._address_of(path, fields if method == "GET" else {})
        connection.request(method, target, body, headers)
        return connection.getresponse()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "*/*"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    def _address_of(self, path: str, fields: Fields) -> str:
        target = quote(self._below + path)
        if given := {name: value for name, value in fields.items() if value is not None}:
            target += "?" + urlencode({name: _in_query(value) for name, value in given.items()}, doseq=True)
        return target

    def _open_stream(
        self, method: str, path: str, fields: Fields
    ) -> tuple[http.client.HTTPResponse, http.client.HTTPConnection]:
        connection = self._connection()
        try:
            response = self._ask(connection, method, path, fields)
            if response.status < 400:
                return response, connection
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise _lost(method, path, error) from error
        except BaseException:
            connection.close()
            raise
        connection.close()
        raise error_from(data, response.headers.get("Flowstead-Error"))


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("flowstead", timeout=SECONDS_TO_CONNECT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _connection_to(address: str) -> http.client.HTTPConnection:
    if address.startswith("unix:"):
        return _UnixConnection(address.removeprefix("unix:"))
    parts = urlsplit(address)
    return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=SECONDS_TO_CONNECT)


def _in_query(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value


def _lost(method: str, path: str, error: Exception) -> DaemonLost:
    unknown = "" if method == "GET" else " Whether the request was carried out is not known."
    why = str(error) or type(error).__name__
    return DaemonLost(f"The daemon went away before it answered {method} {path} ({why}).{unknown}")
