from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flowstead.helpers.duckdb import (
    DatabaseError,
    attach_dimension,
    build_dimension,
    compact_database,
    database,
    read_table,
    replace_rows_by_file,
    replace_table,
)

FRAME = pl.DataFrame({"a": [1, 2]})


@contextmanager
def holder(path: Path, *, read_only: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the file until its input ends."""
    script = (
        "import duckdb, sys\n"
        f"connection = duckdb.connect(sys.argv[1], read_only={read_only})\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, os.fspath(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.stdin.close()
            process.wait(30)


class FakeTime:
    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)


@pytest.fixture
def fake_time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    time = FakeTime()
    monkeypatch.setattr(database, "patience", database.Patience(clock=time.clock, sleep=time.sleep))
    return time


@pytest.mark.parametrize("write", [True, False])
def test_a_file_held_by_another_process(write: bool, tmp_path: Path, fake_time: FakeTime) -> None:
    path = tmp_path / "flights.duckdb"
    replace_table(path, "t", df=FRAME)
    with holder(path) as process:
        with pytest.raises(DatabaseError, match=rf"flights\.duckdb.*process {process.pid} .*python") as error:
            replace_table(path, "t", df=FRAME) if write else read_table(path, "t")
        assert error.value.code == "database-locked"
        assert error.value.hint
        assert 10.0 <= fake_time.now < 10.5
        assert max(fake_time.pauses) <= 0.25
        assert len(fake_time.pauses) < 200


def test_a_writer_waits_for_a_reader_of_another_process(tmp_path: Path, fake_time: FakeTime) -> None:
    path = tmp_path / "flights.duckdb"
    replace_table(path, "t", df=FRAME)
    with holder(path, read_only=True) as process:
        assert read_table(path, "t").equals(FRAME)
        pause = fake_time.sleep

        def sleep(seconds: float) -> None:
            pause(seconds)
            if len(fake_time.pauses) == 3:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)

        object.__setattr__(database.patience, "sleep", sleep)
        replace_table(path, "t", df=FRAME.head(1))
        assert len(fake_time.pauses) == 3
    assert read_table(path, "t").height == 1


def test_two_processes_write_one_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "flights.duckdb"
    script = (
        "import sys, polars as pl\n"
        "from flowstead.helpers.duckdb import build_dimension, replace_rows_by_file\n"
        "path, name = sys.argv[1:]\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "for n in range(12):\n"
        "    own = pl.DataFrame({'who': [name, 'both', None], 'n': [n, n, n % 3]})\n"
        "    build_dimension(path, 'mart.who', df=own)\n"
        "    replace_rows_by_file(path, 'mart.fact', df=own, file_hash=f'{name}-{n % 6}')\n"
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", script, os.fspath(path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in writers:
            assert writer.wait(120) == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    keys = read_table(path, "mart.who")
    assert keys.height == 12 * 3 + 3
    assert sorted(keys["dimension_key"]) == list(range(1, keys.height + 1))
    assert keys.select("who", "n").is_unique().all()
    fact = read_table(path, "mart.fact")
    assert fact.height == 2 * 6 * 3
    assert fact["n"].filter(fact["who"] == "left").sort().to_list() == list(range(6, 12))


def test_threads_of_one_process_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "flights.duckdb"

    def work(n: int) -> list[int]:
        frame = pl.DataFrame({"n": [n % 5, n % 3], "t": ["x", "y"]})
        build_dimension(path, "d", df=frame)
        replace_rows_by_file(path, "fact", df=frame, file_hash=n % 4)
        return attach_dimension(path, "d", df=frame, on=["n", "t"])["dimension_key"].to_list()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(24)))
    keys = {row[:2]: row[2] for row in read_table(path, "d").rows()}
    assert sorted(keys.values()) == list(range(1, 9))
    assert found == [[keys[n % 5, "x"], keys[n % 3, "y"]] for n in range(24)]
    assert read_table(path, "fact").height == 4 * 2


def test_the_step_s_own_connection(tmp_path: Path, fake_time: FakeTime) -> None:
    path = tmp_path / "flights.duckdb"
    with duckdb.connect(str(path)) as own:
        own.execute("CREATE TABLE t AS SELECT 1 AS a")
        assert read_table(path, "t").height == 1
        replace_table(path, "t", df=FRAME)
        assert own.execute("SELECT count(*) FROM t").fetchall() == [(2,)]
        with pytest.raises(DatabaseError, match="this process") as error:
            compact_database(path)
        assert error.value.code == "database-locked"
    with duckdb.connect(str(path), read_only=True):
        assert read_table(path, "t").height == 2
        with pytest.raises(DatabaseError, match="this process") as error:
            replace_table(path, "t", df=FRAME)
        assert error.value.code == "database-locked"
    replace_table(path, "t", df=FRAME)


def test_a_file_replaced_while_it_was_opened_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = tmp_path / "flights.duckdb", tmp_path / "copy.duckdb"
    replace_table(path, "t", df=FRAME)
    replace_table(copy, "t", df=FRAME.head(1))
    connect, opened = duckdb.connect, []

    def connect_then_replace(*arguments, **options):
        connection = connect(*arguments, **options)
        opened.append(connection)
        if len(opened) == 1:
            copy.replace(path)
        return connection

    monkeypatch.setattr(duckdb, "connect", connect_then_replace)
    assert read_table(path, "t").height == 1
    assert len(opened) == 2
