"""Jupyter's own client starts real kernels from the pool and in a flow's environment, and runs cells in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from flowstead.client import MachineClient
from flowstead.client.finding import daemon_pid, transport_to
from flowstead.client.launching import running_daemon
from flowstead.jupyter.kernels import install_kernel, kernels, uninstall_kernel
from flowstead.model.errors import EnvironmentUnusable, NotFound, UsageError

SECONDS = 120
WHEELS = os.environ.get("FLOWSTEAD_TEST_WHEELS")

needs_wheels = pytest.mark.skipif(
    WHEELS is None, reason="FLOWSTEAD_TEST_WHEELS names no folder with wheels of ipykernel and what it needs"
)
# What these libraries leave open or call by an old name is theirs.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture
def machine(
    home: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MachineClient]:
    """A daemon with a pool of two; Jupyter's own folders are the test's."""
    variables = {
        "FLOWSTEAD_POOL_UV": "2",
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "uv-cache"),
        "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        **({"UV_FIND_LINKS": WHEELS} if WHEELS else {}),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with MachineClient(transport_to(running_daemon(home), home)) as machine:
        yield machine
    pid = daemon_pid(home)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: daemon_pid(home) is None, "the daemon has ended")


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.01)
    return found


class Kernel:
    """A kernel that Jupyter's client has started; `run` executes a cell and gives what it printed."""

    def __init__(self, name: str) -> None:
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel()
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str) -> str:
        printed: list[str] = []

        def on_output(message: dict[str, Any]) -> None:
            if message["msg_type"] == "stream":
                printed.append(message["content"]["text"])
            elif message["msg_type"] == "error":
                raise AssertionError("\n".join(message["content"]["traceback"]))

        self.client.execute_interactive(code, timeout=SECONDS, output_hook=on_output)
        return "".join(printed).strip()

    def restart(self, *, now: bool) -> None:
        self.client.stop_channels()
        self.manager.restart_kernel(now=now)
        self._connect()

    def end(self, *, now: bool = False) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=now)


def lent(machine: MachineClient) -> dict[str, int]:
    """Paths that are lent, and their holders."""
    return {each["path"]: each["holder"] for each in machine.pool_status()["members"] if each["state"] == "lent"}


def full(machine: MachineClient) -> None:
    until(lambda: machine.pool_status()["kinds"][0]["ready"] == 2, "the pool is full")


@needs_wheels
@pytest.mark.parametrize("now", [False, True])
def test_a_kernel_of_the_pool(machine: MachineClient, now: bool) -> None:
    install_kernel("flowstead", "Flowstead", config={"pool": "uv"})
    kernel = Kernel("flowstead")
    prefix = kernel.run("import sys; print(sys.prefix)")
    pid = int(kernel.run("import os; print(os.getpid())"))
    assert lent(machine) == {prefix: pid}, "the kernel's own process holds it"
    Path(prefix, "lib", "mine").write_text("x")
    kernel.restart(now=now)
    assert kernel.run("import sys; print(sys.prefix)") == prefix, "a restart keeps the environment"
    again = int(kernel.run("import os; print(os.getpid())"))
    assert lent(machine) == {prefix: again} and again != pid
    assert Path(prefix, "lib", "mine").exists()
    Path(prefix, "lib", "mine").unlink()
    full(machine)
    kernel.end(now=now)
    assert lent(machine) == {}
    full(machine)
    until(lambda: len(machine.pool_status()["members"]) == 2, "what is too many is deleted")


@needs_wheels
def test_three_kernels_at_once_have_three_environments(machine: MachineClient) -> None:
    install_kernel("flowstead", "Flowstead", config={"pool": "uv"})
    full(machine)
    running = [Kernel("flowstead") for _ in range(3)]
    prefixes = {each.run("import sys; print(sys.prefix)") for each in running}
    assert len(prefixes) == 3 and set(lent(machine)) == prefixes
    # One is killed by force, one has installed something: both are gone with their kernels.
    os.kill(int(running[0].run("import os; print(os.getpid())")), signal.SIGKILL)
    running[1].run("import sys, pathlib; pathlib.Path(sys.prefix, 'added').write_text('x')")
    for kernel in running:
        kernel.end()
    until(lambda: not lent(machine), "all are reclaimed")
    full(machine)


