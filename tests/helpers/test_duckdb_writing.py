from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowstead.helpers.duckdb import (
    DatabaseError,
    build_dimension,
    ensure_index,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
    writing,
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "flights.duckdb"


def frame(**columns: list) -> pl.DataFrame:
    return pl.DataFrame(columns)


def test_a_file_replaces_its_own_rows_only(database: Path) -> None:
    written = replace_rows_by_file(database, "mart.fact", df=frame(a=[1, 2]), file_hash="one")
    assert written is not None
    assert written.rows() == [(1, "one"), (2, "one")]
    replace_rows_by_file(database, "mart.fact", df=frame(a=[3]), file_hash="two")
    assert replace_rows_by_file(database, "mart.fact", df=frame(a=[4]), file_hash="one", return_df=False) is None
    assert read_table(database, "mart.fact").rows() == [(3, "two"), (4, "one")]
    replace_rows_by_file(database, "mart.fact", df=frame(a=[4]).clear(), file_hash="one")
    assert read_table(database, "mart.fact").rows() == [(3, "two")]


def test_new_columns_are_added_and_missing_ones_are_null(database: Path) -> None:
    replace_rows_by_file(database, "fact", df=frame(a=[1], b=["x"]), file_hash=7, file_hash_column="file")
    replace_rows_by_file(database, "fact", df=frame(c=[2.5], a=[2]), file_hash=8, file_hash_column="file")
    assert read_table(database, "fact").to_dicts() == [
        {"a": 1, "b": "x", "file": 7, "c": None},
        {"a": 2, "b": None, "file": 8, "c": 2.5},
    ]


def test_the_frame_may_bring_the_file_column_if_it_agrees(database: Path) -> None:
    replace_rows_by_file(database, "fact", df=frame(a=[1], file_key=["x"]), file_hash="x")
    assert read_table(database, "fact").rows() == [(1, "x")]
    with pytest.raises(DatabaseError) as error:
        replace_rows_by_file(database, "fact", df=frame(a=[1], file_key=["y"]), file_hash="x")
    assert error.value.code == "column-conflict"


@pytest.mark.parametrize("file_hash", ["", None, True, 1.5])
def test_what_names_no_file(file_hash: object, database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        replace_rows_by_file(database, "fact", df=frame(a=[1]), file_hash=file_hash)  # type: ignore[arg-type]
    assert error.value.code == "file-hash-invalid"


DAY, MOMENT = datetime.date(2013, 1, 1), datetime.datetime(2013, 1, 1, 5)


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "dtype"),
    [
        (pl.Series([1], dtype=pl.Int8), pl.Series([300]), pl.Int64),
        (pl.Series([1], dtype=pl.Int8), pl.Series([30]), pl.Int8),
        (pl.Series([2**40]), pl.Series([0.5]), pl.Float64),
        (pl.Series([0.5]), pl.Series([2**40]), pl.Float64),
        (pl.Series([16777217]), pl.Series([0.5], dtype=pl.Float32), pl.Float64),
        (pl.Series([None]), pl.Series(["x"]), pl.String),
        (pl.Series(["x"]), pl.Series([None]), pl.String),
        (pl.Series([None]), pl.Series([True]), pl.Boolean),
        (pl.Series([DAY]), pl.Series([MOMENT]), pl.Datetime("us")),
        (pl.Series([Decimal("1.50")]), pl.Series([3]), None),
        (pl.Series(["01"]), pl.Series([2]), pl.String),
        (pl.Series([1]), pl.Series(["2"]), pl.Int64),
        (pl.Series([DAY]), pl.Series(["2013-01-02"]), pl.Date),
    ],
)
def test_a_column_grows_without_losing_a_value(first, second, dtype, indexed: bool, database: Path) -> None:
    replace_rows_by_file(database, "fact", df=pl.DataFrame({"v": first}), file_hash="a")
    if indexed:
        ensure_index(database, "fact", columns=["file_key"])
    replace_rows_by_file(database, "fact", df=pl.DataFrame({"v": second}), file_hash="b")
    stored = read_table(database, "fact")
    if dtype is not None:
        assert stored.schema["v"] == dtype
        expected = pl.concat(
            [first.cast(dtype, strict=True), second.str.to_date() if dtype == pl.Date else second.cast(dtype)]
        )
        assert stored["v"].to_list() == expected.to_list()
    else:
        assert stored["v"].to_list() == [Decimal("1.50"), Decimal("3.00")]
    indexes = read_sql(database, sql="SELECT count(*) FROM duckdb_indexes()").item()
    assert indexes == (1 if indexed else 0)


