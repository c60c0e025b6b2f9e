"""Sources: watched or looked at, files that are whole before they are taken, folders that go and come back."""

import os
import queue
import subprocess
import sys
import threading
import time

import pytest
from engine_bench import COMPLETE_RUN, DEADLINE, wait_until
from test_engine_dispatch import FakeClock

import flowstead.engine.arrivals as arrivals
from flowstead.engine.automation import Automation
from flowstead.engine.mounts import file_system_of, parse_mount, parse_mountinfo
from flowstead.engine.watching import FolderWatcher

EACH = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def read(context):
    text = context.source.path.read_text()
    note(f"{context.source.relative_path.as_posix()} {text}")
    BODY

def build():
    return Flow("Test").watch(mode="poll", source="../in", extensions=[".csv"], WATCH).step(read)
"""

BATCH = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def read(context):
    note(",".join(sorted(f"{file.name}={file.path.read_text()}" for file in context.current)))
    BODY

def build():
    return Flow("Test").watch(mode="poll", source="../in", extensions=[".csv"], run_as="batch", WATCH).collect(
        [".csv"], recursive=True).step(read)
"""


@pytest.fixture
def automate(bench, workspace):
    """Begins to run a workspace by itself; ends it with the test."""
    begun = []

    def begin(trigger='interval="1h", settle=0', body="pass", source=EACH, clock=None, **settings):
        module = source.replace("BODY", body).replace("WATCH", trigger)
        workspace.module("each", module)
        engine = bench.engine(clock=clock, only=(), **settings)
        automation = Automation(engine)
        begun.append(automation)
        automation.start()
        return engine, automation

    yield begin
    for automation in begun:
        automation.stop()


def flow_of(automation):
    return automation.status()["flows"][0]


def wait_for_state(engine, automation, state):
    return wait_until(engine, lambda: flow_of(automation)["state"] == state and flow_of(automation), state)


def drop(workspace, name, text="1"):
    """Puts a file there as a whole, as a program that is careful does."""
    path = workspace.root / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text)
    os.replace(beside, path)
    return path


def runs_of(engine, status="succeeded"):
    return sorted(
        str(run.source_path) for run in engine.ledger.reader.runs(flow="each", limit=1000) if run.status == status
    )


def wait_for_runs(engine, *names, status="succeeded"):
    wait_until(engine, lambda: runs_of(engine, status) == sorted(names), f"{names}, not {runs_of(engine, status)}")


# -- what the system tells -----------------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path):
    watcher, told = FolderWatcher(), queue.Queue()
    folder = tmp_path / "watched"
    folder.mkdir()
    watch = watcher.add(folder, told.put)
    assert told.get(timeout=DEADLINE) is None
    assert watch.active
    yield folder, told, watcher
    watcher.close()


def wait_for_name(told, name):
    """What is told up to `name`, or up to a request to look at everything."""
    seen = set()
    while name not in seen:
        more = told.get(timeout=DEADLINE)
        assert more is not None
        seen |= more


def test_changes_are_told_by_their_names_however_deep(told):
    folder, told, _ = told
    (folder / "a").write_text("1")
    wait_for_name(told, "a")
    (folder / "deep").mkdir()
    wait_for_name(told, "deep")
    (folder / "deep" / "b").write_text("1")
    wait_for_name(told, "deep/b")


def test_a_folder_that_goes_away_asks_for_a_look(told):
    folder, told, _ = told
    folder.rmdir()
    while told.get(timeout=DEADLINE) is not None:
        pass


def test_a_folder_that_is_added_or_left_asks_the_others_to_look_for_what_they_missed(told, tmp_path):
    folder, told, watcher = told
    other = tmp_path / "other"
    other.mkdir()
    answers = queue.Queue()
    watch = watcher.add(other, answers.put)
    assert answers.get(timeout=DEADLINE) is None
    (other / "x").write_text("1")
    wait_for_name(answers, "x")
    assert told.get(timeout=DEADLINE) == set()
    watcher.remove(watch)
    assert told.get(timeout=DEADLINE) == set()
    (folder / "last").write_text("1")
    wait_for_name(told, "last")


