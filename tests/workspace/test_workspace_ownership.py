"""Who owns a workspace: real files, clocks that the test moves, and once real processes in namespaces of their own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from hostile_os import HostileOs

from flowstead.model.errors import OwnershipLost, StorageError, WorkspaceOwned
from flowstead.worker.deadline import has_passed
from flowstead.workspace import shared
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.lease import Lease, lease_file, read_row
from flowstead.workspace.machine import MachineIdentity, lock_name, same_boot, this_machine
from flowstead.workspace.ownership import Ownership, Times

HOUR = 3600.0


class Office:
    """A workspace, and machines that share it. All clocks that count durations show `now`."""

    def __init__(self, root: Path) -> None:
        self.folder = root
        self.root = root / "sales"
        (self.root / "flow_modules").mkdir(parents=True)
        self.state = self.root / ".workspace_state"
        self.now = 1000.0
        self.wall = 0.0
        self.published = 0

    def ownership(self, name: str, **facts: str) -> Ownership:
        """A new process on the machine `name`; `facts` differ from what is usual for that machine."""
        layout = WorkspaceLayout.of(self.root, self.folder / (facts.pop("home", name)))
        layout.prepare()
        layout.engine_lock.touch()
        usual = {"id": f"id-{name}", "host": name, "boot_id": f"boot-{name}", "node": ""}
        return Ownership(
            layout,
            machine=MachineIdentity(**{**usual, **facts}),
            boottime=lambda: self.now,
            wall=lambda: int((1_800_000_000 + self.now + self.wall) * 1e6),
        )

    def claim(self, ownership: Ownership, **options) -> int:
        return ownership.claim("to run", accepted=lambda: self.published, **options)

    def files(self) -> list[str]:
        return sorted(path.relative_to(self.state).as_posix() for path in self.state.rglob("*") if path.is_file())


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


# -- one owner -------------------------------------------------------------------------------------------------------


def test_a_living_owner_is_named_and_not_taken_from(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    assert b.look().state == "free"
    assert office.claim(a) == 1
    a.renew(0)
    office.now += 5
    with pytest.raises(WorkspaceOwned) as refused:
        office.claim(b)
    assert "anna" in refused.value.message and str(os.getpid()) in refused.value.message
    assert "UTC" in refused.value.message
    assert refused.value.exit_code == 4
    assert "request-control" in refused.value.hint
    assert refused.value.detail["host"] == "anna" and refused.value.detail["epoch"] == 1
    with pytest.raises(WorkspaceOwned):
        b.takeover(force=True, accepted=lambda: 0)
    a.check()
    assert not b.valid
    with pytest.raises(OwnershipLost):
        b.check()


def test_silence_of_90_seconds_is_judged_by_the_observer(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    a.renew(3)
    office.now += 10_000
    assert b.look().state == "owned", "what was before its first look counts for nothing"
    office.now += 89.9
    assert b.look().state == "owned"
    assert "no sign of life for 90 s" in b.look().reason
    with pytest.raises(WorkspaceOwned, match="anna"):
        office.claim(b)
    office.now += 0.1
    standing = b.look()
    assert (standing.state, standing.host, standing.unchanged) == ("stale", "anna", 90)
    assert office.claim(b) == 2
    assert b.accepted == 3, "what the lease says was published is accepted, also where a listing lacks it"
    assert b.claims.read(2).after == "silence"
    stale = [name for name in office.files() if name.startswith("stale/")]
    assert len(stale) == 1 and stale[0].startswith("stale/sales__") and stale[0].endswith("__id-anna")
    with pytest.raises(OwnershipLost):
        a.check()
    with pytest.raises(OwnershipLost):
        a.renew(4)
    assert read_row(a.folder, lease_file("sales"), Lease).epoch == 1
    b.renew(3)
    assert read_row(a.folder, lease_file("sales"), Lease).epoch == 2


def test_a_claim_without_a_lease_counts_from_when_it_was_first_seen(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    assert b.look().state == "owned"
    office.now += 89
    assert b.look().state == "owned"
    office.now += 1
    assert b.look().state == "stale"


def test_silence_is_remembered_over_short_processes_until_a_beat_or_a_boot(office):
    a = office.ownership("anna")
    office.claim(a)
    a.renew(0)
    assert office.ownership("berta").look().state == "owned"
    office.now += 60
    assert office.ownership("berta").look().unchanged == 60
    assert office.ownership("berta", boot_id="next boot").look().unchanged == 0
    a.renew(0)
    assert office.ownership("berta").look().unchanged == 0
    office.now += 90
    assert office.claim(office.ownership("berta")) == 2


def test_wall_clocks_never_matter(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    for jump in (-30 * HOUR, 0.0, 500 * HOUR, -2 * HOUR):
        office.wall = jump
        if not a.valid:
            office.claim(a)
        for _ in range(20):
            a.renew(0)
            office.now += 30
            with pytest.raises(WorkspaceOwned):
                office.claim(b)
    assert a.epoch == 1


def test_two_machines_of_one_name_are_two(office):
    a, b = office.ownership("anna"), office.ownership("berta", host="anna")
    office.claim(a)
    assert b.look().state == "owned"
    with pytest.raises(WorkspaceOwned):
        office.claim(b)


def test_a_dead_process_of_this_machine_is_followed_at_once(office):
    office.claim(office.ownership("anna"))
    office.published = 12
    successor = office.ownership("anna")
    assert successor.look().state == "mine"
    assert office.claim(successor) == 2
    assert successor.accepted == 12
    after_a_boot = office.ownership("anna", boot_id="next boot", node="001122334455")
    assert after_a_boot.look().state == "owned", "the node was not known then"
    office.now += 90
    assert office.claim(after_a_boot) == 3
    assert office.claim(office.ownership("anna", boot_id="third boot", node="001122334455")) == 4


def test_a_copy_of_a_disk_or_of_a_home_is_another_machine(office):
    a = office.ownership("anna", node="001122334455")
    office.claim(a)
    clone = office.ownership("anna", home="clone", boot_id="other", node="001122334499")
    with pytest.raises(WorkspaceOwned):
        office.claim(clone)
    # Two containers of one image on one host: one boot, no network card of their own, two lock files.
    container = office.ownership("anna", home="container", node="")
    with pytest.raises(WorkspaceOwned):
        office.claim(container)
    a.check()


def test_only_the_lock_tells_under_one_boot():
    here, lock = MachineIdentity("id", "host", "boot", ""), "1:2"
    assert same_boot(here, lock, here, lock)
    assert not same_boot(here, lock, here, "1:3")
    assert not same_boot(here, "", here, "")
    assert not same_boot(here._replace(id="x"), lock, here, lock)
    later = MachineIdentity("id", "host", "boot 2", "001122334455")
    assert same_boot(later, "9:9", later._replace(boot_id="boot 1"), lock)
    assert not same_boot(later._replace(host="x"), "9:9", later._replace(boot_id="boot 1"), "9:9")
    unknown = later._replace(boot_id="")
    assert same_boot(unknown, lock, unknown, lock)
    assert not same_boot(unknown, lock, unknown, "1:3")


# -- the owner's own end ---------------------------------------------------------------------------------------------


def test_an_owner_that_was_stopped_knows_before_it_acts(office):
    a = office.ownership("anna")
    office.claim(a)
    a.renew(0)
    office.now += 74.9
    a.check()
    assert not has_passed_at(a, office.now)
    office.now += 0.1
    assert not a.valid
    assert has_passed_at(a, office.now)
    for forbidden in (a.check, lambda: a.renew(1)):
        with pytest.raises(OwnershipLost, match="75 s"):
            forbidden()
    a.release(1)
    assert not a.claims.listing().is_released(1)
    assert office.claim(office.ownership("anna")) == 2, "this machine itself needs not wait"


def has_passed_at(ownership: Ownership, now: float) -> bool:
    (deadline,) = struct.unpack("<d", ownership.layout.deadline.read_bytes())
    return now >= deadline


def test_workers_see_the_deadline_in_a_file(office):
    a = office.ownership("anna")
    office.claim(a)
    assert struct.unpack("<d", a.layout.deadline.read_bytes()) == (office.now + 75,)
    office.now += 30
    a.renew(0)
    assert struct.unpack("<d", a.layout.deadline.read_bytes()) == (office.now + 75,)
    a.release(0)
    assert struct.unpack("<d", a.layout.deadline.read_bytes()) == (0.0,)
    assert has_passed(a.layout.deadline)


def test_the_time_of_a_renewal_is_that_before_it(office, monkeypatch):
    a = office.ownership("anna")
    office.claim(a)
    began = office.now
    monkeypatch.setattr(shared, "os", hostile := HostileOs())

    def replace(source, target):
        office.now += 20
        os.replace(source, target)

    hostile.replace = replace
    a.renew(0)
    assert a.deadline == began + 75


def test_a_renewal_that_took_too_long_does_not_count(office, monkeypatch):
    a = office.ownership("anna")
    office.claim(a)
    office.now += 70
    monkeypatch.setattr(shared, "os", hostile := HostileOs())

    def replace(source, target):
        os.replace(source, target)
        office.now += 6

    hostile.replace = replace
    with pytest.raises(OwnershipLost):
        a.renew(0)
    assert not a.valid


def test_a_folder_out_of_reach_is_tried_again_until_the_deadline(office, monkeypatch):
    a = office.ownership("anna")
    office.claim(a)
    deadline = a.deadline
    monkeypatch.setattr(shared, "os", hostile := HostileOs())
    hostile.failures = dict.fromkeys(["listdir", "open"], errno.EIO)
    office.now += 60
    with pytest.raises(StorageError) as failed:
        a.renew(0)
    assert failed.value.code == "workspace-unreadable"
    assert a.deadline == deadline and a.valid
    hostile.failures = {}
    a.renew(0)
    assert a.deadline == office.now + 75
    hostile.failures = {"open": errno.EIO}
    office.now += 75
    with pytest.raises(OwnershipLost):
        a.renew(0)


def test_a_heartbeat_that_only_seemed_to_fail_is_not_repeated(office, monkeypatch):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    monkeypatch.setattr(shared, "os", hostile := HostileOs())

    def replace(source, target):
        os.replace(source, target)
        raise OSError(errno.EIO, "Input/output error")

    hostile.replace = replace
    with monkeypatch.context() as patch:
        patch.setattr(shared.SharedFolder, "_holds", lambda *_: False)
        with pytest.raises(StorageError):
            a.renew(0)
    del hostile.replace
    b.look()
    office.now += 60
    a.renew(0)
    assert b.look().unchanged == 0
    assert "leased/sales" in office.files()


def test_an_owner_whose_claim_was_damaged_or_removed_stops(office):
    for harm in (lambda path: path.write_bytes(path.read_bytes()[:40]), Path.unlink):
        a = office.ownership("anna")
        number = office.claim(a, at_least=0)
        harm(office.state / "claims" / f"{number:08d}.json")
        with pytest.raises(OwnershipLost, match="removed or damaged"):
            a.renew(0)
        assert not a.valid
        shutil.rmtree(office.state)


# -- release and handing over ----------------------------------------------------------------------------------------


def test_a_release_frees_at_once_and_says_what_was_published(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    a.renew(4)
    a.release(5)
    a.release(9)
    assert not a.valid
    standing = b.look()
    assert (standing.state, standing.generation) == ("free", 5) and "anna released it" in standing.reason
    office.published = 3
    assert office.claim(b) == 2
    assert b.accepted == 5, "two that are missing are to be missed, not forgotten"
    office.published = 99
    b.release(5)
    assert office.claim(a) == 3
    assert a.accepted == 5, "what came after the release does not count"


def test_a_short_owner_leaves_only_its_claim(office):
    for _ in range(3):
        a = office.ownership("anna")
        office.claim(a)
        a.release(0)
    assert [name for name in office.files() if "00000001.released" not in name and "2.released" not in name] == [
        "claims/00000001.json",
        "claims/00000002.json",
        "claims/00000003.json",
        "claims/00000003.released",
    ]
    office.claim(a)
    a.renew(0)
    assert "leased/sales" in office.files() and "available/sales" not in office.files()
    a.release(0)
    assert "available/sales" in office.files() and "leased/sales" not in office.files()
    assert read_row(a.folder, lease_file("sales"), Lease).status == "released"


def test_a_release_that_fails_still_ends_this_process_ownership(office, monkeypatch):
    a = office.ownership("anna")
    office.claim(a)
    monkeypatch.setattr(shared, "os", hostile := HostileOs())
    hostile.failures = {"open": errno.ENOTCONN if hasattr(errno, "ENOTCONN") else errno.EIO}
    with pytest.raises(StorageError):
        a.release(0)
    assert not a.valid


def test_a_request_is_seen_by_the_owner_and_expires_by_its_clock(office):
    a, b, c = (office.ownership(name) for name in ("anna", "berta", "carla"))
    office.claim(a)
    assert a.request() is None
    office.wall = -400 * HOUR
    asked = b.request_control("cli")
    office.wall = 0
    assert a.request() == asked and (asked.host, asked.client_kind) == ("berta", "cli")
    assert b.request() is None, "it is its own"
    assert b.look().request == asked and b.look().as_dict()["request"]["host"] == "berta"
    assert c.request_control("web") == asked, "the first stands"
    office.now += 599
    assert a.request() == asked
    again = b.request_control("cli")
    assert a.request() == again and c.look().request == again
    office.now += 599
    assert a.request() == again != asked
    office.now += 1
    assert a.request() is None
    assert a.look().request is None
    assert c.request_control("web").host == "carla"
    c.withdraw_request()
    assert a.request() is None and office.state.joinpath("control_requests").exists()


def test_who_asked_and_got_it_asks_no_more(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    b.request_control("cli")
    assert a.request() is not None
    a.release(0)
    office.claim(b)
    b.renew(0)
    assert a.request() is None


# -- damage ----------------------------------------------------------------------------------------------------------


def test_a_damaged_claim_is_reported_and_taken_over_only_by_force_after_silence(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    a.renew(8)
    path = office.state / "claims" / "00000001.json"
    path.write_bytes(path.read_bytes()[:100])
    standing = b.look()
    assert standing.state == "damaged" and str(path) in standing.reason
    for refused in (
        lambda: office.claim(b),
        lambda: b.takeover(accepted=lambda: 0),
        lambda: b.takeover(force=True, accepted=lambda: 0),
    ):
        with pytest.raises(WorkspaceOwned) as error:
            refused()
        assert error.value.code == "claim-damaged" and "takeover --force" in error.value.hint
    office.now += 90
    with pytest.raises(WorkspaceOwned):
        office.claim(b)
    with pytest.raises(WorkspaceOwned):
        b.takeover(accepted=lambda: 0)
    assert b.takeover(force=True, accepted=lambda: 0) == 2
    assert b.accepted == 8
    assert b.claims.read(2).after == "damage"


def test_a_claim_that_is_still_empty_is_one_being_written(office):
    (office.state / "claims").mkdir(parents=True)
    (office.state / "claims" / "00000001.json").touch()
    b = office.ownership("berta")
    assert b.look().state == "owned"
    with pytest.raises(WorkspaceOwned):
        office.claim(b)
    office.now += 10
    assert b.look().state == "damaged"


def test_after_the_shared_folder_was_wiped_epochs_go_on(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    for _ in range(3):
        office.claim(a)
        a.release(0)
    office.claim(a)
    shutil.rmtree(office.state)
    assert b.look().state == "free"
    with pytest.raises(OwnershipLost):
        a.renew(0)
    assert office.claim(a, at_least=a.epoch) == 5
    assert [name for name in office.files() if name.endswith(".json")] == ["claims/00000001.json"]
    a.release(7)
    assert office.claim(b) == 6
    assert b.accepted == 7
    assert b.claims.read(6).number == 6
    b.release(7)
    assert office.claim(a, at_least=2) == 7
    assert [a.claims.bound(epoch) for epoch in (5, 6, 7)] == [7, 7, None]


def test_of_two_that_find_the_folder_wiped_one_claims(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    seen = b._view()
    assert office.claim(a, at_least=20) == 21
    stale = b._next_claim(seen, "late", 0, 15)
    assert not b.claims.put(stale), "however far their epochs are apart, they want the same number"


def test_a_lease_without_its_claim_is_still_an_owner(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a, at_least=30)
    a.renew(6)
    shutil.rmtree(office.state / "claims")
    standing = b.look()
    assert standing.state == "owned" and standing.host == "anna" and "claim is not there" in standing.reason
    office.now += 90
    assert b.look().state == "stale"
    assert office.claim(b) == 32
    assert b.accepted == 6


def test_a_release_that_cannot_be_read_is_none(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    a.release(3)
    (office.state / "claims" / "00000001.released").write_bytes(b"")
    assert b.look().state == "owned"
    office.now += 90
    assert office.claim(b) == 2


def test_a_folder_that_cannot_be_written_is_looked_at_and_not_claimed(office, monkeypatch):
    a, b = office.ownership("anna"), office.ownership("berta")
    office.claim(a)
    a.renew(0)
    hostile = HostileOs()

    def open_only_to_read(path, flags, *mode):
        if flags & os.O_CREAT and str(office.state) in str(path):
            raise OSError(errno.EROFS, "Read-only file system")
        return os.open(path, flags, *mode)

    hostile.open = open_only_to_read
    monkeypatch.setattr(shared, "os", hostile)
    assert b.look().host == "anna"
    office.now += 90
    assert b.look().state == "stale"
    with pytest.raises(StorageError) as failed:
        office.claim(b)
    assert failed.value.code == "workspace-unwritable"
    assert not b.valid


def test_a_workspace_that_is_gone_is_not_free(office):
    b = office.ownership("berta")
    shutil.rmtree(office.root)
    with pytest.raises(StorageError) as failed:
        b.look()
    assert failed.value.code == "workspace-unreadable"
    with pytest.raises(StorageError):
        office.claim(b)
    assert not office.root.exists()


def test_an_old_number_that_was_free_again_makes_no_owner(office):
    a, b = office.ownership("anna"), office.ownership("berta")
    for _ in range(3):
        office.claim(a)
        a.release(0)
    seen = b._view()
    for _ in range(3):
        office.claim(a)
        a.release(0)
    office.claim(a)
    for number in (3, 4, 5):
        (office.state / "claims" / f"0000000{number}.json").unlink()
    old = b._next_claim(seen, "late", 0, 0)
    assert old.number == 4 and b.claims.put(old)
    with pytest.raises(WorkspaceOwned, match="anna"):
        b._settle(old, seen, office.now)
    assert not b.valid
    assert not (office.state / "claims" / "00000004.json").exists()
    a.renew(0)


def test_times_that_would_not_protect_are_refused(office):
    for times in (Times(deadline=90), Times(beat=80), Times(stale=60)):
        with pytest.raises(ValueError, match="beat < deadline < stale"):
            Ownership(office.ownership("anna").layout, times=times)


# -- which machine ---------------------------------------------------------------------------------------------------


def test_the_machine_is_made_once_however_many_ask(tmp_path):
    home = tmp_path / "home"
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(lambda _: this_machine(home), range(64)))
    assert len(found) == 1
    (machine,) = found
    assert len(machine.id) == 32 and machine.host
    path = home / "machine-id"
    assert path.read_text() == machine.id
    assert os.listdir(home) == ["machine-id"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert this_machine(tmp_path / "other").id != machine.id


def test_a_copied_lock_is_another_lock(tmp_path):
    (tmp_path / "a").touch()
    shutil.copy2(tmp_path / "a", tmp_path / "b")
    assert lock_name(tmp_path / "a") == lock_name(tmp_path / "a") != lock_name(tmp_path / "b")
    assert lock_name(tmp_path / "absent") == ""


# -- real processes --------------------------------------------------------------------------------------------------


def in_namespaces() -> list[str]:
    """What starts a process with a network and mounts of its own; nothing where that is not allowed."""
    command = ["unshare", "--net", "--mount"]
    try:
        works = subprocess.run([*command, "true"], capture_output=True, timeout=60).returncode == 0
    except OSError:
        return []
    return command if works else []


def test_two_processes_that_share_nothing_but_the_folder(office, tmp_path):
    clock = tmp_path / "clock"

    def at(seconds: float) -> None:
        part = tmp_path / "clock.part"
        part.write_text(str(seconds))
        part.replace(clock)

    at(1000)
    with ExitStack() as stack:

        def start(home: str):
            process = stack.enter_context(
                subprocess.Popen(
                    [*in_namespaces(), sys.executable, str(Path(__file__).with_name("claimer.py")), str(clock)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env={**os.environ, "FLOWSTEAD_HOME": str(tmp_path / home)},
                    text=True,
                )
            )
            stack.callback(process.kill)

            def tell(line: str) -> dict:
                process.stdin.write(line + "\n")
                process.stdin.flush()
                return json.loads(process.stdout.readline())

            tell(f"open {office.root}")
            return process, tell

        a, tell_a = start("home-a")
        _, tell_b = start("home-b")
        assert tell_a("claim") == {"answer": 1}
        assert tell_a("renew 4") == {"answer": None}
        assert tell_b("claim")["code"] == "workspace-owned"
        assert tell_b("claim")["detail"]["pid"] == tell_a("look")["answer"]["pid"]
        at(1005)
        refused = tell_b("claim")
        assert (refused["code"], refused["detail"]["host"]) == ("workspace-owned", os.uname().nodename)
        at(1075)
        assert tell_a("check")["code"] == "ownership-lost"
        assert tell_b("claim")["code"] == "workspace-owned"
        at(1091)
        assert tell_b("claim") == {"answer": 2}
        assert tell_a("renew 5")["code"] == "ownership-lost"
        assert tell_a("claim")["code"] == "workspace-owned"
        assert tell_b("renew 5") == {"answer": None}
        assert tell_b("release 6") == {"answer": None}
        assert tell_a("claim") == {"answer": 3}
        # The process is gone, and with it the lock: this machine needs not wait, the other one does.
        a.kill()
        a.wait(60)
        assert tell_b("claim")["code"] == "workspace-owned"
        _, tell_a = start("home-a")
        assert tell_a("claim") == {"answer": 4}