@needs_wheels
def test_a_kernel_in_a_flows_environment(machine: MachineClient, workspace: Any) -> None:
    workspace.module(
        "needs",
        """
        # /// script
        # dependencies = ["wcwidth"]
        # ///
        from flowstead import Flow

        def build():
            return Flow("Needs").step(first)

        def first(context):
            pass
        """,
    )
    install_kernel("flowstead-needs", "needs", config={"flow": "needs", "workspace": str(workspace.root)})
    kernel = Kernel("flowstead-needs")
    assert kernel.run("import wcwidth, flowstead; print(wcwidth.wcwidth('a'))") == "1"
    prefix = kernel.run("import sys; print(sys.prefix)")
    assert "environments" in prefix and lent(machine) == {}
    pid = int(kernel.run("import os; print(os.getpid())"))
    (environment,) = [each for each in machine.environments()["environments"] if pid in each["in_use"]]
    with pytest.raises(EnvironmentUnusable):
        machine.remove_environment(environment["digest"])
    kernel.end()
    assert Path(prefix).exists()
    until(lambda: machine.environment(environment["digest"])["in_use"] == [], "nothing uses it any more")


def test_entries_are_added_listed_and_removed(tmp_path: Path) -> None:
    flow = {"flow": "daily", "workspace": "/w"}
    install_kernel("Flowstead-Daily", "Daily", config=flow, prefix=tmp_path)
    made = install_kernel("flowstead", "Flowstead", config={"pool": "uv"}, prefix=tmp_path)
    (tmp_path / "share" / "jupyter" / "kernels" / "foreign").mkdir()
    (tmp_path / "share" / "jupyter" / "kernels" / "foreign" / "kernel.json").write_text('{"argv": ["python"]}')
    spec = json.loads((made.folder / "kernel.json").read_text())
    assert spec["metadata"]["kernel_provisioner"]["provisioner_name"] == "flowstead"
    found = {each.name: each for each in kernels(tmp_path)}
    assert found["flowstead"].pool == "uv" and found["flowstead"].flow is None
    assert (found["flowstead-daily"].flow, found["flowstead-daily"].pool) == ("daily", None)
    assert "foreign" not in found
    install_kernel("flowstead", "Another title", config={"pool": "uv"}, prefix=tmp_path)
    assert uninstall_kernel("flowstead", tmp_path) == made.folder and not made.folder.exists()
    for name in ("flowstead", "foreign"):
        with pytest.raises(NotFound):
            uninstall_kernel(name, tmp_path)
    with pytest.raises(UsageError):
        install_kernel("a/../b", "x", config={}, prefix=tmp_path)


def test_the_commands(tmp_path: Path, home: Path, workspace: Any) -> None:
    import sys

    workspace.module(
        "daily", "from flowstead import Flow\ndef build(): return Flow('D').step(x)\ndef x(context): pass\n"
    )

    def flowstead(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "flowstead", "jupyter", *arguments]
        done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == code, done.stderr
        return done.stdout

    prefix = ("--prefix", str(tmp_path))
    kernel = json.loads(flowstead("install", *prefix, "--json"))["kernel"]
    assert (kernel["name"], kernel["pool"]) == ("flowstead", "uv")
    assert "flowstead-daily" in flowstead("install", "--flow", "daily", *prefix)
    flowstead("install", "--flow", "absent", *prefix, code=3)
    flowstead("install", "--user", *prefix, code=2)
    assert {each["name"] for each in json.loads(flowstead("list", *prefix, "--json"))["kernels"]} == {
        "flowstead",
        "flowstead-daily",
    }
    assert "daily in" in flowstead("list", *prefix)
    assert str(tmp_path) in flowstead("uninstall", "flowstead", *prefix)
    flowstead("uninstall", "flowstead", *prefix, code=3)
