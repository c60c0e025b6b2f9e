from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest

from flowstead.helpers.duckdb import DatabaseError, read_rows_by_values, read_sql, read_table, replace_table

DAYS = pl.DataFrame(
    {
        "day": [datetime.date(2013, 1, 1), datetime.date(2013, 1, 2), None, datetime.date(2013, 1, 1)],
        "carrier": ["UA", "B6", "AA", None],
        "delay": [4, -2, None, 33],
    }
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "flights.duckdb"
    replace_table(path, "mart.daily", df=DAYS)
    return path


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_sql(path, sql="SELECT 1"),
        lambda path: read_table(path, "t"),
        lambda path: read_rows_by_values(path, "t", column="a", is_in=[1]),
    ],
    ids=["read_sql", "read_table", "read_rows_by_values"],
)
def test_reading_makes_no_database(read, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match=r"nothing\.duckdb") as error:
        read(tmp_path / "folder" / "nothing.duckdb")
    assert error.value.code == "database-missing"
    assert list(tmp_path.iterdir()) == []


def test_read_table(database: Path) -> None:
    assert read_table(database, "mart.daily").equals(DAYS)
    assert read_table(str(database), "mart.daily", select=["delay", "day"]).equals(DAYS.select("delay", "day"))
    assert read_table(database, "mart.daily", where="delay > 0 -- late", limit=1).equals(DAYS.head(1))
    assert read_table(database, "mart.daily", limit=0).schema == DAYS.schema


def test_read_a_view(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE VIEW late AS SELECT day, carrier FROM mart.daily WHERE delay > 0")
    assert read_table(database, "late", select="carrier")["carrier"].to_list() == ["UA", None]
    assert read_rows_by_values(database, "late", column="carrier", is_in=["UA"], select="carrier").height == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"table": "daily"}, "table-missing"),
        ({"table": "mart.daily", "select": ["nope"]}, "column-missing"),
        ({"table": "mart.daily", "select": []}, "column-missing"),
        ({"table": "mart.daily", "limit": -1}, "limit-invalid"),
        ({"table": "mart.daily", "limit": True}, "limit-invalid"),
        ({"table": "mart.daily", "where": "nope > 0"}, "sql-failed"),
    ],
)
def test_what_read_table_refuses(arguments: dict, code: str, database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        read_table(database, arguments.pop("table"), **arguments)
    assert error.value.code == code
    assert error.value.hint


@pytest.mark.parametrize(
    ("column", "values", "delays"),
    [
        ("delay", [33, 4, 4, 99], [4, 33]),
        ("delay", (value for value in (None, -2)), [-2, None]),
        ("delay", [4.0, 33], [4, 33]),
        ("delay", range(5), [4]),
        ("carrier", {"AA", "zz"}, [None]),
        ("carrier", [None], [33]),
        ("day", [datetime.date(2013, 1, 1)], [4, 33]),
        ("day", ["2013-01-02"], [-2]),
        ("day", pl.Series([datetime.date(2013, 1, 2)]), [-2]),
    ],
)
def test_rows_by_values_take_the_type_of_the_column(column: str, values, delays: list, database: Path) -> None:
    assert read_rows_by_values(database, "mart.daily", column=column, is_in=values)["delay"].to_list() == delays


def test_rows_by_no_values_keep_the_schema(database: Path) -> None:
    empty = read_rows_by_values(database, "mart.daily", column="day", is_in=[], select=["delay", "day"])
    assert empty.height == 0
    assert empty.schema == DAYS.select("delay", "day").schema


def test_many_values(database: Path) -> None:
    replace_table(database, "numbers", df=pl.DataFrame({"n": range(50_000)}))
    found = read_rows_by_values(database, "numbers", column="n", is_in=range(0, 200_000, 2), select=["n"])
    assert found["n"].to_list() == list(range(0, 50_000, 2))


@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        ("day", ["yesterday"], "column-type-mismatch"),
        ("day", [5], "column-type-mismatch"),
        ("delay", ["many"], "column-type-mismatch"),
        ("carrier", "UA", "values-invalid"),
        ("carrier", 5, "values-invalid"),
        ("delay", [1, "x"], "values-invalid"),
        ("nope", [1], "column-missing"),
    ],
)
def test_what_rows_by_values_refuse(column: str, values, code: str, database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        read_rows_by_values(database, "mart.daily", column=column, is_in=values)
    assert error.value.code == code


def test_parameters(database: Path) -> None:
    assert read_sql(database, sql="SELECT ? + 1 AS n", parameters=[4]).item() == 5
    named = read_sql(database, sql="SELECT carrier FROM mart.daily WHERE delay = $late", parameters={"late": 4})
    assert named.item() == "UA"


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", "sql-failed"),
        ("  ", "sql-failed"),
        ("SELECT * FROM nowhere", "sql-failed"),
        ("SELECT 'x'::INTEGER", "value-invalid"),
        ("CREATE TABLE t (a INTEGER)", "database-read-only"),
        ("SELECT [INTERVAL 1 DAY] AS spans", "column-type-unsupported"),
        ("SELECT union_value(k := 1) AS u", "column-type-unsupported"),
    ],
)
def test_what_sql_refuses(sql: str, code: str, database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        read_sql(database, sql=sql)
    assert error.value.code == code


def test_a_query_never_writes_even_beside_a_writer_of_this_process(database: Path) -> None:
    with duckdb.connect(str(database)) as mine:
        mine.execute("CREATE TABLE own AS SELECT 1 AS a")
        assert read_table(database, "own").item() == 1
        read_sql(database, sql="DELETE FROM own")
        assert mine.execute("SELECT count(*) FROM own").fetchall() == [(1,)]


def test_times_with_a_zone_come_back_in_utc_and_durations_as_durations(database: Path) -> None:
    moment = datetime.datetime(2013, 1, 1, 5, tzinfo=datetime.UTC)
    span = datetime.timedelta(days=1, microseconds=5)
    frame = pl.DataFrame({"at": pl.Series([moment]).dt.convert_time_zone("America/New_York"), "took": [span]})
    replace_table(database, "times", df=frame)
    back = read_table(database, "times")
    assert back.schema == {"at": pl.Datetime("us", "UTC"), "took": pl.Duration("us")}
    assert back.rows() == [(moment, span)]
    assert read_sql(database, sql='SELECT hour("at") FROM times').item() == 5


@pytest.mark.parametrize("content", [b"", b"no database" * 500])
def test_a_file_that_is_no_database(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "junk.duckdb"
    path.write_bytes(content)
    with pytest.raises(DatabaseError, match="junk") as error:
        read_table(path, "t")
    assert error.value.code == "database-unreadable"
    assert path.read_bytes() == content


def test_memory_is_no_database_file() -> None:
    with pytest.raises(DatabaseError) as error:
        read_sql(":memory:", sql="SELECT 1")
    assert error.value.code == "database-path-invalid"
