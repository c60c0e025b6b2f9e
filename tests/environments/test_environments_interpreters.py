"""Which Python an environment is made with."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from flowstead.environments import interpreters
from flowstead.environments.declaration import Interpreter
from flowstead.environments.interpreters import (
    SECONDS_KEPT,
    Interpreters,
    find_interpreter,
    installed_interpreters,
    is_virtual,
    own_interpreter,
)
from flowstead.model.errors import ManifestInvalid, PythonMissing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="makes interpreters out of shell scripts")


def make_python(folder: Path, version: str, *, real: Path | None = None, exits: int = 0) -> Interpreter:
    """A program that says it is an interpreter of a version, as one that is found says it when asked."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"python{version}"
    path.write_text(f"#!/bin/sh\necho {real or path}\necho {version}\nexit {exits}\n")
    path.chmod(0o755)
    return Interpreter(path, version, f"cpython-{version}-linux-x86_64-gnu")


def none() -> list[Interpreter]:
    raise AssertionError("there was no need to look further")


def test_our_own_comes_first_and_starts_nothing() -> None:
    own = own_interpreter()
    assert own is not None and own.version == platform.python_version() and not is_virtual(own.path)
    said = subprocess.run([own.path, "-I", "-c", "import sys; print(sys.prefix == sys.base_prefix, sys.version)"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert said.stdout.split()[:2] == ["True", own.version]
    for text in (None, "", ">=3.11", f"=={own.version}", f"~={own.version.rpartition('.')[0]}"):
        assert Interpreters(own, none).find(text) == own


def test_the_key_is_the_one_that_uv_gives() -> None:
    own = own_interpreter()
    assert own is not None
    keys = {each.key for each in installed_interpreters() if each.version == own.version}
    assert not keys or own.key in keys


def test_else_the_newest_that_fits(tmp_path: Path) -> None:
    own = Interpreter(Path(sys.executable), "3.11.7", "own")
    found = [make_python(tmp_path, version) for version in ("3.10.13", "3.12.1", "3.13.0", "3.14.0rc1", "3.12.9")]
    looks = Interpreters(own, lambda: found)
    assert looks.find(">=3.12").version == "3.13.0"
    assert looks.find("==3.12.*").version == "3.12.9"
    assert looks.find(">=3.14.0rc1").version == "3.14.0rc1"
    assert looks.find("!=3.11.7").version == "3.13.0"


def test_one_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    found = [
        make_python(tmp_path / "broken", "3.13.5", exits=127),
        make_python(tmp_path / "lies", "3.13.4"),
        make_python(tmp_path / "good", "3.13.1"),
        Interpreter(tmp_path / "gone", "3.13.9", "x-3.13.9"),
    ]
    found[1].path.write_text("#!/bin/sh\necho nonsense\n")
    assert Interpreters(None, lambda: found).find(">=3.12").path == found[2].path
    # A shim says which interpreter is behind it; that of a virtual environment is none to build on.
    shim = make_python(tmp_path / "shims", "3.14.0", real=found[2].path)
    assert Interpreters(None, lambda: [shim]).find(">=3.12").path == found[2].path
    virtual = make_python(tmp_path / "venv" / "bin", "3.14.1")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    with pytest.raises(PythonMissing):
        Interpreters(None, lambda: [virtual]).find(None)


def test_what_was_found_is_kept_while_it_is_there(tmp_path: Path) -> None:
    found = [make_python(tmp_path / "a", "3.12.1")]
    searches: list[int] = []
    now = [0.0]

    def search() -> list[Interpreter]:
        searches.append(1)
        return found

    looks = Interpreters(None, search, lambda: now[0])
    first = looks.find(">=3.12")
    now[0] += 1_000_000
    assert looks.find(">=3.12") is first and len(searches) == 1
    # Replaced by another version: asked anew, also when a search was just made.
    first.path.unlink()
    found[:] = [make_python(tmp_path / "a", "3.12.1")]
    found[0].path.write_text(found[0].path.read_text().replace("echo 3.12.1", "echo 3.12.30"))
    again = looks.find(">=3.12")
    assert again.version == "3.12.30" and again.key == "cpython-3.12.30-linux-x86_64-gnu"


def test_what_is_missing_is_looked_for_again_after_a_while(tmp_path: Path) -> None:
    found: list[Interpreter] = []
    searches: list[int] = []
    now = [0.0]

    def search() -> list[Interpreter]:
        searches.append(1)
        return list(found)

    looks = Interpreters(None, search, lambda: now[0])
    for _ in range(3):
        with pytest.raises(PythonMissing):
            looks.find(">=3.12")
    assert len(searches) == 1
    found.append(make_python(tmp_path, "3.12.1"))
    now[0] += SECONDS_KEPT + 1
    assert looks.find(">=3.12").version == "3.12.1" and len(searches) == 2


def test_a_missing_one_names_what_is_there_and_what_to_do(tmp_path: Path) -> None:
    own = Interpreter(Path(sys.executable), "3.11.7", "own")
    found = [make_python(tmp_path, "3.11.2"), make_python(tmp_path, "3.9.1")]
    looks = Interpreters(own, lambda: found)
    for text, install in ((">=3.12,<3.14", "3.13"), ("==3.12.5", "3.12.5"), (">=3.12", "3.14"), (">=3.16", "3.16")):
        with pytest.raises(PythonMissing) as caught:
            looks.find(text)
        error = caught.value
        assert error.code == "python-missing" and repr(text) in error.message
        assert f"3.11.7 ({sys.executable}), 3.11.2 ({found[0].path}), 3.9.1" in error.message
        assert error.hint == f"Install one with: uv python install {install}"
        assert error.detail["install"] == install and [each for each, _ in error.detail["found"]] == [
            "3.11.7",
            "3.11.2",
            "3.9.1",
        ]


def test_one_below_what_workers_run_on_is_refused_in_words(tmp_path: Path) -> None:
    found = [make_python(tmp_path, "3.10.13")]
    with pytest.raises(PythonMissing) as caught:
        Interpreters(None, lambda: found).find("<3.11")
    assert "Python 3.11 or newer only" in caught.value.message and "3.10.13" in caught.value.message
    assert caught.value.hint == "Let requires-python have a Python of 3.11 or newer."
    with pytest.raises(PythonMissing) as caught:
        Interpreters(None, list).find(None)
    assert "It has none at all" in caught.value.message


def test_what_is_no_specifier_is_said() -> None:
    with pytest.raises(ManifestInvalid, match="no version specifier: 'newest'"):
        find_interpreter("newest")


def test_interpreters_of_this_machine_that_are_broken_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv itself looks at a path with a broken program, one that hangs on nothing, and one that works."""
    own = own_interpreter()
    assert own is not None
    for name, text in (("python3.13", "#!/bin/sh\nexit 127\n"), ("python3.12", "not a program")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "python3.11").symlink_to(own.path)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "none"))
    listed = installed_interpreters()
    assert [each.version for each in listed if str(each.path).startswith(str(tmp_path))] in ([own.version], [])
    with pytest.raises(PythonMissing) as caught:
        Interpreters(own, installed_interpreters).find("==3.13.77")
    assert own.version in caught.value.message


def test_a_virtual_environment_of_ours_leads_to_its_base() -> None:
    own = own_interpreter()
    assert own is not None and os.path.realpath(own.path) == os.path.realpath(
        getattr(sys, "_base_executable", sys.executable)
    )
    assert find_interpreter(None) == own == interpreters.own_interpreter()
