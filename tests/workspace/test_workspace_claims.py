"""The shared folder and the claims in it: one of many racers wins, whatever the share does."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hostile_os import HostileOs

from flowstead.model.errors import StorageError
from flowstead.workspace import shared
from flowstead.workspace.claims import Claim, ClaimDamaged, Claims
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import LEFT_OVER_AFTER, SharedFolder

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
ROUNDS = 1000 if COMPLETE_RUN else 40
RACERS = 8


def claim(number: int, *, epoch: int = 0, accepted: int = 0, after: str = "release", token: str = "t") -> Claim:
    return Claim(
        number=number,
        epoch=epoch or number,
        machine=MachineIdentity("id", "host", "boot", ""),
        lock="",
        daemon_id="",
        pid=1,
        version="0",
        time=0,
        reason="",
        accepted=accepted,
        after=after,
        token=token,
    )


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    return SharedFolder(tmp_path / ".workspace_state")


def use(monkeypatch: pytest.MonkeyPatch, hostile: HostileOs) -> HostileOs:
    monkeypatch.setattr(shared, "os", hostile)
    return hostile


# -- the folder --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_of_many_threads_one_puts_a_new_file(tmp_path, monkeypatch, links):
    use(monkeypatch, HostileOs(1, delay=0.002, links=links))
    barrier = threading.Barrier(RACERS)

    def race(racer: int) -> list[bool]:
        won: list[bool] = []
        for number in range(ROUNDS):
            mine = SharedFolder(tmp_path / str(number) / ".workspace_state")
            mine.root.parent.mkdir(exist_ok=True)
            barrier.wait(60)
            won.append(mine.put_new("claims/00000001.json", f"racer {racer}".encode()))
        return won

    with ThreadPoolExecutor(RACERS) as pool:
        results = list(pool.map(race, range(RACERS)))
    for number in range(ROUNDS):
        winners = [racer for racer in range(RACERS) if results[racer][number]]
        found = list((tmp_path / str(number)).rglob("*.json"))
        assert [path.read_text() for path in found] == [f"racer {racer}" for racer in winners]
        assert len(os.listdir(found[0].parent)) == 1, "temporary files are left"


@pytest.mark.parametrize("links", ["links", "no-links"])
def test_of_many_processes_one_claims(tmp_path, links):
    clock = tmp_path / "clock"
    clock.write_text("1000")
    roots = [tmp_path / f"workspace-{number}" for number in range(125 if COMPLETE_RUN else 10)]
    with ExitStack() as stack:
        racers = []
        for number in range(RACERS):
            command = [sys.executable, str(Path(__file__).with_name("claimer.py")), str(clock), str(number), links]
            environment = {**os.environ, "FLOWSTEAD_HOME": str(tmp_path / f"home-{number}")}
            racers.append(
                stack.enter_context(
                    subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)
                )
            )

        def tell_all(line: str) -> list[dict]:
            for racer in racers:
                racer.stdin.write(line + "\n")
                racer.stdin.flush()
            return [json.loads(racer.stdout.readline()) for racer in racers]

        for root in roots:
            (root / "flow_modules").mkdir(parents=True)
            assert len({each["answer"] for each in tell_all(f"open {root}")}) == RACERS
            answers = tell_all("claim")
            assert [each["answer"] for each in answers if "answer" in each] == [1], answers
            assert {each["code"] for each in answers if "code" in each} == {"workspace-owned"}, answers
            # The next owner is as single: all that lost try again once it is free.
            tell_all("release 0")
            answers = tell_all("claim")
            assert [each["answer"] for each in answers if "answer" in each] == [2], answers
        for racer in racers:
            racer.stdin.close()


def test_what_put_a_file_is_seen_by_the_file_not_by_the_reply(folder, monkeypatch):
    for reply in (errno.EEXIST, errno.EIO):
        hostile = use(monkeypatch, HostileOs())
        name = f"claims/{reply}.json"

        def link(source, target, reply=reply):
            os.link(source, target)
            raise OSError(reply, os.strerror(reply))

        hostile.link = link
        assert folder.put_new(name, b"mine")
        assert not SharedFolder(folder.root).put_new(name, b"not mine")


def test_a_file_system_that_does_not_count_links_is_read_instead(folder, monkeypatch):
    hostile = use(monkeypatch, HostileOs())
    hostile.fstat = lambda fd: os.stat_result((0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    assert folder.put_new("claims/1.json", b"mine")
    assert not folder.put_new("claims/1.json", b"other")


def test_a_request_that_failed_is_not_taken_for_a_lost_race(folder, monkeypatch):
    use(monkeypatch, HostileOs()).failures["link"] = errno.EIO
    with pytest.raises(StorageError) as failed:
        folder.put_new("claims/1.json", b"mine")
    assert failed.value.code == "workspace-unwritable"
    assert "connected" in failed.value.hint
    assert os.listdir(folder.root / "claims") == []


def test_a_replacement_whose_reply_was_lost_counts(folder, monkeypatch):
    hostile = use(monkeypatch, HostileOs())

    def replace(source, target):
        os.replace(source, target)
        raise OSError(errno.ETIMEDOUT, "Timed out")

    hostile.replace = replace
    folder.replace("leases/w", b"mine")
    assert folder.read("leases/w") == b"mine"
    del hostile.replace
    hostile.failures["replace"] = errno.EIO
    with pytest.raises(StorageError):
        SharedFolder(folder.root).replace("leases/w", b"never")
    assert folder.read("leases/w") == b"mine"
    assert os.listdir(folder.root / "leases") == ["w"]


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    for links in (True, False):
        use(monkeypatch, HostileOs(links=links)).failures["fsync"] = errno.ENOSPC
        with pytest.raises(StorageError, match="No space left") as failed:
            folder.put_new("claims/1.json", b"mine")
        assert "Free some space" in failed.value.hint
        assert os.listdir(folder.root / "claims") == []


def test_what_may_only_be_read_is_looked_at_and_refused_to_be_written(folder, monkeypatch):
    folder.put_new("claims/1.json", b"theirs")
    hostile = HostileOs()
    use(monkeypatch, hostile)

    def open_only_to_read(path, flags, *mode):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, "Read-only file system")
        return os.open(path, flags, *mode)

    hostile.open = open_only_to_read
    assert folder.names("claims", fresh=True) == ["1.json"]
    assert folder.read("claims/1.json") == b"theirs"
    with pytest.raises(StorageError, match="Read-only") as failed:
        folder.replace("leases/w", b"mine")
    assert failed.value.code == "workspace-unwritable" and "read-only" in failed.value.hint


def test_a_share_that_is_not_connected_is_neither_empty_nor_made_anew(tmp_path):
    folder = SharedFolder(tmp_path / "mount" / "workspace" / ".workspace_state")
    with pytest.raises(StorageError) as failed:
        folder.names("claims")
    assert failed.value.code == "workspace-unreadable" and "connected" in failed.value.hint
    for change in (lambda: folder.put_new("claims/1.json", b"x"), lambda: folder.replace("leases/w", b"x")):
        with pytest.raises(StorageError, match=r"gone|No such file"):
            change()
    assert list(tmp_path.iterdir()) == []


def test_folders_are_as_open_as_the_workspace(folder):
    if sys.platform == "win32":
        return
    folder.root.parent.chmod(0o2775)
    old = os.umask(0o077)
    try:
        folder.replace("state/runs/x", b"")
    finally:
        os.umask(old)
    for made in (folder.root, folder.root / "state", folder.root / "state" / "runs"):
        assert made.stat().st_mode & 0o7777 == 0o2775


def test_what_dead_processes_left_goes_after_an_hour(folder):
    folder.replace("claims/x", b"")
    old, young = folder.root / "claims" / ".x.1.part", folder.root / "claims" / ".y.2.part"
    for path in (old, young):
        path.write_bytes(b"")
    assert folder.names("claims") == ["x"]
    past = young.stat().st_mtime - LEFT_OVER_AFTER - 10
    os.utime(old, (past, past))
    assert folder.sweep("claims") == 1
    assert sorted(os.listdir(folder.root / "claims")) == [".y.2.part", "x"]
    assert folder.sweep("nothing") == 0


def test_moving_and_removing_tell_whether_there_was_something(folder):
    folder.replace("a/x", b"1")
    assert folder.move("a/x", "b/y") and not folder.move("a/x", "b/y")
    assert folder.read("b/y") == b"1"
    assert folder.remove("b/y") and not folder.remove("b/y")
    assert folder.changed_at("b/y") is None


# -- claims ------------------------------------------------------------------------------------------------------------


def test_a_claim_is_what_was_put(folder):
    claims = Claims(folder)
    first = claim(1, accepted=7)
    assert claims.put(first)
    assert not claims.put(claim(1, token="other"))
    assert Claims(folder).read(1) == first
    assert claims.is_intact(first)
    assert claims.read(2) is None
    assert claims.released(1) is None
    claims.release(1, 9)
    assert claims.released(1) == 9
    listing = claims.listing()
    assert listing.numbers == [1] and listing.is_released(1)


def test_files_of_others_are_no_claims(folder):
    claims = Claims(folder)
    claims.put(claim(17))
    for name in ("00000018 (conflicted copy).json", "notes.json", "00000019.txt", "00000020.json.bak", "zz.released"):
        folder.replace(f"claims/{name}", b"{}")
    assert claims.listing().highest == 17
    assert claims.listing().numbers == [17]


def test_a_damaged_claim_is_never_taken_for_none(folder):
    claims = Claims(folder)
    whole = claim(3).encode()
    for cut in (0, 1, len(whole) // 2, len(whole) - 3):
        folder.replace("claims/00000003.json", whole[:cut])
        with pytest.raises(ClaimDamaged) as damaged:
            claims.read(3)
        assert "takeover --force" in damaged.value.hint
        assert damaged.value.detail["empty"] == (cut == 0)
    for wrong in (b"[]", b"null", b"{}", b"\xff\xfe", whole.replace(b'"epoch": 3', b'"epoch": 2')):
        folder.replace("claims/00000003.json", wrong)
        with pytest.raises(ClaimDamaged):
            claims.read(3)
    folder.replace("claims/00000003.json", whole)
    assert claims.read(3) == claim(3), "a claim that was not whole yet is read again"


def test_an_epoch_is_bound_by_what_the_next_claim_accepts(folder):
    claims = Claims(folder)
    for each in (claim(1), claim(2, accepted=10), claim(3, epoch=21, accepted=12), claim(22, accepted=40)):
        claims.put(each)
    claims.listing()
    assert [claims.bound(epoch) for epoch in (1, 2, 3, 20, 21, 22)] == [10, 12, 12, 12, 40, None]
    claims.put(claim(23, accepted=41))
    assert claims.bound(22) is None, "by the last listing"
    claims.listing()
    assert claims.bound(22) == 41


def test_an_epoch_whose_next_claim_is_damaged_is_bound_by_the_one_after_or_not_known(folder):
    claims = Claims(folder)
    claims.put(claim(1))
    folder.replace("claims/00000002.json", b"{")
    with pytest.raises(ClaimDamaged):
        claims.bound(1)
    claims.put(claim(3, accepted=5))
    claims.listing()
    assert claims.bound(1) == 5


def test_old_claims_go_once_the_newer_ones_have_been_there_for_long(folder):
    claims = Claims(folder, kept=3, settled=600)
    for number in range(1, 9):
        claims.put(claim(number, after="silence" if number == 2 else "release"))
        claims.release(number, 0)
    folder.replace("claims/00000004.json", b"damaged")
    mine = claim(9)
    listing = claims.listing()
    claims.put(mine)
    claims.tidy(listing, mine)
    assert claims.listing().numbers == [1, 2, 3, 4, 5, 6, 7, 8, 9], "the others are too young"
    path = folder.root / "claims" / "00000006.json"
    past = path.stat().st_mtime - 700
    os.utime(path, (past, past))
    Claims(folder, kept=3, settled=600).tidy(listing, mine)
    listing = claims.listing()
    assert listing.numbers == [2, 4, 6, 7, 8, 9]
    assert not listing.is_released(1) and not listing.is_released(8) and listing.is_released(7)
