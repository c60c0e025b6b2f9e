"""Where the daemon listens, and the file that tells it to others. For the holder of the home's lock alone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
from pathlib import Path

from flowstead.client.finding import RUNTIME_FOLDER_PREFIX, DaemonInfo, clear_away
from flowstead.daemon.server import LONGEST_SOCKET_PATH, listen_on_path, listen_on_port
from flowstead.model.errors import FlowsteadError, HomeUnwritable
from flowstead.model.run import iso, now_us
from flowstead.version import __version__
from flowstead.workspace.known import machine_database


class Endpoints:
    """Listens on a Unix socket, where there are such, and on `port` of the loopback interface.

    For 0, that is the port of last time if it is free, so that a browser's pages go on, else any free one. Raises
    HomeUnwritable, and FlowsteadError (`port-taken`).
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        clear_away(folder)
        self.tcp = _loopback(port)
        self.unix: socket.socket | None = None
        path: Path | None = None
        if hasattr(socket, "AF_UNIX") and sys.platform != "win32":
            path = _socket_path(folder)
            self.unix = listen_on_path(path)
        number = self.tcp.getsockname()[1]
        _remember(number)
        self.info = DaemonInfo(
            pid=os.getpid(),
            version=__version__,
            socket=None if path is None else str(path),
            url=f"http://127.0.0.1:{number}",
            started_at=iso(now_us()) or "",
        )

    def announce(self) -> None:
        """Tells others. Raises HomeUnwritable."""
        path = self._folder / "daemon.json"
        part = path.with_suffix(".json.part")
        try:
            part.unlink(missing_ok=True)
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(self.info.as_dict(), file)
            os.replace(part, path)
        except OSError as error:
            raise HomeUnwritable(f"Cannot write {path}: {error.strerror}.") from error

    def withdraw(self) -> None:
        """Removes what would lead others here."""
        clear_away(self._folder)


def _socket_path(folder: Path) -> Path:
    """`daemon.sock` of the home; where that is too long for a socket, in a new folder of this user's."""
    usual = folder / "daemon.sock"
    if _fits(usual):
        return usual
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        if base and os.access(base, os.W_OK) and _fits(Path(base, f"{RUNTIME_FOLDER_PREFIX}12345678", usual.name)):
            return Path(tempfile.mkdtemp(prefix=RUNTIME_FOLDER_PREFIX, dir=base), usual.name)
    raise HomeUnwritable(f"{usual} is too long for a socket.", hint="Set FLOWSTEAD_HOME to a shorter path.")


def _fits(path: Path) -> bool:
    return len(os.fsencode(path)) <= LONGEST_SOCKET_PATH


def _loopback(port: int) -> socket.socket:
    if port == 0:
        with contextlib.suppress(OSError, OverflowError):
            return listen_on_port(_remembered())
        return listen_on_port()
    try:
        return listen_on_port(port)
    except (OSError, OverflowError) as error:
        why = "there is no such port" if isinstance(error, OverflowError) else error.strerror
        raise FlowsteadError(
            f"Cannot listen on port {port} of the loopback interface: {why}.",
            code="port-taken",
            hint="Set another daemon_port in settings.toml, or none: then any free one is taken.",
            port=port,
        ) from error


def _remembered() -> int:
    """The port of last time; 0 when there was none."""
    with machine_database() as connection:
        row = connection.execute("SELECT value FROM choices WHERE name = 'daemon_port'").fetchone()
    return int(row[0]) if row else 0


def _remember(port: int) -> None:
    with machine_database() as connection:
        connection.execute(
            "INSERT INTO choices VALUES ('daemon_port', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(port),),
        )
