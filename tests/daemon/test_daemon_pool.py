"""The pool of a real daemon, filled by uv from wheels that are made here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import SECONDS, Daemon, Daemons, until

from flowstead.client import MachineClient
from flowstead.model.errors import FlowsteadError
from wheels import make_wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for a kernel, and one package more."""
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "ipykernel", requires=("colours",))
    make_wheel(folder, "colours", "2.0")
    make_wheel(folder, "shapes", "3.0")
    return folder


@pytest.fixture
def start(
    daemons: Daemons, home: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Daemon]:
    """Starts the daemon of the home with a pool of three, unless the settings given say otherwise."""
    cache = tmp_path_factory.getbasetemp() / "uv-cache"

    def start(**settings: str) -> Daemon:
        environment = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(cache), **settings}
        return daemons.start(home, **{"FLOWSTEAD_POOL_UV": "3", **environment})

    return start


@pytest.fixture
def processes() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts processes that wait until they are ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=SECONDS)


def uv_of(machine: MachineClient) -> dict[str, Any]:
    return machine.pool_status()["kinds"][0]


def full(machine: MachineClient, number: int = 3) -> dict[str, Any]:
    """Waits until as many are ready, and no more is going on."""

    def look() -> bool:
        kind = uv_of(machine)
        assert kind["ready"] + kind["warming"] <= kind["target"]
        members = machine.pool_status()["members"]
        return kind["ready"] == number and {each["state"] for each in members} <= {"ready", "lent"}

    until(look, "the pool is full")
    return uv_of(machine)


