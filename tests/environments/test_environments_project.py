"""What the workspace's pyproject.toml and uv.lock say that flows need."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.declaration import Declaration
from flowstead.environments.manifest import Trace
from flowstead.environments.project_file import read_project
from flowstead.environments.uv import uv_executable
from flowstead.model.errors import ManifestInvalid
from wheels import make_project, make_wheel

HEAD = '[project]\nname = "Work_Shop"\nversion = "1"\n'


def read(folder: Path, text: str) -> Declaration:
    (folder / "pyproject.toml").write_text(text)
    declaration, verdict = read_project(folder, folder, Trace())
    assert declaration is not None, verdict
    return declaration


def listed(declaration: Declaration) -> list[tuple[str, int | None]]:
    return [(each.text, each.line) for each in declaration.requirements]


def test_dependencies_with_their_lines(tmp_path: Path) -> None:
    declaration = read(
        tmp_path,
        HEAD + 'requires-python = ">=3.11, <4"\ndependencies = [\n  "Polars >= 1",  # first\n'
        "  'duckdb; python_version > \"3\"',\n]\n[tool.other]\ndependencies = ['polars']\n",
    )
    assert listed(declaration) == [("polars>=1", 6), ('duckdb; python_version > "3"', 7)]
    assert (declaration.requires_python, declaration.requires_python_line) == ("<4,>=3.11", 4)
    assert (declaration.file, declaration.why) == (
        "pyproject.toml",
        "pyproject.toml of the workspace lists 2 packages.",
    )


def test_extras_and_groups_are_taken_in_where_they_are_chosen(tmp_path: Path) -> None:
    text = HEAD + (
        'dependencies = ["alpha"]\n'
        "[project.optional-dependencies]\n"
        'plots = ["beta", "work-shop[More.Plots]"]\n'
        'more-plots = ["gamma", "work-shop[plots]"]\n'
        'not-chosen = ["no"]\n'
        "[dependency-groups]\n"
        'Flows_A = ["delta", { include-group = "common" }]\n'
        'common = ["epsilon", "alpha"]\n'
    )
    assert [each for each, _ in listed(read(tmp_path, text))] == ["alpha"]
    declaration = read(tmp_path, text + '[tool.flowstead]\nextras = ["plots"]\ngroups = ["flows-a", "common"]\n')
    assert listed(declaration) == [("alpha", 4), ("beta", 6), ("gamma", 7), ("delta", 10), ("epsilon", 11)]
    assert declaration.why == (
        "pyproject.toml of the workspace lists 1 package, and its extra plots, and its groups flows-a and common."
    )


def test_a_group_decides_without_a_project(tmp_path: Path) -> None:
    declaration = read(tmp_path, '[dependency-groups]\nflows = ["alpha"]\n[tool.flowstead]\ngroups = ["flows"]\n')
    assert listed(declaration) == [("alpha", 2)]
    assert declaration.why == "pyproject.toml of the workspace lists its group flows."


def test_settings_of_uv_that_bear_on_what_is_installed_are_kept(tmp_path: Path) -> None:
    for name in ("near", "members/one", "members/two"):
        make_project(tmp_path / name, name.rpartition("/")[2])
    declaration = read(
        tmp_path,
        HEAD + 'dependencies = ["near", "two", "here", "gone"]\n'
        "[tool.uv]\n"
        'find-links = ["wheels", "https://example.org/w"]\ndev-dependencies = ["no"]\ncache-dir = "no"\n'
        'constraint-dependencies = ["x<2"]\nexclude-newer = 2026-01-01T00:00:00Z\n'
        "[tool.uv.sources]\n"
        'near = { path = "near", editable = true }\ntwo = { workspace = true }\nunasked = { path = "gone" }\n'
        'here = [{ index = "main", extra = "a" }, { git = "https://example.org/h", group = "no" }]\n'
        'gone = { path = "gone", extra = "no" }\n'
        '[[tool.uv.index]]\nname = "main"\nurl = "./index"\ndefault = true\n'
        '[tool.uv.workspace]\nmembers = ["members/*"]\n'
        '[project.optional-dependencies]\na = []\n[tool.flowstead]\nextras = ["a"]\n',
    )
    kept: dict[str, Any] = dict(declaration.tool_uv)
    assert kept.pop("exclude-newer").year == 2026
    assert kept == {
        "find-links": [str(tmp_path / "wheels"), "https://example.org/w"],
        "constraint-dependencies": ["x<2"],
        "index": [{"name": "main", "url": str(tmp_path / "index"), "default": True}],
        "sources": {
            "near": {"path": str(tmp_path / "near"), "editable": True},
            "two": {"path": str(tmp_path / "members" / "two"), "editable": True},
            "here": {"index": "main"},
        },
    }
    assert set(declaration.local) == {str(tmp_path / "near"), str(tmp_path / "members" / "two")}


def test_addresses_of_local_packages_are_absolute(tmp_path: Path) -> None:
    make_project(tmp_path / "with space", "near")
    asked = '"near @ file:with%20space", "near @ file:///${PROJECT_ROOT}/with%20space"'
    declaration = read(tmp_path, f"{HEAD}dependencies = [{asked}]\n")
    assert [text for text, _ in listed(declaration)] == [f"near @ file://{tmp_path}/with%20space"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[project\n", 1, "not valid TOML"),
        ('[project]\nname = "w\n', 2, "not valid TOML"),
        ("x = " + "[" * 5000, 1, "not valid TOML"),
        ("x = 1\nx = 2\n", 2, "not valid TOML"),
        ('project = "w"\n', 1, "has no table where [project] is expected"),
        (HEAD + "dependencies = 'alpha'\n", 4, "no list under 'dependencies'"),
        (HEAD + "dependencies = [\n'a',\n1]\n", 4, "has 1 in 'dependencies'"),
        (HEAD + "dependencies = [\n'a',\n'b c',\n]\n", 6, "'b c'"),
        (HEAD + "dependencies = []\nrequires-python = '3'\n", 5, "no version specifier: '3'"),
        (HEAD + "[tool.flowstead]\nextras = ['gone']\n", 5, "has no extra 'gone'"),
        (HEAD + "[tool.flowstead]\ngroups = 'gone'\n", 5, "no list under 'groups'"),
        (
            "[dependency-groups]\na = [{include-group = 'b'}]\nb = [{include-group = 'a'}]\n"
            "[tool.flowstead]\ngroups = ['a']\n",
            2,
            "include one another: a > b > a",
        ),
        ("[dependency-groups]\na = [{x = 'b'}]\n[tool.flowstead]\ngroups = ['a']\n", 2, "no requirement and no group"),
        (
            "[dependency-groups]\na = [{include-group = 'gone'}]\n[tool.flowstead]\ngroups = ['a']\n",
            2,
            "has no dependency group 'gone'",
        ),
        (HEAD + "dependencies = ['b']\n[tool.uv.sources]\nb = { path = 'gone' }\n", 6, "which is not there"),
        (HEAD + "dependencies = ['b']\n[tool.uv.sources.b]\nworkspace = true\n", 5, "no such member"),
        (HEAD + "dependencies = ['b']\n[tool.uv]\nsources = 3\n", 6, "has no table where"),
        (HEAD + "dependencies = ['b @ ./gone']\n", 4, "which is not there"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        read(tmp_path, text)
    assert words in caught.value.message and caught.value.hint and caught.value.code == "manifest-invalid"
    assert caught.value.detail == {"file": "pyproject.toml", "line": line}


# -- uv.lock ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that uv has locked: alpha 1.0 from wheels, and a local package that needs it."""
    make_wheel(tmp_path / "wheels", "alpha", "1.0")
    make_project(tmp_path / "libs" / "near", "near", dependencies=("alpha",))
    (tmp_path / "pyproject.toml").write_text(
        HEAD + 'requires-python = ">=3.11"\ndependencies = ["alpha", "near"]\n'
        '[tool.uv]\nno-index = true\nfind-links = ["wheels"]\n[tool.uv.sources]\nnear = { path = "libs/near" }\n'
    )
    subprocess.run([uv_executable(), "lock"], cwd=tmp_path, check=True, capture_output=True)
    make_wheel(tmp_path / "wheels", "alpha", "2.0")
    return tmp_path


