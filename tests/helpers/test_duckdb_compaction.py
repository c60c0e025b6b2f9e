from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flowstead.helpers.duckdb import (
    DatabaseError,
    build_dimension,
    compact_database,
    compaction,
    read_sql,
    read_table,
    replace_table,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "flights.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE big AS SELECT hash(n) AS a, md5(n::VARCHAR) AS b FROM range(300000) t(n)")
        connection.execute("CREATE SCHEMA mart")
        connection.execute("CREATE TABLE mart.fact (id INTEGER PRIMARY KEY, gone INTEGER, kept VARCHAR DEFAULT 'x')")
        connection.execute("INSERT INTO mart.fact (id) VALUES (1), (2)")
        connection.execute("CREATE TABLE wide AS SELECT 1 AS a, NULL::INTEGER AS b, NULL::VARCHAR AS c")
        connection.execute("CREATE INDEX wide_a ON wide (a)")
        connection.execute("CREATE TABLE hollow AS SELECT NULL::INTEGER AS a, NULL::INTEGER AS b")
        connection.execute("CREATE TABLE empty (a INTEGER, b INTEGER)")
        connection.execute("CREATE SEQUENCE counter START 5")
        connection.execute("SELECT nextval('counter')").fetchall()
        connection.execute("CREATE VIEW mart.ids AS SELECT id FROM mart.fact")
        connection.execute("CREATE MACRO double(x) AS x * 2")
        connection.execute("COMMENT ON TABLE wide IS 'a comment'")
        connection.execute("CHECKPOINT")
        connection.execute("DELETE FROM big WHERE a % 100 > 0")
    return path


def test_null_columns_go_and_the_file_shrinks(database: Path) -> None:
    database.chmod(0o640)
    size = database.stat().st_size
    summary = compact_database(database)
    assert dict(summary.select("table", "dropped_columns").rows()) == {
        "big": [],
        "empty": [],
        "hollow": ["b"],
        "wide": ["b", "c"],
        "mart.fact": [],
    }
    assert summary["size_before"].unique().to_list() == [size]
    assert summary["size_after"].unique().to_list() == [database.stat().st_size]
    assert database.stat().st_size < size / 4
    assert database.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in database.parent.iterdir()] == ["flights.duckdb"]
    rows = dict(summary.select("table", "rows").rows())
    assert rows == {"big": read_table(database, "big").height, "empty": 0, "hollow": 1, "wide": 1, "mart.fact": 2}


def test_everything_else_is_kept(database: Path) -> None:
    compact_database(database, tables="wide")
    assert read_table(database, "mart.ids")["id"].to_list() == [1, 2]
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("SELECT nextval('counter'), double(4)").fetchall() == [(6, 8)]
        assert connection.execute("SELECT index_name FROM duckdb_indexes()").fetchall() == [("wide_a",)]
        with pytest.raises(duckdb.ConstraintException):
            connection.execute("INSERT INTO mart.fact (id) VALUES (1)")
        connection.execute("INSERT INTO mart.fact (id) VALUES (3)")
        assert connection.execute("SELECT kept FROM mart.fact WHERE id = 3").fetchall() == [("x",)]
    assert read_table(database, "mart.fact").columns == ["id", "gone", "kept"]


def test_a_second_time_changes_nothing(database: Path) -> None:
    first = compact_database(database)
    second = compact_database(database)
    assert second["dropped_columns"].list.len().sum() == 0
    assert second["rows"].to_list() == first["rows"].to_list()


def test_only_what_is_asked_for(database: Path) -> None:
    size = database.stat().st_size
    summary = compact_database(database, tables=["wide", "big"], drop_all_null_columns=False, vacuum=False)
    assert summary["table"].to_list() == ["wide", "big"]
    assert read_table(database, "wide").columns == ["a", "b", "c"]
    assert database.stat().st_size >= size
    with pytest.raises(DatabaseError) as error:
        compact_database(database, tables="nope")
    assert error.value.code == "table-missing"


