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
from flowstead.model.errors import WorkspaceNotFound
from flowstead.workspace.layout import find_workspace

if TYPE_CHECKING:
    from cyclopts import App


@dataclass
class Invocation:
    """One call of the command line; `chosen` is the value of --workspace."""

    chosen: Path | None
    app: App

    def root(self) -> Path:
        """The workspace to use. Raises WorkspaceNotFound."""
        return find_workspace(chosen=self.chosen)

    def client(self, root: Path, command: str, *, wait: bool = True) -> Client:
        """A client of the workspace at `root`. `command` is what others are told, once something runs here.

        When another process runs the workspace, requests that need it wait, saying so on stderr; without `wait` they
        raise WorkspaceBusy.
        """
        from flowstead.daemon.embedded import embedded

        return Client(embedded(root, command=f"flowstead {command}", on_wait=_tell_wait if wait else None))

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