def test_a_missing_folder_is_not_watched_and_does_not_keep_others_from_it(told, tmp_path):
    folder, told, watcher = told
    answers = queue.Queue()
    watch = watcher.add(tmp_path / "none", answers.put)
    assert answers.get(timeout=DEADLINE) is None
    assert watch.active is False
    assert watch.trouble
    (folder / "a").write_text("1")
    wait_for_name(told, "a")


LIMITED = """
import sys, threading
from pathlib import Path
from flowstead.engine.watching import FolderWatcher
limit = Path("/proc/sys/user/max_inotify_watches")
limit.write_text("3")
folder = Path(sys.argv[1])
for number in range(20):
    (folder / "many" / str(number)).mkdir(parents=True)
(folder / "few").mkdir()
watcher, asked = FolderWatcher(), [threading.Event(), threading.Event()]
watches = [
    watcher.add(folder / name, lambda _, event=event: event.set()) for name, event in zip(("many", "few"), asked)
]
assert all(event.wait(60) for event in asked)
deadline = threading.Event()
while any(watch.active is None for watch in watches):
    deadline.wait(0.01)
print([watch.active for watch in watches], watches[0].trouble)
watcher.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is inotify's")
def test_beyond_the_systems_limit_a_folder_is_looked_at_instead_and_says_so(tmp_path):
    script = tmp_path / "limited.py"
    script.write_text(LIMITED)
    command = ["unshare", "--user", "--map-root-user", sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().startswith("[False, True] There are more folders than this system allows to watch")


MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /mnt/team\\040drive rw,relatime shared:15 - cifs //server/team rw,vers=3.1.1
31 30 0:27 / /mnt/team\\040drive/local rw - ext4 /dev/sdb1 rw
32 22 0:28 / /home/me/remote rw - fuse.sshfs me@host:/ rw
33 22 0:29 / /over rw - nfs4 server:/export rw
34 22 0:30 / /over rw - tmpfs tmpfs rw
"""


def test_the_file_system_of_a_folder_is_that_of_the_nearest_mount():
    mounts = parse_mountinfo(MOUNTINFO)
    kinds = {
        "/srv/in": "ext4",
        "/mnt/team drive/in": "cifs",
        "/mnt/team drive": "cifs",
        "/mnt/team driveway": "ext4",
        "/mnt/team drive/local/x": "ext4",
        "/home/me/remote/in": "fuse.sshfs",
        "/over/x": "tmpfs",
    }
    assert {path: file_system_of(path, mounts) for path in kinds} == kinds


def test_mounts_of_macos():
    text = (
        "/dev/disk3s1s1 on / (apfs, sealed, local, read-only, journaled)\n"
        "//me@server/team on /Volumes/team on tour (smbfs, nodev, nosuid, mounted by me)\n"
    )
    assert parse_mount(text) == [("/", "apfs"), ("/Volumes/team on tour", "smbfs")]


# -- files that arrive ---------------------------------------------------------------------------------------------


def test_a_file_starts_soon_however_long_the_interval(automate, workspace):
    (workspace.root / "in").mkdir()
    engine, automation = automate('interval="1d"')
    wait_for_state(engine, automation, "watching")
    drop(workspace, "a.csv")
    wait_for_runs(engine, "a.csv")
    assert engine.ledger.reader.runs()[0].trigger == "file"


def test_files_that_were_there_before_and_files_in_folders_that_come_as_a_whole(automate, workspace):
    drop(workspace, "a.csv")
    drop(workspace, "deep/b.csv")
    engine, _automation = automate()
    wait_for_runs(engine, "a.csv", "deep/b.csv")
    outside = workspace.root / "outside"
    (outside / "deeper").mkdir(parents=True)
    (outside / "deeper" / "c.csv").write_text("1")
    outside.rename(workspace.root / "in" / "moved")
    wait_for_runs(engine, "a.csv", "deep/b.csv", "moved/deeper/c.csv")
    (workspace.root / "in" / "moved" / "deeper" / "d.csv").write_text("1")
    wait_for_runs(engine, "a.csv", "deep/b.csv", "moved/deeper/c.csv", "moved/deeper/d.csv")


