"""Builds that do not go well: killed, stopped, too long, without space or rights; and what is kept of a failure."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from wanting import marked, wanted

from flowstead.environments import child_process, uv
from flowstead.environments.cache import EnvironmentCache
from flowstead.environments.environment import Wanted
from flowstead.environments.processes import kill_marked
from flowstead.model.errors import BuildFailed, FlowsteadError
from flowstead.model.settings import Settings
from wheels import make_sdist, make_wheel

DRIVER = Path(__file__).parent / "cache_driver.py"
SECONDS = 60
MakeCache = Callable[..., EnvironmentCache]


def error_of(cache: EnvironmentCache, asked: Wanted, *, again: bool = False) -> FlowsteadError:
    build = cache.request(asked, again=again)
    assert build.wait(SECONDS)
    assert build.error is not None and build.state == "failed" and build.environment is None
    return build.error


def test_a_failure_has_the_installers_words_and_the_line_that_asked(cache: EnvironmentCache, wheels: Path) -> None:
    asked = wanted("alpha", "no-such-package>=2", wheels=wheels)
    error = error_of(cache, asked)
    assert isinstance(error, BuildFailed) and error.code == "environment-failed"
    assert "no-such-package was not found" in error.detail["words"]
    assert (error.detail["file"], error.detail["line"]) == ("requirements.txt", 2)
    row = cache.row(asked.digest)
    assert row is not None and row.state == "failed" and row.error == error.as_dict()
    assert not (cache.folder / asked.digest).exists()


def test_a_conflict_names_what_was_required(cache: EnvironmentCache, wheels: Path) -> None:
    make_wheel(wheels, "gamma", requires=("beta>=2",))
    error = error_of(cache, wanted("gamma", "beta<2", wheels=wheels))
    assert "gamma" in error.detail["words"] and "beta" in error.detail["words"]
    assert error.detail["line"] in (1, 2)


def test_a_package_that_does_not_build_names_its_line(cache: EnvironmentCache, wheels: Path) -> None:
    make_sdist(wheels, "does-not-build", building="raise SystemExit('the compiler said no')")
    error = error_of(cache, wanted("beta", "does_not.build", wheels=wheels))
    assert "the compiler said no" in error.detail["words"]
    assert error.detail["line"] == 2


def test_a_failure_is_kept_until_it_is_asked_for_again(make_cache: MakeCache, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    make_wheel(folder, "unrelated")
    asked = wanted("late", wheels=folder)
    first = error_of(make_cache(), asked)
    make_wheel(folder, "late")
    cache = make_cache()
    kept = cache.request(asked)
    assert kept.error is not None and kept.error.as_dict() == first.as_dict()
    build = cache.request(asked, again=True)
    assert build.wait(SECONDS) and build.environment is not None
    row = cache.row(asked.digest)
    assert row is not None and row.error is None


def test_a_failure_that_passes_is_tried_again_after_a_while(cache: EnvironmentCache, wheels: Path) -> None:
    # Nobody listens on the port, so the index cannot be reached.
    plain = wanted("beta", wheels=wheels)
    declaration = replace(plain.declaration, options=("--index-url http://127.0.0.1:9/simple",))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UV_OFFLINE")
        patch.setenv("UV_HTTP_RETRIES", "0")
        error = error_of(cache, replace(plain, declaration=declaration))
    assert error.detail["passing"] is True
    assert "connection" in error.hint
    row = cache.row(plain.digest)
    assert row is not None and row.retry_after is not None and row.retry_after > row.changed
    assert cache.request(plain).state == "failed"


def test_a_build_ends_at_its_time_limit_with_all_its_processes(make_cache: MakeCache, tmp_path: Path) -> None:
    started = tmp_path / "started"
    hanging = (
        f"import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
        f" start_new_session=True); open({str(started)!r}, 'w').close(); time.sleep(600)"
    )
    make_sdist(tmp_path / "index", "hangs", building=hanging)
    cache = make_cache(Settings(environment_build_timeout=3.0))
    begun = time.monotonic()
    error = error_of(cache, wanted("hangs", wheels=tmp_path / "index"))
    assert error.code == "environment-timeout"
    assert "3 s" in error.message
    assert time.monotonic() - begun < 30
    assert started.exists()
    assert marked() == []
    # Another process sees the same, without waiting again.
    assert make_cache().request(wanted("hangs", wheels=tmp_path / "index")).state == "failed"


def test_a_time_limit_is_told_once_all_processes_are_gone(
    make_cache: MakeCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = threading.Event()

    def late_on_the_timer(variable: str, value: str) -> int:
        if isinstance(threading.current_thread(), threading.Timer):
            told.wait(SECONDS)
        return kill_marked(variable, value)

    monkeypatch.setattr(child_process, "kill_marked", late_on_the_timer)
    leaves = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],"
    quiet = " start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)"
    make_sdist(tmp_path / "index", "hangs", building=f"{leaves}{quiet}; time.sleep(600)")
    cache = make_cache(Settings(environment_build_timeout=3.0))
    try:
        assert error_of(cache, wanted("hangs", wheels=tmp_path / "index")).code == "environment-timeout"
        assert marked() == []
    finally:
        told.set()


def test_closing_ends_builds_and_leaves_nothing(make_cache: MakeCache, tmp_path: Path) -> None:
    started = tmp_path / "started"
    make_sdist(tmp_path / "index", "hangs", building=f"open({str(started)!r}, 'w').close(); time.sleep(600)")
    cache = make_cache()
    asked = wanted("hangs", wheels=tmp_path / "index")
    build = cache.request(asked)
    deadline = time.monotonic() + SECONDS
    while not started.exists():
        assert time.monotonic() < deadline and not build.wait(0.05)
    cache.close()
    assert build.error is not None and build.error.code == "environment-stopped"
    assert marked() == []
    other = make_cache()
    assert other.row(asked.digest) is None
    assert not (other.folder / asked.digest).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_build_that_is_killed_at_any_moment_never_looks_ready(make_cache: MakeCache, wheels: Path) -> None:
    """The hunter: SIGKILL at random points of a build, its group with it or not; then what is there is looked at."""
    chance = random.Random(4)
    asked = wanted("alpha", wheels=wheels)
    cache = make_cache()
    killed = 0
    for _ in range(8):
        driver = subprocess.Popen(
            [sys.executable, str(DRIVER), str(cache.folder), str(wheels), "alpha"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert driver.stdout is not None
        driver.stdout.readline()
        try:
            driver.wait(chance.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            driver.send_signal(signal.SIGKILL)
            killed += 1
        driver.communicate(timeout=SECONDS)
        row = cache.row(asked.digest)
        environment = cache.ready(asked.digest)
        assert (environment is not None) == (row is not None and row.state == "ready")
        if environment is not None:
            subprocess.run(
                [environment.python, "-I", "-c", "import alpha, beta, flowstead.worker.runs"],
                check=True,
                timeout=SECONDS,
            )
            cache.remove(asked.digest)
        elif row is not None:
            assert row.state == "failed" and row.error is not None
            assert row.error["code"] == "environment-interrupted"
    assert killed >= 3
    build = cache.request(asked)
    assert build.wait(SECONDS) and build.environment is not None
    assert [path.name for path in (cache.folder / asked.digest).iterdir()] == [build.environment.id]
    assert marked() == []


def test_a_file_where_the_folder_should_be_is_a_clear_error(make_cache: MakeCache, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FlowsteadError) as refused:
        make_cache(folder=tmp_path / "file").request(wanted("beta", wheels=tmp_path))
    assert refused.value.code == "home-unwritable"


def test_a_missing_uv_is_a_clear_error_and_is_not_kept(
    cache: EnvironmentCache, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = wanted("beta", wheels=wheels)
    with monkeypatch.context() as patch:
        patch.setattr("uv.find_uv_bin", _nowhere)
        patch.setenv("PATH", "")
        uv.uv_executable.cache_clear()
        error = error_of(cache, asked)
    assert error.code == "installer-missing"
    build = cache.request(asked)
    assert build.wait(SECONDS) and build.environment is not None


def _nowhere() -> str:
    raise FileNotFoundError


def test_what_listens_too_late_hears_the_latest_and_the_end(cache: EnvironmentCache, wheels: Path) -> None:
    build = cache.request(wanted("beta", wheels=wheels))
    assert build.wait(SECONDS)
    heard: list[str] = []
    build.listen(lambda progress: heard.append(progress.phase))
    build.on_done(lambda done: heard.append(done.state))
    assert heard == ["checking", "ready"]


def test_credentials_do_not_come_on_record(cache: EnvironmentCache, wheels: Path) -> None:
    plain = wanted("beta", wheels=wheels)
    options = (*plain.declaration.options, "--extra-index-url http://me:secret@127.0.0.1:9/simple")
    cache.request(replace(plain, declaration=replace(plain.declaration, options=options))).wait(SECONDS)
    row = cache.row(plain.digest)
    assert row is not None
    assert "secret" not in str(row)
    assert "127.0.0.1" in str(row.manifest)


def test_who_looks_on_cannot_break_a_build(cache: EnvironmentCache, wheels: Path) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no")

    build = cache.request(wanted("alpha", wheels=wheels))
    build.listen(lambda progress: build.progress == progress or broken())
    build.listen(broken) if build.progress is None else None
    build.on_done(broken)
    assert build.wait(SECONDS) and build.environment is not None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a small disk, which takes Linux")
@pytest.mark.parametrize(("size", "options"), [("200k", "rw"), ("400k", "rw"), ("600k", "rw"), ("200m", "ro")])
def test_a_full_or_read_only_disk_is_a_clear_error(tmp_path: Path, wheels: Path, size: str, options: str) -> None:
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount namespace for a small disk")
    folder = tmp_path / "environments"
    folder.mkdir()
    script = f'mount -t tmpfs -o size={size} none "{folder}" && mount -o remount,{options} "{folder}" && exec "$@"'
    program = [sys.executable, str(DRIVER), str(folder), str(wheels), "alpha"]
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", *program], capture_output=True, text=True, timeout=SECONDS
    )
    expected = "disk-full" if options == "rw" else "home-unwritable"
    assert done.stdout.split()[-2:] == ["failed", expected], done.stdout + done.stderr
