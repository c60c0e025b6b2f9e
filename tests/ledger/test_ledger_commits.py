"""Commits: shared between threads, refused for one alone, interrupted, on a full disk; and readers beside them."""

import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from flowstead.ledger import Ledger
from flowstead.model.errors import FlowsteadError, StorageError

DEADLINE = 20


def integrity(path) -> list[tuple]:
    database = sqlite3.connect(path)
    found = database.execute("PRAGMA integrity_check").fetchall()
    database.close()
    return found


def commits_of(ledger: Ledger) -> list[str]:
    seen: list[str] = []
    ledger._connection.set_trace_callback(lambda text: seen.append(text) if text == "COMMIT" else None)
    return seen


def hold(ledger: Ledger) -> tuple[threading.Thread, threading.Event, threading.Event]:
    """A thread whose write keeps the ledger busy until the event is set."""
    inside, release = threading.Event(), threading.Event()

    def operation(tx):
        inside.set()
        assert release.wait(DEADLINE)

    thread = threading.Thread(target=ledger.write, args=(operation,))
    thread.start()
    assert inside.wait(DEADLINE)
    return thread, inside, release


def write_together(ledger: Ledger, operations) -> list:
    """Lets every operation wait for the same commit, and returns what each caller got: a result or an exception."""
    holder, _, release = hold(ledger)
    with ThreadPoolExecutor(len(operations)) as pool:
        futures = [pool.submit(ledger.write, operation) for operation in operations]
        while len(ledger._queue) < len(operations):
            pass
        release.set()
        outcomes = [future.exception(DEADLINE) or future.result() for future in futures]
    holder.join(DEADLINE)
    return outcomes


def test_writes_that_wait_share_a_commit_and_get_their_own_results(tmp_path, request_run):
    ledger = Ledger(tmp_path / "ledger.sqlite3", durability="full")
    commits = commits_of(ledger)
    requests = [request_run() for _ in range(16)]
    outcomes = write_together(ledger, [lambda tx, each=each: tx.enqueue(each) for each in requests])
    assert outcomes == [(request.id, True) for request in requests]
    assert len(commits) == 2, "the holder's, and one for all sixteen"
    ledger.close()


def test_many_threads_under_full_durability_lose_nothing(tmp_path, request_run):
    ledger = Ledger(tmp_path / "ledger.sqlite3", durability="full")
    threads, each = 8, 50
    together = threading.Barrier(threads)

    def work(number: int) -> list[bool]:
        together.wait(DEADLINE)
        kept = []
        for index in range(each):
            request = request_run(key=f"{number}-{index}")
            run_id, new = ledger.write(lambda tx, request=request: tx.enqueue(request))
            kept.append(new and run_id == request.id)
        return kept

    with ThreadPoolExecutor(threads) as pool:
        outcomes = list(pool.map(work, range(threads)))
    assert all(all(kept) for kept in outcomes)
    assert len(ledger.reader.runs(limit=1000)) == threads * each
    seqs = [event[0] for event in ledger.reader.events(0, 10_000)]
    assert seqs == list(range(1, threads * each + 1))
    ledger.close()


def test_an_operation_that_raises_is_alone_in_that(ledger, request_run):
    requests = [request_run() for _ in range(4)]

    def refused(tx):
        tx.enqueue(request_run(flow="never"))
        raise ValueError("mine")

    def unfit(tx):
        tx.put_meta("unfit", object())

    operations = [lambda tx, each=each: tx.enqueue(each) for each in requests]
    outcomes = write_together(ledger, [*operations[:2], refused, unfit, *operations[2:]])
    assert [outcomes[index] for index in (0, 1, 4, 5)] == [(request.id, True) for request in requests]
    assert isinstance(outcomes[2], ValueError) and outcomes[2].args == ("mine",)
    assert isinstance(outcomes[3], StorageError)
    assert {run.id for run in ledger.reader.runs()} == {request.id for request in requests}
    assert [event[0] for event in ledger.reader.events(0)] == [1, 2, 3, 4]


def test_one_key_is_one_run_for_twenty_threads(ledger, request_run):
    requests = [request_run(key="march") for _ in range(20)]
    outcomes = write_together(ledger, [lambda tx, each=each: tx.enqueue(each) for each in requests])
    assert len({run_id for run_id, _ in outcomes}) == 1
    assert sum(new for _, new in outcomes) == 1
    assert len(ledger.reader.runs()) == 1
    other = request_run(flow="other", key="march")
    assert ledger.write(lambda tx: tx.enqueue(other)) == (other.id, True), "a key is one within its flow"