def says(member: dict[str, Any], code: str) -> str:
    """What Python prints in an environment."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [member["python"], "-c", code], capture_output=True, text=True, timeout=SECONDS, env=clean, check=True
    ).stdout.strip()


def code_of(call: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(FlowsteadError) as caught:
        call(*arguments)
    return caught.value.code


def folders(home: Path) -> set[str]:
    return {each.name for each in (home / "pool").iterdir() if each.is_dir()}


def test_three_are_taken_at_once_used_and_returned(start: Callable[..., Daemon], home: Path) -> None:
    with start().machine() as machine:
        full(machine)
        taken: list[dict[str, Any]] = []
        threads = [
            threading.Thread(target=lambda: taken.append(machine.pool_take("uv", os.getpid()))) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert len({each["path"] for each in taken}) == 3
        for member in taken:
            # What runs in it is its own, and what Python compiles in it meanwhile is no change.
            assert says(member, "import sys, ipykernel, colours; print(sys.prefix)") == member["path"]
        assert uv_of(machine)["lent"] == 3
        full(machine)
        assert {machine.pool_return(each["path"])["state"] for each in taken} == {"leaving"}
        full(machine)
        assert len(folders(home)) == 3
        assert code_of(machine.pool_return, taken[0]["path"]) == "pool-not-lent"


def test_a_drained_pool_gives_more(start: Callable[..., Daemon]) -> None:
    with start(FLOWSTEAD_POOL_UV="1").machine() as machine:
        full(machine, 1)
        taken = [machine.pool_take("uv", os.getpid()) for _ in range(4)]
        assert len({each["path"] for each in taken}) == 4
        assert {says(each, "import ipykernel; print(ipykernel.VERSION)") for each in taken} == {"1.0"}
        full(machine, 1)


def test_what_its_holder_changed_goes_with_its_holder(
    start: Callable[..., Daemon], processes: Callable[[], subprocess.Popen[bytes]], wheels: Path
) -> None:
    with start().machine() as machine:
        full(machine)
        holder = processes()
        member = machine.pool_take("uv", holder.pid)
        uv = Path(sys.executable).with_name("uv")
        install = [uv, "pip", "install", "--offline", "--find-links", wheels, "--python", member["python"], "shapes"]
        subprocess.run(install, check=True, capture_output=True, timeout=SECONDS)
        assert code_of(machine.pool_return, member["path"]) == "pool-changed"
        assert says(member, "import shapes; print(shapes.VERSION)") == "3.0", "no file was touched"
        for path in ("/", "/etc", str(Path(member["path"]).parent), f"{member['path']}/../.venv"):
            assert code_of(machine.pool_return, path) == "pool-foreign"
        holder.kill()
        until(lambda: not Path(member["path"]).exists(), "it was reclaimed")
        full(machine)
        others = [machine.pool_take("uv", os.getpid()) for _ in range(3)]
        for other in others:
            assert says(other, "import importlib.util as u; print(u.find_spec('shapes'))") == "None"


def test_a_lease_is_handed_over(start: Callable[..., Daemon], processes: Callable[[], subprocess.Popen[bytes]]) -> None:
    with start(FLOWSTEAD_POOL_UV="1").machine() as machine:
        full(machine, 1)
        server, kernel = processes(), processes()
        member = machine.pool_take("uv", server.pid)
        assert machine.pool_lease(member["path"], kernel.pid)["holder"] == kernel.pid
        server.kill()
        server.wait(SECONDS)
        assert says(member, "print(1)") == "1"
        assert machine.pool_return(member["path"])["holder"] in (None, kernel.pid)
        assert code_of(machine.pool_take, "uv", server.pid) == "pool-holder-gone"


def test_a_package_that_cannot_be_had_is_named_and_done_without(start: Callable[..., Daemon]) -> None:
    with start(FLOWSTEAD_POOL_UV="2", FLOWSTEAD_POOL_UV_PACKAGES="shapes,no-such-thing").machine() as machine:
        kind = full(machine, 2)
        assert kind["base_only"] and kind["package"] == "no-such-thing"
        assert "no-such-thing" in str(kind["error"])
        assert machine.pool_take("uv", os.getpid())["base_only"]


def test_where_even_the_kernel_cannot_be_had_the_error_is_told(start: Callable[..., Daemon], tmp_path: Path) -> None:
    with start(UV_FIND_LINKS=str(tmp_path)).machine() as machine:
        until(lambda: uv_of(machine)["error"], "it failed")
        with pytest.raises(FlowsteadError) as caught:
            machine.pool_take("uv", os.getpid())
        assert "ipykernel" in str(caught.value.as_dict()) and caught.value.code.startswith("environment-")
        assert uv_of(machine)["ready"] == 0


def test_the_next_daemon_goes_on_with_what_a_killed_one_had(
    start: Callable[..., Daemon], home: Path, processes: Callable[[], subprocess.Popen[bytes]]
) -> None:
    daemon = start()
    holder, gone = processes(), processes()
    with daemon.machine() as machine:
        full(machine)
        kept, lost = machine.pool_take("uv", holder.pid), machine.pool_take("uv", gone.pid)
        daemon.kill()  # while it makes two new ones
    gone.kill()
    second = start()
    with second.machine() as machine:
        full(machine)
        assert uv_of(machine)["lent"] == 1 and not Path(lost["path"]).exists()
        ready = {each["path"] for each in machine.pool_status()["members"] if each["state"] == "ready"}
        assert len(folders(home)) == 4
        for each in [machine.pool_take("uv", holder.pid) for _ in range(3)]:
            assert each["path"] in ready and says(each, "import ipykernel; print(1)") == "1"
        machine.pool_return(kept["path"])
    # What is ready outlives an orderly end too, and other packages make it obsolete.
    assert second.terminate() == 0
    with start(FLOWSTEAD_POOL_UV_PACKAGES="shapes").machine() as machine:
        until(lambda: uv_of(machine)["digest"], "the other template is built")
        for _ in range(4):
            member = machine.pool_take("uv", holder.pid)
            assert not member["base_only"] and says(member, "import shapes; print(shapes.VERSION)") == "3.0"


def test_killed_at_any_moment_it_leaves_nothing_half_made(start: Callable[..., Daemon], home: Path) -> None:
    for pause in (0.0, 0.05, 0.15, 0.3, 0.5):
        daemon = start(FLOWSTEAD_POOL_UV="4")
        with daemon.machine() as machine:
            machine.pool_flush()
            until(lambda: uv_of(machine)["warming"] or uv_of(machine)["ready"], "it is at work")
            time.sleep(pause)  # the moment of the kill: no wait for anything
        daemon.kill()
    with start(FLOWSTEAD_POOL_UV="4").machine() as machine:
        full(machine, 4)
        assert len(folders(home)) == 4
        for _ in range(4):
            assert says(machine.pool_take("uv", os.getpid()), "import ipykernel, colours; print(1)") == "1"


def test_without_a_pool_the_daemon_says_so(start: Callable[..., Daemon], home: Path) -> None:
    first = start()
    with first.machine() as machine:
        full(machine)
    assert first.terminate() == 0
    with start(FLOWSTEAD_POOL_UV="0").machine() as machine:
        until(lambda: not folders(home), "what was ready is deleted")
        uv, conda = machine.pool_status()["kinds"]
        assert uv["off"] == "pool_uv is 0 in the settings" and conda["target"] == 0 and conda["off"]
        assert code_of(machine.pool_take, "uv", os.getpid()) == "pool-off"
        assert machine.pool_ping()["running"]
