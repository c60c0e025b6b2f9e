"""Environments and the pool, looked at and tidied in the console."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe import findings

from wheels import make_wheel

READS = """
import beta
from flowstead import Flow

def read(context):
    context.summary = f"beta {beta.VERSION}"

def build():
    return Flow("Beta").step(read)
"""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is installed comes from this machine."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "uv-cache"))


@pytest.fixture
def requirements(offline: None, workspace: Any, tmp_path: Path) -> Callable[[str], None]:
    """Says what the flows of the workspace need, of what is there."""
    make_wheel(tmp_path / "links", "beta", "1.0")
    return lambda text: workspace.file("requirements.txt", f"--no-index\n--find-links {tmp_path / 'links'}\n{text}\n")


def environments_of(window: Any) -> Any:
    page = window.page
    page.get_by_role("link", name="Environments", exact=True).click()
    page.get_by_role("heading", name="Environments", level=1).wait_for()
    return page


def test_where_there_is_nothing_the_next_step_is_taught(console: Any) -> None:
    window = console()
    page = environments_of(window)
    page.get_by_text("No environment was built yet").wait_for()
    page.get_by_text("The pool is off").wait_for()
    page.get_by_text("flowstead jupyter install").wait_for()
    assert window.told == []


def test_an_environment_is_built_looked_into_pinned_and_removed(
    console: Any, workspace: Any, requirements: Callable[[str], None]
) -> None:
    requirements("beta")
    workspace.module("reads", READS)
    window = console()
    page = environments_of(window)
    row = page.get_by_role("row", name=re.compile("reads"))
    row.get_by_text("ready").wait_for()
    row.get_by_text("requirements.txt").wait_for()
    row.get_by_role("link", name="reads").click()
    details = page.get_by_role("region", name="This environment")
    details.get_by_role("searchbox", name="Filter packages").fill("bet")
    packages = details.get_by_role("list", name="Packages").get_by_role("listitem")
    packages.get_by_text("beta").wait_for()
    packages.nth(1).wait_for(state="detached")
    details.get_by_role("button", name="Pin").click()
    details.get_by_role("button", name="Unpin").click()
    details.get_by_role("button", name="Pin", exact=True).wait_for()
    page.get_by_role("button", name="Tidy up…").click()
    page.get_by_role("dialog").get_by_text("Nothing would go").wait_for()
    page.keyboard.press("Escape")
    workspace.module("reads", READS.replace("import beta", "beta = None"))
    workspace.file("requirements.txt").unlink()
    page.get_by_role("link", name=re.compile("nobody here")).wait_for()
    details.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_text("No environment was built yet").wait_for()
    assert window.told == []


def test_what_cannot_be_built_says_so_in_the_words_of_the_installer(
    console: Any, workspace: Any, requirements: Callable[[str], None]
) -> None:
    requirements("no-such-package==9")
    workspace.module("reads", READS)
    page = environments_of(console())
    row = page.get_by_role("row", name=re.compile("reads"))
    row.get_by_text("failed").wait_for()
    row.get_by_role("link", name="reads").click()
    page.get_by_role("region", name="This environment").get_by_text(re.compile("no-such-package")).first.wait_for()


@pytest.fixture
def pooled(monkeypatch: pytest.MonkeyPatch, offline: None, tmp_path: Path) -> None:
    """A pool of one, filled with what stands in for a kernel."""
    make_wheel(tmp_path / "kernels", "ipykernel")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "kernels"))
    monkeypatch.setenv("FLOWSTEAD_POOL_UV", "1")


def test_the_pool_shows_who_has_what_and_is_made_anew(pooled: None, console: Any, machine: Any) -> None:
    page = environments_of(console())
    pool = page.get_by_role("region", name="The uv pool")
    pool.get_by_text("1 of 1 ready").wait_for()
    taken = machine.pool_take("uv", os.getpid())
    page.get_by_text("1 environment lent").wait_for()
    page.get_by_role("row", name=re.compile(f"process {os.getpid()}")).get_by_text(taken["path"]).wait_for()
    pool.get_by_role("button", name="Make the uv pool anew").click()
    pool.get_by_text("1 of 1 ready · 1 lent").wait_for()


def test_environments_have_no_serious_finding(
    console: Any, workspace: Any, requirements: Callable[[str], None]
) -> None:
    page = environments_of(console())
    page.get_by_text("No environment was built yet").wait_for()
    found = {"empty": findings(page)}
    requirements("no-such-package==9")
    workspace.module("reads", READS)
    page.get_by_role("link", name="reads").click()
    page.get_by_role("region", name="This environment").get_by_text("failed").wait_for()
    found["details"] = findings(page)
    assert found == {"empty": [], "details": []}
