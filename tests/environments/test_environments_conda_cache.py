"""conda environments of the cache: what goes wrong is told in the solver's words with the line that asked for it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from channel import Built, LocalChannel, library, this_subdir
from wanting import marked

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.conda_channels import this_platform
from flowstead.environments.conda_manifest import read_environment_yml, read_pixi
from flowstead.environments.declaration import Progress
from flowstead.environments.detection import detect
from flowstead.environments.environment import Environment, Wanted
from flowstead.model.errors import BuildFailed
from flowstead.model.settings import Settings
from wheels import make_wheel

SECONDS = 120


def manifest(folder: Path, channel: str, *dependencies: str, more: str = "") -> Path:
    """An environment.yml; its first dependency is in line 4."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "environment.yml"
    lines = "".join(f"  - {each}\n" for each in dependencies)
    path.write_text(f"channels:\n  - {channel}\ndependencies:\n{lines}{more}")
    return path


def wanted(cache: EnvironmentCache, path: Path) -> Wanted:
    read = read_pixi if path.suffix == ".toml" else read_environment_yml
    return cache.resolve(read(path, path.parent))


def built(cache: EnvironmentCache, path: Path) -> Environment:
    build = cache.request(wanted(cache, path))
    assert build.wait(SECONDS)
    assert build.environment is not None, build.error and build.error.as_dict()
    return build.environment


def refused(cache: EnvironmentCache, path: Path) -> BuildFailed:
    build = cache.request(wanted(cache, path))
    assert build.wait(SECONDS)
    assert isinstance(build.error, BuildFailed)
    return build.error


def said(environment: Environment, code: str) -> str:
    return subprocess.check_output([environment.python, "-c", code], text=True, timeout=SECONDS, env={}).strip()


# -- what is built ---------------------------------------------------------------------------------------------------


