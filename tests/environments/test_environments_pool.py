"""The pool: what it gives out and takes back, what it refuses, and what it does when things go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cheap_supply import CheapSupply, Killed

from flowstead.environments.pool import Pool
from flowstead.environments.pool_holders import Holders
from flowstead.environments.pool_kinds import KindStatus
from flowstead.environments.pool_rows import Member, PoolRows
from flowstead.environments.pool_supply import MOST_SECONDS_OF_PAUSE, Trouble, culprit
from flowstead.model.errors import BuildFailed, FlowsteadError, NotFound, PoolRefused

SECONDS = 60


@dataclass
class Place:
    """A pool of cheap environments in a folder, with a clock that tests move; `again` opens it as a new process."""

    folder: Path
    supplies: list[CheapSupply]
    now: float = 1000.0
    opened: list[PoolRows] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.again()

    def again(self) -> Pool:
        rows = PoolRows(self.folder / "environments.sqlite3")
        self.opened.append(rows)
        self.pool = Pool(self.folder / "pool", rows, self.supplies, clock=lambda: self.now, chance=lambda: 0.5)
        self.pool.adopt()
        return self.pool

    def settle(self) -> None:
        """Does all that is to be done now."""
        while jobs := self.pool.tend():
            for job in jobs:
                job.do()

    @property
    def status(self) -> KindStatus:
        return self.pool.status()[0]

    def path(self, member: Member) -> str:
        return str(self.pool.path(member))

    def on_disk(self) -> set[str]:
        return {each.name for each in (self.folder / "pool").iterdir() if each.is_dir()}

    def close(self) -> None:
        for rows in self.opened:
            rows.close()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    made: list[Place] = []

    def make(**settings: object) -> Place:
        made.append(Place(tmp_path, [CheapSupply(tmp_path / "templates", **settings)]))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for place in made:
        place.close()


@pytest.fixture
def place(make: Callable[..., Place]) -> Place:
    place = make()
    place.settle()
    return place


@pytest.fixture
def processes() -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Starts processes that wait until they are ended."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=SECONDS)


def refused(code: str, call: Callable[..., object], *arguments: object) -> FlowsteadError:
    with pytest.raises(FlowsteadError) as caught:
        call(*arguments)
    assert caught.value.code == code
    return caught.value


# -- giving out ----------------------------------------------------------------------------------------------------


def test_as_many_are_ready_as_the_settings_say(make: Callable[..., Place]) -> None:
    place = make(target=4)
    assert (place.status.deficit, place.status.ready) == (4, 0)
    place.settle()
    assert (place.status.deficit, place.status.ready, place.status.warming) == (0, 4, 0)
    assert len(place.on_disk()) == 4 and place.supplies[0].builds == ["uv-full-1"]


def test_three_takes_at_once_give_three_and_then_three_are_ready_again(place: Place) -> None:
    taken: list[Member] = []
    begin = threading.Barrier(3)

    def take() -> None:
        begin.wait(SECONDS)
        taken.append(place.pool.take("uv", os.getpid()))

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert len({each.id for each in taken}) == 3 and {each.state for each in taken} == {"lent"}
    place.settle()
    assert (place.status.ready, place.status.lent) == (3, 3)
    for member in taken:
        assert place.pool.give_back(place.path(member)).state == "leaving", "there are enough"
    place.settle()
    assert (place.status.ready, place.status.lent) == (3, 0) and len(place.on_disk()) == 3


def test_one_that_is_missing_comes_back_as_it_was(place: Place) -> None:
    member = place.pool.take("uv", os.getpid())
    venv = place.pool.path(member)
    # Python compiles what it imports; the next holder does not get that.
    (venv / "lib" / "package" / "__pycache__" / "module.cpython-312.opt-1.pyc").write_bytes(b"x")
    (venv / "lib" / "__pycache__").mkdir()
    assert place.pool.give_back(str(venv)).state == "ready"
    assert place.status.ready == 3
    assert sorted(os.listdir(venv / "lib" / "package" / "__pycache__")) == ["module.cpython-311.pyc"]
    assert not (venv / "lib" / "__pycache__").exists()


def test_when_all_are_taken_one_is_made(place: Place) -> None:
    taken = [place.pool.take("uv", os.getpid()) for _ in range(5)]
    assert len({each.id for each in taken}) == 5
    for member in taken:
        assert (place.pool.path(member) / "lib" / "package" / "module.py").exists()


def test_a_take_waits_for_one_that_is_being_made(place: Place) -> None:
    for _ in range(3):
        place.pool.take("uv", os.getpid())
    begun, go_on = threading.Event(), threading.Event()
    place.supplies[0].before_clone = lambda: (begun.set(), go_on.wait(SECONDS), None)[2]
    (first, *_) = place.pool.tend()
    warming = {each.id for each in place.pool.members() if each.state == "warming"}
    maker = threading.Thread(target=first.do)
    maker.start()
    assert begun.wait(SECONDS)
    place.supplies[0].before_clone = lambda: None
    taken: list[Member] = []
    taker = threading.Thread(target=lambda: taken.append(place.pool.take("uv", os.getpid())))
    taker.start()
    # One is being made and one waits for it: whoever comes next has one made.
    while not place.pool._kinds["uv"].waiting:
        assert taker.is_alive()
    assert place.pool.take("uv", os.getpid()).id not in warming
    go_on.set()
    for thread in (maker, taker):
        thread.join(SECONDS)
    assert taken[0].id in warming


def test_before_there_is_a_template_a_take_is_told_to_wait(make: Callable[..., Place]) -> None:
    place = make()
    refused("pool-warming", place.pool.take, "uv", os.getpid())


def test_a_pool_that_is_off_says_why(make: Callable[..., Place]) -> None:
    place = make(off="pool_uv is 0 in the settings", target=0)
    place.settle()
    error = refused("pool-off", place.pool.take, "uv", os.getpid())
    assert "pool_uv is 0" in error.message
    assert place.status.off and place.status.target == 0 and place.pool.members() == []
    with pytest.raises(NotFound):
        place.pool.take("npm", os.getpid())


def test_flush_makes_new_ones_and_shutdown_none(place: Place) -> None:
    before = {each.id for each in place.pool.members()}
    assert place.pool.flush() == 3
    assert place.status.ready == 0
    place.settle()
    after = {each.id for each in place.pool.members()}
    assert len(after) == 3 and not before & after
    lent = place.pool.take("uv", os.getpid())
    assert place.pool.shutdown("uv") == 2
    place.settle()
    assert place.on_disk() == {lent.name}
    assert "shut down" in refused("pool-off", place.pool.take, "uv", os.getpid()).message
    place.pool.flush()
    place.settle()
    assert place.status.ready == 3


def test_a_flush_while_one_is_made_leaves_nothing_of_it(make: Callable[..., Place]) -> None:
    place = make(target=1)
    (build,) = place.pool.tend()
    build.do()
    (warm,) = place.pool.tend()
    place.supplies[0].before_clone = lambda: (place.pool.flush(), None)[1]
    warm.do()
    place.supplies[0].before_clone = lambda: None
    place.settle()
    assert place.status.ready == 1 and len(place.on_disk()) == 1


def test_warming_never_goes_beyond_the_target(place: Place) -> None:
    for _ in range(3):
        place.pool.take("uv", os.getpid())
    first = place.pool.tend()
    assert (place.status.warming, place.status.deficit) == (3, 0) and len(first) == 3
    assert place.pool.tend() == []
    place.pool.take("uv", os.getpid())  # made for it, and no reason to warm more
    assert place.pool.tend() == []
    for job in first:
        job.do()
    assert place.status.ready == 3


# -- holders -------------------------------------------------------------------------------------------------------


def test_what_a_dead_process_held_is_made_anew(place: Place, processes: Callable[[], subprocess.Popen[bytes]]) -> None:
    process = processes()
    member = place.pool.take("uv", process.pid)
    (place.pool.path(member) / "mine").write_text("x")
    place.settle()
    assert (place.status.ready, place.status.lent) == (3, 1)
    holders = Holders()
    holders.watch(place.pool.holders)
    process.kill()  # and not reaped: it has ended all the same
    holders.wait(SECONDS)
    holders.close()
    place.settle()
    assert (place.status.ready, place.status.lent) == (3, 0)
    assert member.name not in place.on_disk()


def test_a_process_of_the_same_number_is_another_holder(tmp_path: Path) -> None:
    starts = {7: "first"}
    rows = PoolRows(tmp_path / "environments.sqlite3")
    supply = CheapSupply(tmp_path / "templates", target=1)
    pool = Pool(tmp_path / "pool", rows, [supply], start_of=lambda pid: starts.get(pid))
    pool.adopt()
    while jobs := pool.tend():
        for job in jobs:
            job.do()
    member = pool.take("uv", 7)
    starts[7] = "second"
    pool.tend()
    assert next(each for each in pool.members() if each.id == member.id).state == "leaving"
    rows.close()


def test_a_lease_goes_to_another_process(place: Place, processes: Callable[[], subprocess.Popen[bytes]]) -> None:
    server, kernel = processes(), processes()
    member = place.pool.take("uv", server.pid)
    handed = place.pool.hand_over(place.path(member), kernel.pid)
    assert handed.holder == kernel.pid
    server.kill()
    server.wait(SECONDS)
    place.settle()
    assert place.status.lent == 1, "its holder lives"
    kernel.kill()
    kernel.wait(SECONDS)
    refused("pool-holder-gone", place.pool.hand_over, place.path(member), kernel.pid)
    place.settle()
    assert place.status.lent == 0
    refused("pool-not-lent", place.pool.hand_over, place.path(member), os.getpid())
    refused("pool-holder-gone", place.pool.take, "uv", kernel.pid)
    refused("pool-holder-gone", place.pool.take, "uv", -1)


def test_waiting_for_holders_ends_when_it_is_woken() -> None:
    holders = Holders()
    holders.watch({os.getpid()})
    woken = threading.Event()
    thread = threading.Thread(target=lambda: (holders.wait(None), woken.set()))
    thread.start()
    holders.wake()
    assert woken.wait(SECONDS)
    thread.join(SECONDS)
    holders.close()
    holders.wake()  # too late, and no harm


# -- what is refused -----------------------------------------------------------------------------------------------


def state_of(folder: Path) -> dict[str, tuple[int, ...]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        about = path.lstat()
        found[str(path)] = (about.st_ino, about.st_size, about.st_mtime_ns, about.st_mode, about.st_nlink)
    return found


def test_a_path_that_is_not_of_the_pool_is_refused(place: Place, tmp_path: Path) -> None:
    member = place.pool.take("uv", os.getpid())
    place.settle()
    venv = place.pool.path(member)
    (tmp_path / "link").symlink_to(venv.parent)
    (tmp_path / "pools").symlink_to(tmp_path / "pool")
    (tmp_path / "own" / "uv-0123456789ab" / ".venv").mkdir(parents=True)
    hostile = [
        "/",
        "",
        ".venv",
        "/etc",
        str(tmp_path),
        str(venv.parent),
        str(venv / "bin"),
        str(tmp_path / "link" / ".venv"),
        str(tmp_path / "pools" / member.name / ".venv"),
        f"{venv.parent}/../{member.name}/.venv",
        f"{tmp_path}/pool/../pool/{member.name}/.venv",
        f"{tmp_path}/pool/./{member.name}/.venv",
        f"{tmp_path}//pool/{member.name}/.venv",
        str(tmp_path / "own" / "uv-0123456789ab" / ".venv"),
        str(tmp_path / "templates" / "uv-full-1" / ".venv"),
        f"{venv}\0",
    ]
    before = state_of(tmp_path / "pool")
    for path in hostile:
        refused("pool-foreign", place.pool.give_back, path)
        refused("pool-foreign", place.pool.hand_over, path, os.getpid())
    assert state_of(tmp_path / "pool") == before
    assert place.status.lent == 1


def test_an_environment_that_became_a_link_is_refused(place: Place, tmp_path: Path) -> None:
    for part in ("venv", "folder"):
        member = place.pool.take("uv", os.getpid())
        place.settle()
        venv = place.pool.path(member)
        moved = tmp_path / f"moved-{part}"
        linked = venv if part == "venv" else venv.parent
        linked.rename(moved)
        linked.symlink_to(moved)
        before = state_of(moved)
        refused("pool-foreign", place.pool.give_back, str(venv))
        assert state_of(moved) == before and linked.is_symlink()
        place.pool.flush()


def test_what_is_not_lent_is_not_taken_back(place: Place) -> None:
    ready = place.pool.members()[0]
    refused("pool-not-lent", place.pool.give_back, place.path(ready))
    refused("pool-not-lent", place.pool.give_back, str(place.folder / "pool" / "uv-0123456789ab" / ".venv"))
    member = place.pool.take("uv", os.getpid())
    place.pool.give_back(place.path(member))
    refused("pool-not-lent", place.pool.give_back, place.path(member))
    other = place.pool.take("uv", os.getpid())
    place.settle()
    place.pool.give_back(place.path(other))
    refused("pool-not-lent", place.pool.give_back, place.path(other))
    place.settle()
    refused("pool-not-lent", place.pool.give_back, place.path(other))
    wrong_kind = place.path(ready).replace("/uv-", "/conda-")
    refused("pool-not-lent", place.pool.give_back, wrong_kind)


def test_of_two_returns_at_once_one_counts(place: Place) -> None:
    for _ in range(20):
        member = place.pool.take("uv", os.getpid())
        outcomes: list[str] = []
        begin = threading.Barrier(2)

        def give_back(path: str, begin: threading.Barrier = begin, outcomes: list[str] = outcomes) -> None:
            begin.wait(SECONDS)
            try:
                place.pool.give_back(path)
                outcomes.append("taken")
            except PoolRefused as error:
                outcomes.append(error.code)

        threads = [threading.Thread(target=give_back, args=(place.path(member),)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert sorted(outcomes) == ["pool-not-lent", "taken"]


def _write(path: Path, text: str) -> None:
    path.write_text(text)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a new package": (lambda venv: (venv / "lib" / "new").mkdir(), "lib/new is new"),
    "a new file": (lambda venv: _write(venv / "lib" / "new.py", "x"), "lib/new.py is new"),
    "beside it": (lambda venv: _write(venv.parent / "beside", "x"), "beside is new"),
    "another text": (lambda venv: _write(venv / "bin" / "tool", "#!other\n"), "bin/tool has changed"),
    "of the same size": (lambda venv: os.utime(venv / "bin" / "tool", ns=(1, 1)), "bin/tool has changed"),
    "gone": (lambda venv: (venv / "digest").unlink(), "digest is missing"),
    "all gone": (lambda venv: shutil.rmtree(venv / "lib"), "is missing"),
    "another mode": (lambda venv: (venv / "bin" / "tool").chmod(0o777), "bin/tool has changed"),
    "another interpreter": (
        lambda venv: ((venv / "bin" / "python").unlink(), (venv / "bin" / "python").symlink_to("/bin/sh")),
        "bin/python has changed",
    ),
    "compiled without a source": (
        lambda venv: (venv / "lib" / "package" / "__pycache__" / "other.cpython-311.pyc").write_bytes(b"x"),
        "other.cpython-311.pyc is new",
    ),
    "compiled from elsewhere": (
        lambda venv: (venv / "lib" / "package" / "__pycache__" / "module.cpython-312.pyc").symlink_to("/bin/sh"),
        "module.cpython-312.pyc is new",
    ),
    "compiled anew": (
        lambda venv: (venv / "lib" / "package" / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"other"),
        "module.cpython-311.pyc has changed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_has_changed_is_refused_and_stays_with_its_holder(
    place: Place, name: str, processes: Callable[[], subprocess.Popen[bytes]]
) -> None:
    change, said = CHANGES[name]
    process = processes()
    member = place.pool.take("uv", process.pid)
    place.settle()
    venv = place.pool.path(member)
    # The cheap ones share their files; a holder that changes those in place changes them for all, which is seen too.
    for path in venv.rglob("*"):
        if path.is_file() and not path.is_symlink():
            about, data = path.stat(), path.read_bytes()
            path.unlink()
            path.write_bytes(data)
            os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    change(venv)
    before = state_of(venv.parent)
    assert said in refused("pool-changed", place.pool.give_back, str(venv)).message
    assert state_of(venv.parent) == before
    assert place.status.lent == 1
    process.kill()
    process.wait(SECONDS)
    place.settle()
    assert (place.status.lent, place.status.ready) == (0, 3) and member.name not in place.on_disk()


# -- trouble -------------------------------------------------------------------------------------------------------


def test_pauses_double_up_to_a_limit() -> None:
    trouble, error = Trouble(), BuildFailed("x")
    pauses = []
    for _ in range(12):
        trouble.failed(error, 0.0, 0.5)
        pauses.append(trouble.retry_at)
    assert pauses[:4] == [5.0, 10.0, 20.0, 40.0] and pauses[-1] == MOST_SECONDS_OF_PAUSE
    trouble.over()
    for chance, pause in ((0.0, 3.75), (1.0, 6.25)):
        trouble.over()
        trouble.failed(error, 100.0, chance)
        assert trouble.retry_at == 100.0 + pause


@pytest.mark.parametrize(
    ("message", "package"),
    [
        ("Because numpyy was not found in the package registry and you require numpyy", "numpyy>=1"),
        ("Because only Pandas==1 is available and flowstead-x depends on numpyy", "pandas"),
        ("no space left on device", None),
        ("scikit_learn has no wheels", "Scikit.Learn[all]>2"),
    ],
)
def test_the_package_that_fails_is_named(message: str, package: str | None) -> None:
    assert culprit(BuildFailed(message), ("numpyy>=1", "pandas", "Scikit.Learn[all]>2")) == package


def test_without_its_packages_an_environment_is_still_given(make: Callable[..., Place]) -> None:
    place = make(packages=("numpyy", "pandas"), broken="numpyy")
    place.settle()
    status = place.status
    assert (status.ready, status.base_only, status.package) == (3, True, "numpyy")
    assert status.error is not None and "numpyy was not found" in status.error.message
    assert status.retry_in == 5.0 == (place.pool.next_at() or 0) - place.now
    member = place.pool.take("uv", os.getpid())
    assert member.base_only
    supply = place.supplies[0]
    assert supply.builds == ["uv-full-numpyy-pandas-1", "uv-base-1"]
    place.now += 4.9
    place.settle()
    assert len(supply.builds) == 2, "not before its time"
    place.now += 0.1
    place.settle()
    assert supply.retried == [False, False, True] and place.status.retry_in == 10.0
    supply.broken = None
    place.now += 10
    place.settle()
    assert (place.status.ready, place.status.base_only, place.status.error) == (3, False, None)
    assert not any(each.base_only for each in place.pool.members() if each.state == "ready")
    assert place.pool.give_back(place.path(member)).state == "leaving", "it is not what is wanted any more"
    assert place.pool.next_at() is None


def test_where_nothing_can_be_built_the_error_is_given(make: Callable[..., Place]) -> None:
    place = make(packages=("numpyy",), broken="numpyy", base_broken=True)
    place.settle()
    assert place.status.ready == 0 and place.status.base_only is False
    error = refused("environment-failed", place.pool.take, "uv", os.getpid())
    assert "numpyy" in error.message
    place.supplies[0].broken = None
    place.pool.flush()  # at once, without a pause
    place.settle()
    assert place.status.ready == 3


def test_a_full_disk_is_tried_again_later(make: Callable[..., Place]) -> None:
    place = make(packages=("pandas",))
    supply = place.supplies[0]
    supply.cannot_clone = OSError(28, "No space left on device")
    place.settle()
    assert place.status.ready == 0 and place.on_disk() == set()
    assert "No space left" in (place.status.error or BuildFailed("")).message
    assert "No space left" in refused("pool-failed", place.pool.take, "uv", os.getpid()).message
    assert len(supply.builds) == 1, "nothing is wrong with the template"
    supply.cannot_clone = None
    place.now = place.pool.next_at() or 0
    place.settle()
    assert place.status.ready == 3 and place.status.error is None


def test_a_template_that_was_removed_is_built_again(place: Place) -> None:
    shutil.rmtree(place.folder / "templates")
    for _ in range(3):
        place.pool.take("uv", os.getpid())
    refused("pool-warming", place.pool.take, "uv", os.getpid())
    place.settle()
    assert place.status.ready == 3 and place.status.error is None


# -- the next process ----------------------------------------------------------------------------------------------


def test_the_next_process_takes_over_what_is_whole(
    place: Place, processes: Callable[[], subprocess.Popen[bytes]]
) -> None:
    alive, dead = processes(), processes()
    kept, lost = place.pool.take("uv", alive.pid), place.pool.take("uv", dead.pid)
    place.settle()
    ready = [each for each in place.pool.members() if each.state == "ready"]
    shutil.rmtree(place.pool.path(ready[0]) / "lib")
    (place.folder / "pool" / "uv-00000000000a" / ".venv").mkdir(parents=True)
    dead.kill()
    dead.wait(SECONDS)
    place.again()
    assert not (place.folder / "pool" / "uv-00000000000a").exists()
    place.settle()
    states = {each.id: each.state for each in place.pool.members()}
    assert states[kept.id] == "lent" and lost.id not in states and ready[0].id not in states
    assert states[ready[1].id] == states[ready[2].id] == "ready"
    assert place.status.ready == 3 and len(place.supplies[0].builds) == 1
    place.pool.give_back(place.path(kept))


def test_what_was_being_made_for_a_take_is_deleted(place: Place) -> None:
    for _ in range(3):
        place.pool.take("uv", os.getpid())
    place.supplies[0].kills = True
    with pytest.raises(Killed):
        place.pool.take("uv", os.getpid())
    assert [each.state for each in place.pool.members()].count("lending") == 1
    place.again()
    place.settle()
    assert (place.status.ready, place.status.lent) == (3, 3) and len(place.on_disk()) == 6


def test_another_template_makes_the_old_ones_obsolete(place: Place) -> None:
    before = {each.id for each in place.pool.members()}
    lent = place.pool.take("uv", os.getpid())
    place.settle()
    place.supplies[0].version = "2"
    place.again()
    refused("pool-warming", place.pool.take, "uv", os.getpid())
    place.settle()
    assert {each.digest for each in place.pool.members() if each.state == "ready"} == {"uv-full-2"}
    assert not before & {each.id for each in place.pool.members() if each.state == "ready"}
    assert place.pool.give_back(place.path(lent)).state == "leaving"


def test_what_was_complete_is_not_once_the_settings_want_more(place: Place) -> None:
    supply = place.supplies[0]
    supply.packages = ("pandas",)
    # The old template is the new one without its packages.
    shutil.copytree(place.folder / "templates" / "uv-full-1", place.folder / "templates" / "uv-base-1", symlinks=True)
    for member in place.pool.members():
        place.opened[-1]._rows("UPDATE pool SET digest = 'uv-base-1' WHERE id = ?", [member.id])
    place.again()
    refused("pool-warming", place.pool.take, "uv", os.getpid())
    supply.broken = "pandas"
    place.settle()
    assert place.pool.take("uv", os.getpid()).base_only and place.status.base_only
    supply.broken = None
    place.now += 10
    place.settle()
    assert not place.pool.take("uv", os.getpid()).base_only


def test_fewer_are_wanted(place: Place) -> None:
    place.supplies[0].target = 1
    place.again()
    place.settle()
    assert place.status.ready == 1 and len(place.on_disk()) == 1
    place.supplies[0].off, place.supplies[0].target = "pool_uv is 0", 0
    place.again()
    place.settle()
    assert place.on_disk() == set()


def test_a_folder_that_became_a_link_is_deleted_without_what_it_leads_to(place: Place, tmp_path: Path) -> None:
    member = place.pool.members()[0]
    folder = place.pool.path(member).parent
    shutil.rmtree(folder)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    folder.symlink_to(tmp_path / "precious")
    place.again()
    place.settle()
    assert (tmp_path / "precious" / "file").read_text() == "x" and not folder.is_symlink()
    assert place.status.ready == 3
