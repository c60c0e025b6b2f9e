"""What nobody needs goes, in two steps and after its grace; what somebody uses never does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from wanting import marked, wanted

from flowstead.environments import collecting
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.environment import Environment
from flowstead.environments.rows import Rows
from flowstead.model.errors import EnvironmentUnusable
from flowstead.model.run import now_us
from flowstead.model.settings import Settings
from wheels import make_sdist, make_wheel

SECONDS = 60
DAY = 86_400_000_000
HOUR = 3_600_000_000
HERE = Path(__file__).parent
MakeCache = Callable[..., EnvironmentCache]


def build(cache: EnvironmentCache, *requirements: str, wheels: Path) -> Environment:
    made = cache.request(wanted(*requirements, wheels=wheels))
    assert made.wait(SECONDS)
    assert made.environment is not None, made.error and made.error.as_dict()
    return made.environment


def states(cache: EnvironmentCache) -> list[str]:
    return sorted(row.state for row in cache.rows())


def test_what_is_not_used_for_long_goes_in_two_steps(make_cache: MakeCache, wheels: Path) -> None:
    cache = make_cache(Settings(environment_days=30, environment_grace=3600))
    environment = build(cache, "beta", wheels=wheels)
    now = now_us()
    assert cache.collect(now + 29 * DAY) == []

    told = cache.collect(now + 31 * DAY, dry_run=True)
    assert [(each.digest, each.step) for each in told] == [(environment.digest, "cold")]
    assert states(cache) == ["ready"]

    assert cache.collect(now + 31 * DAY) == told
    assert states(cache) == ["cold"] and environment.python.exists()
    assert cache.collect(now + 31 * DAY + HOUR // 2) == []

    gone = cache.collect(now + 31 * DAY + 2 * HOUR)
    assert [(each.digest, each.step) for each in gone] == [(environment.digest, "deleted")]
    assert gone[0].size > 0
    assert cache.rows() == [] and not (cache.folder / environment.digest).exists()
    assert list((cache.folder / ".trash").iterdir()) == []


def test_a_cold_one_is_ready_again_when_it_is_asked_for(make_cache: MakeCache, wheels: Path) -> None:
    cache = make_cache(Settings(environment_days=1))
    environment = build(cache, "beta", wheels=wheels)
    cache.collect(now_us() + 2 * DAY)
    assert states(cache) == ["cold"]
    assert make_cache().ready(environment.digest) == environment
    assert states(cache) == ["ready"]


def test_above_the_budget_the_least_used_go(make_cache: MakeCache, tmp_path: Path) -> None:
    index, megabytes = tmp_path / "index", 4
    for name in ("one", "two", "three"):
        make_wheel(index, name, files={f"{name}/data.txt": f"{name:9}\n" * ((megabytes << 20) // 10)})
    cache = make_cache()
    pinned, first, second = (build(cache, name, wheels=index) for name in ("one", "two", "three"))
    cache.pin(pinned.digest, True)
    with cache.use(first, "run"):
        pass  # used last
    each = max(row.size or 0 for row in cache.rows()) >> 20
    now = now_us() + 2 * HOUR

    assert make_cache(Settings(environment_disk_mb=4 * each)).collect(now) == []
    tight = make_cache(Settings(environment_disk_mb=2 * each + each // 2))
    assert [(each.digest, each.step) for each in tight.collect(now)] == [(second.digest, "cold")]
    tiny = make_cache(Settings(environment_disk_mb=1))
    assert [(each.digest, each.step) for each in tiny.collect(now)] == [(first.digest, "cold")]
    assert {row.digest: row.state for row in cache.rows()}[pinned.digest] == "ready"


def test_what_is_young_or_in_use_stays(make_cache: MakeCache, wheels: Path) -> None:
    cache = make_cache(Settings(environment_days=1, environment_disk_mb=1, environment_grace=3600))
    environment = build(cache, "beta", wheels=wheels)
    assert cache.collect(now_us() + HOUR // 2) == []
    use = cache.use(environment, "run")
    assert make_cache(cache.settings).collect(now_us() + 9 * DAY) == []
    use.close()
    assert len(cache.collect(now_us() + 9 * DAY)) == 1


def test_a_use_that_begins_at_the_last_moment_counts(make_cache: MakeCache, wheels: Path) -> None:
    """Whoever removes has looked, and found no use; then one begins; then the row is to be deleted."""
    cache = make_cache()
    environment = build(cache, "beta", wheels=wheels)
    rows = Rows(cache.folder)
    looked = rows.row(environment.digest)
    assert looked is not None and looked.in_use == ()
    with cache.use(environment, "run"):
        assert not collecting._make_cold(rows, looked, now_us())
        assert not collecting._delete(rows, cache.folder, environment.digest, environment.id, changed_by=None)
        assert environment.python.exists()
    assert collecting._delete(rows, cache.folder, environment.digest, environment.id, changed_by=None)
    assert not environment.folder.exists()
    rows.close()


def test_what_a_dead_process_used_goes(make_cache: MakeCache, wheels: Path) -> None:
    cache = make_cache(Settings(environment_days=1, environment_grace=0))
    environment = build(cache, "beta", wheels=wheels)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    cache.use(environment, "kernel", pid=process.pid)
    assert cache.collect(now_us() + 2 * DAY) == []
    process.communicate(b"\n", timeout=SECONDS)
    assert {each.step for each in cache.collect(now_us() + 2 * DAY)} == {"cold", "deleted"}
    assert not environment.folder.exists()


def test_leftovers_go_after_the_grace(make_cache: MakeCache, wheels: Path) -> None:
    cache = make_cache(Settings(environment_grace=3600))
    environment = build(cache, "beta", wheels=wheels)
    leftover = cache.folder / environment.digest / "0123456789ab" / ".venv"
    leftover.mkdir(parents=True)
    (leftover / "file").write_text("x" * 10_000)
    elsewhere = cache.folder / "pool" / "kept"
    elsewhere.mkdir(parents=True)
    assert cache.collect(now_us() + HOUR // 2) == []
    told = cache.collect(now_us() + 2 * HOUR)
    assert [(each.id, each.step) for each in told] == [("0123456789ab", "leftover")]
    assert told[0].size >= 10_000
    assert not leftover.exists() and elsewhere.exists() and cache.ready(environment.digest) == environment


def test_a_build_that_was_killed_goes_with_its_row(make_cache: MakeCache, tmp_path: Path) -> None:
    started = tmp_path / "started"
    make_sdist(
        tmp_path / "index",
        "hangs",
        building=f"print('go', flush=True); open({str(started)!r}, 'w').close(); time.sleep(600)",
    )
    cache = make_cache(Settings(environment_grace=3600))
    driver = subprocess.Popen(
        [sys.executable, str(HERE / "cache_driver.py"), str(cache.folder), str(tmp_path / "index"), "hangs"],
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + SECONDS
    while not started.exists():
        assert driver.poll() is None and time.monotonic() < deadline
        threading.Event().wait(0.02)
    assert cache.collect(now_us() + 2 * HOUR) == []  # it is being built, however old
    driver.kill()
    driver.communicate(timeout=SECONDS)
    assert cache.collect(now_us() + HOUR // 2) == []
    steps = [each.step for each in cache.collect(now_us() + 2 * HOUR)]
    assert "leftover" in steps
    assert cache.rows() == [] and not any(path.is_dir() for path in cache.folder.glob("[0-9a-f]*"))
    assert marked() == []


def test_nothing_in_use_loses_a_file_however_often_is_collected(make_cache: MakeCache, wheels: Path) -> None:
    """The hunter: uses, builds and pins in several threads, while two processes collect at once without any grace."""
    cache = make_cache()
    names = [("beta==1.0",), ("beta==2.0",), ("alpha",), ("alpha", "beta==1.0")]
    pinned = build(cache, "beta>=1", wheels=wheels)
    cache.pin(pinned.digest, True)
    collectors = [
        subprocess.Popen(
            [sys.executable, str(HERE / "collecting_driver.py"), str(cache.folder), "150"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    missing: list[str] = []
    used = threading.Semaphore(0)

    def work(requirements: tuple[str, ...]) -> None:
        while any(each.poll() is None for each in collectors):
            made = cache.request(wanted(*requirements, wheels=wheels))
            if not made.wait(SECONDS) or made.environment is None:
                missing.append(f"not built: {made.error and made.error.as_dict()}")
                return
            environment = made.environment
            try:
                use = cache.use(environment, "run")
            except EnvironmentUnusable:
                continue  # it was collected before: the next round builds it anew
            used.release()
            files = [path for path in environment.folder.rglob("*") if path.is_file()]
            code = "import beta, flowstead.worker.runs, sys; print(sys.prefix)"
            done = subprocess.run(
                [environment.python, "-I", "-c", code], capture_output=True, text=True, timeout=SECONDS
            )
            if done.returncode != 0:
                missing.append(done.stderr)
            missing.extend(str(path) for path in files if not os.path.lexists(path))
            if len(files) < 100:
                missing.append(f"{environment.folder} has only {len(files)} files")
            use.close()

    threads = [threading.Thread(target=work, args=(each,)) for each in names]
    for each in threads:
        each.start()
    freed = sum(int(each.communicate(timeout=SECONDS)[0]) for each in collectors)
    for each in threads:
        each.join(SECONDS)
    assert missing == []
    assert used.acquire(blocking=False)
    assert freed > 0
    assert cache.ready(pinned.digest) == pinned
    final = cache.collect(now_us())
    assert all(each.step != "leftover" for each in final) or cache.ready(pinned.digest) == pinned
