"""`flowstead env`, and running flows that need an environment, as a person sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from calling import CommandLine

from wheels import make_wheel

READS = """
# /// script
# dependencies = ["WANTED"]
# [tool.uv]
# no-index = true
# find-links = ["LINKS"]
# ///
import beta
from flowstead import Flow

def read(context):
    context.summary = f"beta {beta.VERSION}"
    return [beta.VERSION]

def build():
    return Flow("Beta").step(read, save_as="versions")
"""


@pytest.fixture
def links(cli: CommandLine, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with beta 1.0 and 2.0; uv has no network."""
    folder = tmp_path / "links"
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    cache = tmp_path_factory.getbasetemp() / "uv-cache"
    cli.environment.update(UV_OFFLINE="1", UV_CACHE_DIR=str(cache), FLOWSTEAD_ENVIRONMENT_GRACE="0")
    return folder


def write(workspace: Any, name: str, wanted: str, links: Path) -> None:
    workspace.module(name, READS.replace("WANTED", wanted).replace("LINKS", str(links)))


def test_a_flow_is_run_from_nothing_with_its_environment_built_before_ones_eyes(
    cli: CommandLine, workspace: Any, links: Path
) -> None:
    write(workspace, "reads", "beta<2", links)
    listed = cli("list")
    assert "is not built" in listed.out and "broken" not in listed.out
    shown = cli("env", "show", "reads")
    assert "flow_modules/reads.py:2" in shown.out and "is not built yet" in shown.out
    ran = cli("run", "reads")
    assert ran.code == 0, ran.err
    assert "beta 1.0" in ran.out
    assert "Resolved 1 package" in ran.err
    again = cli("run", "reads", "--json")
    (run,) = again.json["runs"]
    assert again.err == ""
    (environment,) = cli("env", "list", "--json").json["environments"]
    assert (environment["state"], environment["digest"]) == ("ready", run["environment"])
    assert {each["name"]: each["version"] for each in environment["packages"]}["beta"] == "1.0"
    built = cli("env", "show", "reads", "--json").json
    assert (built["file"], built["environment"]["digest"]) == ("flow_modules/reads.py", run["environment"])
    line = next(line for line in cli("env", "list").out.splitlines() if environment["digest"][:12] in line)
    assert "ready" in line and "beta 1.0" in line


def test_what_cannot_be_had_is_told_with_its_line_and_its_mending_needs_no_other_command(
    cli: CommandLine, workspace: Any, links: Path
) -> None:
    write(workspace, "reads", "beta==7", links)
    failed = cli("run", "reads")
    assert failed.code == 1
    assert "error[environment-failed]" in failed.out
    assert "flow_modules/reads.py:2" in failed.out and "beta==7" in failed.out
    checked = cli("check", "--json")
    (flow,) = checked.json["flows"]
    assert (checked.code, flow["status"], flow["error"]["line"]) == (1, "broken", 2)
    assert "beta==7" in flow["error"]["words"]
    (kept,) = cli("env", "list", "--json").json["environments"]
    assert kept["state"] == "failed" and "beta==7" in cli("env", "list").out
    (run,) = cli("runs", "--json").json["runs"]
    assert (run["status"], run["error"]["code"]) == ("failed", "environment-failed")
    write(workspace, "reads", "beta==2", links)
    assert "beta 2.0" in cli("run", "reads").out


def test_a_broken_block_is_an_error_of_that_flow_alone(cli: CommandLine, workspace: Any, links: Path) -> None:
    write(workspace, "reads", "beta==", links)
    write(workspace, "sound", "beta", links)
    refused = cli("run", "reads")
    assert refused.code == 1
    assert "error[manifest-invalid]" in refused.err and "flow_modules/reads.py:2" in refused.err
    assert cli("run", "sound").code == 0


def test_check_and_preview_build_what_they_need(cli: CommandLine, workspace: Any, links: Path) -> None:
    write(workspace, "reads", "beta==1.0", links)
    checked = cli("check")
    assert checked.code == 0, checked.out
    assert "Resolved 1 package" in checked.err
    write(workspace, "reads", "beta==2.0", links)
    seen = cli("preview", "reads", "--json")
    assert json.loads(seen.out)["items"] == ["'2.0'"]


def test_environments_are_pinned_tidied_away_and_removed(cli: CommandLine, workspace: Any, links: Path) -> None:
    digests = []
    for version in ("1.0", "2.0"):
        write(workspace, "reads", f"beta=={version}", links)
        built = cli("env", "build", "reads", "--json").json
        assert Path(built["python"]).exists()
        digests.append(built["digest"])
    old, new = digests
    assert cli("env", "gc").out.startswith("Nothing")
    assert cli("env", "pin", new[:8]).code == 0
    tight = {"FLOWSTEAD_ENVIRONMENT_DISK_MB": "0", "FLOWSTEAD_ENVIRONMENT_DAYS": "0"}
    assert cli("env", "gc", "--dry-run", **tight).out.startswith("Nothing")  # 0: no limit
    removed = cli("env", "remove", old[:8])
    assert removed.code == 0 and old[:12] in removed.out
    (left,) = cli("env", "list", "--json").json["environments"]
    assert (left["digest"], left["pinned"]) == (new, True)
    missing = cli("env", "remove", "feedbeef")
    assert (missing.code, "environment-not-found" in missing.err) == (3, True)
    assert cli("env", "pin", new[:8], "--off").code == 0


def test_a_flow_that_asks_for_nothing_says_so(cli: CommandLine, workspace: Any) -> None:
    workspace.module("plain", "from flowstead import Flow\ndef build(): return Flow('T').step(lambda context: 1)\n")
    shown = cli("env", "show", "plain")
    assert "interpreter that runs Flowstead" in shown.out
    assert "asks for no environment" in cli("env", "build", "plain").out
    assert cli("env", "list").out.startswith("No environments yet")