def test_what_is_locked_is_installed(project: Path, cache: EnvironmentCache) -> None:
    declaration = read(project, (project / "pyproject.toml").read_text())
    assert declaration.lock is not None and f'directory = "{project}/libs/near"' in declaration.lock
    assert declaration.why == "pyproject.toml of the workspace lists 2 packages, in the versions of uv.lock."
    build = cache.request(cache.resolve(declaration))
    assert build.wait(60) and build.environment is not None, build.error
    assert {each.name: each.version for each in build.environment.packages}["alpha"] == "1.0"


def test_a_lock_that_is_out_of_date_is_named(project: Path) -> None:
    text = (project / "pyproject.toml").read_text()
    for changed, words in (
        (text.replace('"alpha"', '"alpha>=2"'), "asks for alpha>=2, and uv.lock has alpha 1.0"),
        (text.replace('"near"]', '"near", "beta"]'), "asks for beta, and uv.lock has no beta"),
    ):
        with pytest.raises(ManifestInvalid) as caught:
            read(project, changed)
        assert words in caught.value.message and "uv lock" in caught.value.hint
        assert caught.value.detail == {"file": "pyproject.toml", "line": 5}
    for broken in ("package = 3\n", "[[package]]\n", "[nonsense\n"):
        (project / "uv.lock").write_text(broken)
        with pytest.raises(ManifestInvalid) as caught:
            read(project, text)
        assert caught.value.detail["file"] == "uv.lock" and caught.value.detail["line"] == 1