def test_a_view_keeps_the_columns_it_selects(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE VIEW uses AS SELECT b FROM wide")
    with pytest.raises(DatabaseError, match="uses") as error:
        compact_database(database)
    assert error.value.code == "view-needs-column"
    assert read_table(database, "wide").columns == ["a", "b", "c"]


def test_an_indexed_null_column_stays(tmp_path: Path) -> None:
    path = tmp_path / "flights.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a, NULL::INTEGER AS b, NULL::INTEGER AS c")
        connection.execute("CREATE INDEX t_b ON t (b)")
    assert compact_database(path)["dropped_columns"].to_list() == [["c"]]
    assert read_table(path, "t").columns == ["a", "b"]


@pytest.mark.parametrize(
    "columns",
    [
        "void INTEGER, id INTEGER PRIMARY KEY",
        "id INTEGER, void INTEGER, twice INTEGER GENERATED ALWAYS AS (void * 2)",
        "id INTEGER PRIMARY KEY, void INTEGER REFERENCES t (id)",
        "id INTEGER NOT NULL, void INTEGER DEFAULT 3",
    ],
)
def test_a_table_with_constraints_keeps_its_columns(columns: str, tmp_path: Path) -> None:
    path = tmp_path / "flights.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE t ({columns})")
        connection.execute("CREATE INDEX t_id ON t (id)")
        connection.execute("INSERT INTO t (id, void) VALUES (1, NULL)")
        definition = connection.execute("SELECT sql FROM duckdb_tables()").fetchall()
    assert compact_database(path)["dropped_columns"].to_list() == [[]]
    assert read_sql(path, sql="SELECT sql FROM duckdb_tables()").rows() == definition


def test_a_copy_that_differs_is_not_put_in_place(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compaction._OBJECTS, "columns", "SELECT database_name FROM duckdb_columns() WHERE")
    inode = database.stat().st_ino
    with pytest.raises(DatabaseError, match="columns") as error:
        compact_database(database, drop_all_null_columns=False)
    assert error.value.code == "compaction-incomplete"
    assert database.stat().st_ino == inode
    assert [path.name for path in database.parent.iterdir()] == ["flights.duckdb"]
    assert read_table(database, "wide").columns == ["a", "b", "c"]


def test_what_a_killed_process_left_is_compacted_too(database: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy" / "flights.duckdb"
    copied.parent.mkdir()
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO wide VALUES (2, NULL, NULL)")
        # As a crash leaves them: the file, and beside it the log of what was committed since.
        shutil.copy(database, copied)
        shutil.copy(f"{database}.wal", f"{copied}.wal")
    compact_database(copied)
    assert [path.name for path in copied.parent.iterdir()] == ["flights.duckdb"]
    assert read_table(copied, "wide")["a"].to_list() == [1, 2]


def test_a_link_is_followed(database: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.duckdb"
    link.symlink_to(database)
    compact_database(link)
    assert link.is_symlink()
    assert read_table(link, "wide").columns == ["a"]


def test_a_missing_database_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        compact_database(tmp_path / "nothing.duckdb")
    assert error.value.code == "database-missing"
    assert list(tmp_path.iterdir()) == []


def test_compacting_between_other_work(tmp_path: Path) -> None:
    path = tmp_path / "flights.duckdb"
    for n in range(3):
        build_dimension(path, "d", df=pl.DataFrame({"n": [n, n + 1], "nothing": [None, None]}))
        replace_table(path, "t", df=pl.DataFrame({"n": range(n + 1), "void": [None] * (n + 1)}))
        summary = compact_database(path, tables="t")
        assert summary.rows()[0][:3] == ("t", ["void"], n + 1)
    assert read_sql(path, sql="SELECT n, dimension_key FROM d ORDER BY ALL").rows() == [(n, n + 1) for n in range(4)]
