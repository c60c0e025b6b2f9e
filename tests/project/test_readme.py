"""The two commands that set everything up: that the README has them, and that they work where nothing is set up."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"


@pytest.fixture(scope="module")
def bootstrap() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "dev.py"))


def test_readme_has_exactly_the_two_commands(bootstrap: dict[str, Any]) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    written = re.findall(r"^python3? dev\.py (\w+)", readme, re.MULTILINE)
    assert written == ["demo", "test"] == list(bootstrap["COMMANDS"])
    for command in bootstrap["COMMANDS"].values():
        assert f"`uv run {' '.join(command)}`" in readme


def test_ci_calls_the_second_command() -> None:
    assert re.search(r"^python3 dev\.py test\b", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)


def test_the_supported_pythons_are_those_of_the_package(bootstrap: dict[str, Any]) -> None:
    oldest, newest = bootstrap["OLDEST"], bootstrap["NEWEST"]
    expected = f'requires-python = ">=3.{oldest[1]},<3.{newest[1] + 1}"'
    assert expected in (ROOT / "pyproject.toml").read_text()


def test_links_in_the_documents_lead_somewhere() -> None:
    broken = []
    for page in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append((page.name, target))
    assert broken == []


def test_usage_is_said() -> None:
    asked = subprocess.run([sys.executable, ROOT / "dev.py", "deploy"], capture_output=True, text=True)
    assert asked.returncode == 1
    assert "usage: python3 dev.py {demo,test}" in asked.stderr


def copy_of_the_checkout(folder: Path) -> Path:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    return folder


def a_bare_python() -> str:
    """A Python outside every virtual environment; the system's own, externally managed one where it will do."""
    for candidate in ("/usr/bin/python3", sys._base_executable):  # type: ignore[attr-defined]
        check = [candidate, "-c", "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))"]
        if Path(candidate).exists() and subprocess.run(check, capture_output=True).returncode == 0:
            return candidate
    raise AssertionError("no supported Python beside the one of this environment")


@pytest.mark.skipif(not COMPLETE_RUN, reason="installs everything anew; FLOWSTEAD_TEST_ALL=1 runs it")
def test_both_commands_set_up_a_bare_machine() -> None:
    # Over a gigabyte comes together here: too much to be kept as tmp_path is.
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        set_up_a_bare_machine(Path(folder))


def set_up_a_bare_machine(folder: Path) -> None:
    checkout = copy_of_the_checkout(folder / "checkout")
    python = a_bare_python()
    # No uv, no shims, no variables: only what lies in the system's own folders.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder / "home"), "FLOWSTEAD_HOME": str(folder / "state")}
    environment["UV_COMPILE_BYTECODE"] = "false"  # it takes long, and nothing here imports much

    def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "dev.py", *arguments], cwd=checkout, env=environment, capture_output=True, text=True, timeout=900
        )

    # A making of .venv that was cut short is noticed, and made good.
    (checkout / ".venv" / "bin").mkdir(parents=True)
    tests = dev("test", "--version")
    assert tests.returncode == 0, tests.stderr
    assert "replacing .venv" in tests.stderr
    assert tests.stdout.startswith("pytest ")
    assert (checkout / ".venv" / "bin" / "flowstead").exists()

    demo = dev("demo", "--help")
    assert demo.returncode == 0, demo.stderr
    assert "replacing .venv" not in demo.stderr
    assert "demo" in demo.stdout