@pytest.mark.parametrize(
    ("first", "second", "types"),
    [
        (1, "many", ("BIGINT", "VARCHAR")),
        (1, "1.5", ("BIGINT", "VARCHAR")),
        (1, DAY, ("BIGINT", "DATE")),
        (1, True, ("BIGINT", "BOOLEAN")),
        (DAY, "soon", ("DATE", "VARCHAR")),
        (MOMENT, MOMENT.replace(tzinfo=datetime.UTC), ("TIMESTAMP", "TIMESTAMP WITH TIME ZONE")),
    ],
)
def test_a_type_that_does_not_fit_names_the_column_and_changes_nothing(first, second, types, database: Path) -> None:
    replace_rows_by_file(database, "fact", df=frame(delay=[first]), file_hash="a")
    with pytest.raises(DatabaseError) as error:
        replace_rows_by_file(database, "fact", df=frame(delay=[second], extra=[1]), file_hash="a")
    assert error.value.code == "column-type-mismatch"
    assert "fact.delay" in str(error.value)
    assert all(kind in str(error.value) for kind in types)
    assert read_table(database, "fact").rows() == [(first, "a")]
    assert read_table(database, "fact").columns == ["delay", "file_key"]


def test_rows_of_the_same_values_are_replaced(database: Path) -> None:
    replace_rows_by_values(database, "daily", df=frame(day=[1, 2, None], n=[10, 20, 30]), column="day")
    replace_rows_by_values(database, "daily", df=frame(day=[2, None, 2], n=[21, 31, 22]), column="day")
    assert read_table(database, "daily").rows() == [(1, 10), (2, 21), (None, 31), (2, 22)]
    with pytest.raises(DatabaseError) as error:
        replace_rows_by_values(database, "daily", df=frame(n=[1]), column="day")
    assert error.value.code == "column-missing"


def test_a_unique_index_does_not_mind_a_row_replaced_by_itself(database: Path) -> None:
    replace_rows_by_file(database, "fact", df=frame(a=[1, 2]), file_hash="x")
    ensure_index(database, "fact", columns="a", unique=True)
    for _ in range(2):
        replace_rows_by_file(database, "fact", df=frame(a=[2, 1]), file_hash="x")
        replace_table(database, "fact", df=frame(a=[2, 1], file_key=["x", "x"]))
    with pytest.raises(DatabaseError) as error:
        replace_rows_by_file(database, "fact", df=frame(a=[1]), file_hash="y")
    assert error.value.code == "constraint-violated"
    assert read_table(database, "fact").rows() == [(2, "x"), (1, "x")]


def test_replace_table_takes_columns_types_and_order_from_the_frame(database: Path) -> None:
    replace_table(database, "mart.airports", df=frame(code=["JFK"], height=[13]))
    ensure_index(database, "mart.airports", columns="code")
    renewed = frame(height=[22.5, None], code=["LGA", "EWR"], zone=["x", "y"])
    replace_table(database, "mart.airports", df=renewed)
    assert read_table(database, "mart.airports").equals(renewed)
    assert read_sql(database, sql="SELECT index_name FROM duckdb_indexes()").item() == "airports_code_idx"
    with pytest.raises(DatabaseError, match="airports_code_idx") as error:
        replace_table(database, "mart.airports", df=frame(zone=["x"]))
    assert error.value.code == "column-missing"
    assert read_table(database, "mart.airports").equals(renewed)


def test_replace_table_keeps_constraints_or_refuses(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE airports (code VARCHAR PRIMARY KEY, height BIGINT)")
    replace_table(database, "airports", df=frame(code=["JFK"], height=[13]))
    with pytest.raises(DatabaseError) as error:
        replace_table(database, "airports", df=frame(code=["JFK", "JFK"], height=[1, 2]))
    assert error.value.code == "constraint-violated"
    with pytest.raises(DatabaseError, match="PRIMARY KEY") as error:
        replace_table(database, "airports", df=frame(code=["LGA"]))
    assert error.value.code == "table-constrained"
    assert read_table(database, "airports").rows() == [("JFK", 13)]


def test_a_column_with_a_constraint_does_not_grow(database: Path) -> None:
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE fact (id INTEGER PRIMARY KEY, file_key VARCHAR)")
    replace_rows_by_file(database, "fact", df=frame(id=[1]), file_hash="a")
    with pytest.raises(DatabaseError, match="fact") as error:
        replace_rows_by_file(database, "fact", df=frame(id=[2**40]), file_hash="b")
    assert error.value.code == "table-constrained"
    assert read_table(database, "fact").rows() == [(1, "a")]


def test_views_are_not_written(database: Path) -> None:
    replace_table(database, "t", df=frame(a=[1]))
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE VIEW v AS SELECT * FROM t")
    for write in (
        lambda: replace_table(database, "v", df=frame(a=[1])),
        lambda: replace_rows_by_values(database, "v", df=frame(a=[1]), column="a"),
        lambda: build_dimension(database, "v", df=frame(a=[1])),
        lambda: ensure_index(database, "v", columns="a"),
    ):
        with pytest.raises(DatabaseError) as error:
            write()
        assert error.value.code == "table-is-view"


def test_a_frame_without_columns_is_no_table(database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        replace_table(database, "t", df=pl.DataFrame())
    assert error.value.code == "frame-empty"


def test_an_index_is_made_once(database: Path) -> None:
    replace_table(database, "mart.fact", df=frame(a=[1, 1], b=[1, 2]))
    assert ensure_index(database, "mart.fact", columns="a") == "fact_a_idx"
    assert ensure_index(database, "mart.fact", columns=["A"]) == "fact_a_idx"
    assert ensure_index(database, "mart.fact", columns=["a", "b"], unique=True, name="natural") == "natural"
    assert ensure_index(database, "mart.fact", columns=["a", "b"], unique=True) == "natural"
    names = read_sql(database, sql="SELECT index_name FROM duckdb_indexes() ORDER BY 1")["index_name"].to_list()
    assert names == ["fact_a_idx", "natural"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"columns": "a", "unique": True}, "constraint-violated"),
        ({"columns": "b", "name": "taken"}, "index-conflict"),
        ({"columns": "nope"}, "column-missing"),
        ({"columns": []}, "column-missing"),
    ],
)
def test_what_ensure_index_refuses(arguments: dict, code: str, database: Path) -> None:
    replace_table(database, "fact", df=frame(a=[1, 1], b=[1, 2]))
    ensure_index(database, "fact", columns="a", name="taken")
    with pytest.raises(DatabaseError) as error:
        ensure_index(database, "fact", **arguments)
    assert error.value.code == code
    assert read_sql(database, sql="SELECT count(*) FROM duckdb_indexes()").item() == 1


