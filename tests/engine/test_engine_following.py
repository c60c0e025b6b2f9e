"""Following: observers see what the owner published, a new owner goes on from there, nothing is lost or doubled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from machines import Machine

from flowstead.engine.compacting import Compactor
from flowstead.engine.following import gaps_of, position
from flowstead.engine.published_logs import merge_lines
from flowstead.engine.publishing import CURSOR, Publisher
from flowstead.model.errors import OwnershipLost
from flowstead.workspace import compaction
from flowstead.workspace.segments import Accepted, Range

Machines = Callable[[str], Machine]


def segment_files(machine: Machine, table: str = "runs") -> list[Path]:
    return sorted((machine.layout.shared_state / "state" / table).iterdir())


# -- an observer ------------------------------------------------------------------------------------------------


def test_an_observer_sees_runs_steps_logs_and_files(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    run_id = owner.enqueue(source_root="in", source_path="a.csv")
    fence = owner.begin(run_id, files=[("a.csv", 1, 2)])
    owner.publish()
    assert observer.follow().runs == 1
    seen = observer.run(run_id)
    assert (seen.status, [step.status for step in seen.steps]) == ("running", ["running", "pending"])
    assert [step.label for step in seen.steps] == ["Load", "Save"]
    assert observer.log_text(run_id) == owner.log_text(run_id)
    owner.end(fence, flow="daily", source_root="in")
    owner.publish()
    followed = observer.follow()
    assert (followed.runs, followed.files, followed.gaps) == (1, 1, [])
    assert observer.run(run_id) == owner.run(run_id)
    assert observer.log_text(run_id) == owner.log_text(run_id)
    assert len(observer.log_text(run_id)) == 2
    assert observer.ledger.reader.file_state("daily", "in") == {"a.csv": (1, 2, "succeeded")}


def test_runs_are_numbered_in_the_order_in_which_they_were_queued(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    ids = [owner.complete() for _ in range(5)]
    owner.publish()
    observer.follow()
    assert [run.id for run in observer.ledger.reader.runs()] == ids[::-1]


def test_events_go_on(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    fence = owner.begin(owner.enqueue())
    owner.publish()
    observer.follow()
    after = observer.ledger.last_event
    owner.end(fence)
    owner.publish()
    observer.follow()
    assert [event[2:] for event in observer.ledger.reader.events(after)] == [
        ("step", f"{fence.run_id}/0/1", "succeeded"),
        ("run", fence.run_id, "succeeded"),
    ]


class Counting:
    """Counts the files that are read."""

    def __init__(self, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        read = machine.folder.read

        def counted(name: str) -> bytes | None:
            self.names.append(name)
            return read(name)

        monkeypatch.setattr(machine.folder, "read", counted)


def test_only_what_is_new_is_read(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(5):
        owner.complete()
        owner.publish()
    observer.follow()
    counting = Counting(observer, monkeypatch)
    assert observer.follow().runs == 0
    assert counting.names == []
    owner.complete()
    owner.publish()
    assert observer.follow().runs == 1
    assert {name.rpartition("/")[2] for name in counting.names} == {str(Range(1, 6, 6))}
    assert len(counting.names) == 3


def test_the_owner_does_not_read_what_it_wrote(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = machines("a")
    owner.own()
    for _ in range(3):
        owner.complete()
        owner.publish()
    counting = Counting(owner, monkeypatch)
    owner.own()
    assert counting.names == []


# -- a new owner ------------------------------------------------------------------------------------------------


def test_a_new_owner_goes_on(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    old = a.complete()
    waiting, open_run = a.enqueue(), a.enqueue(source_root="in", source_path="x")
    a.begin(open_run, files=[("x", 1, 2)])
    a.publish()
    a.lose()
    b.own()
    assert b.runs() == {old: "succeeded", waiting: "queued", open_run: "interrupted"}
    assert b.ledger.reader.interrupted_files("daily", "in") == {"x": (1, 2)}
    b.end(b.begin(waiting))
    assert b.ledger.write(lambda tx: tx.resume(open_run))
    b.publish()
    assert a.follow().gaps == []
    assert a.runs() == {old: "succeeded", waiting: "succeeded", open_run: "queued"}
    assert len(a.ledger.reader.runs()) == 3


def test_an_older_history_of_its_own_is_kept_and_shared(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    b.own()
    mine = b.complete()  # never published: it crashed
    b.lose()
    a.own()
    theirs = a.complete()
    a.publish()
    b.own()
    assert b.runs() == {mine: "succeeded", theirs: "succeeded"}
    b.publish()
    a.lose()
    a.follow()
    assert a.runs() == b.runs()


def test_an_end_that_was_not_published_stands(machines: Machines) -> None:
    a, b, c = machines("a"), machines("b"), machines("c")
    a.own()
    fence = a.begin(a.enqueue())
    a.publish()
    a.end(fence)  # then it crashed
    a.lose()
    b.own()
    b.publish()
    assert b.runs() == {fence.run_id: "interrupted"}
    assert a.follow().kept == [fence.run_id]
    assert a.runs() == {fence.run_id: "succeeded"}
    b.lose()
    a.own()
    a.publish()
    for each in (b, c):
        each.follow()
        assert each.run(fence.run_id) == a.run(fence.run_id)
        assert each.log_text(fence.run_id) == a.log_text(fence.run_id)


def test_what_is_late_never_shows(machines: Machines) -> None:
    a, b, c = machines("a"), machines("b"), machines("c")
    a.own()
    first = a.complete()
    a.publish()
    late = a.complete()
    b.own()

    def lost() -> None:
        raise OwnershipLost("It is another's.")

    a.ledger.guard = lost
    with pytest.raises(OwnershipLost):
        a.publish()
    a.ledger.guard = None
    assert len(segment_files(a)) == 2
    new = b.complete()
    b.publish()
    for each in (c, b):
        each.follow()
        assert set(each.runs()) == {first, new}
    a.lose()
    a.follow()
    assert set(a.runs()) == {first, new, late}
    a.own()
    a.publish()
    b.lose()
    b.follow()
    assert b.runs() == a.runs()


def test_a_publication_that_was_accepted_without_its_writer_knowing(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    fence = a.begin(a.enqueue())
    a.ledger.guard = lambda: (_ for _ in ()).throw(OwnershipLost("It died."))
    with pytest.raises(OwnershipLost):
        a.publish()
    a.ledger.guard = None
    a.ledger.write(lambda tx: tx.put_items(fence, 0, 1, [], total=2, done=1, failed=0))
    a.lose()
    b.own()
    assert b.runs() == {fence.run_id: "interrupted"}
    # What a itself knows of the run is later than the publication that it finds there, and earlier than b's.
    a.own()
    assert a.run(fence.run_id).steps[0].items_done == 1
    assert a.runs() == {fence.run_id: "interrupted"}


def test_a_lost_ledger_comes_back(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    ids = {a.complete() for _ in range(3)}
    a.publish()
    b.own()
    ids.add(b.complete())
    b.publish()
    a.close()
    shutil.rmtree(a.layout.local)
    a.layout.prepare()
    a.open()
    assert a.follow().runs == 4
    assert set(a.runs()) == ids
    a.own()
    assert a.publish() == 2  # nothing of it is news


def test_a_slot_begun_on_two_machines_runs_once(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    mine = a.enqueue(key="slot")  # and crashes
    a.lose()
    b.own()
    theirs = b.complete(key="slot")
    b.publish()
    a.own()
    assert a.runs() == {mine: "cancelled", theirs: "succeeded"}
    a.publish()
    b.lose()
    b.follow()
    assert b.runs() == a.runs()


# -- what cannot be read ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["runs", "step_runs", "logs"])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_a_gap_is_told_noted_and_healed(machines: Machines, table: str, how: str) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    ids: list[str] = []
    for _ in range(3):
        ids.append(owner.complete())
        owner.publish()
    file = segment_files(owner, table)[1]
    content = file.read_bytes()
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(content[:50] + b"?" + content[51:])
    for _ in range(2):
        followed = observer.follow()
        assert [(gap.first, gap.last) for gap in followed.gaps] == [(2, 2)]
        assert gaps_of(observer.ledger.reader) == followed.gaps
    assert set(observer.runs()) == ({*ids} if table == "logs" else {ids[0], ids[2]})
    owner.complete()
    owner.publish()
    assert len(observer.follow().gaps) == 1
    file.write_bytes(content)
    assert observer.follow().gaps == []
    assert gaps_of(observer.ledger.reader) == []
    assert observer.runs() == owner.runs()
    for run_id in ids:
        assert observer.log_text(run_id) == owner.log_text(run_id)


def test_a_released_generation_that_is_nowhere_is_a_gap(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    owner.claims.announced = 3
    assert [gap[:2] for gap in observer.follow().gaps] == [(1, 3)]
    assert position(observer.ledger) == (1, 3)


def test_a_gap_within_what_was_compacted_since_is_healed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FANOUT", 4)
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(4):
        owner.complete()
        owner.publish()
    file = segment_files(owner)[1]
    content = file.read_bytes()
    file.unlink()
    assert len(observer.follow().gaps) == 1
    file.write_bytes(content)
    compact(owner)
    assert len(segment_files(owner)) == 1
    followed = observer.follow()
    assert (followed.runs, followed.gaps) == (1, [])
    assert observer.runs() == owner.runs()


def test_an_emptied_folder_is_begun_anew(machines: Machines) -> None:
    """The next owner has seen what was there, so that the count goes on; a newcomer is told what it misses."""
    a, b, c = machines("a"), machines("b"), machines("c")
    a.own()
    old = a.complete()
    a.publish()
    b.follow()
    a.lose()
    shutil.rmtree(a.layout.shared_state)
    a.claims.accepted.clear()
    a.claims.announced = 0
    a.own()
    assert a.claims.accepted == {2: 1}
    new = a.complete()
    a.publish()
    assert b.follow().gaps == []
    assert b.runs() == a.runs()
    assert [gap[:2] for gap in c.follow().gaps] == [(1, 1)]
    assert set(c.runs()) == {new}
    assert old in b.runs()


def test_a_count_that_begins_again_is_followed(machines: Machines) -> None:
    a, b, c = machines("a"), machines("b"), machines("c")
    a.own()
    a.own()
    for _ in range(3):
        a.complete()
        a.publish()
    b.follow()
    a.lose()
    shutil.rmtree(a.layout.shared_state)
    a.claims.accepted.clear()
    a.claims.announced = 0
    c.own()  # it knows nothing of before
    new = c.complete()
    c.publish()
    followed = b.follow()
    assert (followed.generation, followed.runs, followed.gaps) == (1, 1, [])
    assert len(b.runs()) == 4
    assert new in b.runs()
    assert b.follow().runs == 0


# -- files ------------------------------------------------------------------------------------------------------


def test_a_new_owner_knows_which_files_are_done(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    for number, machine in enumerate((a, b, a)):
        for each in (a, b):
            each.lose()
        machine.own()
        run_id = machine.enqueue(source_root="in", source_path="x")
        machine.end(machine.begin(run_id, files=[("x", number, number)]), flow="daily", source_root="in")
        machine.publish()
    b.follow()
    assert b.ledger.reader.file_state("daily", "in") == {"x": (2, 2, "succeeded")}
    assert a.ledger.reader.file_state("daily", "in") == {"x": (2, 2, "succeeded")}


# -- the publisher's cursor -------------------------------------------------------------------------------------


def test_what_was_merged_is_not_looked_at_by_a_publisher(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    a.own()
    for _ in range(5):
        a.complete()
    a.publish()
    b.follow()
    assert b.ledger.reader.meta(CURSOR) == str(b.ledger.last_event)


def test_what_was_not_published_before_the_merge_still_is(machines: Machines) -> None:
    a, b = machines("a"), machines("b")
    b.own()
    mine = b.complete()
    b.lose()
    a.own()
    a.complete()
    a.publish()
    b.follow()
    b.own()
    b.publish()
    a.lose()
    a.follow()
    assert mine in a.runs()


# -- logs -------------------------------------------------------------------------------------------------------


def lines(*numbers: int, text: str = "x"):
    return [(number, "t", "info", "output", text, "{}", "{}") for number in numbers]


@pytest.mark.parametrize(
    ("before", "then", "after"),
    [
        ((), (1, 2), "1x 2x"),
        ((1, 2), (3, 4), "1a 2a 3x 4x"),
        ((1, 2, 3), (2, 3), "1a 2x 3x"),
        ((1, 5), (2, 3), "1a 2x 3x 5a"),
        ((3, 4), (1, 2), "1x 2x 3a 4a"),
        ((1, 2), (), "1a 2a"),
    ],
)
def test_lines_are_merged_by_their_numbers(
    tmp_path: Path, before: tuple[int, ...], then: tuple[int, ...], after: str
) -> None:
    merge_lines(tmp_path, lines(*before, text="a"))
    for _ in range(2):
        merge_lines(tmp_path, reversed(lines(*then)))
        path = tmp_path / "events.ndjson"
        found = [] if not path.exists() else [line.split(b'"') for line in path.read_bytes().splitlines()]
        assert " ".join(each[2].decode().strip(":,") + each[17].decode() for each in found) == after


def test_a_torn_end_is_mended(tmp_path: Path) -> None:
    merge_lines(tmp_path, lines(1, 2))
    path = tmp_path / "events.ndjson"
    path.write_bytes(path.read_bytes()[:-5])
    merge_lines(tmp_path, lines(3))
    assert [line[:8] for line in path.read_bytes().splitlines()] == [b'{"seq":1', b'{"seq":3']


# -- compaction -------------------------------------------------------------------------------------------------


def compact(owner: Machine) -> Range | None:
    assert owner.publisher is not None
    compactor = Compactor(owner.layout, owner.ledger, owner.segments, epoch=owner.epoch)
    try:
        done = compactor.step(Accepted(owner.epoch, owner.publisher.generation, owner.claims.bound))
        compactor.wait(60)
        return done
    finally:
        compactor.close()


@pytest.mark.parametrize("apart", [False, True])
def test_a_newcomer_reads_what_was_compacted(machines: Machines, monkeypatch: pytest.MonkeyPatch, apart: bool) -> None:
    if apart:
        monkeypatch.setattr("flowstead.engine.compacting.MOST_HERE", 0)
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(compaction.FANOUT):
        owner.complete()
        owner.publish()
    done = compact(owner)
    assert done == (None if apart else Range(1, 1, 16))
    assert [each.name for each in segment_files(owner)] == [str(Range(1, 1, 16))]
    assert observer.follow().gaps == []
    assert observer.runs() == owner.runs()
    for run_id in owner.runs():
        assert observer.run(run_id).steps == owner.run(run_id).steps
        assert observer.log_text(run_id) == owner.log_text(run_id)


def test_one_step_compacts_tier_upon_tier(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "FANOUT", 3)
    owner, observer = machines("a"), machines("b")
    owner.own()
    for generation in range(1, 28):
        owner.complete()
        owner.publish()
        if generation % 3 == 0:
            compact(owner)
    assert [each.name for each in segment_files(owner)] == [str(Range(1, 1, 27))]
    observer.follow()
    assert observer.runs() == owner.runs()


def test_what_the_ledger_forgot_drops_out(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(compaction.FANOUT):
        owner.complete()
        owner.publish()
    gone = owner.ledger.write(lambda tx: tx.forget_expired(before=10**18, keep=100, limit=5))
    assert len(gone) == 5
    compact(owner)
    observer.follow()
    assert len(observer.runs()) == compaction.FANOUT - 5


def test_a_ledger_begun_anew_lets_nothing_drop_out(machines: Machines) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(compaction.FANOUT):
        owner.complete()
        owner.publish()
    assert owner.publisher is not None
    generation = owner.publisher.generation
    owner.close()
    shutil.rmtree(owner.layout.local)
    owner.layout.prepare()
    owner.open()
    owner.publisher = Publisher(owner.layout, owner.ledger, owner.segments, epoch=1, generation=generation)
    assert compact(owner) == Range(1, 1, 16)
    observer.follow()
    assert len(observer.runs()) == compaction.FANOUT


def test_leftovers_of_a_compaction_are_removed(machines: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, observer = machines("a"), machines("b")
    owner.own()
    for _ in range(compaction.FANOUT):
        owner.complete()
        owner.publish()
    with monkeypatch.context() as patched:
        patched.setattr(owner.segments, "remove", lambda where: None)
        compact(owner)
    assert len(segment_files(owner)) == compaction.FANOUT + 1
    observer.follow()
    compact(owner)
    assert [each.name for each in segment_files(owner)] == [str(Range(1, 1, 16))]
    assert observer.runs() == owner.runs()


def test_an_unreadable_group_is_left_alone(machines: Machines) -> None:
    owner = machines("a")
    owner.own()
    for _ in range(compaction.FANOUT):
        owner.complete()
        owner.publish()
    segment_files(owner)[3].write_bytes(b"")
    assert compact(owner) is None
    assert len(segment_files(owner)) == compaction.FANOUT
