"""Fixtures that every test package shares, and the rule that a complete run skips nothing."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"

# Daemons of tests keep no pool, unless the test asks for one.
os.environ.update(FLOWSTEAD_POOL_UV="0", FLOWSTEAD_POOL_CONDA="0")


@dataclass(frozen=True)
class Workspace:
    """A workspace folder under a collection root of its own; tests write flow modules into it."""

    root: Path

    @property
    def flow_modules(self) -> Path:
        return self.root / "flow_modules"

    def module(self, name: str, source: str) -> Path:
        """Write `flow_modules/<name>` (`.py` when `name` has no suffix) and return its path."""
        path = self.flow_modules / name
        if not path.suffix:
            path = path.with_suffix(".py")
        return self.file(path.relative_to(self.root), source)

    def file(self, name: str | Path, text: str = "") -> Path:
        """Write a file below the workspace's root (its text dedented) and return its path."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty machine-local folder, named by FLOWSTEAD_HOME (not created yet)."""
    folder = tmp_path / "home"
    monkeypatch.setenv("FLOWSTEAD_HOME", str(folder))
    return folder


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """An empty workspace at `tmp_path/collection/workspace`."""
    monkeypatch.delenv("FLOWSTEAD_WORKSPACE", raising=False)
    root = tmp_path / "collection" / "workspace"
    for folder in ("flow_modules", "config", "databases"):
        (root / folder).mkdir(parents=True)
    return Workspace(root)


HUNTERS = ("readme", "machine", "killer", "claims", "cli_up", "collecting", "building", "watching")
"""Parts of the names of files whose few tests take longest: they go first, so that none is left alone at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not any(word in item.path.stem for word in HUNTERS))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if COMPLETE_RUN and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"FLOWSTEAD_TEST_ALL=1 does not allow skips: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
