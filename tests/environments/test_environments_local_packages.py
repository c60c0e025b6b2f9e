"""What counts of packages in folders and files: of editable ones what they depend on, of others everything."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import pytest

from flowstead.environments import local_packages
from flowstead.environments.local_packages import local_digest, local_name, workspace_member
from flowstead.model.errors import ManifestInvalid
from wheels import make_project, make_wheel


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = make_project(tmp_path / "near", "Near_By", dependencies=("alpha",))
    (folder / "setup.cfg").write_text("[metadata]\n")
    (folder / "inner").mkdir()
    (folder / "inner" / "code.py").write_text("x = 1\n")
    return folder


def editable(folder: Path) -> str:
    return local_digest((str(folder), True))


def whole(folder: Path) -> str:
    return local_digest((str(folder), False))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_code_of_an_editable_package_does_not_count(package: Path) -> None:
    before, all_before = editable(package), whole(package)
    (package / "inner" / "code.py").write_text("x = 2\n")
    (package / "new.py").write_text("y = 1\n")
    assert editable(package) == before
    assert whole(package) != all_before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("setup.cfg", "[options]\ninstall_requires = beta\n"),
        ("setup.py", "from setuptools import setup\nsetup(install_requires=['beta'])\n"),
        ("pyproject.toml", '[project]\nname = "near"\ndependencies = ["beta"]\n'),
        ("pyproject.toml", "[nonsense"),
    ],
)
def test_dependencies_of_an_editable_package_count(package: Path, name: str, text: str) -> None:
    before = editable(package)
    (package / name).write_text(text)
    changed = editable(package)
    assert changed != before
    (package / name).write_text(text + "# more\n" if name != "pyproject.toml" else text + "x\n")
    assert editable(package) != before


def test_comments_and_settings_of_other_tools_do_not_count(package: Path) -> None:
    before = editable(package)
    with (package / "pyproject.toml").open("a") as file:
        file.write("# a comment\n[tool.ruff]\nline-length = 100\n[dependency-groups]\ndev = ['x']\n")
    assert editable(package) == before
    with (package / "pyproject.toml").open("a") as file:
        file.write("[tool.setuptools]\npackages = ['x']\n")
    assert editable(package) != before


def test_files_that_dependencies_are_taken_from_count(package: Path) -> None:
    (package / "pyproject.toml").write_text(
        '[project]\nname = "near"\ndynamic = ["dependencies"]\n'
        '[tool.setuptools.dynamic]\ndependencies = { file = ["needs.txt"] }\n'
    )
    (package / "needs.txt").write_text("alpha\n")
    before = editable(package)
    (package / "needs.txt").write_text("beta\n")
    assert editable(package) != before


@pytest.mark.parametrize("how", ["source", "address", "workspace"])
def test_packages_that_a_package_takes_from_folders_count(package: Path, tmp_path: Path, how: str) -> None:
    other = make_project(tmp_path / "other", "other", dependencies=("alpha",))
    third = make_project(tmp_path / "third", "third")
    with (other / "pyproject.toml").open("a") as file:  # and in a circle
        file.write("[tool.uv.sources]\nnear = { path = '../near' }\nthird = { path = '../third', editable = true }\n")
    project = package / "pyproject.toml"
    if how == "address":
        replace(project, '"alpha"', f'"other @ file://{other}"')
    else:
        source = "{ path = '../other', editable = true }" if how == "source" else "{ workspace = true }"
        project.write_text(project.read_text() + f"[tool.uv.sources]\nother = {source}\n")
    (tmp_path / "pyproject.toml").write_text("[tool.uv.workspace]\nmembers = ['near', 'o*']\n")
    before = editable(package)
    replace(other / "pyproject.toml", '"alpha"', '"beta"')
    changed = editable(package)
    assert changed != before
    replace(third / "pyproject.toml", '"1.0"', '"2.0"')
    again = editable(package)
    assert again != changed
    (third / "third.py").write_text("VERSION = 'other'\n")
    assert editable(package) == again
    (other / "other.py").write_text("VERSION = 'other'\n")
    assert (editable(package) == again) == (how != "address")


def test_caches_build_output_and_version_control_do_not_count(package: Path) -> None:
    before = whole(package)
    for name in (
        ".git/HEAD",
        "__pycache__/x.pyc",
        "build/lib/x.py",
        "dist/x.whl",
        "near.egg-info/PKG-INFO",
        "inner/y.pyc",
    ):
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert whole(package) == before
    (package / "inner" / "build").mkdir()
    (package / "inner" / "build" / "x.py").write_text("x")
    assert whole(package) != before


def test_any_change_of_a_whole_package_counts(package: Path) -> None:
    """Random changes, each of which must show at once: also of one size, and with the times put back."""
    chance = random.Random(4)
    digest = whole(package)
    seen = {digest}
    for number in range(60):
        files = [each for each in package.rglob("*") if each.is_file()]
        target = chance.choice(files)
        kind = chance.choice(["edit", "add", "remove", "rename"]) if len(files) > 3 else "add"
        if kind == "edit":
            status = target.stat()
            text = target.read_bytes() or b"x"
            target.write_bytes(bytes([text[0] ^ 1]) + text[1:])
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
        elif kind == "add":
            (package / f"n{number}.txt").write_text(str(number))
        elif kind == "remove":
            target.unlink()
        else:
            target.rename(target.with_name(f"r{number}.dat"))
        before, digest = digest, whole(package)
        assert digest != before
        assert digest == whole(package)
        seen.add(digest)
    assert len(seen) > 40


def test_a_file_that_did_not_change_is_read_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_packages, "_NANOSECONDS_UNSURE", -1)  # times of files cannot be set to long ago
    before = whole(package)
    read: list[str] = []
    really = hashlib.file_digest

    def noted(file: Any, name: str) -> Any:
        read.append(os.path.basename(file.name))
        return really(file, name)

    monkeypatch.setattr(hashlib, "file_digest", noted)
    assert whole(package) == before and not read
    (package / "inner" / "code.py").write_text("x = 22\n")
    assert whole(package) != before and read == ["code.py"]


def test_flows_of_a_workspace_that_is_a_package_do_not_count(package: Path) -> None:
    for name in ("flow_modules", "databases", "config"):
        (package / name).mkdir()
    before = whole(package)
    for name in ("flow_modules/x.py", "databases/x.duckdb", "config/x.toml"):
        (package / name).write_text("x")
    assert whole(package) == before
    (package / "src.py").write_text("x")
    assert whole(package) != before


def test_archives_count_with_their_bytes(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "alpha")
    before = whole(wheel)
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    assert whole(wheel) != before


def test_links_do_not_lead_astray(package: Path) -> None:
    (package / "round").symlink_to(package)
    (package / "nowhere").symlink_to("gone")
    before = whole(package)
    (package / "nowhere").unlink()
    (package / "nowhere").symlink_to("gone-too")
    assert whole(package) != before


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for path in (str(tmp_path / "gone"), "\0"):
        with pytest.raises(ManifestInvalid, match="cannot be read"):
            local_digest((path, False))


def test_names_and_members(package: Path, tmp_path: Path) -> None:
    assert local_name(str(package)) == "near-by"
    assert local_name(str(tmp_path)) is None
    (tmp_path / "pyproject.toml").write_text("[tool.uv.workspace]\nmembers = ['/abs', 'n*', 3]\n")
    assert workspace_member((package, "near-by")) == package
    assert workspace_member((package, "other")) is None
