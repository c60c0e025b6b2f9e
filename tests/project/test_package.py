"""What is shipped: every file of the package, in a wheel that stays small."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
LARGEST_WHEEL = 3_000_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    built = subprocess.run(
        [find_uv_bin(), "build", "--wheel", "--quiet", "--python", sys.executable, "--out-dir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    if built.returncode:
        if "Failed to fetch" in built.stderr:
            pytest.skip("building needs hatchling, which cannot be fetched here")
        pytest.fail(built.stderr)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    present = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    texts = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
    images = {name for text in texts.values() for name in re.findall(r"\]\((images/[^)]+)\)", text)}
    assert packed == present | {f"flowstead/daemon/guides/{name}" for name in (*texts, *images)}
    assert "flowstead/py.typed" in packed
    assert "flowstead/demo/data/flights-2013-01.csv.gz" in packed


def test_the_wheel_stays_small(wheel: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_the_wheel_has_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        assert "License-Expression: Apache-2.0" in archive.read(metadata).decode()
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    # Spelled in parts, so that this file is not its own finding.
    refused = ["py" + "pi.org", "files.python" + "hosted", "registry.npm" + "js", "/work" + "/main", "/root" + "/."]
    found = {
        (name, word)
        for name in filter(None, tracked.stdout.split("\0"))
        for word in refused
        if (ROOT / name).is_file() and word.encode() in (ROOT / name).read_bytes()
    }
    assert found == set()
