"""The embedded mode: a workspace served within the process that asks, under the same locks as any other engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from flowstead.daemon.routes import OF_MACHINE, OF_WORKSPACES, find
from flowstead.daemon.workspace_host import OnWait, WorkspaceHost

if TYPE_CHECKING:
    from flowstead.daemon.machine import Machine


class EmbeddedTransport:
    """Answers a client's requests from this process, by the routes of what serves them; see client.Transport."""

    def __init__(self, served: WorkspaceHost | Machine) -> None:
        self._served = served
        self._among = OF_WORKSPACES if isinstance(served, WorkspaceHost) else OF_MACHINE

    def request(self, method: str, path: str, fields: dict[str, Any]) -> Any:
        route, values = find(method, path, self._among)
        return route.handler(self._served, **values, **fields)

    def stream(self, method: str, path: str, fields: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
        return self.request(method, path, fields)

    def download(self, method: str, path: str, fields: dict[str, Any], target: BinaryIO) -> None:
        import shutil

        answer = self.request(method, path, fields)
        try:
            with answer.open() as file:
                shutil.copyfileobj(file, target)
        finally:
            answer.sent()

    def upload(self, method: str, path: str, fields: dict[str, Any], source: BinaryIO) -> Any:
        receiver = self.request(method, path, fields)
        try:
            while piece := source.read(1 << 20):
                receiver.write(piece)
            return receiver.finish()
        except BaseException:
            receiver.abort()
            raise

    def close(self) -> None:
        self._served.close()


def embedded(root: Path, *, command: str, on_wait: OnWait | None = None) -> EmbeddedTransport:
    """Serves the workspace at `root` to a client in this process.

    `command` is what other processes are told that holds the workspace, once something runs; see WorkspaceHost for
    `on_wait`. Raises WorkspaceNotFound.
    """
    return EmbeddedTransport(WorkspaceHost(root, command=command, on_wait=on_wait))


def embedded_machine(*, command: str) -> EmbeddedTransport:
    """Serves what belongs to no workspace (the environments of this machine) to a client in this process."""
    from flowstead.daemon.machine import Machine

    return EmbeddedTransport(Machine(command=command))
