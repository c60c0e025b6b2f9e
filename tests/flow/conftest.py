"""A context as a worker would build one, with everything it sends kept in lists."""

from pathlib import Path

import pytest

from flowstead import FlowContext, RunCancelled
from flowstead.flow.errors import StepFailure
from flowstead.flow.paths import MirrorPaths, SourcePaths


class KeepingSink:
    def __init__(self, artifacts_dir: Path | None) -> None:
        self.artifacts_dir = artifacts_dir
        self.artifacts: list[tuple] = []
        self.logged: list[tuple] = []
        self.progressed: list[tuple] = []
        self.cancelled = False

    def artifact(self, name, kind, path, info):
        self.artifacts.append((name, kind, path, info))

    def progress(self, done, total, message):
        self.progressed.append((done, total, message))

    def log(self, level, message, data):
        self.logged.append((level, message, data))

    def check_cancelled(self):
        if self.cancelled:
            raise RunCancelled

    def secret(self, name):
        if name != "token":
            raise StepFailure(f"There is no secret {name!r}.", code="secret-missing")
        return "s3cret"


@pytest.fixture
def sink(tmp_path):
    return KeepingSink(tmp_path / "artifacts")


@pytest.fixture
def make_context(tmp_path, sink):
    def make(**changes):
        source = SourcePaths(tmp_path / "in", tmp_path / "in/north.csv")
        given = {
            "flow_name": "daily",
            "group": "Sales",
            "run_id": "r1",
            "attempt": 2,
            "params": {"month": 3},
            "module_dir": tmp_path / "flow_modules",
            "workspace_root": tmp_path,
            "source": source,
            "mirror": MirrorPaths(tmp_path / "out", source),
            "sink": sink,
        }
        return FlowContext(**(given | changes))

    return make
