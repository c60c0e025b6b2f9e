from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "duckdb-helpers.md"
SOURCES = ROOT / "src" / "flowstead" / "helpers" / "duckdb"


def test_the_guide_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, str(GUIDE), "exec"), names)
    assert (tmp_path / "flights.duckdb").exists()


def test_the_guide_lists_every_code() -> None:
    raised = {
        code for path in SOURCES.glob("*.py") for code in re.findall(r'code="([a-z-]+)"', path.read_text("utf-8"))
    }
    rows = [line for line in GUIDE.read_text("utf-8").splitlines() if line.startswith("| `")]
    listed = {code for row in rows for code in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert listed == raised
