"""The API served for a test: on a Unix socket and a loopback port, from a thread of the test's process."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flowstead.client import MachineClient
from flowstead.client.finding import DaemonInfo
from flowstead.client.http import HttpTransport
from flowstead.daemon.app import make_app
from flowstead.daemon.machine import Machine
from flowstead.daemon.security import Security, token_of
from flowstead.daemon.server import ApiServer, listen_on_path, listen_on_port
from flowstead.model.lock import ProcessLock
from flowstead.model.run import iso, now_us
from flowstead.version import __version__

SECONDS = 60


class Served:
    """A machine and its server; `close` ends both."""

    key = ""
    """Of the one workspace it has, for tests that share it."""

    def __init__(self, home: Path, *, grace: float = 3.0) -> None:
        self.token = token_of(home)
        self.machine = Machine(command="test")
        self.security = Security(self.token)
        self.app = make_app(self.machine, self.security)
        tcp = listen_on_port()
        self.port: int = tcp.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket_path = home / "daemon.sock"
        self._lock = ProcessLock(home / "daemon.lock")
        assert self._lock.acquire("test")
        info = DaemonInfo(os.getpid(), __version__, str(self.socket_path), self.url, iso(now_us()))
        (home / "daemon.json").write_text(json.dumps(info.as_dict()))
        self.server = ApiServer(self.app, unix=listen_on_path(self.socket_path), tcp=tcp, grace=grace)
        self.thread = threading.Thread(target=self.server.run, name="server", daemon=True)
        self.thread.start()

    def transport(self, kind: str = "unix") -> HttpTransport:
        if kind == "unix":
            return HttpTransport(f"unix:{self.socket_path}")
        return HttpTransport(self.url, token=self.token)

    def machine_client(self, kind: str = "unix") -> MachineClient:
        return MachineClient(self.transport(kind))

    def get(self, path: str, *, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request over TCP with these headers alone (`_` for `-`), without the token unless it is among them."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
                connection.putheader("Content-Type", headers.get("Content_Type", "application/json"))
            connection.endheaders(body)
            return Answer(connection.getresponse())
        finally:
            connection.close()

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def connect(self, kind: str = "unix") -> socket.socket:
        """A bare connection."""
        if kind == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(SECONDS)
            connection.connect(str(self.socket_path))
            return connection
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()

    def close(self) -> None:
        self.stop()
        self.machine.close()
        self._lock.release()


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return self.json["code"]


def until(condition: Callable[[], Any], what: str) -> Any:
    """Waits until `condition()` is true and returns it."""
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)
    return found


def items(stream: Iterator[Any]) -> Iterator[Any]:
    """What a stream gives, without its heartbeats; fails when nothing comes for long."""
    deadline = time.monotonic() + SECONDS
    for item in stream:
        assert time.monotonic() < deadline, "nothing came"
        if item is not None:
            deadline = time.monotonic() + SECONDS
            yield item
