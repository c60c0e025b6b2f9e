"""A clone works by itself, and nothing that installers do in it reaches its template."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from wanting import wanted

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.cloning import clone
from flowstead.environments.environment import installed_packages, site_packages_of
from flowstead.environments.uv import uv_executable
from wheels import make_project

SECONDS = 60


@pytest.fixture
def template(cache: EnvironmentCache, wheels: Path, tmp_path: Path) -> Path:
    project = make_project(tmp_path / "local", "local-thing")
    build = cache.request(wanted("alpha", wheels=wheels, editable=(project,)))
    assert build.wait(SECONDS) and build.environment is not None
    return build.environment.folder


def fingerprint(folder: Path) -> str:
    """Every name, link, mode and content below a folder."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        whole.update(f"{path.relative_to(folder)}\0{path.lstat().st_mode}\0".encode())
        if path.is_symlink():
            whole.update(os.readlink(path).encode())
        elif path.is_file():
            whole.update(path.read_bytes())
    return whole.hexdigest()


def run(*arguments: str | Path) -> str:
    return subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=SECONDS).stdout.strip()


def test_a_clone_works_when_its_template_is_gone(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "a clone" / ".venv"
    target.parent.mkdir()
    count = clone(template, target)
    assert count == sum(not path.is_dir() or path.is_symlink() for path in target.rglob("*"))
    shutil.rmtree(template)

    python = target / "bin" / "python"
    assert run(python, "-I", "-c", "import sys; print(sys.prefix)") == str(target)
    told = run(python, "-P", "-c", "import alpha, beta, local_thing, flowstead.worker.runs as w; print(w.__file__)")
    assert told.startswith(str(target))
    named = [path for path in target.rglob("*") if path.is_file() and str(template).encode() in path.read_bytes()]
    assert [path for path in named if path.suffix != ".pyc"] == []
    assert run(python, "-c", "import traceback; import alpha; print(alpha.main.__code__.co_filename)").startswith(
        str(target)
    )


def test_scripts_of_a_clone_run_with_its_interpreter(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "clone"
    clone(template, target)
    assert run(target / "bin" / "alpha-where") == str(target)
    assert run(template / "bin" / "alpha-where") == str(template)
    assert os.stat(target / "bin" / "alpha-where").st_mode == os.stat(template / "bin" / "alpha-where").st_mode
    sourced = run("sh", "-c", f". {target}/bin/activate && echo $VIRTUAL_ENV")
    assert sourced == str(target)


def test_records_of_a_clone_are_true(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "clone"
    clone(template, target)
    site = site_packages_of(target)
    checked = 0
    for record in site.glob("*.dist-info/RECORD"):
        for line in record.read_text("utf-8").splitlines():
            name, digest, size = line.rsplit(",", 2)
            if not digest:
                continue
            content = (site / name).read_bytes()
            found = hashlib.new(digest.partition("=")[0], content).digest()
            assert digest.partition("=")[2] == _encoded(found), name
            assert int(size) == len(content), name
            checked += 1
    assert checked > 50
    direct = json_of(site / "local_thing-1.0.dist-info" / "direct_url.json")
    assert direct == json_of(site_packages_of(template) / "local_thing-1.0.dist-info" / "direct_url.json")


def _encoded(digest: bytes) -> str:
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def json_of(path: Path) -> object:
    import json

    return json.loads(path.read_text("utf-8"))


def test_what_is_installed_into_a_clone_never_reaches_its_template(
    template: Path, tmp_path: Path, wheels: Path
) -> None:
    """The hunter: replaces, deletes, installs and removes at random; the template stays as it is, byte for byte."""
    before = fingerprint(template)
    chance = random.Random(11)
    target = tmp_path / "clone"
    clone(template, target)
    python = target / "bin" / "python"

    def pip(*arguments: str) -> None:
        offline = ("--no-index", "--find-links", str(wheels)) if arguments[0] == "install" else ()
        command = [uv_executable(), "pip", arguments[0], "--python", str(python), *offline, *arguments[1:]]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)

    def replace_file() -> None:
        path = chance.choice(
            [each for each in sorted(site_packages_of(target).rglob("*.py")) if "flowstead" in str(each)]
        )
        new = path.with_suffix(".new")
        new.write_text("CHANGED = True\n")
        new.replace(path)

    def edit_own_file() -> None:
        for path in (target / "pyvenv.cfg", target / "bin" / "activate", target / "bin" / "alpha-where"):
            if path.exists():
                with path.open("a") as file:
                    file.write("# edited\n")

    def delete_folder() -> None:
        shutil.rmtree(chance.choice(sorted(site_packages_of(target).glob("flowstead/*/"))), ignore_errors=True)

    actions = [
        lambda: pip("install", "beta==1.0"),
        lambda: pip("install", "--reinstall", "--compile-bytecode", "alpha", "beta==2.0"),
        lambda: pip("uninstall", "beta"),
        lambda: run(python, "-m", "compileall", "-q", "-f", site_packages_of(target)),
        replace_file,
        edit_own_file,
        delete_folder,
    ]
    for action in [*actions, *chance.choices(actions, k=5)]:
        action()
        assert fingerprint(template) == before
    assert fingerprint(target) != before


def test_across_file_systems_files_are_copied(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: object, **_kwargs: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    target = tmp_path / "clone"
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refuse)
        clone(template, target)
    assert all(path.stat().st_nlink == 1 for path in target.rglob("*") if path.is_file() and not path.is_symlink())
    assert run(target / "bin" / "alpha-where") == str(target)
    assert installed_packages(target) == installed_packages(template)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the file system in memory is Linux's")
def test_onto_another_file_system_for_real(template: Path) -> None:
    import tempfile

    other = Path("/dev/shm")
    assert other.stat().st_dev != template.stat().st_dev
    with tempfile.TemporaryDirectory(dir=other) as folder:
        clone(template, Path(folder) / "clone")
        assert run(Path(folder) / "clone" / "bin" / "alpha-where") == f"{folder}/clone"


def test_an_existing_target_is_refused(template: Path, tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    with pytest.raises(FileExistsError):
        clone(template, tmp_path / "clone")
    assert list((tmp_path / "clone").iterdir()) == []
