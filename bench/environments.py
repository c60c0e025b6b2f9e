"""Rows about environments: built with and without what uv has in its cache, cloned, and found again."""

from __future__ import annotations

import hashlib
import os
import platform
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from bench.api import daemon
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from flowstead.client import MachineClient
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.cloning import clone
from flowstead.environments.declaration import Declaration, Interpreter, Requirement
from flowstead.environments.environment import Environment, Wanted
from flowstead.environments.uv import uv_executable
from flowstead.model.settings import Settings

MODULES = 50
LOOKS = 1_000
POOL = 3
LONGEST_BUILD = 120.0


class _Packages:
    """`count` packages of 50 modules each, as wheels in a folder; uv gets them from there and from nowhere else."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.wheels.mkdir()
        self.names = [f"bench{number}" for number in range(count)]
        self.interpreter = Interpreter(
            Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable))), platform.python_version(), "own"
        )
        for name in self.names:
            _write_wheel(self.wheels, name)
        self._made = 0

    def build(self, uv_cache: Path) -> tuple[float, Environment]:
        """Seconds that a build takes in a folder of environments of its own, and what came of it."""
        _use_cache(uv_cache)
        with closing(EnvironmentCache(self._fresh(), Settings())) as cache:
            begun = time.perf_counter()
            build = cache.request(self._wanted())
            build.wait()
            took = time.perf_counter() - begun
            if build.environment is None:
                raise RuntimeError(build.error)
            return took, build.environment

    def plain(self, uv_cache: Path) -> float:
        """Seconds that uv takes for a virtual environment with the same packages."""
        _use_cache(uv_cache)
        uv, venv = uv_executable(), self._fresh()
        offline = ("--no-index", "--find-links", self.wheels, "--compile-bytecode")
        begun = time.perf_counter()
        subprocess.run([uv, "venv", "-q", "--no-project", "--python", self.interpreter.path, venv], check=True)
        subprocess.run(
            [uv, "pip", "install", "-q", "--python", venv / "bin" / "python", *offline, *self.names], check=True
        )
        return time.perf_counter() - begun

    def _fresh(self) -> Path:
        self._made += 1
        return self.folder / f"made-{self._made}"

    def _wanted(self) -> Wanted:
        declaration = Declaration(
            "uv",
            "requirements.txt",
            "bench",
            requirements=tuple(Requirement(name, "requirements.txt", 1) for name in self.names),
            options=("--no-index", f"--find-links {self.wheels}"),
        )
        return Wanted(hashlib.sha256(b"bench").hexdigest()[:32], declaration, self.interpreter)


def cold_build(setting: Setting) -> Samples:
    packages = _Packages(setting.folder, setting.size(40, 4))
    number = 0
    while True:
        number += 2
        took, _ = packages.build(setting.folder / f"uv-{number}")
        yield (Sample(took * 1e3, packages.plain(setting.folder / f"uv-{number + 1}") * 1e3),)


def warm_build(setting: Setting) -> Samples:
    packages = _Packages(setting.folder, setting.size(40, 4))
    uv_cache = setting.folder / "uv"
    packages.plain(uv_cache)
    while True:
        took, environment = packages.build(uv_cache)
        plain = packages.plain(uv_cache) * 1e3
        begun = time.perf_counter()
        clone(environment.folder, setting.folder / f"clone-{environment.id}")
        cloned = time.perf_counter() - begun
        yield Sample(took * 1e3, plain), Sample(cloned * 1e3, plain)


def ready(setting: Setting) -> Samples:
    packages = _Packages(setting.folder, 1)
    _, environment = packages.build(setting.folder / "uv")
    folder = environment.folder.parents[2]
    with closing(EnvironmentCache(folder, Settings())) as cache, closing(sqlite3.connect(":memory:")) as bare:
        bare.execute("CREATE TABLE environments (digest TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID")
        bare.execute("INSERT INTO environments VALUES (?, 'ready')", (environment.digest,))
        while True:
            begun = time.perf_counter()
            for _ in range(LOOKS):
                cache.ready(environment.digest)
            middle = time.perf_counter()
            for _ in range(LOOKS):
                bare.execute("SELECT state FROM environments WHERE digest = ?", (environment.digest,)).fetchone()
                os.stat(environment.python)
            ended = time.perf_counter()
            yield (Sample((middle - begun) / LOOKS * 1e3, (ended - middle) / LOOKS * 1e3),)


def take(setting: Setting) -> Samples:
    packages = _Packages(setting.folder, setting.size(40, 4))
    _write_wheel(packages.wheels, "ipykernel", packages.names)  # what every environment of the pool has
    uv_cache = setting.folder / "uv"
    packages.plain(uv_cache)
    offline = {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(packages.wheels), "UV_CACHE_DIR": str(uv_cache)}
    with daemon(FLOWSTEAD_POOL_UV=str(POOL), **offline) as client:
        while True:
            _await_full(client)
            begun = time.perf_counter()
            client.health()
            asked = time.perf_counter()
            taken = [client.pool_take("uv", os.getpid())["path"]]
            warm = time.perf_counter() - asked
            taken += [client.pool_take("uv", os.getpid())["path"] for _ in range(POOL - 1)]
            drained = time.perf_counter()
            taken.append(client.pool_take("uv", os.getpid())["path"])
            drained = time.perf_counter() - drained
            for path in taken:
                client.pool_discard(path)
            plain = packages.plain(uv_cache)
            yield Sample(warm * 1e3, (asked - begun) * 1e3), Sample(drained * 1e3, plain * 1e3)


def _await_full(client: MachineClient) -> None:
    deadline = time.monotonic() + LONGEST_BUILD
    while True:
        (kind,) = (each for each in client.pool_status()["kinds"] if each["kind"] == "uv")
        if kind["ready"] == POOL and not kind["warming"]:
            return
        if kind["error"] is not None or time.monotonic() > deadline:
            raise RuntimeError(kind["error"] or "The pool was not filled in time.")
        time.sleep(0.05)


def _use_cache(folder: Path) -> None:
    os.environ.update(UV_CACHE_DIR=str(folder), UV_OFFLINE="1")


def _write_wheel(folder: Path, name: str, requires: Sequence[str] = ()) -> None:
    info = f"{name}-1.0.dist-info"
    lines = "".join(
        f"def function_{number}(x):\n    return [x + {number} for _ in range(3)]\n\n" for number in range(30)
    )
    contents = {f"{name}/module_{number}.py": f"NAME = {name + str(number)!r}\n{lines}" for number in range(MODULES)}
    contents[f"{name}/__init__.py"] = ""
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    contents[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{needs}"
    contents[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for path, text in contents.items():
            archive.writestr(path, text)


MEASUREMENTS = (
    Measurement(
        (
            Row(
                "env-cold",
                "an environment of 40 packages (2,000 modules), nothing in uv's cache",
                "ms",
                "uv venv, uv pip install",
                Reach(500, above_floor=True),
            ),
        ),
        cold_build,
    ),
    Measurement(
        (
            Row(
                "env-warm",
                "the same, with uv's cache as an earlier build has left it",
                "ms",
                "uv venv, uv pip install",
                Reach(500, above_floor=True),
            ),
            Row("env-clone", "a clone of it, by hard links", "ms", "uv venv, uv pip install", Reach(100)),
        ),
        warm_build,
    ),
    Measurement(
        (
            Row("pool-take", "a take from a full pool, through the API", "ms", "a request for health", Reach(10)),
            Row("pool-drained", "a take when all are taken", "ms", "uv venv, uv pip install", Reach(2000)),
        ),
        take,
    ),
    Measurement(
        (Row("env-ready", "finding an environment that is ready", "ms", "SELECT and stat", Reach(0.3)),),
        ready,
    ),
)
