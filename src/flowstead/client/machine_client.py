"""What can be asked of the daemon itself, and the way from it to a workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from flowstead.client.client import Client, Transport
from flowstead.client.finding import find_daemon, transport_to
from flowstead.client.http import HttpTransport
from flowstead.model.errors import DaemonUnreachable
from flowstead.model.home import home


class MachineClient:
    """The daemon as a surface sees it; answers are the JSON of the routes of the same names. Use it with `with`.

    Every call raises DaemonUnreachable when nobody answers.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __enter__(self) -> MachineClient:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def health(self) -> dict[str, Any]:
        """`{status, version, pid, started_at, workspaces}`."""
        return self._transport.request("GET", "/health", {})

    def workspaces(self) -> dict[str, Any]:
        """The workspaces that this machine knows, and its collection roots."""
        return self._transport.request("GET", "/workspaces", {})

    def open(self, path: Path) -> dict[str, Any]:
        """Opens the workspace at `path`; returns its row, whose `workspace` is its key. Raises WorkspaceNotFound."""
        return self._transport.request("POST", "/workspaces", {"path": os.path.abspath(path)})

    def create(self, path: Path) -> dict[str, Any]:
        """Makes a folder a workspace and opens it; returns its row. Raises StorageError."""
        return self._transport.request("POST", "/workspaces/create", {"path": os.path.abspath(path)})

    def create_demo(self, path: Path) -> dict[str, Any]:
        """Lays the demo out in a folder and opens its workspace; returns its row. Raises StorageError."""
        return self._transport.request("POST", "/workspaces/demo", {"path": os.path.abspath(path)})

    def close_workspace(self, key: str) -> None:
        """Closes a workspace: what is under way in it becomes interrupted. Raises NotFound when it is not open."""
        self._transport.request("POST", f"/workspaces/{key}/close", {})

    def kill_workspace(self, key: str) -> dict[str, Any]:
        """Stops everything in a workspace by force: `{killed, workers, released}`. Raises NotFound when not open."""
        return self._transport.request("POST", f"/workspaces/{key}/kill", {})

    def stop(self) -> None:
        """Asks the daemon to end."""
        self._transport.request("POST", "/daemon/stop", {})

    def pool_status(self) -> dict[str, Any]:
        """`{kinds, members}`: how the pool stands."""
        return self._transport.request("GET", "/pool", {})

    def pool_ping(self) -> dict[str, Any]:
        """`{running, pid}`: whether the pool is tended."""
        return self._transport.request("GET", "/pool/ping", {})

    def pool_take(self, kind: str, pid: int) -> dict[str, Any]:
        """An environment for the process `pid`, until it is returned or that process ends: `{path, python, ...}`.

        Raises NotFound, PoolRefused (`pool-off`, `pool-warming` while there is none yet, `pool-holder-gone`), and what
        keeps environments from being built.
        """
        return self._transport.request("POST", "/pool/take", {"kind": kind, "pid": pid})

    def pool_return(self, path: str) -> dict[str, Any]:
        """Gives an unchanged environment back. Raises PoolRefused (`pool-foreign`, `pool-not-lent`, `pool-changed`)."""
        return self._transport.request("POST", "/pool/return", {"path": path})

    def pool_discard(self, path: str) -> dict[str, Any]:
        """Has an environment deleted that was taken, changed or not. Raises PoolRefused."""
        return self._transport.request("POST", "/pool/return", {"path": path, "discard": True})

    def pool_lease(self, path: str, pid: int) -> dict[str, Any]:
        """Lets another process hold what was taken. Raises PoolRefused."""
        return self._transport.request("POST", "/pool/lease", {"path": path, "pid": pid})

    def pool_flush(self, kind: str | None = None) -> dict[str, Any]:
        """Deletes what is ready, of one kind or all, and makes it anew: `{cleared}`. Raises NotFound."""
        return self._transport.request("POST", "/pool/flush", {"kind": kind})

    def pool_shutdown(self, kind: str | None = None) -> dict[str, Any]:
        """Deletes what is ready and makes no more until `pool_flush`: `{cleared}`. Raises NotFound."""
        return self._transport.request("POST", "/pool/shutdown", {"kind": kind})

    def launch_path(self) -> str:
        """Where a browser gets its session, once, within a minute: a path below the daemon's URL."""
        return self._transport.request("POST", "/launch-tokens", {})["path"]

    def guides(self) -> list[dict[str, Any]]:
        """The project's guides: `[{name, title, headings}]`."""
        return self._transport.request("GET", "/guides", {})["guides"]

    def guide(self, name: str) -> dict[str, Any]:
        """One of them, with its Markdown as `text`. Raises NotFound."""
        return self._transport.request("GET", f"/guides/{name}", {})

    def settings(self) -> dict[str, Any]:
        """The settings of this machine: `{path, tag, problem, unknown, settings}`."""
        return self._transport.request("GET", "/settings", {})

    def change_settings(self, tag: str, changes: dict[str, Any]) -> dict[str, Any]:
        """Changes settings.toml, of which `tag` was read; None means the default. Returns all settings as they are.

        Raises UsageError naming a bad entry, TransitionRefused (`edit-conflict`).
        """
        return self._transport.request("POST", "/settings", {"tag": tag, "changes": changes})

    def environments(self) -> dict[str, Any]:
        """Those there are: `{folder, size, environments}`, the last used first."""
        return self._transport.request("GET", "/environments", {})

    def environment(self, digest: str) -> dict[str, Any]:
        """One of them, by its digest or the beginning of it. Raises NotFound, UsageError."""
        return self._transport.request("GET", f"/environments/{digest}", {})

    def pin_environment(self, digest: str, *, pinned: bool) -> dict[str, Any]:
        """Keeps it from being tidied away, or no longer; returns it. Raises NotFound, UsageError."""
        return self._transport.request("POST", f"/environments/{digest}/pin", {"pinned": pinned})

    def use_environment(self, digest: str, pid: int, purpose: str) -> dict[str, Any]:
        """Keeps it for as long as a process lives; returns it. Raises NotFound, EnvironmentUnusable."""
        return self._transport.request("POST", f"/environments/{digest}/use", {"pid": pid, "purpose": purpose})

    def remove_environment(self, digest: str) -> str:
        """Deletes it; returns its digest. Raises NotFound, UsageError, EnvironmentUnusable while it is in use."""
        return self._transport.request("POST", f"/environments/{digest}/remove", {})["removed"]

    def collect_environments(self, *, dry_run: bool) -> list[dict[str, Any]]:
        """Tidies away what nobody needs: `[{digest, id, step, why, size}]`."""
        return self._transport.request("POST", "/environments/collect", {"dry_run": dry_run})["collected"]

    def client(self, key: str) -> Client:
        """A client of the workspace of that key, in the daemon; it has connections of its own."""
        assert isinstance(self._transport, HttpTransport)
        return Client(self._transport.at(f"/api/v1/workspaces/{key}"), outlived=True)


def connect(workspace: str | Path, *, url: str | None = None, token: str | None = None) -> Client:
    """A client of the workspace at that path, through the daemon of this machine.

    `url` names another daemon, as `http://127.0.0.1:PORT`, whose `token` is in the file `token` of its home. Raises
    DaemonUnreachable and WorkspaceNotFound.
    """
    transport = HttpTransport(url, token=token) if url is not None else daemon_transport(home())
    with MachineClient(transport) as machine:
        return machine.client(machine.open(Path(workspace))["workspace"])


def daemon_transport(folder: Path) -> HttpTransport:
    """The way to the daemon whose home is `folder`. Raises DaemonUnreachable when none serves it."""
    info = find_daemon(folder)
    if info is None:
        raise DaemonUnreachable(f"No daemon serves {folder}.")
    return transport_to(info, folder)
