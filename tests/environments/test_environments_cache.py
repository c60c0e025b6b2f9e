"""One build for many waiters, across threads and processes; what was built is found again; use keeps it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from wanting import wanted

from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.declaration import Progress
from flowstead.environments.environment import Environment
from flowstead.environments.processes import is_alive, start_of
from flowstead.model.errors import EnvironmentUnusable, NotFound, StorageError

DRIVER = Path(__file__).parent / "cache_driver.py"
SECONDS = 60


def build(cache: EnvironmentCache, *requirements: str, wheels: Path) -> Environment:
    made = cache.request(wanted(*requirements, wheels=wheels))
    assert made.wait(SECONDS)
    assert made.environment is not None, made.error and made.error.as_dict()
    return made.environment


def start_driver(folder: Path, wheels: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(DRIVER), str(folder), str(wheels), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def folders_of(cache: EnvironmentCache, digest: str) -> list[str]:
    return sorted(path.name for path in (cache.folder / digest).glob("*"))


def test_what_is_asked_for_is_there_and_works(cache: EnvironmentCache, wheels: Path) -> None:
    asked = wanted("alpha", wheels=wheels)
    assert cache.ready(asked.digest) is None
    assert cache.row(asked.digest) is None

    environment = build(cache, "alpha", wheels=wheels)

    assert [(each.name, each.version) for each in environment.packages[:2]] == [("alpha", "1.0"), ("beta", "2.0")]
    assert cache.ready(asked.digest) == environment
    where = subprocess.run([environment.folder / "bin" / "alpha-where"], capture_output=True, text=True, check=True)
    assert where.stdout.strip() == str(environment.folder)
    row = cache.row(asked.digest)
    assert row is not None and row.size and row.own_size
    assert (row.state, row.id, row.error, row.pinned, row.in_use) == ("ready", environment.id, None, False, ())
    assert row.size > row.own_size > 0


def test_another_process_finds_what_one_has_built(make_cache: Callable[..., EnvironmentCache], wheels: Path) -> None:
    environment = build(make_cache(), "beta", wheels=wheels)
    again = make_cache().request(wanted("beta", wheels=wheels))
    assert again.state == "ready"
    assert again.environment == environment


def test_many_threads_wait_for_one_build(cache: EnvironmentCache, wheels: Path) -> None:
    heard: list[Progress] = []
    ids: set[str] = set()
    ended = threading.Semaphore(0)

    def ask() -> None:
        made = cache.request(wanted("alpha", wheels=wheels))
        made.listen(heard.append)
        assert made.wait(SECONDS) and made.environment is not None
        ids.add(made.environment.id)
        made.on_done(lambda done: ended.release())

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(SECONDS)
        assert ended.acquire(timeout=SECONDS)
    assert len(ids) == 1
    assert folders_of(cache, wanted("alpha", wheels=wheels).digest) == list(ids)
    assert "checking" in {each.phase for each in heard}


def test_two_processes_build_it_once(cache: EnvironmentCache, wheels: Path) -> None:
    drivers = [start_driver(cache.folder, wheels, "alpha") for _ in range(3)]
    mine = cache.request(wanted("alpha", wheels=wheels))
    told = {driver.communicate(timeout=SECONDS)[0].split()[-1] for driver in drivers}
    assert mine.wait(SECONDS) and mine.environment is not None
    assert told == {mine.environment.id}
    assert folders_of(cache, mine.digest) == [mine.environment.id]


def test_one_takes_over_when_the_builder_is_killed(cache: EnvironmentCache, wheels: Path) -> None:
    driver = start_driver(cache.folder, wheels, "alpha")
    assert driver.stdout is not None
    assert "progress" in driver.stdout.readline() + driver.stdout.readline()
    mine = cache.request(wanted("alpha", wheels=wheels))
    driver.kill()
    driver.communicate(timeout=SECONDS)
    assert mine.wait(SECONDS) and mine.environment is not None
    assert mine.environment.python.exists()
    assert folders_of(cache, mine.digest) == [mine.environment.id]


def test_an_environment_whose_files_are_gone_is_built_anew(cache: EnvironmentCache, wheels: Path) -> None:
    first = build(cache, "beta", wheels=wheels)
    shutil.rmtree(first.folder)
    assert cache.ready(first.digest) is None
    second = build(cache, "beta", wheels=wheels)
    assert second.id != first.id and second.python.exists()


def test_one_that_another_process_removed_is_not_handed_out(
    make_cache: Callable[..., EnvironmentCache], wheels: Path
) -> None:
    mine, other = make_cache(), make_cache()
    environment = build(mine, "beta", wheels=wheels)
    other.remove(environment.digest)
    assert mine.ready(environment.digest) is None
    with pytest.raises(EnvironmentUnusable, match="removed") as refused:
        mine.use(environment, "run")
    assert refused.value.code == "environment-gone"
    assert not environment.folder.exists()


def test_what_a_living_process_uses_is_not_removed(cache: EnvironmentCache, wheels: Path) -> None:
    driver = start_driver(cache.folder, wheels, "beta", "--hold")
    assert driver.stdout is not None
    while driver.stdout.readline() != "using\n":
        pass
    row = cache.row(wanted("beta", wheels=wheels).digest)
    assert row is not None and row.in_use == (driver.pid,)
    with pytest.raises(EnvironmentUnusable) as refused:
        cache.remove(row.digest)
    assert refused.value.code == "environment-in-use"
    assert refused.value.detail["pids"] == [driver.pid]
    driver.kill()
    driver.communicate(timeout=SECONDS)
    cache.remove(row.digest)
    assert cache.row(row.digest) is None
    with pytest.raises(NotFound):
        cache.remove(row.digest)


def test_a_use_ends_when_the_last_one_is_closed(cache: EnvironmentCache, wheels: Path) -> None:
    environment = build(cache, "beta", wheels=wheels)

    def users() -> tuple[int, ...]:
        row = cache.row(environment.digest)
        assert row is not None
        return row.in_use

    first, second = cache.use(environment, "run"), cache.use(environment, "kernel")
    assert users() == (os.getpid(),)
    first.close()
    first.close()
    assert users() == (os.getpid(),)
    second.close()
    assert users() == ()


def test_a_number_that_was_given_out_again_is_another_process() -> None:
    start = start_of(os.getpid())
    assert start is not None
    assert is_alive(os.getpid(), start)
    assert not is_alive(os.getpid(), f"{start}0")
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    began = start_of(gone.pid)
    gone.wait()
    assert not is_alive(gone.pid, began or "")


def test_pins_are_kept_and_taken_back(cache: EnvironmentCache, wheels: Path) -> None:
    environment = build(cache, "beta", wheels=wheels)
    cache.pin(environment.digest, True)
    assert [row.pinned for row in cache.rows()] == [True]
    cache.pin(environment.digest, False)
    assert [row.pinned for row in cache.rows()] == [False]
    with pytest.raises(NotFound):
        cache.pin("0" * 32, True)


def test_deleting_the_whole_folder_costs_only_new_builds(
    make_cache: Callable[..., EnvironmentCache], wheels: Path
) -> None:
    mine, other = make_cache(), make_cache()
    first = build(mine, "beta", wheels=wheels)
    assert other.ready(first.digest) == first
    shutil.rmtree(mine.folder)
    assert other.ready(first.digest) is None and other.rows() == []
    second = build(other, "beta", wheels=wheels)
    assert second.id != first.id
    assert mine.ready(first.digest) == second


def test_a_damaged_record_is_named(make_cache: Callable[..., EnvironmentCache], tmp_path: Path) -> None:
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "environments.sqlite3").write_bytes(b"nothing that SQLite knows" * 1000)
    with pytest.raises(StorageError) as refused:
        make_cache().rows()
    assert refused.value.code == "environments-damaged"
    assert "environments.sqlite3" in refused.value.hint
