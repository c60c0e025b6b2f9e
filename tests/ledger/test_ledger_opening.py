"""Opening a ledger: its schema, and files that are no ledger, a newer one, a damaged one, or cannot be written."""

import random
import sqlite3
import subprocess
from pathlib import Path

import pytest

from flowstead.ledger import Ledger, LedgerReader, connection
from flowstead.model.errors import HomeUnwritable, LedgerDamaged, LedgerTooNew, StorageError

NOISE = random.Random(7)


def described(database: sqlite3.Connection) -> dict[str, object]:
    """Everything that makes the schema: the parts of each object's text, columns in order, and the settings kept."""
    found: dict[str, object] = {}
    rows = database.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
    for kind, name, table, text in rows:
        found[f"{kind} {name}"] = (table, sorted("".join((text or "").split()).replace(")", "").split(",")))
        if kind == "table":
            found[f"columns of {name}"] = database.execute(f"PRAGMA table_xinfo({name})").fetchall()
            found[f"indexes of {name}"] = sorted(
                (row[1:], tuple(database.execute(f"PRAGMA index_xinfo({row[1]})")))
                for row in database.execute(f"PRAGMA index_list({name})")
            )
    for pragma in ("user_version", "application_id", "encoding", "auto_vacuum", "page_size", "foreign_keys"):
        found[pragma] = database.execute(f"PRAGMA {pragma}").fetchone()
    return found


def test_the_schema_equals_all_migrations_applied(tmp_path):
    migrated = sqlite3.connect(tmp_path / "migrated.sqlite3")
    numbers = []
    for number, script in connection.migrations():
        migrated.executescript(f"{script.read_text('utf-8')}\nPRAGMA user_version = {number};")
        numbers.append(number)
    assert numbers == list(range(1, connection.SCHEMA_VERSION + 1))
    Ledger(tmp_path / "new.sqlite3").close()
    new = sqlite3.connect(tmp_path / "new.sqlite3")
    assert described(new) == described(migrated)
    assert "table runs" in described(new)
    migrated.close()
    new.close()


def test_what_a_ledger_promises_its_file_is_set(tmp_path):
    for durability, synchronous in (("normal", 1), ("full", 2)):
        ledger = Ledger(tmp_path / f"{durability}.sqlite3", durability=durability)
        assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert ledger._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        ledger.close()
        assert not (tmp_path / f"{durability}.sqlite3-wal").exists(), "the log is folded into the file"


def test_a_crash_while_the_schema_is_made_leaves_a_ledger_that_opens(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    begun = sqlite3.connect(path, isolation_level=None)
    begun.execute("PRAGMA journal_mode = WAL")
    begun.execute("BEGIN IMMEDIATE")
    begun.execute("CREATE TABLE meta (key TEXT)")
    reader = LedgerReader(path)
    assert reader.runs() == [], "while the first opening is under way, there is nothing to read"
    begun.close()
    ledger = Ledger(path)
    ledger.write(lambda tx: tx.put_meta("epoch", "1"))
    assert reader.rows("SELECT value FROM meta") == [("1",)]
    reader.close()
    ledger.close()


def test_a_crash_before_the_write_ahead_log_is_on_reads_as_an_empty_ledger(tmp_path):
    """SQLite turns it on under a rollback journal, which a reader cannot play back."""
    path = tmp_path / "whole.sqlite3"
    whole = sqlite3.connect(path, isolation_level=None)
    whole.execute("PRAGMA cache_size = 1")
    whole.execute("CREATE TABLE filler (text)")
    whole.execute("BEGIN")
    for _ in range(200):  # more than the cache holds: pages and journal reach the disk
        whole.execute("INSERT INTO filler VALUES (hex(randomblob(2000)))")
    crashed = tmp_path / "crashed.sqlite3"
    for suffix in ("", "-journal"):
        crashed.with_name(crashed.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
    whole.close()
    reader = LedgerReader(crashed)
    assert reader.runs() == []
    Ledger(crashed).close()
    assert not crashed.with_name("crashed.sqlite3-journal").exists()
    assert reader.runs() == []
    reader.close()


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "ledger.sqlite3"
    Ledger(path).close()
    newer = sqlite3.connect(path)
    newer.execute(f"PRAGMA user_version = {connection.SCHEMA_VERSION + 1}")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(LedgerTooNew) as refused:
        Ledger(path)
    assert (refused.value.code, refused.value.exit_code) == ("ledger-too-new", 1)
    assert str(path) in refused.value.message and refused.value.hint
    reader = LedgerReader(path)
    with pytest.raises(LedgerTooNew):
        reader.runs()
    reader.close()
    assert path.read_bytes() == before


def full_ledger(path: Path, request_run) -> bytes:
    ledger = Ledger(path)
    for _ in range(200):
        ledger.write(lambda tx: tx.enqueue(request_run(params={"text": "x" * 200})))
    ledger.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"This is no database.",
        lambda data: NOISE.randbytes(len(data)),
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096],
        lambda data: data[:4096] + NOISE.randbytes(len(data) - 4096),
    ],
    ids=["text", "noise", "half", "one page", "noise after the first page"],
)
def test_a_damaged_ledger_says_so_and_nothing_of_it_is_overwritten(tmp_path, damage, request_run):
    path = tmp_path / "ledger.sqlite3"
    damaged = damage(full_ledger(path, request_run))
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(LedgerDamaged) as refused:
            ledger = Ledger(path)
            ledger.close()
        assert refused.value.code == "ledger-damaged"
        assert str(path) in refused.value.message and str(path) in refused.value.hint
        reader = LedgerReader(path)
        with pytest.raises(LedgerDamaged):
            reader.runs()
        reader.close()
    assert path.read_bytes() == damaged


def test_a_reader_of_no_ledger_reads_an_empty_one(tmp_path):
    reader = LedgerReader(tmp_path / "none.sqlite3")
    assert (reader.runs(), reader.last_event(), reader.events(0)) == ([], 0, [])
    assert list(tmp_path.iterdir()) == []
    reader.close()


def test_a_folder_that_is_none_cannot_hold_a_ledger(tmp_path):
    (tmp_path / "home").write_text("a file", "utf-8")
    with pytest.raises(HomeUnwritable) as refused:
        Ledger(tmp_path / "home" / "ledger.sqlite3")
    assert refused.value.code == "home-unwritable" and "FLOWSTEAD_HOME" in refused.value.hint


def test_a_read_only_disk(tmp_path, request_run):
    path = tmp_path / "disk" / "ledger.sqlite3"
    path.parent.mkdir()
    full_ledger(path, request_run)
    if subprocess.run(["mount", "--bind", path.parent, path.parent], capture_output=True).returncode:
        pytest.skip("only root may mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", path.parent], check=True, capture_output=True)
        with pytest.raises(HomeUnwritable):
            Ledger(path)
        with pytest.raises(HomeUnwritable):
            Ledger(path.with_name("new.sqlite3"))
    finally:
        subprocess.run(["umount", path.parent], check=True)
    reader = LedgerReader(path)
    assert len(reader.runs(limit=1000)) == 200
    reader.close()


def test_a_file_that_another_program_keeps_locked(tmp_path, monkeypatch, request_run):
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger._connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StorageError) as refused:
        ledger.write(lambda tx: tx.enqueue(request_run()))
    assert refused.value.code == "storage-busy" and str(path) in refused.value.message
    other.execute("ROLLBACK")
    other.close()
    ledger.write(lambda tx: tx.enqueue(request_run()))
    assert len(ledger.reader.runs()) == 1
    ledger.close()
