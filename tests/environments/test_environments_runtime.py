"""Flowstead's runtime in an environment: whole, true to what runs here, and enough for a worker."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from wanting import wanted

import flowstead
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.environment import Environment, installed_packages, site_packages_of
from flowstead.environments.runtime import COMPILED, put_runtime, runtime_digest, runtime_files
from flowstead.model.run import now_us
from flowstead.model.settings import Settings

SECONDS = 60
PACKAGE = Path(flowstead.__file__).parent


def build(cache: EnvironmentCache, *requirements: str, wheels: Path) -> Environment:
    made = cache.request(wanted(*requirements, wheels=wheels))
    assert made.wait(SECONDS)
    assert made.environment is not None, made.error and made.error.as_dict()
    return made.environment


def test_the_runtime_is_what_runs_here(cache: EnvironmentCache, wheels: Path) -> None:
    site = build(cache, wheels=wheels).site_packages
    for room in ("flow", "worker", "helpers"):
        for path in (PACKAGE / room).rglob("*.py"):
            assert (site / "flowstead" / path.relative_to(PACKAGE)).read_bytes() == path.read_bytes()
    rooms = {path.name for path in (site / "flowstead").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == {"flow", "worker", "helpers"}


def test_the_runtime_imports_only_what_comes_with_it() -> None:
    """A module of it that imports another room of the house would fail in every environment."""
    names = {name for name, _ in runtime_files()}
    for name, content in runtime_files():
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(content)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            if module is None or not module.startswith("flowstead."):
                continue
            path = module.removeprefix("flowstead.").replace(".", "/")
            assert f"{path}.py" in names or f"{path}/__init__.py" in names, (name, module)


def test_its_digest_changes_with_its_files(tmp_path: Path) -> None:
    code = "from flowstead.environments.runtime import runtime_digest; print(runtime_digest())"
    copy = tmp_path / "src" / "flowstead"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def digest() -> str:
        told = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, "PYTHONPATH": str(tmp_path / "src")},
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.strip()

    assert digest() == runtime_digest()
    (copy / "engine" / "engine.py").write_text("# not part of it\n")
    assert digest() == runtime_digest()
    with (copy / "worker" / "runs.py").open("a") as file:
        file.write("# changed\n")
    assert digest() != runtime_digest()


def test_a_worker_runs_in_it_and_writes_nothing_into_it(cache: EnvironmentCache, wheels: Path, tmp_path: Path) -> None:
    environment = build(cache, "alpha", wheels=wheels)
    before = {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")}
    module = tmp_path / "module.py"
    module.write_text(
        "from flowstead import Flow\nimport beta\n\n"
        "def build():\n    return Flow('group').step(lambda context: beta.VERSION, label='look')\n"
    )
    worker = subprocess.Popen(
        [environment.python, "-P", "-m", "flowstead.worker", "test"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    )
    from flowstead.worker.channel import PROTOCOL

    version = tmp_path / "version"
    version.mkdir()
    (version / "module.py").write_bytes(module.read_bytes())
    start = {
        "type": "start",
        "protocol": PROTOCOL,
        "version": str(version),
        "helpers": None,
        "origin": str(module),
        "stem": "module",
        "workspace_root": str(tmp_path),
        "memory_mb": None,
        "deadline": None,
    }
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(json.dumps(start).encode() + b"\n")
    worker.stdin.flush()
    answer = json.loads(worker.stdout.readline())
    worker.stdin.write(b'{"type": "exit"}\n')
    worker.stdin.flush()
    worker.communicate(timeout=SECONDS)
    assert answer["type"] == "ready", answer
    after = {path: path.stat().st_mtime_ns for path in environment.folder.rglob("*")}
    assert {path for path in after if path not in before or after[path] != before[path]} == set()


def test_it_is_a_package_that_installers_know(tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    site = venv / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    put_runtime(site_packages_of(venv))
    assert [each.name for each in installed_packages(venv)] == ["flowstead"]
    record = (site / f"flowstead-{flowstead.__version__}.dist-info" / "RECORD").read_text("utf-8")
    listed = {line.split(",")[0] for line in record.splitlines()}
    assert listed == {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}


def test_it_is_compiled_once_for_each_python(cache: EnvironmentCache, wheels: Path) -> None:
    first = build(cache, "beta==1.0", wheels=wheels).site_packages / "flowstead"
    (kept,) = (cache.folder / COMPILED).iterdir()
    second = build(cache, "beta==2.0", wheels=wheels).site_packages / "flowstead"
    compiled = [path.relative_to(first) for path in first.rglob("*.pyc")]
    assert len(compiled) > 20
    for name in (*compiled, Path("worker/runs.py")):
        assert (second / name).samefile(first / name) and (second / name).samefile(kept / "flowstead" / name)

    # Race: it is collected while it is linked; then the files themselves are written.
    shutil.rmtree(next(kept.glob("*.dist-info")))
    third = build(cache, "beta>=1", wheels=wheels).site_packages / "flowstead"
    assert (third / "worker" / "runs.py").read_bytes() == (first / "worker" / "runs.py").read_bytes()
    assert not (third / "worker" / "runs.py").samefile(first / "worker" / "runs.py")


def test_that_of_another_flowstead_is_collected(make_cache: Callable[..., EnvironmentCache], wheels: Path) -> None:
    cache = make_cache(Settings(environment_grace=3600))
    build(cache, wheels=wheels)
    old = cache.folder / COMPILED / f"{'0' * 32}-python3.11"
    (old / "flowstead").mkdir(parents=True)
    cache.collect(now_us() + 1_800_000_000)
    assert old.exists()
    cache.collect(now_us() + 7_200_000_000)
    assert [path.name[:32] for path in (cache.folder / COMPILED).iterdir()] == [runtime_digest()]
    assert len(list((cache.folder / ".locks").iterdir())) == 1
