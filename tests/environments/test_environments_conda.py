"""conda: packages solved and installed for real, from a channel that the tests make, without any network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from channel import LocalChannel
from hypothesis import given
from hypothesis import strategies as st

from flowstead.environments.child_process import Children
from flowstead.environments.cloning import clone
from flowstead.environments.conda import CondaProvider
from flowstead.environments.conda_manifest import read_environment_yml
from flowstead.environments.conda_prefix import Placed, with_prefix
from flowstead.environments.declaration import Declaration, Progress

SECONDS = 120


def environment_yml(folder: Path, channel: LocalChannel, *dependencies: str, more: str = "") -> Declaration:
    path = folder / "environment.yml"
    lines = "".join(f"  - {each}\n" for each in dependencies)
    path.write_text(f"name: x\nchannels:\n  - {channel.url}\ndependencies:\n{lines}{more}")
    return read_environment_yml(path, folder)


def install(declaration: Declaration, folder: Path, told: list[Progress] | None = None) -> Path:
    """Makes the environment below `folder`, and returns its root."""
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    run = Children("0" * 32, seconds=SECONDS)
    tell = (told if told is not None else []).append
    venv = folder / ".venv"
    CondaProvider().install(declaration, None, venv=venv, scratch=scratch, tell=tell, run=run)
    return venv


def said(venv: Path, code: str) -> str:
    """What code prints in an environment, which is started without any of this process's variables."""
    python = CondaProvider().python_of(venv)
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=SECONDS, env={}, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_environment_yml_is_solved_and_installed_and_its_python_starts(
    tmp_path: Path, conda_channel: LocalChannel
) -> None:
    told: list[Progress] = []

    venv = install(environment_yml(tmp_path, conda_channel, "mill", "python"), tmp_path / "one", told)

    assert said(venv, "import mill, grain, sys; print(mill.version, grain.version, sys.prefix)") == f"1.0 1.0 {venv}"
    assert said(venv, "import sysconfig; print(sysconfig.get_config_var('prefix'))") == str(venv)
    packages = {each.name: each.version for each in CondaProvider().packages_of(venv)}
    assert packages == {"grain": "1.0", "mill": "1.0", "python": sys.version.split()[0]}
    phases = [each.phase for each in told]
    assert phases[0] == "resolving" and phases[-1] == "compiling"
    linked = [(each.done, each.total) for each in told if each.phase == "installing" and each.done]
    assert linked[-1] == (3, 3)


def test_python_is_added_where_a_manifest_names_none(tmp_path: Path, conda_channel: LocalChannel) -> None:
    venv = install(environment_yml(tmp_path, conda_channel), tmp_path / "one")

    assert said(venv, "print('started')") == "started"


def test_modules_are_compiled(tmp_path: Path, conda_channel: LocalChannel) -> None:
    venv = install(environment_yml(tmp_path, conda_channel, "grain"), tmp_path / "one")

    assert list(venv.glob("lib/python3*/site-packages/grain/__pycache__/__init__.*.pyc"))


def test_a_clone_knows_its_own_place_and_works_without_its_template(
    tmp_path: Path, conda_channel: LocalChannel
) -> None:
    template = install(environment_yml(tmp_path, conda_channel, "grain", "prefixed", "tool"), tmp_path / "a-template")
    said(template, "import sysconfig; sysconfig.get_config_vars()")  # compiled, with the template's path in it
    for name in ("b-template", "short", "much-longer-than-the-template" * 3):
        target = tmp_path / name / ".venv"
        target.parent.mkdir()

        clone(template, target)

        hidden = template.rename(tmp_path / "hidden")
        assert said(target, "import grain, sys; print(grain.version, sys.prefix)") == f"2.0 {target}"
        assert said(target, "import sysconfig; print(sysconfig.get_config_var('prefix'))") == str(target)
        binary = (target / "share" / "prefixed.bin").read_bytes()
        at = os.fsencode(target)
        strings = [each for each in binary.split(b"\0") if each]
        assert strings == [b"\x7fBIN", at + b"/share:" + at + b"/lib", b"after", at, b"end"]
        assert len(binary) == (hidden / "share" / "prefixed.bin").stat().st_size
        assert (target / "share" / "prefixed.link").read_text() == f"{target}/share\n"
        for script in ("prefixed", "tool"):
            done = subprocess.run(
                [target / "bin" / script], capture_output=True, text=True, timeout=SECONDS, check=False
            )
            assert done.stdout.strip() == str(target), done.stderr
        held = [each for each in target.rglob("*") if each.is_file() and os.fsencode(template) in each.read_bytes()]
        assert [each for each in held if each.suffix != ".pyc"] == []
        shared = target / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        assert shared.stat().st_ino == (hidden / shared.relative_to(target)).stat().st_ino
        hidden.rename(template)


@given(
    words=st.lists(st.sampled_from([b"OLD", b"OLD/lib:OLD/bin", b"x", b"", b"aOLDb"]), max_size=8),
    old=st.integers(1, 40),
    new=st.integers(1, 40),
    room=st.integers(0, 60),
)
def test_strings_in_binaries_are_as_if_they_were_made_for_the_clone(
    words: list[bytes], old: int, new: int, room: int
) -> None:
    """Installed at one path and moved to another is the same as installed there; it is refused where it cannot be."""
    placeholder, here, there = b"/" + b"p" * (old + room), b"/" + b"o" * old, b"/" + b"n" * new
    placed = Placed(len(placeholder), binary=True)

    def installed(path: bytes) -> bytes:
        built = [word.replace(b"OLD", placeholder) for word in words]
        return b"".join(each.replace(placeholder, path).ljust(len(each), b"\0") + b"\0" for each in built)

    if len(there) > len(placeholder) and any(b"OLD" in word for word in words):
        with pytest.raises(OSError, match="name too long"):
            with_prefix(installed(here), here, there, placed)
    else:
        assert with_prefix(installed(here), here, there, placed) == installed(there)
