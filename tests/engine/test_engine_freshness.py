"""Which files get a run: fresh and stale ones, failed and interrupted ones, whole folders and single files."""

import os
import signal

import pytest
from engine_bench import ended, start, wait_for_death

from flowstead.engine.retrying import retry
from flowstead.model.errors import NotFound, UsageError

EACH = """
from flowstead import Flow
from flow_helpers.marks import note, say, stop_at_gate

def read(context):
    text = context.source.path.read_text()
    note(f"{context.source.relative_path.as_posix()} {text.strip()}")
    BODY
    out = context.mirror.with_suffix(".txt")
    out.write_text(text)
    return out

def build():
    return Flow("Test"RESUME).watch(mode="poll", source="../in", interval="30s", extensions=[".csv"],
        max_parallel=2).mirror(root="../out").step(read)
"""


@pytest.fixture
def each(workspace):
    def write(body: str = "pass", resume: str = "auto") -> None:
        source = EACH.replace("BODY", "\n    ".join(body.strip().splitlines()))
        workspace.module("each", source.replace("RESUME", f', resume="{resume}"'))
        (workspace.root / "in").mkdir(exist_ok=True)

    return write


def finish(engine, started):
    runs = ended(engine, *started.started, *started.resumed, *started.waiting)
    return {run.source_path: run.status for run in runs}


def test_only_new_and_changed_files_get_runs(bench, each, workspace):
    each()
    for name in ("a.csv", "b.csv", "deep/c.csv", "~$a.csv", ".hidden.csv", "d.csv.tmp", "e.csv~", "f.part", "g.txt"):
        workspace.file(f"in/{name}", name)
    engine = bench.engine()
    first = start(engine, "each")
    assert first.files == 3
    assert finish(engine, first) == {"a.csv": "succeeded", "b.csv": "succeeded", "deep/c.csv": "succeeded"}
    (workspace.root / "out/a.txt").unlink()
    (workspace.root / "out/deep/c.txt").unlink()
    assert start(engine, "each").started == ()
    workspace.file("in/b.csv", "changed")
    workspace.file("in/new.csv", "new")
    assert finish(engine, start(engine, "each")) == {"b.csv": "succeeded", "new.csv": "succeeded"}
    engine.close()
    engine = bench.engine()
    assert start(engine, "each").started == ()
    assert set(finish(engine, start(engine, "each", force=True))) == {"a.csv", "b.csv", "deep/c.csv", "new.csv"}


def test_a_failed_file_waits_for_a_change_or_for_someone(bench, each, workspace):
    each('if text.startswith("bad"):\n    raise ValueError(text)')
    workspace.file("in/a.csv", "good")
    workspace.file("in/b.csv", "bad 1")
    engine = bench.engine()
    assert finish(engine, start(engine, "each")) == {"a.csv": "succeeded", "b.csv": "failed"}
    again = start(engine, "each")
    assert (again.started, again.failed_before) == ((), 1)
    assert finish(engine, start(engine, "each", retry_failed=True)) == {"b.csv": "failed"}
    workspace.file("in/b.csv", "bad 2!")
    assert finish(engine, start(engine, "each")) == {"b.csv": "failed"}
    workspace.file("in/b.csv", "good now")
    assert finish(engine, start(engine, "each")) == {"b.csv": "succeeded"}
    assert start(engine, "each", retry_failed=True).started == ()


def test_a_retried_run_makes_its_file_fresh(bench, each, workspace):
    each('if not os.path.exists("../fixed"):\n    raise ValueError(text)')
    (workspace.flow_modules / "each.py").write_text(
        "import os\n" + (workspace.flow_modules / "each.py").read_text(), "utf-8"
    )
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    first = start(engine, "each")
    assert finish(engine, first) == {"a.csv": "failed"}
    workspace.file("fixed")
    retried = retry(engine, first.started[0])
    assert ended(engine, retried)[0].status == "succeeded"
    again = start(engine, "each")
    assert (again.started, again.failed_before) == ((), 0)


def test_a_cancelled_file_waits_as_a_failed_one_does(bench, each, workspace, signals):
    each('say("reading")\nwhile True:\n    context.check_cancelled()')
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    first = start(engine, "each")
    signals.line()
    engine.cancel(first.started[0])
    assert finish(engine, first) == {"a.csv": "cancelled"}
    again = start(engine, "each")
    assert (again.started, again.failed_before) == ((), 1)


