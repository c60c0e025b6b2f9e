"""Environments as daemons have them: two on one folder build once, and neither loses what the other uses."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from daemons import Daemon, Daemons, until
from serving import items

from flowstead.client import Client
from flowstead.model.errors import EnvironmentPending, EnvironmentUnusable
from wheels import make_sdist, make_wheel

READS = """
import beta
from flowstead import Flow

def read(context):
    context.summary = f"beta {beta.VERSION}"

def build():
    return Flow("Beta").watch(max_parallel=2).step(read)
"""


@pytest.fixture
def variables(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What daemons find around them: one folder of environments, and no network."""
    return {
        "UV_OFFLINE": "1",
        "UV_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "uv-cache"),
        "FLOWSTEAD_ENVIRONMENT_FOLDER": str(tmp_path / "environments"),
        "FLOWSTEAD_ENVIRONMENT_GRACE": "0",
    }


def client_of(daemon: Daemon, root: Path) -> Client:
    with daemon.machine() as machine:
        return machine.client(machine.open(root)["workspace"])


def start(client: Client, flow: str) -> dict[str, Any]:
    try:
        return client.start(flow)
    except EnvironmentPending:
        *_, last = items(client.prepare(flow))
        assert last["ready"]["digest"]
        return client.start(flow, prepared=True)


def test_two_daemons_and_fifty_runs_build_once(
    daemons: Daemons, workspace: Any, tmp_path: Path, variables: dict[str, str]
) -> None:
    make_wheel(tmp_path / "links", "beta", "1.0")
    workspace.module("reads", READS)
    workspace.file("requirements.txt", f"--no-index\n--find-links {tmp_path / 'links'}\nbeta\n")
    other = tmp_path / "other" / "workspace"
    shutil.copytree(workspace.root, other)
    clients = [
        client_of(daemons.start(tmp_path / f"home-{number}", **variables), root)
        for number, root in enumerate((workspace.root, other))
    ]
    # The daemon looks at its flows, sees what is missing, and builds it: both at once.
    for client in clients:
        client.flows()
    for client in clients:
        first = start(client, "reads")
        ids = first["started"] + [client.start("reads", new=True)["started"][0] for _ in range(24)]
        until(lambda: all(run["status"] == "succeeded" for run in client.runs_by_id(ids)), "all 25 ran")  # noqa: B023
        assert {run["summary"] for run in client.runs_by_id(ids)} == {"beta 1.0"}
    built = [path for path in (tmp_path / "environments").glob("*/*") if path.parent.name[0] != "."]
    assert len(built) == 1
    for client in clients:
        client.close()


def test_what_a_worker_runs_in_is_never_collected_by_another_daemon(
    daemons: Daemons, workspace: Any, tmp_path: Path, variables: dict[str, str]
) -> None:
    make_wheel(tmp_path / "links", "beta", "1.0")
    make_wheel(tmp_path / "links", "beta", "2.0")
    workspace.module("reads", READS)
    manifest = workspace.file("requirements.txt", f"--no-index\n--find-links {tmp_path / 'links'}\nbeta==1.0\n")
    owner = daemons.start(tmp_path / "home-1", **variables)
    with client_of(owner, workspace.root) as client:
        started = start(client, "reads")
        until(lambda: client.run(started["started"][0])["status"] == "succeeded", "it ran")
        digest = client.run(started["started"][0])["environment"]
        tidy = daemons.start(tmp_path / "home-2", **variables)
        with tidy.machine() as machine:
            assert machine.environment(digest)["in_use"] == [owner.pid]
            with pytest.raises(EnvironmentUnusable):
                machine.remove_environment(digest)
            manifest.write_text(manifest.read_text().replace("1.0", "2.0"))
            again = client.start("reads")["started"][0]
            until(lambda: client.run(again)["status"] == "succeeded", "it ran in the other one")
            assert client.run(again)["summary"] == "beta 2.0"
            owner.kill()
            assert machine.environment(digest)["in_use"] == []
            assert machine.remove_environment(digest[:10]) == digest


def test_a_queued_run_tells_its_watchers_what_it_waits_for(
    daemons: Daemons, workspace: Any, tmp_path: Path, variables: dict[str, str]
) -> None:
    make_wheel(tmp_path / "links", "beta", "1.0")
    workspace.module("reads", READS.replace("import beta\n", "").replace("(context):", "(context):\n    import beta"))
    daemon = daemons.start(tmp_path / "home", **variables)
    with client_of(daemon, workspace.root) as client:
        assert client.flow("reads")["status"] == "ok"
        workspace.file("requirements.txt", f"--no-index\n--find-links {tmp_path / 'links'}\nbeta\n")
        started = client.start("reads")
        (run_id,) = started["started"]
        seen: list[str] = []
        for event in items(client.events(after=started["after"])):
            row = event["row"]
            if event["kind"] == "run" and row["id"] == run_id:
                seen += [row["waiting_for"]] if row["waiting_for"] else []
                if row["status"] == "succeeded":
                    break
        assert seen and all(text.startswith("its environment: ") for text in seen)
        assert row["waiting_for"] is None and row["environment"]


def test_a_daemon_that_is_killed_while_it_builds_is_no_hindrance_to_the_next(
    daemons: Daemons, workspace: Any, tmp_path: Path, variables: dict[str, str]
) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    make_sdist(tmp_path / "links", "slow", building=f"open({str(gate)!r}).read()")
    workspace.module("reads", READS.replace("import beta\n", "").replace("{beta.VERSION}", "none"))
    home = tmp_path / "home"
    first = daemons.start(home, **variables)
    manifest = workspace.file("requirements.txt", "")
    with client_of(first, workspace.root) as client:
        (run_id,) = start(client, "reads")["started"]
        until(lambda: client.run(run_id)["status"] == "succeeded", "the first run")
        manifest.write_text(f"--no-index\n--find-links {tmp_path / 'links'}\nslow\n")
        (run_id,) = client.start("reads")["started"]
        until(lambda: client.run(run_id)["waiting_for"], "it is being built")
    first.kill()
    manifest.write_text("")
    second = daemons.start(home, **variables)
    with client_of(second, workspace.root) as client:
        # It was queued, and is so again: with the manifest as it is by now there is nothing to wait for.
        resumed = client.resume()
        assert resumed["waiting"] == [run_id] or client.run(run_id)["status"] != "queued"
        until(lambda: client.run(run_id)["status"] == "succeeded", "it goes on")
        with second.machine() as machine:
            assert {row["state"] for row in machine.environments()["environments"]} <= {"ready", "failed"}