def test_what_does_not_count_is_never_taken(automate, workspace, tmp_path):
    (workspace.root / "in").mkdir()
    engine, automation = automate('interval="1h", settle=0')
    wait_for_state(engine, automation, "watching")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (workspace.root / "in" / "link").symlink_to(elsewhere)
    for name in ("~$a.csv", ".a.csv", "a.csv~", "a.csv.tmp", "a.txt", ".hidden/a.csv", "link/a.csv"):
        workspace.file(f"in/{name}", "1")
    drop(workspace, "last.csv")
    wait_for_runs(engine, "last.csv")
    assert len(engine.ledger.reader.runs()) == 1


@pytest.mark.parametrize("how", ["poll", "auto"])
def test_where_nothing_is_watched_it_is_looked_at_every_interval(automate, workspace, how, monkeypatch):
    if how == "auto":
        monkeypatch.setattr(arrivals, "is_on_share", lambda folder: True)
    (workspace.root / "in").mkdir()
    engine, automation = automate('interval="50ms", settle=0', watch=how)
    wait_for_state(engine, automation, "polling")
    drop(workspace, "a.csv")
    wait_for_runs(engine, "a.csv")
    drop(workspace, "a.csv", "22")
    wait_for_runs(engine, "a.csv", "a.csv")
    assert automation._flows["each"]._watch is None


def test_a_share_is_watched_where_that_is_forced(automate, workspace, monkeypatch):
    monkeypatch.setattr(arrivals, "is_on_share", lambda folder: True)
    (workspace.root / "in").mkdir()
    engine, automation = automate(watch="notify")
    wait_for_state(engine, automation, "watching")


def test_a_single_file_as_source(automate, workspace, bench):
    workspace.file("in/book.csv", "1")
    engine, _automation = automate('interval="50ms"', source=EACH.replace("../in", "../in/book.csv"))
    wait_for_runs(engine, "book.csv")
    drop(workspace, "book.csv", "22")
    drop(workspace, "other.csv")
    wait_for_runs(engine, "book.csv", "book.csv")
    assert bench.notes == ["book.csv 1", "book.csv 22"]


# -- settling, by a clock that the test moves ----------------------------------------------------------------------


def settling(automation):
    return dict(automation._flows["each"]._settling)


def looked_at(automation, name):
    found = settling(automation).get(name)
    return found and found.looked


def grow(engine, automation, path, clock):
    """The file grows, and has been looked at since; told by hand, for the system need not tell."""
    with path.open("a") as file:
        file.write("x")
    signature = (path.stat().st_size, path.stat().st_mtime_ns)
    automation._flows["each"]._told({path.name})

    def seen():
        found = settling(automation).get(path.name)
        return found is not None and found.signature == signature

    wait_until(engine, seen, "a look at it")


def tick_until(clock, condition):
    """Lets seconds pass, each long enough for a look, until it is so."""
    pause = threading.Event()
    for _ in range(int(DEADLINE / 0.02)):
        if condition():
            return
        clock.advance(1.0)
        pause.wait(0.02)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize("settle", ["settle=2", 'settle="2s"'])
def test_a_file_that_grows_is_taken_once_it_has_stopped(automate, workspace, settle, bench):
    path = workspace.file("in/a.csv", "1")
    clock = FakeClock()
    engine, automation = automate(f'interval="10m", {settle}', clock=clock)
    wait_for_state(engine, automation, "watching")
    for _ in range(4):
        grow(engine, automation, path, clock)
        clock.advance(1.0)
        assert runs_of(engine) == []
    tick_until(clock, lambda: runs_of(engine))
    wait_for_runs(engine, "a.csv")
    assert bench.notes == ["a.csv 1xxxx"]


def test_a_batch_waits_until_every_file_is_whole(automate, workspace, bench):
    first, second = workspace.file("in/a.csv", "1"), workspace.file("in/b.csv", "1")
    clock = FakeClock()
    engine, automation = automate('interval="10m", settle=2', source=BATCH, clock=clock)
    wait_until(engine, lambda: len(settling(automation)) == 2)
    for _ in range(5):
        grow(engine, automation, second, clock)
        clock.advance(1.0)
        wait_until(engine, lambda: looked_at(automation, "a.csv") == clock.monotonic(), f"look {flow_of(automation)}")
        assert not engine.ledger.reader.runs()
    tick_until(clock, lambda: runs_of(engine))
    assert bench.notes == ["a.csv=1,b.csv=1xxxxx"]
    state = engine.ledger.reader.file_state("each", "in")
    assert {path: (size, mtime) for path, (size, mtime, _) in state.items()} == {
        path.name: (path.stat().st_size, path.stat().st_mtime_ns) for path in (first, second)
    }