rows = st.lists(st.tuples(st.none() | st.integers(-(2**40), 2**40), st.none() | st.text(max_size=4)), max_size=8)
SCHEMA = {"number": pl.Int64, "text": pl.String}


@settings(max_examples=8, deadline=None)
@given(arrivals=st.lists(st.tuples(st.sampled_from("abc"), rows), min_size=1, max_size=5))
def test_a_file_written_again_leaves_one_copy(arrivals: list[tuple[str, list]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flights.duckdb"
        latest: dict[str, list] = {}
        for file, content in arrivals:
            for _ in range(2):
                replace_rows_by_file(
                    path, "fact", df=pl.DataFrame(content, schema=SCHEMA, orient="row"), file_hash=file
                )
            latest[file] = content
            stored = read_table(path, "fact")
            for name, expected in latest.items():
                assert stored.filter(pl.col("file_key") == name).drop("file_key").rows() == expected


class Crash(BaseException):
    pass


@settings(max_examples=6, deadline=None)
@given(before=rows, after=rows, wider=st.booleans(), indexed=st.booleans())
def test_a_crash_in_the_middle_leaves_the_table_as_it_was(
    before: list, after: list, wider: bool, indexed: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / "flights.duckdb"
        replace_rows_by_file(path, "fact", df=pl.DataFrame(before, schema=SCHEMA, orient="row"), file_hash="a")
        if indexed:
            ensure_index(path, "fact", columns="number")
        was = read_table(path, "fact")
        insert = writing.insert

        def insert_and_crash(*arguments) -> None:
            insert(*arguments)
            raise Crash

        patch.setattr(writing, "insert", insert_and_crash)
        frame = pl.DataFrame(after, schema=SCHEMA, orient="row").with_columns(new=1)
        if wider:
            frame = frame.with_columns(pl.col("number").cast(pl.Float64))
        for write in (
            lambda: replace_rows_by_file(path, "fact", df=frame, file_hash="a"),
            lambda: replace_rows_by_values(path, "fact", df=frame, column="text"),
            lambda: replace_table(path, "fact", df=frame.with_columns(file_key=1)),
        ):
            with pytest.raises(Crash):
                write()
            assert read_table(path, "fact").equals(was)


def test_a_process_that_dies_in_the_middle_leaves_the_table_as_it_was(database: Path) -> None:
    replace_rows_by_file(database, "fact", df=frame(a=[1]), file_hash="x")
    script = (
        "import os, sys, polars as pl\n"
        "from flowstead.helpers.duckdb import replace_rows_by_file, writing\n"
        "insert = writing.insert\n"
        "writing.insert = lambda *a: (insert(*a), os._exit(9))\n"
        "replace_rows_by_file(sys.argv[1], 'fact', df=pl.DataFrame({'a': [2.5]}), file_hash='x')\n"
    )
    died = subprocess.run([sys.executable, "-c", script, os.fspath(database)], check=False)
    assert died.returncode == 9
    assert read_table(database, "fact").rows() == [(1, "x")]
    replace_rows_by_file(database, "fact", df=frame(a=[3]), file_hash="x")
    assert read_table(database, "fact").rows() == [(3, "x")]
