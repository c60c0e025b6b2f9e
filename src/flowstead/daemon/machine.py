"""The workspaces that one process serves: opened when they are asked for, closed when nobody needs them any more."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.daemon.files.readers import READERS
from flowstead.daemon.log import log
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import NotFound, WorkspaceNotFound
from flowstead.model.home import home
from flowstead.model.settings import Settings
from flowstead.workspace import known
from flowstead.workspace.layout import WorkspaceLayout

if TYPE_CHECKING:
    from flowstead.daemon.pooling import Pooling
    from flowstead.environments.cache import EnvironmentCache

SECONDS_UNUSED = 60.0
"""How long a workspace with nothing under way stays open after the last request."""
SECONDS_BETWEEN_TIDYING = 3600.0


class Machine:
    """Serves workspaces by their key (the name of their folder on this machine); `command` is what others are told.

    `on_stop` ends the process, where that can be asked for.
    """

    def __init__(self, *, command: str) -> None:
        self.command = command
        self.started = time.time()
        self.on_stop: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._hosts: dict[str, WorkspaceHost] = {}
        self._tidied = -SECONDS_BETWEEN_TIDYING
        self._opening_cache = threading.Lock()
        self._cache: EnvironmentCache | None = None
        self._opening_pool = threading.Lock()
        self._pooling: Pooling | None = None

    def open(self, root: Path) -> WorkspaceHost:
        """Opens the workspace at `root`, if it is not open yet. Raises WorkspaceNotFound."""
        layout = WorkspaceLayout.of(root)
        with self._lock:
            host = self._hosts.get(layout.key)
            if host is None:
                host = WorkspaceHost(layout.root, command=self.command, open_cache=self.environments)
                self._hosts[layout.key] = host
                known.remember_served(layout.root)
        # Not under the lock: a share that hangs must not keep others from their workspaces.
        host.hold()
        host.touch()
        return host

    def environments(self) -> EnvironmentCache:
        """The environments of this machine, opened at the first use."""
        with self._opening_cache:
            if self._cache is None:
                from flowstead.environments.cache import EnvironmentCache

                settings = Settings.load(home())
                self._cache = EnvironmentCache(settings.environments_in(home()), settings)
            return self._cache

    def pooling(self) -> Pooling:
        """The pool of this machine, at work from the first use on. Raises HomeUnwritable, UsageError."""
        with self._opening_pool:
            if self._pooling is None:
                from flowstead.daemon.pooling import open_pooling

                self._pooling = open_pooling(home(), self.environments)
            return self._pooling

    def host(self, key: str) -> WorkspaceHost:
        """The workspace of that key; one that is known and not open is opened. Raises WorkspaceNotFound."""
        with self._lock:
            host = self._hosts.get(key)
        if host is not None:
            host.touch()
            return host
        for root in known.known_workspaces():
            if WorkspaceLayout.of(root).key == key:
                return self.open(root)
        raise WorkspaceNotFound(
            f"No workspace {key} is known on this machine.", hint="Add it with: flowstead workspace add PATH"
        )

    @property
    def hosts(self) -> list[WorkspaceHost]:
        """The workspaces that are open, by name."""
        with self._lock:
            return [self._hosts[key] for key in sorted(self._hosts)]

    def tend(self) -> list[str]:
        """Closes what nobody has asked for of late and where nothing happens by itself; returns the names.

        What another process of this machine had when it was opened is held as soon as that is gone. Workers wait for
        the flows that are in use, and environments that nobody needs are let go.
        """
        self._tidy_environments()
        closed: list[str] = []
        for host in self.hosts:
            if host.needed(SECONDS_UNUSED):
                host.hold()
                host.warm_up()
                continue
            with self._lock:
                # Race: someone may have asked for it since.
                if host.needed(SECONDS_UNUSED) or self._hosts.pop(host.layout.key, None) is None:
                    continue
            host.close()
            known.forget_served(host.layout.root)
            closed.append(host.layout.workspace_id)
        return closed

    def _tidy_environments(self) -> None:
        """Lets environments go that nobody needs, from time to time, on a thread of its own: disks can be slow."""
        now = time.monotonic()
        if now - self._tidied >= SECONDS_BETWEEN_TIDYING:
            self._tidied = now
            threading.Thread(target=self._tidy, name="tidy-environments", daemon=True).start()

    def _tidy(self) -> None:
        try:
            if Settings.load(home()).environments_in(home()).is_dir():
                for each in self.environments().collect():
                    log(f"Environment {each.digest[:12]} is {each.step}. {each.why}")
        except Exception as error:
            log("Environments could not be tidied away; it is tried again later.", level=logging.ERROR, error=error)

    def close_workspace(self, key: str) -> None:
        """Closes one workspace: what is under way in it becomes interrupted. Raises NotFound when it is not open."""
        with self._lock:
            host = self._hosts.pop(key, None)
        if host is None:
            raise NotFound(f"No workspace {key} is open here.", code="workspace-not-open")
        known.forget_served(host.layout.root)
        host.close()

    def close(self) -> None:
        """Closes every workspace; the next daemon opens them again."""
        with self._lock:
            hosts, self._hosts = list(self._hosts.values()), {}
        for host in hosts:
            host.close()
        if self._pooling is not None:
            self._pooling.close()
        if self._cache is not None:
            self._cache.close()
        READERS.close()
