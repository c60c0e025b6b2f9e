"""What Jupyter asks for a kernel's environment: one of the pool, or the one that a flow runs in.

An environment of the pool is leased to the kernel's own process: it goes back when the kernel ends, or is deleted where
the kernel's user has installed something. While a kernel is ended on purpose, this process holds the lease, so that a
restart finds the environment as it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from traitlets import Float, Unicode

from flowstead.client.finding import transport_to
from flowstead.client.launching import running_daemon
from flowstead.client.machine_client import MachineClient
from flowstead.model.errors import FlowsteadError, PoolRefused
from flowstead.model.home import home

PYTHON = "flowstead-python"
"""Stands in a kernel's command for the interpreter of the environment that it gets."""

SECONDS_BETWEEN_TRIES = 0.1
_ENDING_SIGNALS = {getattr(signal, name) for name in ("SIGKILL", "SIGTERM") if hasattr(signal, name)}


class FlowsteadProvisioner(LocalProvisioner):
    """`pool` names the kind of environment to take; `flow` and `workspace` a flow whose environment to use instead."""

    pool: str = Unicode("uv", config=True)  # type: ignore[assignment]
    flow: str = Unicode("", config=True)  # type: ignore[assignment]
    workspace: str = Unicode("", config=True)  # type: ignore[assignment]
    seconds: float = Float(600.0, config=True, help="How long the first build of an environment may take.")  # type: ignore[assignment]

    _path: str | None = None
    """What was taken from the pool."""
    _python: str = ""
    _digest: str | None = None
    """Of the flow's environment, where it has one of its own."""

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        await asyncio.to_thread(self._find_flow_environment if self.flow else self._take)
        kwargs = await super().pre_launch(**kwargs)
        kwargs["cmd"] = [self._python if word == PYTHON else word for word in kwargs["cmd"]]
        environment = dict(kwargs.get("env") or os.environ)
        folder = Path(self._python).parent
        # What a cell starts by name is that of its environment, as what it imports is.
        environment["PATH"] = os.pathsep.join((str(folder), environment.get("PATH", "")))
        for name in ("PYTHONHOME", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"):
            environment.pop(name, None)
        environment["VIRTUAL_ENV"] = str(folder.parent)
        kwargs["env"] = environment
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        info = await super().launch_kernel(cmd, **kwargs)
        if self.pid is not None:
            await asyncio.to_thread(self._use_flow_environment if self.flow else self._lease_to, self.pid)
        return info

    async def shutdown_requested(self, restart: bool = False) -> None:
        await asyncio.to_thread(self._lease_to, os.getpid())
        await super().shutdown_requested(restart)

    async def send_signal(self, signum: int) -> None:
        if signum in _ENDING_SIGNALS:
            await asyncio.to_thread(self._lease_to, os.getpid())
        await super().send_signal(signum)

    async def cleanup(self, restart: bool = False) -> None:
        if not restart:
            await asyncio.to_thread(self._give_back)
        await super().cleanup(restart)

    async def get_provisioner_info(self) -> dict[str, Any]:
        return {**await super().get_provisioner_info(), "flowstead_path": self._path, "flowstead_python": self._python}

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        await super().load_provisioner_info(provisioner_info)
        self._path = provisioner_info["flowstead_path"]
        self._python = provisioner_info["flowstead_python"]

    # -- in threads, for each waits for the daemon ----------------------------------------------------------------

    def _take(self) -> None:
        """Takes an environment, or keeps that of before the restart. Raises FlowsteadError."""
        if self._path is not None and self._lease_to(os.getpid()):
            return
        deadline = time.monotonic() + self.seconds
        with _daemon() as machine:
            while True:
                try:
                    member = machine.pool_take(self.pool, os.getpid())
                    break
                except PoolRefused as error:
                    if error.code != "pool-warming" or time.monotonic() > deadline:
                        raise
                time.sleep(SECONDS_BETWEEN_TRIES)
        self._path, self._python = member["path"], member["python"]
        if member["base_only"]:
            self.log.warning("The packages of the settings could not be installed: flowstead pool status")

    def _lease_to(self, pid: int) -> bool:
        """Lets a process hold what was taken; whether it still is ours."""
        path = self._path
        return path is not None and self._asked(lambda machine: machine.pool_lease(path, pid))

    def _give_back(self) -> None:
        path, self._path = self._path, None
        if path is not None and not self._asked(lambda machine: machine.pool_return(path)):
            self._asked(lambda machine: machine.pool_discard(path))

    def _asked(self, ask: Callable[[MachineClient], Any]) -> bool:
        """Whether the daemon did what it was asked for. A kernel does not end because the daemon did."""
        try:
            with _daemon() as machine:
                ask(machine)
        except FlowsteadError as error:
            self.log.debug("%s: %s", error.code, error.message)
            return False
        return True

    def _find_flow_environment(self) -> None:
        """The interpreter of the flow's environment, built where it is not there. Raises FlowsteadError."""
        with _daemon() as machine:
            key = machine.open(Path(self.workspace))["workspace"]
            with machine.client(key) as client:
                for item in client.prepare(self.flow, kernel=True):
                    if item is not None and "ready" in item:
                        self._python, self._digest = item["ready"]["python"], item["ready"]["digest"]

    def _use_flow_environment(self, pid: int) -> None:
        """Keeps the flow's environment from being tidied away while the kernel lives."""
        digest = self._digest
        if digest is not None:
            self._asked(lambda machine: machine.use_environment(digest, pid, "kernel"))


def _daemon() -> MachineClient:
    return MachineClient(transport_to(running_daemon(home()), home()))