# -- runs and changes ----------------------------------------------------------------------------------------------


def test_a_file_that_changes_during_its_run_gets_another_afterwards(automate, workspace, signals, gate, bench):
    (workspace.root / "in").mkdir()
    engine, automation = automate('interval="1h", settle=0', body='say("read"); stop_at_gate()')
    wait_for_state(engine, automation, "watching")
    drop(workspace, "a.csv", "1")
    signals.line()
    for text in ("22", "333"):
        drop(workspace, "a.csv", text)
    wait_until(engine, lambda: automation._flows["each"]._busy == {"a.csv"}, "that the change was seen")
    assert len(engine.ledger.reader.runs()) == 1
    gate.open_gate(2)
    wait_for_runs(engine, "a.csv", "a.csv")
    assert bench.notes == ["a.csv 1", "a.csv 333"]


def test_a_batch_during_which_a_file_comes_is_followed_by_another(automate, workspace, signals, gate, bench):
    workspace.file("in/a.csv", "1")
    engine, automation = automate('interval="1h", settle=0', body='say("read"); stop_at_gate()', source=BATCH)
    wait_for_state(engine, automation, "watching")
    signals.line()
    drop(workspace, "b.csv", "2")
    wait_until(engine, lambda: automation._flows["each"]._after_batch, "that the file was seen")
    gate.open_gate(2)
    wait_for_runs(engine, "None", "None")
    assert bench.notes == ["a.csv=1", "a.csv=1,b.csv=2"]


def test_a_file_that_failed_waits_for_a_change(automate, workspace, bench):
    (workspace.root / "in").mkdir()
    engine, _automation = automate('interval="50ms", settle=0', body="assert text != 'bad'", watch="poll")
    drop(workspace, "a.csv", "bad")
    wait_for_runs(engine, "a.csv", status="failed")
    drop(workspace, "b.csv", "1")
    wait_for_runs(engine, "b.csv")
    assert runs_of(engine, "failed") == ["a.csv"]
    drop(workspace, "a.csv", "good")
    wait_for_runs(engine, "a.csv", "b.csv")


def test_many_files_are_queued_in_several_commits_and_each_runs_once(automate, workspace, monkeypatch):
    monkeypatch.setattr(arrivals, "RUNS_IN_ONE_COMMIT", 7)
    names = [f"{number:02}.csv" for number in range(40)]
    for name in names:
        workspace.file(f"in/{name}", name)
    engine, _automation = automate('interval="1h", max_parallel=2, settle=0')
    wait_for_runs(engine, *names)


def test_more_changes_than_can_be_told_are_looked_for(automate, workspace, monkeypatch):
    """The system drops what its queue has no room for, and nobody is told."""
    (workspace.root / "in").mkdir()
    monkeypatch.setattr(arrivals, "LOOK_AFTER", 0.1)
    engine, automation = automate('interval="1h", settle=0')
    wait_for_state(engine, automation, "watching")
    flow = automation._flows["each"]
    tell = flow._watch.tell
    flow._watch.tell = lambda names: tell(names and {name for name in names if name < "1"})
    for number in range(10):
        drop(workspace, f"{number}.csv")
    wait_for_runs(engine, *(f"{number}.csv" for number in range(10)))


# -- sources that go and come --------------------------------------------------------------------------------------


def test_a_source_that_vanishes_is_told_and_recovers_by_itself(automate, workspace):
    drop(workspace, "a.csv")
    engine, automation = automate('interval="100ms", settle=0')
    wait_for_runs(engine, "a.csv")
    wait_for_state(engine, automation, "watching")
    (workspace.root / "in").rename(workspace.root / "away")
    stands = wait_for_state(engine, automation, "missing")
    assert str(workspace.root / "in") in stands["condition"]
    assert stands["since"] is not None
    (workspace.root / "away" / "b.csv").write_text("1")
    (workspace.root / "away").rename(workspace.root / "in")
    wait_for_runs(engine, "a.csv", "b.csv")
    stands = wait_for_state(engine, automation, "watching")
    assert (stands["condition"], stands["since"]) == (None, None)
    drop(workspace, "c.csv")
    wait_for_runs(engine, "a.csv", "b.csv", "c.csv")


