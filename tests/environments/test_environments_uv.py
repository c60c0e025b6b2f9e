"""What a declaration asks of uv is installed: sources, indexes, constraints, locks; and nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from wanting import interpreter, wanted

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.declaration import Declaration, Progress, Requirement
from flowstead.environments.environment import Environment, Wanted
from flowstead.environments.failing import failed
from flowstead.environments.lock_file import read_lock
from flowstead.environments.uv import ProgressReader, uv_executable, uv_variables
from flowstead.model.errors import FlowsteadError
from flowstead.version import __version__
from wheels import make_project, make_wheel

SECONDS = 60


def declared(*requirements: str, **more: Any) -> Wanted:
    lines = tuple(Requirement(text, "pyproject.toml", line) for line, text in enumerate(requirements, 3))
    declaration = Declaration("uv", "pyproject.toml", "It lists them.", requirements=lines, **more)
    text = json.dumps(declaration.content(), sort_keys=True)
    return Wanted(hashlib.sha256(text.encode()).hexdigest()[:32], declaration, interpreter())


def ended(cache: EnvironmentCache, asked: Wanted) -> Environment | FlowsteadError:
    build = cache.request(asked)
    assert build.wait(SECONDS)
    end = build.environment or build.error
    assert end is not None
    return end


def built(cache: EnvironmentCache, asked: Wanted) -> dict[str, str]:
    environment = ended(cache, asked)
    assert isinstance(environment, Environment), environment.as_dict()
    return {each.name: each.version for each in environment.packages if each.name != "flowstead"}


def test_sources_of_a_project_say_where_packages_come_from(cache: EnvironmentCache, tmp_path: Path) -> None:
    make_project(tmp_path / "shared", "shared-code", dependencies=("tool",))
    make_wheel(tmp_path / "first", "tool", "1.0")
    make_wheel(tmp_path / "second", "tool", "2.0")
    asked = declared(
        "shared-code",
        "tool",
        tool_uv={
            "sources": {
                "shared-code": {"path": str(tmp_path / "shared"), "editable": True},
                "tool": {"index": "pinned"},
            },
            "index": [
                {"name": "first", "url": str(tmp_path / "first"), "format": "flat", "default": True},
                {"name": "pinned", "url": str(tmp_path / "second"), "format": "flat", "explicit": True},
            ],
        },
    )
    assert built(cache, asked) == {"shared-code": "1.0", "tool": "2.0"}
    environment = cache.ready(asked.digest)
    assert environment is not None
    (tmp_path / "shared" / "shared_code.py").write_text("VERSION = 'edited'\n")
    code = "import shared_code; print(shared_code.VERSION)"
    told = subprocess.run([environment.python, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "edited"


def test_constraints_hold(cache: EnvironmentCache, wheels: Path) -> None:
    plain = wanted("alpha", wheels=wheels)
    constrained = replace(plain.declaration, constraints=(Requirement("beta<2", "constraints.txt", 1),))
    assert built(cache, replace(plain, declaration=constrained)) == {"alpha": "1.0", "beta": "1.0"}
    in_project = declared(
        "alpha",
        tool_uv={"no-index": True, "find-links": [str(wheels)], "constraint-dependencies": ["beta<2"]},
    )
    assert built(cache, in_project) == {"alpha": "1.0", "beta": "1.0"}


def test_hashes_are_checked(cache: EnvironmentCache, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "index", "hashed")
    true = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert built(cache, wanted(f"hashed==1.0 --hash=sha256:{true}", wheels=wheel.parent)) == {"hashed": "1.0"}
    error = ended(cache, wanted(f"hashed==1.0 --hash=sha256:{'0' * 64}", wheels=wheel.parent))
    assert isinstance(error, FlowsteadError)
    assert "hash" in error.detail["words"].lower() and error.detail["line"] == 1


def test_markers_of_other_systems_are_not_missed(cache: EnvironmentCache, wheels: Path) -> None:
    asked = wanted('not-there; sys_platform == "nowhere"', "beta==2.0", wheels=wheels)
    assert built(cache, asked) == {"beta": "2.0"}


@pytest.mark.parametrize("published", [True, False])
def test_flowstead_itself_is_never_installed_over_the_runtime(
    cache: EnvironmentCache, tmp_path: Path, published: bool
) -> None:
    if published:
        make_wheel(tmp_path / "index", "flowstead", "99.0")
    make_wheel(tmp_path / "index", "needs-it", requires=("flowstead>=50",))
    asked = wanted("needs-it", wheels=tmp_path / "index")
    assert built(cache, asked) == {"needs-it": "1.0"}
    environment = cache.ready(asked.digest)
    assert environment is not None
    folders = [path.name for path in environment.site_packages.glob("flowstead-*")]
    assert folders == [f"flowstead-{__version__}.dist-info"]
    code = "import flowstead.worker.runs, flowstead; print(flowstead.__version__)"
    told = subprocess.run([environment.python, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == __version__


def test_settings_above_the_folder_and_variables_do_not_reach_in(
    cache: EnvironmentCache, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.folder.mkdir(parents=True)
    (cache.folder.parent / "uv.toml").write_text('constraint-dependencies = ["beta<2"]\n')
    (cache.folder / "pyproject.toml").write_text('[tool.uv]\nconstraint-dependencies = ["beta<2"]\n')
    (cache.folder / "constraints").write_text("beta<2\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(cache.folder / "constraints"))
    monkeypatch.setenv("PYTHONPATH", str(cache.folder))
    monkeypatch.setenv("VIRTUAL_ENV", str(cache.folder / "elsewhere"))
    assert built(cache, wanted("alpha", wheels=wheels)) == {"alpha": "1.0", "beta": "2.0"}


def test_variables_for_indexes_and_the_cache_stay() -> None:
    kept = uv_variables({"UV_INDEX_URL": "a", "UV_CACHE_DIR": "b", "UV_PYTHON": "3.9", "HTTPS_PROXY": "c"})
    assert {"UV_INDEX_URL": "a", "UV_CACHE_DIR": "b", "HTTPS_PROXY": "c"}.items() <= kept.items()
    assert "UV_PYTHON" not in kept


@pytest.fixture
def locked(tmp_path: Path) -> tuple[str, dict[str, Any]]:
    """The text of a uv.lock that uv has made of a project with a local package, an extra and a group; its settings."""
    index = tmp_path / "index"
    for name, version in (("one", "1.0"), ("two", "1.0"), ("three", "1.0")):
        make_wheel(index, name, version)
    make_project(tmp_path / "near", "near-by", dependencies=("two",))
    settings: dict[str, Any] = {"no-index": True, "find-links": [str(index)]}
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[project]\nname = "flows"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["one", "near-by"]\n'
        '[project.optional-dependencies]\nextra = ["three"]\n[dependency-groups]\ngroup = ["three"]\n'
        f'[tool.uv]\nno-index = true\nfind-links = ["{index}"]\n'
        f'[tool.uv.sources]\nnear-by = {{ path = "{tmp_path}/near", editable = true }}\n'
    )
    subprocess.run([uv_executable(), "lock"], cwd=project, check=True, capture_output=True)
    make_wheel(index, "one", "2.0")  # newer, and not what was locked
    return read_lock((project / "uv.lock").read_text("utf-8"), "uv.lock", project).text, settings


@pytest.mark.parametrize("groups", [(), ("Extra",), ("group", "an-empty-one")])
def test_a_lock_file_says_what_is_installed(
    cache: EnvironmentCache, locked: tuple[str, dict[str, Any]], groups: tuple[str, ...]
) -> None:
    text, settings = locked
    asked = declared("one", "near-by", lock=text, tool_uv=settings, groups=groups, requires_python=">=3.11")
    expected = {"one": "1.0", "near-by": "1.0", "two": "1.0"}
    assert built(cache, asked) == expected | ({"three": "1.0"} if groups else {})


def test_what_a_kernel_needs_is_added_to_what_is_locked(
    cache: EnvironmentCache, locked: tuple[str, dict[str, Any]]
) -> None:
    text, settings = locked
    asked = declared("one", lock=text, tool_uv=settings)
    more = asked.declaration.with_packages(("three",), "the kernel")
    assert built(cache, replace(asked, declaration=more))["three"] == "1.0"


def test_a_lock_file_that_does_not_fit_is_named(cache: EnvironmentCache, locked: tuple[str, dict[str, Any]]) -> None:
    text, settings = locked
    stale = ended(cache, declared("one", "new-one", lock=text, tool_uv=settings))
    assert isinstance(stale, FlowsteadError)
    assert "new-one" in stale.message and "uv lock" in stale.hint and stale.detail["line"] == 4
    for broken in ("not = [toml", "", text.replace('virtual = "."', 'registry = "x"'), text[: len(text) // 2]):
        error = ended(cache, declared("one", lock=broken, tool_uv=settings))
        assert isinstance(error, FlowsteadError)
        assert error.code == "lock-invalid" and error.detail["file"] == "uv.lock"


def test_the_lock_file_of_a_script_says_what_is_installed(cache: EnvironmentCache, tmp_path: Path) -> None:
    index = tmp_path / "index"
    make_wheel(index, "one", "1.0")
    make_project(tmp_path / "near", "near-by", dependencies=("one",))
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "flow.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["near-by"]\n'
        f'# [tool.uv]\n# no-index = true\n# find-links = ["{index}"]\n'
        '# [tool.uv.sources]\n# near-by = { path = "../near", editable = true }\n# ///\n'
    )
    subprocess.run([uv_executable(), "lock", "--script", script], check=True, capture_output=True)
    make_wheel(index, "one", "2.0")
    text = read_lock(script.with_name("flow.py.lock").read_text("utf-8"), "flow.py.lock", script.parent).text
    settings = {"no-index": True, "find-links": [str(index)]}
    asked = declared("near-by", lock=text, tool_uv=settings, requires_python=">=3.11")
    assert built(cache, asked) == {"near-by": "1.0", "one": "1.0"}


def test_progress_is_understood() -> None:
    told: list[Progress] = []
    reader = ProgressReader(told.append)
    for line in (
        "Resolved 12 packages in 340ms",
        "Downloading polars (38.1MiB)",
        " Downloaded polars",
        "   Building thing @ file:///x",
        "      Built thing @ file:///x",
        "Prepared 12 packages in 2.1s",
        "Installed 12 packages in 40ms",
        "Bytecode compiled 3120 files in 1.9s",
        " + polars==2.1.0",
    ):
        assert reader.read(line), line
    assert not reader.read("error: No solution found when resolving dependencies")
    assert [each.phase for each in told] == ["downloading"] * 5 + ["installing", "compiling", "compiling"]
    assert (told[2].done, told[4].done, told[4].total) == (1, 2, 12)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("Because only beta==2.0 is available and you require beta<2, ...", 2),
        ("Because alpha==1.0 depends on nosuch and you require alpha, ...", 1),
        ("Failed to build `be_ta.two==1`", 3),
        ("Because alpha==1.0 needs beta and this-flow depends on beta<2, ...", 2),
        ("error: Failed to download `beta==2.0`", 2),
        ("Because alphabet was not found ...", None),
    ],
)
def test_the_requirement_that_is_named_is_found(words: str, line: int | None) -> None:
    asked = [Requirement(text, "r.txt", at) for at, text in enumerate(("alpha", "beta[x]<2; python_version>'3'"), 1)]
    asked.append(Requirement("be-ta_two==1", "r.txt", 3))
    error = failed(words, Declaration("uv", "r.txt", "", requirements=tuple(asked)), "uv")
    assert error.detail.get("line") == line


def test_long_words_keep_their_end() -> None:
    error = failed("x" * 50_000 + "the end", Declaration("uv", "r.txt", ""), "uv")
    assert len(error.detail["words"]) == 4000 and error.detail["words"].endswith("the end")


def test_a_full_disk_is_told_as_that() -> None:
    error = failed("error: failed to write: No space left on device (os error 28)", Declaration("uv", "r", ""), "uv")
    assert error.code == "disk-full"
