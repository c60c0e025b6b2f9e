"""Which file says what a flow needs, in their order, and in words a person understands."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstead.environments.declaration import Decision
from flowstead.environments.detection import detect
from flowstead.model.errors import FlowsteadError, ManifestInvalid

BLOCK = b"# /// script\n# dependencies = ['alpha']\n# ///\n"
PROJECT = '[project]\nname = "w"\ndependencies = ["beta"]\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "flow_modules").mkdir()
    return tmp_path


def decide(workspace: Path, source: bytes = b"", suffix: str = ".py") -> Decision:
    return detect(source, suffix, f"flow_modules/loading{suffix}", workspace, workspace / "flow_modules")


def texts(decision: Decision) -> list[str]:
    assert decision.declaration is not None
    return [each.text for each in decision.declaration.requirements]


def verdicts(decision: Decision) -> list[tuple[str, str]]:
    return [(each.file, each.verdict) for each in decision.considered]


def test_each_file_comes_before_the_next(workspace: Path) -> None:
    pytest.importorskip("rattler")
    (workspace / "pixi.toml").write_text('[workspace]\nchannels = ["c"]\nplatforms = []\n[dependencies]\nsix = "*"\n')
    decided = [decide(workspace)]
    (workspace / "environment.yaml").write_text("dependencies: [five]\n")
    decided.append(decide(workspace))
    (workspace / "environment.yml").write_text("dependencies: [four]\n")
    decided.append(decide(workspace))
    (workspace / "requirements.txt").write_text("three\n")
    decided.append(decide(workspace))
    (workspace / "pyproject.toml").write_text('[project]\nname = "w"\ndependencies = ["two"]\n')
    decided.append(decide(workspace))
    decided.append(decide(workspace, b"# /// script\n# dependencies = ['one']\n# ///\n"))
    files = [each.declaration.file if each.declaration else None for each in decided]
    assert files == [
        "pixi.toml", "environment.yaml", "environment.yml", "requirements.txt", "pyproject.toml",
        "flow_modules/loading.py",
    ]  # fmt: skip
    assert [texts(each)[0].split()[0] for each in decided] == ["six", "five", "four", "three", "two", "one"]
    assert [each.declaration.provider for each in decided if each.declaration] == ["conda"] * 3 + ["uv"] * 3
    assert verdicts(decided[0]) == [
        ("flow_modules/loading.py", "has no script block"),
        ("pyproject.toml", "is not there"),
        ("requirements.txt", "is not there"),
        ("environment.yml", "is not there"),
        ("environment.yaml", "is not there"),
        ("pixi.toml", "decides, with packages of conda"),
    ]


def test_a_project_of_pixi_is_asked_in_pixis_place(workspace: Path) -> None:
    pytest.importorskip("rattler")
    text = '[tool.pixi.workspace]\nchannels = ["c"]\nplatforms = []\n[tool.pixi.dependencies]\nsix = "*"\n'
    (workspace / "pyproject.toml").write_text(PROJECT + text)
    decision = decide(workspace)
    assert decision.declaration is not None and decision.declaration.provider == "conda"
    assert verdicts(decision)[1] == ("pyproject.toml", "is a manifest of pixi ([tool.pixi]), which is asked last")
    assert verdicts(decision)[-1] == ("pyproject.toml", "decides, with packages of conda")
    (workspace / "requirements.txt").write_text("three\n")
    assert texts(decide(workspace)) == ["three"]


def test_without_any_file_nothing_decides(workspace: Path) -> None:
    decision = decide(workspace, b"import polars\n")
    assert decision.declaration is None
    assert decision.why == "Nothing says what it needs, so it runs in the interpreter that runs Flowstead."
    assert verdicts(decision)[0] == ("flow_modules/loading.py", "has no script block")
    assert [file for file, _ in verdicts(decision)[1:]] == [
        "pyproject.toml", "requirements.txt", "environment.yml", "environment.yaml", "pixi.toml",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("[tool.ruff]\nline-length = 120\n", "has no [project] table, so it says nothing of packages"),
        ('[project]\nname = "w"\n', "has a [project] table without dependencies, so it says nothing of packages"),
        (
            '[project]\nname = "w"\ndynamic = ["dependencies"]\n',
            "has [project] dependencies that are dynamic, which only building it would tell",
        ),
        (
            '[tool.poetry.dependencies]\npolars = "*"\n',
            "has dependencies for poetry only, and no [project] dependencies",
        ),
    ],
)
def test_a_project_that_says_nothing_of_packages_does_not_decide(workspace: Path, text: str, verdict: str) -> None:
    (workspace / "pyproject.toml").write_text(text)
    assert decide(workspace).declaration is None
    assert verdicts(decide(workspace))[1] == ("pyproject.toml", verdict)
    (workspace / "requirements.txt").write_text("three\n")
    decision = decide(workspace)
    assert texts(decision) == ["three"]
    assert verdicts(decision)[1:] == [("pyproject.toml", verdict), ("requirements.txt", "decides, with 1 package")]


def test_an_empty_list_decides(workspace: Path) -> None:
    (workspace / "requirements.txt").write_text("# nothing yet\n")
    assert texts(decide(workspace)) == []
    (workspace / "pyproject.toml").write_text('[project]\nname = "w"\ndependencies = []\n')
    assert decide(workspace).why == "pyproject.toml of the workspace lists no packages."
    source = b"# /// script\n# dependencies = []\n# ///\n"
    assert decide(workspace, source).why == "The script block of flow_modules/loading.py lists no packages."


def test_flowstead_itself_is_left_out_and_that_is_said(workspace: Path) -> None:
    said = "decides, with 1 package; flowstead itself is left out, as it is in each environment"
    (workspace / "requirements.txt").write_text("Flowstead[conda]>=1\nalpha\n")
    assert texts(decide(workspace)) == ["alpha"] and verdicts(decide(workspace))[-1][1] == said
    (workspace / "pyproject.toml").write_text('[project]\nname = "w"\ndependencies = ["flowstead", "beta"]\n')
    assert texts(decide(workspace)) == ["beta"] and verdicts(decide(workspace))[-1][1] == said
    decision = decide(workspace, b"# /// script\n# dependencies = ['flowstead', 'gamma']\n# ///\n")
    assert texts(decision) == ["gamma"] and verdicts(decision)[-1][1] == said


def test_a_file_is_read_again_when_it_changes_in_the_same_instant(workspace: Path) -> None:
    path = workspace / "requirements.txt"
    path.write_text("alpha==1\n")
    status = path.stat()
    assert texts(decide(workspace)) == ["alpha==1"]
    path.write_text("alpha==2\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert texts(decide(workspace)) == ["alpha==2"]


def test_what_a_file_includes_is_read_again_too(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace / "requirements.txt").write_text("-r more.txt\nbeta==${BETA_VERSION}\n")
    (workspace / "more.txt").write_text("alpha==1\n")
    monkeypatch.setenv("BETA_VERSION", "1")
    first = decide(workspace)
    assert texts(first) == ["alpha==1", "beta==1"]
    assert decide(workspace).declaration is first.declaration  # understood once
    (workspace / "more.txt").write_text("alpha==2\n")
    assert texts(decide(workspace)) == ["alpha==2", "beta==1"]
    monkeypatch.setenv("BETA_VERSION", "2")
    assert texts(decide(workspace)) == ["alpha==2", "beta==2"]
    (workspace / "more.txt").unlink()
    with pytest.raises(ManifestInvalid) as caught:
        decide(workspace)
    assert caught.value.detail == {"file": "requirements.txt", "line": 1}


def test_a_block_decides_until_it_is_taken_out(workspace: Path) -> None:
    (workspace / "pyproject.toml").write_text(PROJECT)
    assert texts(decide(workspace, BLOCK)) == ["alpha"]
    assert texts(decide(workspace)) == ["beta"]
    nothing = decide(workspace, b"# /// script\n# [tool.other]\n# x = 1\n# ///\n")
    assert texts(nothing) == ["beta"]
    assert verdicts(nothing)[0][1] == "has a script block with neither dependencies nor requires-python"


def test_a_folder_with_the_name_of_a_manifest_is_none(workspace: Path) -> None:
    (workspace / "requirements.txt").mkdir()
    (workspace / "pyproject.toml").mkdir()
    decision = decide(workspace)
    assert decision.declaration is None and all(verdict == "is not there" for _, verdict in verdicts(decision)[1:])


PIECES = st.sampled_from(
    [
        "# /// script\n",
        "# ///\n",
        "#\n",
        "# dependencies = [",
        "# 'alpha'",
        "# ]\n",
        "[project]\n",
        "dependencies = [",
        '"alpha"',
        "]\n",
        "{",
        "}",
        "-r requirements.txt\n",
        "-r ../x\n",
        "-c c\n",
        "-e .\n",
        "--hash=sha256:00",
        "${HOME}",
        "\\\n",
        " #",
        ";",
        "alpha",
        "==1.*",
        "@ file:///x",
        "./x",
        "[tool.uv.sources]\n",
        "[dependency-groups]\n",
        "[tool.flowstead]\n",
        "groups = ['a']\n",
        "a = [{include-group = 'a'}]\n",
        'name = "w"\n',
        '"w[a]",',
        "\0",
        "\ufeff",
        "[project.optional-dependencies]\n",
        "requires-python = '",
        "9" * 5000,
        "[" * 500,
        "\r",
        "\n",
        "~nobody/x\n",
    ]
)
HOSTILE = st.one_of(st.binary(max_size=200), st.lists(PIECES, max_size=20).map(lambda parts: "".join(parts).encode()))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["pyproject.toml", "requirements.txt", "uv.lock", ".py", ".ipynb"]),
    content=HOSTILE,
)
def test_nothing_crashes_on_hostile_text(workspace: Path, name: str, content: bytes) -> None:
    for each in ("pyproject.toml", "requirements.txt", "uv.lock"):
        (workspace / each).unlink(missing_ok=True)
    source, suffix = b"", ".py"
    if name.startswith("."):
        source, suffix = content, name
        if name == ".ipynb":
            cell = {"cell_type": "code", "source": content.decode("utf-8", "replace")}
            source = json.dumps({"cells": [cell], "nbformat": 4}).encode()
    else:
        if name == "uv.lock":
            (workspace / "pyproject.toml").write_text(PROJECT)
        (workspace / name).write_bytes(content)
    outcomes: list[object] = []
    for _ in range(2):  # the second from what is remembered
        try:
            outcomes.append(decide(workspace, source, suffix))
        except FlowsteadError as error:
            assert isinstance(error, ManifestInvalid) and error.code == "manifest-invalid"
            assert error.detail["file"] and error.hint and "Traceback" not in error.message
            line = error.detail.get("line")
            assert line is None or line >= 1
            outcomes.append((error.message, error.detail))
    assert outcomes[0] == outcomes[1]
