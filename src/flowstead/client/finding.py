"""Which daemon serves this home: who holds its lock, where it listens, and whether it answers.

The lock is what counts. It dies with its holder, so a `daemon.json` that was left behind by a killed daemon is never
believed, whatever its port or its process number has become meanwhile.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.model.errors import DaemonLost, DaemonUnreachable, DaemonUnresponsive
from flowstead.model.lock_holder import is_held, note_of

if TYPE_CHECKING:
    from flowstead.client.http import HttpTransport

SECONDS_TO_ANSWER = 5.0
"""How long a daemon may take to say that it is there."""

COMMAND = "flowstead daemon"
"""As what the daemon holds its own lock and those of the workspaces that it runs."""

RUNTIME_FOLDER_PREFIX = "flowstead-"
"""Of the folder that is made for a socket where the home's own path is too long for one."""


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """What a daemon says about itself in `daemon.json`; `socket` is None where there are no Unix sockets."""

    pid: int
    version: str
    socket: str | None
    url: str
    started_at: str

    @classmethod
    def read(cls, folder: Path) -> DaemonInfo | None:
        """What stands in the home `folder`, be it true or left behind; None when there is nothing to read."""
        try:
            return cls(**json.loads((folder / "daemon.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def daemon_pid(folder: Path) -> int | None:
    """The process that is the daemon of the home `folder`, also while it starts or ends; None when there is none."""
    path = folder / "daemon.lock"
    return int(note_of(path).get("pid", 0)) or None if is_held(path) else None


def find_daemon(folder: Path) -> DaemonInfo | None:
    """The daemon that serves the home `folder`; None when there is none, or none that listens yet."""
    info = DaemonInfo.read(folder)
    return info if info is not None and info.pid == daemon_pid(folder) else None


def clear_away(folder: Path) -> None:
    """Removes what leads to the daemon of the home `folder`. Only for who holds its lock."""
    left = DaemonInfo.read(folder)
    with contextlib.suppress(OSError):
        (folder / "daemon.json").unlink(missing_ok=True)
        if left is None or left.socket is None:
            return
        path = Path(left.socket)
        path.unlink(missing_ok=True)
        if path.parent.name.startswith(RUNTIME_FOLDER_PREFIX):
            path.parent.rmdir()


def transport_to(info: DaemonInfo, folder: Path, *, seconds: float | None = None) -> HttpTransport:
    """The way to a daemon; `seconds` limits how long an answer may take. Raises DaemonUnreachable."""
    from flowstead.client.http import SECONDS_TO_ANSWER as LONGEST
    from flowstead.client.http import HttpTransport

    if info.socket is not None:
        return HttpTransport(f"unix:{info.socket}", patience=seconds or LONGEST)
    try:
        token = (folder / "token").read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise DaemonUnreachable(f"The daemon's token cannot be read: {error}.") from error
    return HttpTransport(info.url, token=token, patience=seconds or LONGEST)


def ping(info: DaemonInfo, folder: Path, *, seconds: float = SECONDS_TO_ANSWER) -> dict[str, Any]:
    """What the daemon says of its health. Raises DaemonUnresponsive after `seconds`, and DaemonUnreachable."""
    transport = transport_to(info, folder, seconds=seconds)
    try:
        return transport.request("GET", "/health", {})
    except DaemonLost as error:
        if not isinstance(error.__cause__, TimeoutError):
            raise
        raise DaemonUnresponsive(
            f"The daemon (process {info.pid}) does not answer; it was given {seconds:g} s.", pid=info.pid
        ) from error
    finally:
        transport.close()
