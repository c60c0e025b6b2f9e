"""What a command is given beside its own arguments: the workspace, and the connection to it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from flowstead.client import Client
from flowstead.model.errors import DaemonUnreachable, DaemonUnresponsive, WorkspaceNotFound
from flowstead.model.home import home
from flowstead.model.lock_holder import is_held, note_of
from flowstead.version import __version__
from flowstead.workspace.layout import WorkspaceLayout, find_workspace

if TYPE_CHECKING:
    from cyclopts import App

    from flowstead.client.finding import DaemonInfo


@dataclass
class Invocation:
    """One call of the command line; `chosen` is the value of --workspace."""

    chosen: Path | None
    app: App

    def root(self) -> Path:
        """The workspace to use. Raises WorkspaceNotFound."""
        return find_workspace(chosen=self.chosen)

    def client(self, root: Path, command: str, *, wait: bool = True) -> Client:
        """A client of the workspace at `root`: through the daemon when that runs it, else served in this process.

        `command` is what others are told, once something runs here. When another process runs the workspace, requests
        that need it wait, saying so on stderr; without `wait` they raise WorkspaceBusy. Raises DaemonUnresponsive.
        """
        client = _client_of_daemon(root)
        if client is not None:
            return client
        from flowstead.daemon.embedded import embedded

        return Client(embedded(root, command=f"flowstead {command}", on_wait=_tell_wait if wait else None))

    def daemon_client(self, root: Path) -> Client:
        """A client of the workspace at `root` through the daemon, which is started when there is none.

        Raises WorkspaceNotFound, DaemonUnresponsive, and what keeps a daemon from starting.
        """
        from flowstead.client.finding import transport_to
        from flowstead.client.launching import running_daemon
        from flowstead.client.machine_client import MachineClient

        info = running_daemon(home())
        _warn_of_version(info)
        with MachineClient(transport_to(info, home())) as machine:
            return machine.client(machine.open(root)["workspace"])

    def command(self, text: str, root: Path | None = None) -> str:
        """A command to copy and paste, that works from the current folder on the workspace at `root`."""
        words = [_program()]
        if root is not None and not self._is_found(root):
            near = os.path.relpath(root)
            words += ["-w", shlex.quote(near if not near.startswith("..") else str(root))]
        return " ".join([*words, text])

    def _is_found(self, root: Path) -> bool:
        try:
            return find_workspace().resolve() == root.resolve()
        except WorkspaceNotFound:
            return False


Call = Annotated[Invocation, Parameter(parse=False)]
"""The type of the `invocation` argument of a command."""


def _client_of_daemon(root: Path) -> Client | None:
    """A client of the workspace at `root` through the daemon, if that is what runs it. Raises DaemonUnresponsive."""
    layout = WorkspaceLayout.of(root)
    if not is_held(layout.engine_lock):
        return None
    # Only now: where no daemon runs, no command waits for what speaks to it.
    from flowstead.client.finding import COMMAND, find_daemon, ping, transport_to

    note = note_of(layout.engine_lock)
    if note.get("command") != COMMAND:
        return None
    info = find_daemon(home())
    if info is None or info.pid != note.get("pid"):
        return None
    try:
        ping(info, home())
    except DaemonUnresponsive:
        raise
    except DaemonUnreachable:
        return None  # it ends at this moment, and gives the workspace free
    _warn_of_version(info)
    from flowstead.client.machine_client import MachineClient

    return MachineClient(transport_to(info, home())).client(layout.key)


def _warn_of_version(info: DaemonInfo) -> None:
    if info.version != __version__:
        said = f"warning: the daemon is version {info.version}, this command {__version__}."
        print(f"{said} Restart it with: flowstead daemon restart", file=sys.stderr)


def _program() -> str:
    """How this program is called from the shell that called it."""
    called = Path(sys.argv[0])
    if called.name.startswith("__main__"):
        return f"{shlex.quote(sys.executable)} -m flowstead"
    on_path = shutil.which("flowstead")
    # `uv run` puts the environment on its own PATH, which the shell around it does not have.
    if (
        on_path is not None
        and "UV_RUN_RECURSION_DEPTH" not in os.environ
        and Path(on_path).resolve() == called.resolve()
    ):
        return "flowstead"
    near = os.path.relpath(called)
    return shlex.quote(near if not near.startswith("..") else str(called.absolute()))


def _tell_wait(holder: dict[str, Any]) -> None:
    from datetime import UTC, datetime

    from flowstead.cli.words import moment

    who = f"process {holder['pid']} ({holder['command']})" if "pid" in holder else "another process"
    since = ""
    if "since" in holder:
        since = f" since {moment(datetime.fromtimestamp(holder['since'], UTC).isoformat())}"
    print(f"The workspace is in use by {who}{since}. Waiting for it to end; Ctrl-C stops waiting.", file=sys.stderr)
