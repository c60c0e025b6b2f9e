"""Environments of tests: a cache in a temporary folder, wheels made on the spot, uv without any network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from channel import LocalChannel, can_repack, library, repacked_python, script, with_prefixes

from flowstead.environments.cache import EnvironmentCache
from flowstead.model.settings import Settings
from wheels import make_wheel


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture(scope="module", autouse=True)
def uv_offline(uv_cache: Path) -> Iterator[None]:
    """uv of these tests: no network, no settings of this machine, a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_OFFLINE", "1")
        patch.setenv("UV_CACHE_DIR", str(uv_cache))
        for name in [name for name in os.environ if name.startswith(("UV_INDEX", "UV_DEFAULT", "UV_EXTRA"))]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small wheels: alpha (with a script) needs beta; beta in versions 1.0 and 2.0."""
    folder = tmp_path_factory.mktemp("wheels")
    module = "import sys\n\ndef main():\n    print(sys.prefix)\n"
    make_wheel(
        folder, "alpha", requires=("beta",), files={"alpha/__init__.py": module}, scripts={"alpha-where": "alpha:main"}
    )
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    return folder


@pytest.fixture(scope="session")
def conda_channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalChannel]:
    """A conda channel: python, grain in versions 1.0 and 2.0, mill that needs the older, and two that know their path.

    rattler has a package cache of its own for as long as there is the channel.
    """
    pytest.importorskip("rattler", reason="the extra conda is not installed")
    if not can_repack():
        pytest.skip("this interpreter cannot be repacked as a conda package")
    channel = LocalChannel(tmp_path_factory.mktemp("conda-channel"))
    channel.add(
        repacked_python(),
        library("grain", "1.0"),
        library("grain", "2.0"),
        library("mill", "1.0", "grain <2"),
        with_prefixes("prefixed"),
        script("tool"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RATTLER_CACHE_DIR", str(tmp_path_factory.mktemp("conda-packages")))
        yield channel


@pytest.fixture
def make_cache(tmp_path: Path) -> Iterator[Callable[..., EnvironmentCache]]:
    """Opens caches of one folder, as several processes would; the settings can be given."""
    caches: list[EnvironmentCache] = []

    def make(settings: Settings | None = None, folder: Path | None = None) -> EnvironmentCache:
        caches.append(EnvironmentCache(folder or tmp_path / "environments", settings or Settings()))
        return caches[-1]

    yield make
    for each in caches:
        each.close()


@pytest.fixture
def cache(make_cache: Callable[..., EnvironmentCache]) -> EnvironmentCache:
    return make_cache()