def test_a_source_that_is_replaced_by_another_folder_is_watched_anew(automate, workspace, monkeypatch):
    monkeypatch.setattr(arrivals, "CHECK_FOLDER", 0.1)
    drop(workspace, "a.csv")
    engine, automation = automate()
    wait_for_runs(engine, "a.csv")
    other = workspace.root / "other"
    other.mkdir()
    first = automation._flows["each"]._watch
    (workspace.root / "in").rename(workspace.root / "away")
    other.rename(workspace.root / "in")
    wait_until(engine, lambda: automation._flows["each"]._watch not in (None, first), "another watch")
    drop(workspace, "b.csv")
    wait_for_runs(engine, "a.csv", "b.csv")


def test_a_source_that_is_not_there_yet(automate, workspace):
    engine, automation = automate('interval="100ms", settle=0')
    wait_for_state(engine, automation, "missing")
    drop(workspace, "a.csv")
    wait_for_runs(engine, "a.csv")


def test_a_source_that_cannot_be_read_is_told_and_recovers(automate, workspace):
    source = workspace.root / "in"
    source.symlink_to(source)  # a loop: what even the superuser cannot read
    engine, automation = automate('interval="100ms", settle=0')
    stands = wait_for_state(engine, automation, "unreadable")
    assert "cannot be read" in stands["condition"]
    source.unlink()
    drop(workspace, "a.csv")
    wait_for_runs(engine, "a.csv")


def test_a_name_that_cannot_be_recorded_is_told_and_left_out(automate, workspace):
    drop(workspace, "a.csv")
    folder = os.fsencode(workspace.root / "in")
    with open(os.path.join(folder, b"\xff.csv"), "wb") as file:
        file.write(b"1")
    engine, automation = automate()
    wait_for_runs(engine, "a.csv")
    wait_until(engine, lambda: "not valid UTF-8" in (flow_of(automation)["condition"] or ""))


def test_a_source_that_hangs_holds_up_nobody_else(automate, workspace, monkeypatch):
    stuck, let_go = threading.Event(), threading.Event()
    scan = arrivals.scan

    def hang(folder, extensions):
        if folder.name == "slow":
            stuck.set()
            let_go.wait(DEADLINE)
        return scan(folder, extensions)

    monkeypatch.setattr(arrivals, "scan", hang)
    (workspace.root / "slow").mkdir()
    workspace.module(
        "slow", EACH.replace("BODY", "pass").replace("../in", "../slow").replace("WATCH", 'interval="1s", settle=0')
    )
    drop(workspace, "a.csv")
    engine, automation = automate()
    assert stuck.wait(DEADLINE)
    wait_for_runs(engine, "a.csv")
    before = time.monotonic()
    automation.stop()
    assert time.monotonic() - before < 1.0
    let_go.set()


def test_an_event_in_a_large_source_costs_what_it_names(automate, workspace, monkeypatch):
    count = 30_000 if COMPLETE_RUN else 2000
    for number in range(count):
        folder = workspace.root / "in" / f"{number // 1000:03}"
        if number % 1000 == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.csv").touch()
    body = "pass"
    source = BATCH.replace(
        'note(",".join(sorted(f"{file.name}={file.path.read_text()}" for file in context.current)))', ""
    )
    engine, automation = automate('interval="1d", settle=0', body=body, source=source)
    wait_for_runs(engine, "None")
    looks = []
    scan, scan_named = arrivals.scan, arrivals.scan_named
    monkeypatch.setattr(arrivals, "scan", lambda *given: looks.append("all") or scan(*given))
    monkeypatch.setattr(
        arrivals, "scan_named", lambda root, names, *given: looks.append(len(names)) or scan_named(root, names, *given)
    )
    assert len(engine.ledger.reader.file_state("each", "in")) == count
    wait_for_state(engine, automation, "watching")
    for number in range(5):
        drop(workspace, f"000/new-{number}.csv")
    wait_until(engine, lambda: len(engine.ledger.reader.file_state("each", "in")) == count + 5)
    assert "all" not in looks[:1] and all(each == "all" or each < 100 for each in looks)
