"""The pool of conda environments, filled by rattler from a channel of the tests' own."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from channel import LocalChannel, library

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.pool import Pool
from flowstead.environments.pool_cached import supplies_of
from flowstead.environments.pool_rows import PoolRows
from flowstead.model.errors import PoolRefused
from flowstead.model.settings import Settings

SECONDS = 120


@pytest.fixture
def channel(conda_channel: LocalChannel, tmp_path: Path) -> LocalChannel:
    """The tests' channel, and in it what stands in for a kernel."""
    channel = conda_channel.copy(tmp_path / "channel")
    channel.add(library("ipykernel", "7.0", "python"))
    return channel


@pytest.fixture
def pool(channel: LocalChannel, tmp_path: Path) -> Iterator[Pool]:
    settings = Settings(pool_uv=0, pool_conda=3, pool_conda_channels=(channel.url,), pool_conda_packages=("mill",))
    cache = EnvironmentCache(tmp_path / "environments", settings)
    rows = PoolRows(tmp_path / "environments" / "environments.sqlite3")
    pool = Pool(tmp_path / "pool", rows, supplies_of(settings, lambda: cache))
    pool.adopt()
    yield pool
    cache.close()
    rows.close()


def settle(pool: Pool) -> None:
    """Does what is to be done, side by side."""
    deadline = time.monotonic() + SECONDS
    with ThreadPoolExecutor(4) as threads:
        while jobs := pool.tend():
            assert time.monotonic() < deadline
            for _ in threads.map(lambda job: job.do(), jobs):
                pass


def says(pool: Pool, path: Path, code: str) -> str:
    done = subprocess.run(
        [path / "bin" / "python", "-c", code], capture_output=True, text=True, timeout=SECONDS, env={}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_three_wait_and_each_is_an_environment_of_its_own(pool: Pool) -> None:
    settle(pool)
    conda = pool.status()[1]
    assert (conda.ready, conda.error, conda.base_only) == (3, None, False)
    taken = [pool.take("conda", os.getpid()) for _ in range(4)]
    assert len({each.id for each in taken}) == 4, "the fourth was made on the spot"
    for member in taken:
        path = pool.path(member)
        assert says(pool, path, "import sys, ipykernel, mill; print(sys.prefix, mill.version)") == f"{path} 1.0"
        pool.give_back(str(path))
    member = pool.take("conda", os.getpid())
    record = next(pool.path(member).glob("conda-meta/mill-*.json"))
    record.write_text(record.read_text() + " ")
    with pytest.raises(PoolRefused) as caught:
        pool.give_back(str(pool.path(member)))
    assert caught.value.code == "pool-changed" and "conda-meta" in caught.value.message


def test_an_unknown_package_is_named_and_done_without(channel: LocalChannel, tmp_path: Path) -> None:
    settings = Settings(
        pool_uv=0, pool_conda=1, pool_conda_channels=(channel.url,), pool_conda_packages=("mill", "no-such-thing")
    )
    cache = EnvironmentCache(tmp_path / "environments", settings)
    rows = PoolRows(tmp_path / "environments" / "environments.sqlite3")
    pool = Pool(tmp_path / "pool", rows, supplies_of(settings, lambda: cache))
    pool.adopt()
    settle(pool)
    conda = pool.status()[1]
    assert (conda.ready, conda.base_only, conda.package) == (1, True, "no-such-thing")
    cache.close()
    rows.close()