@pytest.mark.parametrize("begun", [True, False], ids=["interrupted", "queued"])
def test_cancelled_while_it_waited(bench, each, workspace, signals, begun):
    each('say("reading")\nwhile True:\n    context.check_cancelled()')
    workspace.file("in/a.csv", "1")
    workspace.file("in/b.csv", "1")
    engine = bench.engine(worker_slots=1)
    first = start(engine, "each")
    signals.line()
    engine.close()
    engine = bench.engine(only=())
    engine.cancel(first.started[0 if begun else 1])
    again = start(engine, "each")
    # A file that was being read waits as a failed one; one whose run never began is due as before.
    assert (len(again.started), again.failed_before) == ((0, 1) if begun else (1, 0))


def test_a_file_that_changed_during_its_run_is_stale_afterwards(bench, each, workspace, signals, gate):
    each('say("reading")\nstop_at_gate()')
    workspace.file("in/a.csv", "old")
    engine = bench.engine()
    first = start(engine, "each")
    signals.line()
    workspace.file("in/a.csv", "newer")
    gate.open_gate(2)
    assert finish(engine, first) == {"a.csv": "succeeded"}
    assert finish(engine, start(engine, "each")) == {"a.csv": "succeeded"}
    assert bench.notes == ["a.csv old", "a.csv newer"]
    assert start(engine, "each").started == ()


def test_a_change_of_time_alone_counts(bench, each, workspace):
    each()
    path = workspace.file("in/a.csv", "same")
    engine = bench.engine()
    finish(engine, start(engine, "each"))
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    assert len(start(engine, "each").started) == 1


def test_files_of_a_killed_engine_go_on_and_are_not_started_twice(bench, each, workspace, signals, gate, home):
    each("say(f\"{__import__('os').getpid()}\")\nstop_at_gate()")
    for number in range(6):
        workspace.file(f"in/{number}.csv", str(number))
    (home).mkdir(exist_ok=True)
    (home / "settings.toml").write_text("worker_slots = 2\n")
    driver = bench.driver("each")
    pids = [int(pid) for pid in signals.lines(2)]
    driver.kill()
    for pid in pids:
        wait_for_death(pid)
    gate.open_gate(6)
    engine = bench.engine(only=())
    interrupted = engine.ledger.reader.open_runs()
    assert len(interrupted) == 2
    again = start(engine, "each")
    assert again.started == ()
    assert set(again.resumed) == set(interrupted)
    assert len(again.waiting) == 4
    engine.dispatcher.include(["each"])
    assert finish(engine, again) == {f"{number}.csv": "succeeded" for number in range(6)}
    assert len(engine.ledger.reader.runs(limit=100)) == 6
    notes = bench.notes
    assert {note: notes.count(note) for note in notes} == {
        f"{n} {n}".replace(" ", ".csv ", 1): (2 if n < 2 else 1) for n in range(6)
    }


def test_a_resumed_file_keeps_the_signature_of_its_first_attempt(bench, each, workspace, signals, gate):
    each("say(f\"{__import__('os').getpid()}\")\nstop_at_gate()")
    workspace.file("in/a.csv", "old")
    engine = bench.engine()
    first = start(engine, "each")
    pid = int(signals.line())
    workspace.file("in/a.csv", "newer")
    os.kill(pid, signal.SIGKILL)
    signals.line()
    gate.open_gate(2)
    assert finish(engine, first) == {"a.csv": "succeeded"}
    assert len(start(engine, "each").started) == 1


@pytest.mark.parametrize("resume", ["never", "manual"])
def test_a_file_of_an_interrupted_run_that_nobody_resumes(bench, each, workspace, signals, gate, resume):
    each("say(f\"{__import__('os').getpid()}\")\nstop_at_gate()", resume)
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    first = start(engine, "each")
    os.kill(int(signals.line()), signal.SIGKILL)
    assert finish(engine, first) == {"a.csv": "interrupted"}
    again = start(engine, "each")
    assert (again.started, again.resumed) == ((), ())
    # `never`: its run has come to its end, so the file is one that failed. `manual`: the run is still to be decided on.
    workspace.file("in/a.csv", "changed")
    changed = start(engine, "each")
    assert len(changed.started) == (1 if resume == "never" else 0)
    gate.open_gate(2)
    if resume == "never":
        assert again.failed_before == 1
        assert finish(engine, changed) == {"a.csv": "succeeded"}
        assert start(engine, "each").started == ()
        workspace.file("in/a.csv", "changed again")
        assert len(start(engine, "each").started) == 1