def test_two_manifests_give_two_environments_with_the_runtime_in_each(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    told: list[Progress] = []
    first = wanted(cache, manifest(tmp_path / "one", conda_channel.url, "grain=1", "python"))
    build = cache.request(first)
    build.listen(told.append)
    two = built(cache, manifest(tmp_path / "two", conda_channel.url, "grain=2"))
    assert build.wait(SECONDS)
    one = build.environment
    assert one is not None

    assert said(one, "import grain, flowstead; print(grain.version, flowstead.Flow.__name__)") == "1.0 Flow"
    assert said(two, "import grain, flowstead; print(grain.version, flowstead.Flow.__name__)") == "2.0 Flow"
    row = cache.row(first.digest)
    assert row is not None and (row.state, row.provider) == ("ready", "conda")
    assert {"grain": "1.0", "python": sys.version.split()[0]}.items() <= {
        each.name: each.version for each in one.packages
    }.items()
    assert {"resolving", "installing"} <= {each.phase for each in told}
    assert built(cache, tmp_path / "one" / "environment.yml").id == one.id


def test_pip_installs_on_top(
    cache: EnvironmentCache, conda_channel: LocalChannel, wheels: Path, tmp_path: Path
) -> None:
    pip = f"  - pip:\n    - --no-index\n    - --find-links {wheels}\n    - alpha\n"

    environment = built(cache, manifest(tmp_path / "one", conda_channel.url, "grain", more=pip))

    assert said(environment, "import alpha, beta, grain; print(beta.VERSION, grain.version)") == "2.0 2.0"
    assert {"alpha", "beta", "grain", "python"} <= {each.name for each in environment.packages}
    script = environment.folder / "bin" / "alpha-where"
    assert subprocess.check_output([script], text=True, timeout=SECONDS).strip() == str(environment.folder)


def test_what_pip_installs_anew_leaves_conda_packages_of_others_alone(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    """Both environments have the library linked from one cache; one of them has pip put another version over it."""
    make_wheel(tmp_path / "wheels", "grain", "3.0", files={"grain/__init__.py": 'version = "3.0"\n'})
    one = built(cache, manifest(tmp_path / "one", conda_channel.url, "grain"))
    pip = f"  - pip:\n    - --no-index\n    - --find-links {tmp_path}/wheels\n    - grain>=3\n"

    two = built(cache, manifest(tmp_path / "two", conda_channel.url, "grain", more=pip))

    assert said(two, "import grain; print(grain.version)") == "3.0"
    assert said(one, "import grain; print(grain.version)") == "2.0"
    assert (
        said(
            built(cache, manifest(tmp_path / "three", conda_channel.url, "grain", "tool")),
            "import grain; print(grain.version)",
        )
        == "2.0"
    )


def test_a_package_of_a_named_channel_is_taken_from_there(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    other = LocalChannel(tmp_path / "other")
    other.add(library("grain", "9.0"), library("rare", "1.0"))

    environment = built(cache, manifest(tmp_path / "one", conda_channel.url, "grain", "../other::rare"))

    assert said(environment, "import grain, rare; print(grain.version, rare.version)") == "2.0 1.0"


def test_a_workspace_with_an_environment_yml_decides_for_its_flows(
    conda_channel: LocalChannel, cache: EnvironmentCache, tmp_path: Path
) -> None:
    manifest = tmp_path / "environment.yml"
    manifest.write_text(f"channels: [{conda_channel.url}]\ndependencies: [grain=1]\n")

    def decided() -> str:
        decision = detect(b"", ".py", "flow_modules/a.py", tmp_path, tmp_path / "flow_modules")
        assert decision.declaration is not None and decision.declaration.file == "environment.yml"
        return cache.resolve(decision.declaration).digest

    first = decided()
    assert decided() == first
    manifest.write_text(f"channels: [{conda_channel.url}]\ndependencies: [grain=2]\n")

    assert decided() != first


# -- a lock file -----------------------------------------------------------------------------------------------------


def lock(path: Path, channel: LocalChannel, *specs: str, platform: str = "", pip: tuple[str, ...] = ()) -> None:
    """Writes a pixi.lock with what these specs come to; `pip` are name, version and location of a package for pip."""
    import asyncio

    import rattler

    async def solve() -> list[rattler.RepoDataRecord]:
        return await rattler.solve([channel.url], specs, virtual_packages=rattler.VirtualPackage.detect())

    here = rattler.LockPlatform(platform or this_platform())
    file = rattler.LockFile([here])
    file.set_channels("default", [rattler.LockChannel(f"{channel.url}/")])
    for record in asyncio.run(solve()):
        file.add_conda_package("default", here, record)
    if pip:
        file.add_pypi_package("default", here, *pip)
    file.to_path(path)


PIXI = '[workspace]\nchannels = ["{url}"]\nplatforms = ["{here}"]\n[dependencies]\ngrain = "*"\n'


def test_a_lock_file_decides_where_there_is_one(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    path = tmp_path / "pixi.toml"
    path.write_text(PIXI.format(url=conda_channel.url, here=this_platform()))
    assert said(built(cache, path), "import grain; print(grain.version)") == "2.0"
    lock(tmp_path / "pixi.lock", conda_channel, "python", "grain=1")

    assert said(built(cache, path), "import grain; print(grain.version)") == "1.0"


def test_what_pip_installs_is_what_the_lock_file_has(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "wheels", "late", "2.0")
    wheel = make_wheel(tmp_path / "wheels", "late", "1.0")
    path = tmp_path / "pixi.toml"
    options = f'[pypi-options]\nno-index = true\nfind-links = [{{ path = "{tmp_path}/wheels" }}]\n'
    pip = f'[pypi-dependencies]\nlate = ">=1"\n{options}'
    path.write_text(PIXI.format(url=conda_channel.url, here=this_platform()) + pip)
    assert said(built(cache, path), "import late; print(late.VERSION)") == "2.0"
    lock(tmp_path / "pixi.lock", conda_channel, "python", "grain", pip=("late", "1.0", wheel.as_uri()))

    assert said(built(cache, path), "import late, grain; print(late.VERSION)") == "1.0"

    path.write_text(path.read_text().replace('late = ">=1"', 'late = ">=1.5"'))
    error = refused(cache, path)
    assert (error.code, error.detail["line"]) == ("lock-outdated", 7)
    assert "late>=1.5" in error.detail["words"]


def test_a_local_package_of_a_lock_file_is_the_one_that_the_manifest_names(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    make_wheel(tmp_path / "mine", "mine", "1.0")
    path = tmp_path / "pixi.toml"
    pip = '[pypi-dependencies]\nmine = { path = "mine/mine-1.0-py3-none-any.whl" }\n'
    path.write_text(PIXI.format(url=conda_channel.url, here=this_platform()) + pip)
    place = ("mine", "1.0", "./mine/mine-1.0-py3-none-any.whl")
    lock(tmp_path / "pixi.lock", conda_channel, "python", "grain", pip=place)

    assert said(built(cache, path), "import mine, grain; print(mine.VERSION)") == "1.0"


def test_what_a_kernel_needs_is_added_to_what_a_lock_file_has(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    path = tmp_path / "pixi.toml"
    path.write_text(PIXI.format(url=conda_channel.url, here=this_platform()))
    lock(tmp_path / "pixi.lock", conda_channel, "python", "grain=1")
    declaration = read_pixi(path, tmp_path).with_packages(("tool",), "what kernels need")

    build = cache.request(cache.resolve(declaration))

    assert build.wait(SECONDS) and build.environment is not None, build.error and build.error.as_dict()
    assert said(build.environment, "import grain, tool; print(grain.version)") == "1.0"


@pytest.mark.parametrize(
    ("specs", "platform", "words", "line"),
    [
        (("python",), "", "grain", 5),
        (("python", "grain"), "win-64", "no packages for", None),
        ((), "", "", None),
    ],
)
def test_a_lock_file_that_does_not_fit_is_told(
    cache: EnvironmentCache,
    conda_channel: LocalChannel,
    tmp_path: Path,
    specs: tuple[str, ...],
    platform: str,
    words: str,
    line: int | None,
) -> None:
    path = tmp_path / "pixi.toml"
    path.write_text(PIXI.format(url=conda_channel.url, here=this_platform()))
    if specs:
        lock(tmp_path / "pixi.lock", conda_channel, *specs, platform=platform)
    else:
        (tmp_path / "pixi.lock").write_text("version: nothing\n")

    error = refused(cache, path)

    assert error.code == "lock-outdated" and "pixi lock" in error.hint
    assert words in error.detail["words"]
    assert (error.detail["file"], error.detail.get("line")) == ("pixi.toml", line)


# -- what goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dependencies", "words", "line"),
    [
        (("python", "no-such-package >=2"), "No candidates were found for no-such-package", 5),
        (("python", "mill", "grain >=2"), "mill", 5),
        (("grain >=7",), "No candidates were found for grain >=7", 4),
        (("python", "grain >>1"), "version", 5),
        (("python =3.9",), "python", 4),
    ],
)
def test_the_solvers_reason_is_kept_with_the_line_that_asked(
    cache: EnvironmentCache,
    conda_channel: LocalChannel,
    tmp_path: Path,
    dependencies: tuple[str, ...],
    words: str,
    line: int,
) -> None:
    error = refused(cache, path := manifest(tmp_path / "one", conda_channel.url, *dependencies))

    assert words in error.detail["words"]
    assert (error.detail["file"], error.detail["line"]) == ("environment.yml", line)
    row = cache.row(wanted(cache, path).digest)
    assert row is not None and row.state == "failed" and row.error == error.as_dict()
    assert not (cache.folder / row.digest).exists()


def test_mending_the_line_is_enough(cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path) -> None:
    refused(cache, manifest(tmp_path / "one", conda_channel.url, "grian"))

    environment = built(cache, manifest(tmp_path / "one", conda_channel.url, "grain"))

    assert said(environment, "import grain; print(grain.version)") == "2.0"


def test_an_older_python_than_flows_run_in_is_told(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    channel = conda_channel.copy(tmp_path / "channel")
    channel.add(Built("python", "3.9.1", subdir=this_subdir()))

    error = refused(cache, manifest(tmp_path / "one", channel.url, "python =3.9"))

    assert "3.11" in error.hint
    assert error.detail["line"] == 4


def test_a_pip_requirement_that_cannot_be_had_names_its_line(
    cache: EnvironmentCache, conda_channel: LocalChannel, wheels: Path, tmp_path: Path
) -> None:
    pip = f"  - pip:\n    - --no-index\n    - --find-links {wheels}\n    - nothing-like-it\n"

    error = refused(cache, manifest(tmp_path / "one", conda_channel.url, "grain", more=pip))

    assert "nothing-like-it" in error.detail["words"]
    assert (error.detail["file"], error.detail["line"]) == ("environment.yml", 8)


def test_a_damaged_package_is_told_by_its_name(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path
) -> None:
    channel = conda_channel.copy(tmp_path / "channel")
    channel.add(library("damaged", "1.0"))
    path = channel.folder / "noarch" / "damaged-1.0-0.conda"
    path.write_bytes(path.read_bytes()[:-900])

    error = refused(cache, manifest(tmp_path / "one", channel.url, "damaged"))

    assert "damaged" in error.detail["words"]
    assert error.detail["line"] == 4


@pytest.mark.parametrize("channel", ["http://127.0.0.1:9/channel", "file:///nowhere/at/all"])
def test_a_channel_that_cannot_be_reached_is_told(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path, channel: str
) -> None:
    error = refused(cache, manifest(tmp_path / "one", channel, "grain"))

    assert channel.removeprefix("file://") in error.detail["words"]
    assert error.detail.get("passing", False) is channel.startswith("http:")


@contextmanager
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """A channel's address where all requests are taken and none is answered; the event is set by the first."""
    asked = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return
                asked.set()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/channel", asked
        server.shutdown(socket.SHUT_RDWR)
        thread.join(SECONDS)
        for each in taken:
            each.close()


def test_a_build_ends_at_its_time_limit_with_the_solvers_process(
    make_cache: Callable[..., EnvironmentCache], conda_channel: LocalChannel, tmp_path: Path
) -> None:
    with silent_server() as (address, asked):
        cache = make_cache(Settings(environment_build_timeout=3.0))
        begun = time.monotonic()
        error = refused(cache, manifest(tmp_path / "one", address, "grain"))

    assert asked.is_set()
    assert error.code == "environment-timeout"
    assert time.monotonic() - begun < 30
    assert marked() == []


BUILD = """
import sys
from pathlib import Path
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.conda_manifest import read_environment_yml
from flowstead.model.settings import Settings
cache, path = EnvironmentCache(Path(sys.argv[1]), Settings()), Path(sys.argv[2])
build = cache.request(cache.resolve(read_environment_yml(path, path.parent)))
print("building", flush=True)
build.wait()
"""


def test_killed_at_any_moment_neither_the_environment_nor_the_package_cache_is_half_there(
    cache: EnvironmentCache, conda_channel: LocalChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hunter: SIGKILL of the builder and its child, while packages are unpacked into a cache that was empty."""
    chance = random.Random(4)
    path = manifest(tmp_path / "one", conda_channel.url, "mill", "prefixed")
    asked = wanted(cache, path)
    killed = 0
    for attempt in range(8):
        monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / f"packages-{attempt // 4}"))
        with subprocess.Popen(
            [sys.executable, "-c", BUILD, str(cache.folder), str(path)], stdout=subprocess.PIPE, text=True
        ) as builder:
            assert builder.stdout is not None
            builder.stdout.readline()
            try:
                builder.wait(chance.uniform(0.1, 1.2))
            except subprocess.TimeoutExpired:
                for each in marked():
                    os.kill(each, signal.SIGKILL)
                builder.kill()
                killed += 1
        found = cache.ready(asked.digest)
        row = cache.row(asked.digest)
        assert (found is not None) == (row is not None and row.state == "ready")
        if attempt % 4 == 3:
            environment = built(cache, path) if found is not None else _again(cache, asked)
            assert said(environment, "import mill, grain, ssl, asyncio, json; print(grain.version)") == "1.0"
            assert broken(environment.folder) == []
            assert marked() == []
        if cache.ready(asked.digest) is not None:
            cache.remove(asked.digest)
    assert killed >= 3


def broken(folder: Path) -> list[str]:
    """The files of an environment that are not what conda has on record."""
    found: list[str] = []
    for record in (folder / "conda-meta").glob("*.json"):
        for each in json.loads(record.read_bytes())["paths_data"]["paths"]:
            expected = each.get("sha256_in_prefix") or each["sha256"]
            if each["path_type"] == "hardlink" and _sha256(folder / each["_path"]) != expected:
                found.append(each["_path"])
    return found


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _again(cache: EnvironmentCache, asked: Wanted) -> Environment:
    build = cache.request(asked, again=True)
    assert build.wait(SECONDS) and build.environment is not None, build.error and build.error.as_dict()
    return build.environment


def test_closing_ends_the_solver(
    make_cache: Callable[..., EnvironmentCache], conda_channel: LocalChannel, tmp_path: Path
) -> None:
    with silent_server() as (address, asked):
        cache = make_cache()
        build = cache.request(wanted(cache, manifest(tmp_path / "one", address, "grain")))
        assert asked.wait(SECONDS)

        cache.close()

    assert build.error is not None and build.error.code == "environment-stopped"
    assert marked() == []
