"""A pool of conda environments from a channel of the tests: given out, taken back, made again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from channel import LocalChannel, library

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.detection import detect
from flowstead.environments.pool import KindStatus, Pool
from flowstead.environments.pool_cached import CachedSupply, supplies_of
from flowstead.environments.pool_rows import PoolRows
from flowstead.model.errors import PoolRefused
from flowstead.model.settings import Settings

SECONDS = 120


@pytest.fixture(scope="module")
def channel(conda_channel: LocalChannel, tmp_path_factory: pytest.TempPathFactory) -> LocalChannel:
    """The channel with something that stands for what kernels need."""
    channel = conda_channel.copy(tmp_path_factory.mktemp("pool") / "channel")
    channel.add(library("ipykernel", "7.0", "grain"))
    return channel


@pytest.fixture
def pool(
    channel: LocalChannel, make_cache: Callable[..., EnvironmentCache], tmp_path: Path
) -> Iterator[tuple[Pool, CachedSupply]]:
    settings = Settings(
        pool_uv=0, pool_conda=3, pool_conda_channels=(channel.url,), pool_conda_packages=("prefixed", "tool")
    )
    cache = make_cache(settings)
    rows = PoolRows(cache.folder / "environments.sqlite3")
    supply = next(each for each in supplies_of(settings, lambda: cache) if each.kind == "conda")
    pool = Pool(tmp_path / "pool", rows, [supply])
    pool.adopt()
    yield pool, supply
    supply.close()
    rows.close()


def settle(pool: Pool) -> KindStatus:
    while jobs := pool.tend():
        for job in jobs:
            job.do()
    return pool.status()[0]


def test_three_are_ready_each_works_by_itself_and_one_that_is_given_back_is_ready_again(
    pool: tuple[Pool, CachedSupply],
) -> None:
    pool_, _ = pool
    assert settle(pool_).ready == 3, pool_.status()

    taken = [pool_.take("conda", os.getpid()) for _ in range(3)]
    paths = [pool_.path(each) for each in taken]

    assert len(set(paths)) == 3
    code = "import ipykernel, grain, flowstead, sysconfig; print(grain.version, sysconfig.get_config_var('prefix'))"
    for path in paths:
        env = {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.check_output([path / "bin" / "python", "-c", code], text=True, timeout=SECONDS, env=env)
        assert done.strip() == f"2.0 {path}"
        assert subprocess.check_output([path / "bin" / "tool"], text=True, timeout=SECONDS).strip() == str(path)
        assert (path / "share" / "prefixed.txt").read_text() == f"{path}/share\n"
    assert settle(pool_).ready == 3
    pool_.give_back(str(paths[0]))
    (paths[1] / "share" / "prefixed.txt").write_text("changed")
    with pytest.raises(PoolRefused):
        pool_.give_back(str(paths[1]))
    unchanged = paths[2] / "share" / "prefixed.txt"
    assert unchanged.read_text() == f"{paths[2]}/share\n"


def test_a_package_that_cannot_be_had_is_named_and_the_rest_is_served(
    channel: LocalChannel, make_cache: Callable[..., EnvironmentCache], tmp_path: Path
) -> None:
    settings = Settings(pool_uv=0, pool_conda=1, pool_conda_channels=(channel.url,), pool_conda_packages=("nowhere",))
    cache = make_cache(settings)
    rows = PoolRows(cache.folder / "environments.sqlite3")
    supply = next(each for each in supplies_of(settings, lambda: cache) if each.kind == "conda")
    pool = Pool(tmp_path / "pool", rows, [supply])
    pool.adopt()

    status = settle(pool)

    assert status.package == "nowhere" and status.base_only and status.ready == 1
    assert status.error is not None and "nowhere" in status.error.detail["words"]
    supply.close()
    rows.close()


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