def test_a_missing_source_says_so_and_comes_back(bench, each, workspace):
    each()
    (workspace.root / "in").rmdir()
    engine = bench.engine()
    with pytest.raises(NotFound) as missing:
        start(engine, "each")
    assert missing.value.code == "source-missing"
    assert str(workspace.root / "in") in missing.value.message
    assert missing.value.hint
    with pytest.raises(NotFound) as missing:
        start(engine, "each", source=workspace.root / "elsewhere")
    assert missing.value.code == "source-missing"
    workspace.file("in/a.csv", "1")
    assert finish(engine, start(engine, "each")) == {"a.csv": "succeeded"}


def test_a_source_that_vanishes_while_its_run_waits(bench, each, workspace, signals, gate):
    each('say("reading")\nstop_at_gate()')
    workspace.file("in/a.csv", "1")
    workspace.file("in/b.csv", "1")
    engine = bench.engine(worker_slots=1)
    first = start(engine, "each")
    signals.line()
    (workspace.root / "in/b.csv").unlink()
    gate.open_gate(2)
    assert finish(engine, first) == {"a.csv": "succeeded", "b.csv": "failed"}


def test_one_chosen_file_below_the_source_shares_its_freshness(bench, each, workspace):
    each()
    workspace.file("in/deep/a.csv", "1")
    workspace.file("in/b.csv", "1")
    engine = bench.engine()
    chosen = start(engine, "each", source=workspace.root / "in/deep/a.csv")
    assert finish(engine, chosen) == {"deep/a.csv": "succeeded"}
    assert start(engine, "each", source=workspace.root / "in/deep/a.csv").started == ()
    assert finish(engine, start(engine, "each")) == {"b.csv": "succeeded"}


def test_another_folder_has_a_freshness_of_its_own(bench, each, workspace):
    each()
    workspace.file("in/a.csv", "1")
    workspace.file("other/a.csv", "1")
    engine = bench.engine()
    finish(engine, start(engine, "each"))
    assert finish(engine, start(engine, "each", source=workspace.root / "other")) == {"a.csv": "succeeded"}
    assert start(engine, "each", source=workspace.root / "other").started == ()


def test_a_source_that_is_one_file(bench, workspace):
    workspace.module(
        "single",
        """
        from flowstead import Flow
        from flow_helpers.marks import note

        def build():
            flow = Flow("Test").watch(mode="poll", source="../in/only.csv", interval="1m")
            return flow.step(lambda context: note(context.source.path.read_text()))
        """,
    )
    workspace.file("in/only.csv", "1")
    workspace.file("in/other.csv", "1")
    engine = bench.engine()
    assert finish(engine, start(engine, "single")) == {"only.csv": "succeeded"}
    assert start(engine, "single").started == ()
    workspace.file("in/only.csv", "22")
    assert finish(engine, start(engine, "single")) == {"only.csv": "succeeded"}
    assert bench.notes == ["1", "22"]


BATCH = """
from flowstead import Flow
from flowstead.engine.retrying import retry
from flow_helpers.marks import note, say, stop_at_gate

def read(file):
    if "bad" in file.path.read_text():
        raise ValueError("bad")
    note(file.name)

def build():
    return Flow("Test").watch(mode="poll", run_as="batch", source="../in", interval="30s", extensions=[".csv"]).collect(
        [".csv"]).map(read, on_error="raise")
"""


def test_a_batch_records_every_file(bench, workspace):
    workspace.module("batch", BATCH)
    for name in "abc":
        workspace.file(f"in/{name}.csv", "1")
    engine = bench.engine()
    assert finish(engine, start(engine, "batch")) == {None: "succeeded"}
    assert sorted(engine.ledger.reader.file_state("batch", "in")) == ["a.csv", "b.csv", "c.csv"]
    assert start(engine, "batch").started == ()
    workspace.file("in/d.csv", "1")
    assert finish(engine, start(engine, "batch")) == {None: "succeeded"}
    assert bench.notes == ["a.csv", "b.csv", "c.csv", "a.csv", "b.csv", "c.csv", "d.csv"]
    workspace.file("in/b.csv", "bad")
    assert finish(engine, start(engine, "batch")) == {None: "failed"}
    assert start(engine, "batch").started == ()
    assert finish(engine, start(engine, "batch", retry_failed=True)) == {None: "failed"}
    workspace.file("in/b.csv", "fine")
    assert finish(engine, start(engine, "batch")) == {None: "succeeded"}


