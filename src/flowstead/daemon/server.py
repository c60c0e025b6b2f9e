"""The server: uvicorn on a Unix socket and a loopback port, with limits that keep one client from harming others.

Nobody's request is read in a thread, so a client that says nothing costs a socket, for as long as it takes the timer
to close it. When a socket has all the connections it may have, the one that has said nothing for longest makes room.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import h11
import orjson
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flowstead.daemon.security import HEADERS
from flowstead.model.errors import HomeUnwritable

if TYPE_CHECKING:
    # The application itself is loaded while this already answers.
    from flowstead.daemon.app import App
    from flowstead.daemon.opening import OpeningApp

MOST_CONNECTIONS = 300
"""Of each kind: no number of TCP connections keeps out the user's own commands."""

SECONDS_FOR_REQUEST = 10.0
"""From its first byte, or from connecting, to its last."""

SECONDS_KEPT_ALIVE = 75
SECONDS_STALLED = 60.0
"""How long an answer other than a stream may lie there without a byte being taken, or a file that is sent may pause."""

MOST_HEADER_BYTES = 32 * 1024
LONGEST_SOCKET_PATH = 100
_log = logging.getLogger("flowstead.daemon")


def listen_on_path(path: Path) -> socket.socket:
    """A Unix socket at `path` that only this user can open; replaces what is there. The caller is alone with it.

    Raises HomeUnwritable, also where the path is longer than such sockets allow.
    """
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise HomeUnwritable(f"{path} is too long for a socket.", hint="Set FLOWSTEAD_HOME to a shorter path.")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise HomeUnwritable(f"Cannot listen on {path}: {error.strerror or error}.") from error
    return listener


def listen_on_port(port: int = 0) -> socket.socket:
    """A TCP socket on the loopback interface; any free port for 0. Raises OSError when the port is taken."""
    # Of this protocol by name, or asyncio leaves Nagle's algorithm on, which holds small answers back for 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform == "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


class ApiServer:
    """Serves `app` on these listening sockets, which it closes. `run` blocks until `stop`, from any thread."""

    def __init__(
        self, app: App | OpeningApp, *, unix: socket.socket | None, tcp: socket.socket | None, grace: float = 3.0
    ) -> None:
        self._sockets = [listener for listener in (unix, tcp) if listener is not None]
        if tcp is not None:
            app.security.allow(tcp.getsockname()[1])
        config = uvicorn.Config(
            app,
            http=_Connection,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=SECONDS_KEPT_ALIVE,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        )
        self._server = _Server(config, app, grace)

    def run(self) -> None:
        """Serves until `stop`; open streams are cut off then, and other answers have the grace time to go out."""
        self._server.run(self._sockets)

    def stop(self) -> None:
        """Ends `run`. Safe in a signal handler and in any thread, before and after `run` too."""
        self._server.stop()


class _Server(uvicorn.Server):
    """uvicorn's server without its own signals, and without looking ten times a second whether it must end."""

    def __init__(self, config: uvicorn.Config, app: App | OpeningApp, grace: float) -> None:
        super().__init__(config)
        self._app = app
        self._grace = grace
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def stop(self) -> None:
        self.should_exit = True
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(self._stop.set)

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        # Race: it may have been stopped before there was a loop to tell.
        if not self.should_exit:
            with _woken_by_signals(self._loop):
                await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._app.close_streams()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        state = self.server_state
        deadline = asyncio.get_running_loop().time() + self._grace
        while (state.connections or state.tasks) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(state.connections):
            connection.transport.abort()
        for task in list(state.tasks):
            task.cancel()


@contextlib.contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """Lets the loop of the main thread wake for every signal.

    Race: the system may hand a signal to any thread, but Python's handlers run in the main one, and only once it wakes.
    """
    if os.name != "posix" or threading.current_thread() is not threading.main_thread():
        yield
        return
    told, tells = socket.socketpair()
    with told, tells:
        told.setblocking(False)
        tells.setblocking(False)
        loop.add_reader(told, told.recv, 4096)
        before = signal.set_wakeup_fd(tells.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(told)


class _Connection(H11Protocol):
    """One connection: whose it is, how long it may take, and what it does without a request."""

    _timer: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None
    _since = 0.0
    own_user = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        found: socket.socket = transport.get_extra_info("socket")
        super().connection_made(transport)
        if hasattr(socket, "AF_UNIX") and found.family == socket.AF_UNIX:
            if _peer(found) != os.geteuid():
                _log.warning("A connection of another user was refused.")
                transport.abort()
                return
            self.own_user = True
            self.app_state = {**self.app_state, "own_user": True}
        self._since = self.loop.time()
        self._timer = self.loop.call_later(SECONDS_FOR_REQUEST, self._give_up)
        self._make_room()

    def _make_room(self) -> None:
        connections = [each for each in self.connections if isinstance(each, _Connection)]
        # Race: those that were told to go are among them until the loop has come to it.
        same = [each for each in connections if each.own_user is self.own_user and not each.transport.is_closing()]
        if len(same) > MOST_CONNECTIONS:
            idle = [each for each in same if each is not self and not each.is_answering]
            min(idle, key=lambda each: each._since, default=self).transport.abort()

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._since = self.loop.time()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._disarm()
        elif self._timer is None:
            self._timer = self.loop.call_later(SECONDS_FOR_REQUEST, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self._is_bringing_a_file:
            self._timer = self.loop.call_later(SECONDS_FOR_REQUEST, self._give_up)
        else:
            self.transport.abort()

    @property
    def _is_bringing_a_file(self) -> bool:
        """Whether a large body is under way: bytes have come of late, or it is our disk that they wait for."""
        if self.conn.their_state is not h11.SEND_BODY or not self.scope.get("state", {}).get("receives", False):
            return False
        return self.flow.read_paused or self.loop.time() - self._since < SECONDS_STALLED

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_stall()

    def _watch_stall(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        self._stall = self.loop.call_later(SECONDS_STALLED, self._on_stall, unsent)

    def _on_stall(self, unsent: int) -> None:
        # A stream may be paused for hours (`flowstead logs -f | less`), and costs little meanwhile.
        streaming = self.is_answering and self.scope.get("state", {}).get("streams", False)
        if self.transport.get_write_buffer_size() == unsent and (self.transport.is_closing() or not streaming):
            self.transport.abort()
        else:
            self._watch_stall()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_watching()

    def _stop_watching(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._stop_watching()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, in the shape that every error has."""
        content = {"code": "bad-request", "message": "This is no HTTP request.", "hint": "", "detail": {}}
        body = orjson.dumps(content)
        headers = {
            **HEADERS,
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        try:
            for event in (
                h11.Response(status_code=400, headers=list(headers.items()), reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:
            pass  # an answer is under way already
        self.transport.close()


def _peer(connection: socket.socket) -> int | None:
    """The user at the other end of a Unix socket; None when the system does not tell."""
    try:
        if sys.platform == "linux":
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.unpack("3i", credentials)[1]
        # struct xucred of macOS and the BSDs: version, uid, number of groups, groups.
        level, option = 0, getattr(socket, "LOCAL_PEERCRED", 1)
        return struct.unpack_from("2I", connection.getsockopt(level, option, 76))[1]
    except OSError:
        return None
