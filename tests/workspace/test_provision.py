from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from flowstead.model.errors import StorageError
from flowstead.workspace.provision import provision


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_an_empty_folder_becomes_a_workspace(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    created = provision(root)
    assert sorted(snapshot(tmp_path / "team")) == [
        ".vscode",
        ".vscode/settings.json",
        "sales",
        "sales/.vscode",
        "sales/.vscode/settings.json",
        "sales/config",
        "sales/databases",
        "sales/flow_modules",
        "sales/flow_modules/first_flow.py",
        "sales/flow_modules/flow_helpers",
    ]
    assert root / "flow_modules" / "first_flow.py" in created
    assert root / "databases" in created


def test_a_second_time_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    provision(root)
    before = snapshot(tmp_path)
    assert provision(root) == []
    assert snapshot(tmp_path) == before


def test_what_exists_stays_byte_for_byte(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    settings = b'{\r\n  // comments and CRLF are the owner\'s\r\n  "editor.fontSize": 9,\r\n}'
    for path in (root.parent / ".vscode/settings.json", root / ".vscode/settings.json"):
        path.parent.mkdir(parents=True)
        path.write_bytes(settings)
    (root / "flow_modules").mkdir()
    (root / "flow_modules" / "mine.ipynb").write_bytes(b"not even JSON")
    before = snapshot(root.parent)
    created = provision(root)
    after = snapshot(root.parent)
    assert {name: after[name] for name in before} == before
    assert {path.name for path in created} == {"flow_helpers", "config", "databases"}
    assert not (root / "flow_modules" / "first_flow.py").exists()


@pytest.mark.parametrize("level", [".", ".."])
def test_settings_are_relative_and_hide_generated_state(tmp_path: Path, level: str) -> None:
    root = tmp_path / "team" / "sales"
    provision(root)
    text = (root / level / ".vscode/settings.json").read_text()
    assert str(tmp_path) not in text
    settings = json.loads(text)
    assert settings["python.defaultInterpreterPath"] == "${workspaceFolder}/.venv"
    assert settings["files.exclude"] == settings["search.exclude"] == {"**/.workspace_state": True}
    name = {".": "FLOWSTEAD_WORKSPACE", "..": "FLOWSTEAD_COLLECTION"}[level]
    for platform in ("linux", "osx", "windows"):
        assert settings[f"terminal.integrated.env.{platform}"] == {name: "${workspaceFolder}"}


def test_source_and_test_folders_are_announced_where_they_exist(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    (root / "src").mkdir(parents=True)
    (tmp_path / "team" / "tests").mkdir()
    provision(root)
    workspace = json.loads((root / ".vscode/settings.json").read_text())
    collection = json.loads((root.parent / ".vscode/settings.json").read_text())
    assert workspace["python.analysis.extraPaths"] == ["src", "flow_modules"]
    assert "python.testing.pytestEnabled" not in workspace
    assert "python.analysis.extraPaths" not in collection
    assert collection["python.testing.pytestEnabled"] is True
    assert collection["python.testing.pytestArgs"] == ["tests"]


def test_the_home_folder_is_not_made_a_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME" if os.name != "nt" else "USERPROFILE", str(tmp_path))
    provision(tmp_path / "flows")
    assert not (tmp_path / ".vscode").exists()


def test_a_file_in_the_way_is_a_coded_error(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    root.mkdir(parents=True)
    (root / "config").write_text("a file")
    with pytest.raises(StorageError) as caught:
        provision(root)
    assert caught.value.code == "workspace-unwritable"
    assert "config" in caught.value.message
    assert (root / "config").read_text() == "a file"


def test_the_example_flow_runs_without_any_file(tmp_path: Path) -> None:
    root = tmp_path / "team" / "sales"
    provision(root)
    source = (root / "flow_modules" / "first_flow.py").read_text()
    module: dict[str, object] = {}
    exec(compile(source, "first_flow.py", "exec"), module)
    assert [step.name for step in module["build"]().steps] == ["make_numbers", "square", "add_up"]  # type: ignore[operator]