def test_a_batch_waits_only_once(bench, workspace, signals, gate):
    workspace.module(
        "slow",
        BATCH.replace("note(file.name)", 'say("reading"); stop_at_gate()'),
    )
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    first = start(engine, "slow")
    signals.line()
    workspace.file("in/b.csv", "1")
    assert start(engine, "slow").started == ()
    gate.open_gate(3)
    assert finish(engine, first) == {None: "succeeded"}
    # The file that came meanwhile was not yet there when the signatures were taken.
    assert finish(engine, start(engine, "slow")) == {None: "succeeded"}
    assert start(engine, "slow").started == ()


@pytest.mark.parametrize("watch", ['mode="manual"', 'mode="schedule", time="08:00"'])
def test_without_polling_every_file_gets_a_run_each_time(bench, workspace, watch):
    workspace.module(
        "every",
        f"""
        from flowstead import Flow
        def build():
            return Flow("Test").watch({watch}, source="../in").step(lambda context: 1)
        """,
    )
    workspace.file("in/a.csv", "1")
    workspace.file("in/b.csv", "1")
    engine = bench.engine()
    for _ in range(2):
        assert finish(engine, start(engine, "every")) == {"a.csv": "succeeded", "b.csv": "succeeded"}


def test_a_key_is_for_one_run_only(bench, each, workspace):
    each()
    workspace.file("in/a.csv", "1")
    with pytest.raises(UsageError):
        start(bench.engine(), "each", key="k")


def test_names_that_are_no_unicode(bench, each, workspace):
    each()
    path = os.fsencode(workspace.root / "in") + b"/caf\xe9.csv"
    with open(path, "wb") as file:
        file.write(b"1")
    workspace.file("in/größe.csv", "1")
    engine = bench.engine()
    with pytest.raises(UsageError) as refused:
        start(engine, "each")
    assert refused.value.code == "source-name-invalid"
    assert "caf" in refused.value.message
    os.rename(path, workspace.root / "in/café.csv")
    assert finish(engine, start(engine, "each")) == {"café.csv": "succeeded", "größe.csv": "succeeded"}


def test_waiting_runs_with_other_parameters_do_not_stand_for_a_request(bench, workspace, signals, gate):
    workspace.module(
        "asking",
        """
        from flowstead import Flow
        from flow_helpers.marks import note, say, stop_at_gate

        def a(context):
            say("here")
            stop_at_gate()
            note(str(context.params["number"]))

        def build():
            return Flow("Test").ask("number", int, default=0).step(a)
        """,
    )
    engine = bench.engine(worker_slots=1)
    (first,) = start(engine, "asking", params={"number": 1}).started
    signals.line()
    (second,) = start(engine, "asking", params={"number": 2}).started
    other = start(engine, "asking", params={"number": 3})
    same = start(engine, "asking", params={"number": 2})
    anything = start(engine, "asking")
    assert (len(other.started), same.started, anything.started) == (1, (), ())
    gate.open_gate(3)
    ended(engine, first, second, *other.started)
    assert bench.notes == ["1", "2", "3"]


def test_sources_recorded_by_absolute_paths_are_renamed_once_and_nothing_runs_again(bench, each, workspace):
    each()
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    (run_id,) = start(engine, "each").started
    assert ended(engine, run_id)[0].source_root == "in"

    def as_before(tx):
        tx.rename_source_roots(lambda root: str(engine.layout.root_path(root)))
        tx.execute("DELETE FROM meta WHERE key = 'source_roots'")

    engine.ledger.write(as_before)
    assert engine.ledger.reader.run(run_id).source_root == str(workspace.root / "in")
    engine.close()
    engine = bench.engine()
    assert engine.ledger.reader.run(run_id).source_root == "in"
    again = start(engine, "each")
    assert (again.started, again.source, again.files) == ((), str(workspace.root / "in"), 1)


def test_a_workspace_that_moved_with_its_sources_knows_its_files(bench, each, workspace, home):
    each()
    workspace.file("in/a.csv", "1")
    engine = bench.engine()
    assert finish(engine, start(engine, "each")) == {"a.csv": "succeeded"}
    engine.close()
    here, there = bench.layout, workspace.root.parent / "elsewhere"
    workspace.root.rename(there)
    bench.root = there
    bench.layout.prepare()
    here.ledger.rename(bench.layout.local / here.ledger.name)
    assert start(bench.engine(), "each").started == ()