class Interrupting:
    """The ledger's connection, with an exception raised before or after one statement."""

    def __init__(self, connection, statement: str, error: BaseException, *, after: bool) -> None:
        self._connection, self._statement, self._error, self._after = connection, statement, error, after

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *parameters):
        if statement != self._statement:
            return self._connection.execute(statement, *parameters)
        if self._after:
            self._connection.execute(statement, *parameters)
        self._statement = ""
        raise self._error


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), MemoryError(), sqlite3.OperationalError("disk I/O error")],
    ids=lambda e: type(e).__name__,
)
def test_whatever_is_raised_around_a_commit_leaves_a_ledger_that_works(ledger, request_run, statement, after, error):
    if isinstance(error, sqlite3.Error) and after:
        error = KeyboardInterrupt()  # SQLite itself raises nothing after it has committed
    ledger.write(lambda tx: tx.enqueue(request_run()))
    connection = ledger._connection
    ledger._connection = Interrupting(connection, statement, error, after=after)
    doubtful = request_run()
    with pytest.raises((KeyboardInterrupt, MemoryError, StorageError)):
        ledger.write(lambda tx: tx.enqueue(doubtful))
    stands = statement == "COMMIT" and after
    assert [run.id == doubtful.id for run in ledger.reader.runs()] == ([True, False] if stands else [False])
    last = request_run()
    assert ledger.write(lambda tx: tx.enqueue(last)) == (last.id, True)
    ledger._connection = connection
    assert [event[0] for event in ledger.reader.events(0)] == list(range(1, 4 if stands else 3))
    assert ledger.last_event == (3 if stands else 2)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_interrupt_of_one_thread_loses_no_write_of_the_others(ledger, request_run, after):
    """The thread that commits for all is interrupted; the others' writes are done once, by themselves if need be."""
    connection = ledger._connection
    holder, _, release = hold(ledger)
    requests = [request_run() for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(ledger.write, lambda tx, each=each: tx.enqueue(each)) for each in requests]
        while len(ledger._queue) < 6:
            pass
        # The holder commits on the connection itself; the next commit is the shared one.
        interrupting = Interrupting(connection, "COMMIT", KeyboardInterrupt(), after=after)
        original = ledger._attempt

        def attempt(batch):
            if len(batch) > 1:
                ledger._connection = interrupting
            original(batch)

        ledger._attempt = attempt
        release.set()
        outcomes = [future.exception(DEADLINE) or future.result() for future in futures]
    holder.join(DEADLINE)
    ledger._connection = connection
    interrupted = [each for each in outcomes if isinstance(each, KeyboardInterrupt)]
    assert len(interrupted) == 1
    runs = {run.id for run in ledger.reader.runs()}
    for request, outcome in zip(requests, outcomes, strict=True):
        if outcome is interrupted[0]:
            assert (request.id in runs) == after
        else:
            assert outcome == (request.id, True) and request.id in runs
    assert [event[0] for event in ledger.reader.events(0)] == list(range(1, len(runs) + 1))


def test_a_ledger_that_may_not_grow_says_that_the_disk_is_full(ledger, request_run):
    ledger.write(lambda tx: tx.enqueue(request_run()))
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageError) as refused:
        ledger.write(lambda tx: tx.enqueue(request_run(params={"text": "x" * 100_000})))
    assert refused.value.code == "disk-full" and refused.value.hint
    ledger._connection.execute("PRAGMA max_page_count = 1000000")
    ledger.write(lambda tx: tx.enqueue(request_run(params={"text": "x" * 100_000})))
    assert len(ledger.reader.runs()) == 2


def test_a_full_disk_loses_nothing_acknowledged(tmp_path, request_run):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode:
        pytest.skip("only root may mount a disk of one megabyte")
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        path = disk / "ledger.sqlite3"
        ledger = Ledger(path)
        acknowledged: list[str] = []

        def fill(most: int) -> FlowsteadError | None:
            for _ in range(most):
                request = request_run(params={"text": "x" * 500})
                try:
                    ledger.write(lambda tx, request=request: tx.enqueue(request))
                except FlowsteadError as error:
                    return error
                acknowledged.append(request.id)
            return None

        refused = fill(5000)
        assert refused is not None and refused.code == "disk-full" and "Free some space" in refused.hint
        assert acknowledged
        again = fill(3)
        assert again is not None and again.code == "disk-full", "it stays refused, and is told each time"
        assert {run.id for run in ledger.reader.runs(limit=10_000, with_steps=False)} == set(acknowledged)
        ballast.unlink()
        assert fill(10) is None
        ledger.close()
        assert integrity(path) == [("ok",)]
        reopened = Ledger(path)
        assert {run.id for run in reopened.reader.runs(limit=10_000, with_steps=False)} == set(acknowledged)
        seqs = [event[0] for event in reopened.reader.events(0, 10_000)]
        assert seqs == list(range(1, len(acknowledged) + 1))
        reopened.close()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_readers_hold_up_no_writer_and_see_whole_commits(ledger, request_run):
    ledger.write(lambda tx: tx.enqueue(request_run()))
    ledger.reader.runs()
    reading = ledger.reader._connection
    reading.execute("BEGIN")
    assert reading.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    ledger._connection.execute("PRAGMA busy_timeout = 0")
    for _ in range(20):
        ledger.write(lambda tx: tx.enqueue(request_run()))
    assert reading.execute("SELECT count(*) FROM runs").fetchone() == (1,), "one look sees one moment"
    reading.execute("COMMIT")
    assert reading.execute("SELECT count(*) FROM runs").fetchone() == (21,)
    with pytest.raises(sqlite3.OperationalError):
        reading.execute("DELETE FROM runs")


def test_waiting_for_an_event(ledger, request_run):
    seq = ledger.last_event
    assert not ledger.wait_for_event(seq, 0)
    heard: list[bool] = []
    listening = threading.Thread(target=lambda: heard.append(ledger.wait_for_event(seq, DEADLINE)))
    listening.start()
    while not ledger._waiters:
        pass
    ledger.write(lambda tx: tx.enqueue(request_run()))
    listening.join(DEADLINE)
    assert heard == [True] and ledger.last_event == seq + 1


def test_after_its_end_a_ledger_refuses_in_words(tmp_path, request_run):
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    ledger.close()
    with pytest.raises(StorageError):
        ledger.write(lambda tx: tx.enqueue(request_run()))
