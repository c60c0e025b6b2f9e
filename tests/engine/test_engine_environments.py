"""Flows in environments of their own: runs wait for what they need, start in it, and fail with its words."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from engine_bench import DEADLINE, DRIVER, ended, log_of, run_flow, start, start_one, wait_until

from flowstead.model.errors import EnvironmentPending
from flowstead.model.run import RunRequest
from wheels import make_sdist, make_wheel

READS = """
from flowstead import Flow

def a(context):
    import beta
    context.summary = f"beta {beta.VERSION}"

def build():
    return Flow("GROUP").step(a)
"""
IMPORTS = """
import os
import beta
from flowstead import Flow

def a(context):
    context.summary = f"beta {beta.VERSION} in {os.getpid()}"

def build():
    return Flow(f"With beta {beta.VERSION}").step(a)
"""


@pytest.fixture(autouse=True)
def offline(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "uv-cache"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    return folder


@pytest.fixture
def module(workspace, wheels):
    """Writes a flow module; with requirements also a script block that asks for them."""

    def write(name: str, source: str, *requirements: str, group: str | None = None) -> Path:
        block = ""
        if requirements:
            lines = ["/// script", f"dependencies = {json.dumps(requirements)}", "[tool.uv]", "no-index = true"]
            block = "".join(f"# {line}\n" for line in [*lines, f'find-links = ["{wheels}"]', "///"])
        return workspace.module(name, block + source.replace("GROUP", group or name))

    return write


def environments(bench) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(bench.home / "environments" / "environments.sqlite3")) as database:
        database.row_factory = sqlite3.Row
        return database.execute("SELECT * FROM environments ORDER BY created").fetchall()


def builds(folder: Path) -> list[Path]:
    """Every environment that was ever built there and is there still."""
    return [path for path in folder.glob("*/*") if path.parent.name[0] != "." and path.is_dir()]


def prepared(engine, name: str) -> None:
    """Waits until what a flow needs is there, or cannot be had."""
    path = engine.catalog.path(name)
    wanted = engine.environments.find(path, path.read_bytes()).wanted
    assert engine.environments.request(wanted, again=True).wait(DEADLINE)


def test_two_flows_that_need_different_versions_run_side_by_side(bench, module):
    module("old", READS, "beta==1.0")
    module("new", READS, "beta==2.0")
    engine = bench.engine(parallel_groups=("*",))
    for name in ("old", "new"):
        with pytest.raises(EnvironmentPending):
            start_one(engine, name)
    prepared(engine, "old")
    prepared(engine, "new")
    runs = ended(engine, start_one(engine, "old"), start_one(engine, "new"))
    assert [run.summary for run in runs] == ["beta 1.0", "beta 2.0"]
    assert len({run.environment for run in runs}) == 2
    assert sorted(row["digest"] for row in environments(bench)) == sorted(run.environment for run in runs)


@pytest.mark.skipif("FLOWSTEAD_TEST_WHEELS" not in os.environ, reason="FLOWSTEAD_TEST_WHEELS names no folder of wheels")
def test_two_versions_of_a_real_library_side_by_side(bench, workspace):
    links = os.environ["FLOWSTEAD_TEST_WHEELS"]
    for name, wanted in (("older", "2.0.0"), ("newer", "2.1.0")):
        block = f'# /// script\n# dependencies = ["polars=={wanted}"]\n# [tool.uv]\n# no-index = true\n'
        block += f'# find-links = ["{links}"]\n# ///\nimport polars as beta\n'
        source = READS.replace("    import beta\n", "").replace("beta.VERSION", "beta.__version__")
        workspace.module(name, block + source.replace("GROUP", name))
    engine = bench.engine(parallel_groups=("*",))
    for name in ("older", "newer"):
        prepared(engine, name)
    runs = ended(engine, start_one(engine, "older"), start_one(engine, "newer"))
    assert [run.summary for run in runs] == ["beta 2.0.0", "beta 2.1.0"]
    waiting = {worker.pid for worker in engine.dispatcher.workers.idle}
    assert len(waiting) == 2
    runs = ended(engine, start_one(engine, "older", new=True), start_one(engine, "newer", new=True))
    assert {run.status for run in runs} == {"succeeded"}
    assert {worker.pid for worker in engine.dispatcher.workers.idle} == waiting  # both had their interpreter waiting


def test_a_queued_run_waits_for_what_the_workspace_asks_for_and_tells_how_far_it_is(bench, workspace, module, wheels):
    module("reads", READS)
    module("plain", "from flowstead import Flow\ndef build(): return Flow('reads').step(lambda context: 1)\n")
    engine = bench.engine()
    assert engine.catalog.entry("reads").spec and engine.catalog.entry("plain").spec
    workspace.file("requirements.txt", f"--no-index\n--find-links {wheels}\nbeta<2\n")
    run_id = start_one(engine, "reads")
    told: list[str] = []
    for _, _, _, change, row in _events(engine, run_id):
        if change == "queued" and row.waiting_for:
            told.append(row.waiting_for)
        if row.status == "succeeded":
            break
    run = engine.ledger.reader.run(run_id)
    assert (run.summary, run.waiting_for) == ("beta 1.0", None)
    assert told and all(text.startswith("its environment: ") for text in told)
    assert run.environment == environments(bench)[0]["digest"]


def _events(engine, run_id):
    seen = 0
    while True:
        rows = wait_until(engine, lambda after=seen: engine.ledger.reader.events(after, 100), "an event")
        for event in rows:
            seen = event[0]
            if event[2] == "run" and event[3] == run_id:
                yield event[0], event[1], event[2], event[4], engine.ledger.reader.run(run_id)


def test_a_change_of_dependencies_gives_a_second_environment_and_one_of_code_none(bench, workspace, module, wheels):
    module("reads", READS)
    engine = bench.engine()
    requirements = f"--no-index\n--find-links {wheels}\n"
    workspace.file("requirements.txt", f"{requirements}beta==1.0\n")
    prepared(engine, "reads")
    first = run_flow(engine, "reads")
    (kept,) = builds(bench.home / "environments")
    before = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if "__pycache__" not in path.parts}
    module("reads", READS.replace("beta {", "now beta {"))
    second = run_flow(engine, "reads", new=True)
    assert (second.summary, second.environment) == ("now beta 1.0", first.environment)
    workspace.file("requirements.txt", f"# newer\n{requirements}beta==2.0\n")
    third = run_flow(engine, "reads", new=True)
    assert third.summary == "now beta 2.0"
    assert third.environment != first.environment
    assert len(builds(bench.home / "environments")) == 2
    after = {path: path.stat().st_mtime_ns for path in kept.rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_a_warm_worker_of_the_old_environment_is_not_used(bench, workspace, module, wheels):
    module("reads", IMPORTS)
    engine = bench.engine()
    requirements = f"--no-index\n--find-links {wheels}\n"
    workspace.file("requirements.txt", f"{requirements}beta==1.0\n")
    prepared(engine, "reads")
    first, again = run_flow(engine, "reads"), run_flow(engine, "reads", new=True)
    assert first.summary == again.summary  # the same process
    workspace.file("requirements.txt", f"{requirements}beta==2.0\n")
    assert run_flow(engine, "reads", new=True).summary.startswith("beta 2.0")


def test_an_uninstallable_package_fails_its_run_and_no_other(bench, workspace, module, wheels):
    module("reads", READS)
    module("other", READS, "beta==2.0")
    engine = bench.engine()
    assert engine.catalog.entry("reads").spec
    path = workspace.file("requirements.txt", f"--no-index\n--find-links {wheels}\n\nno-such-package>=3\n")
    failed = run_flow(engine, "reads")
    assert (failed.status, failed.error["code"]) == ("failed", "environment-failed")
    assert (failed.error["file"], failed.error["line"]) == ("requirements.txt", 4)
    assert "no-such-package" in failed.error["words"]
    last = log_of(bench, failed.id)[-1]
    assert (last["event"], last["data"]["error"]["words"]) == ("run.finished", failed.error["words"])
    prepared(engine, "other")
    assert run_flow(engine, "other").summary == "beta 2.0"
    path.write_text(path.read_text().replace("no-such-package>=3", "beta"))
    assert run_flow(engine, "reads", new=True).summary == "beta 2.0"


def test_what_a_new_module_asks_for_and_cannot_have_fails_its_run_with_the_line(bench, workspace, module):
    path = module("asks", IMPORTS, "beta>=7")
    engine = bench.engine()
    with pytest.raises(EnvironmentPending):
        start_one(engine, "asks")
    prepared(engine, "asks")
    entry = engine.catalog.entry("asks")
    assert (entry.error["file"], entry.error["line"]) == ("flow_modules/asks.py", 2)
    (run_id,) = start(engine, "asks", prepared=True).started
    run = engine.ledger.reader.run(run_id)
    assert (run.status, run.error["line"]) == ("failed", 2)
    assert "beta" in run.error["words"]
    path.write_text(path.read_text().replace("beta>=7", "beta>=1"))
    with pytest.raises(EnvironmentPending):
        start_one(engine, "asks")
    prepared(engine, "asks")
    assert run_flow(engine, "asks").status == "succeeded"


def test_a_python_that_is_not_here_is_told_with_the_line_and_what_is(bench, workspace):
    block = '# /// script\n# dependencies = []\n# requires-python = ">=4"\n# ///\n'
    workspace.module("future", block + READS.replace("GROUP", "T"))
    engine = bench.engine()
    error = engine.catalog.entry("future").error
    assert (error["code"], error["file"], error["line"]) == ("python-missing", "flow_modules/future.py", 3)
    assert sys.version.split()[0] in error["message"] + error["hint"]
    assert error["hint"]
    workspace.file("requirements.txt", "")
    workspace.module("present", READS.replace("GROUP", "T"))
    assert engine.catalog.entry("present").error["code"] == "environment-pending"


def test_a_run_by_hand_tries_again_what_could_not_be_built_and_an_automatic_one_does_not(
    bench, workspace, module, tmp_path
):
    module("reads", READS)
    engine = bench.engine()
    assert engine.catalog.entry("reads").spec
    links = tmp_path / "links"
    links.mkdir()
    workspace.file("requirements.txt", f"--no-index\n--find-links {links}\nbeta\n")
    assert run_flow(engine, "reads").status == "failed"
    make_wheel(links, "beta", "3.0")
    entry = engine.catalog.entry("reads")
    automatic = RunRequest("reads", entry.spec.group, entry.digest, "schedule")
    engine.start_runs([automatic])
    assert ended(engine, automatic.id)[0].status == "failed"
    assert run_flow(engine, "reads", new=True).summary == "beta 3.0"


def test_a_run_that_waits_for_its_environment_can_be_cancelled(bench, workspace, module, tmp_path):
    module("reads", READS)
    engine = bench.engine()
    assert engine.catalog.entry("reads").spec
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    make_sdist(tmp_path / "links", "slow", building=f"open({str(gate)!r}).read()")
    workspace.file("requirements.txt", f"--no-index\n--find-links {tmp_path / 'links'}\nslow\n")
    run_id = start_one(engine, "reads")
    wait_until(engine, lambda: engine.ledger.reader.run(run_id).waiting_for)
    assert engine.cancel(run_id).status == "cancelled"
    assert engine.ledger.reader.run(run_id).waiting_for is None


def test_fifty_runs_in_two_engines_on_one_folder_of_environments_wait_for_one_build(
    bench, workspace, module, wheels, tmp_path
):
    module("reads", READS)
    workspace.file("requirements.txt", f"--no-index\n--find-links {wheels}\nbeta==1.0\n")
    other = tmp_path / "elsewhere" / "workspace"
    other.parent.mkdir()
    shutil.copytree(workspace.root, other)
    shared = tmp_path / "environments"
    command = [sys.executable, str(DRIVER), str(other), "reads", json.dumps({"count": 25})]
    variables = {**os.environ, "FLOWSTEAD_HOME": str(tmp_path / "home-2"), "FLOWSTEAD_ENVIRONMENT_FOLDER": str(shared)}
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    engine = bench.engine(environment_folder=str(shared))
    prepared(engine, "reads")
    entry = engine.catalog.entry("reads")
    requests = [RunRequest("reads", entry.spec.group, entry.digest, "manual") for _ in range(25)]
    engine.start_runs(requests)
    runs = ended(engine, *(request.id for request in requests))
    assert {run.status for run in runs} == {"succeeded"}
    out, _ = driver.communicate(timeout=DEADLINE)
    assert [run["summary"] for run in json.loads(out.splitlines()[-1])["runs"]] == ["beta 1.0"] * 25
    assert len(builds(shared)) == 1
