from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flowstead.helpers.duckdb import (
    DatabaseError,
    build_dimension,
    compact_database,
    denormalize_columns,
    ensure_index,
    normalize_columns,
    read_rows_by_values,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)
from flowstead.helpers.duckdb.database import TableName, fold, parse_table, quote

identifiers = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@settings(max_examples=6, deadline=None)
@given(schema=identifiers, table=identifiers, columns=st.lists(identifiers, min_size=2, max_size=4, unique_by=fold))
@example(schema="select", table="order", columns=["table", "group"])
@example(schema='a"b', table="mart.fact", columns=["x; DROP TABLE y", "--"])
@example(schema="mart", table="fact", columns=["CAST(", ") , ("])
@example(schema="*", table="^.*$", columns=["*", "^.*$", "a"])
def test_any_name_works_everywhere(schema: str, table: str, columns: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mart.duckdb"
        name = f"{quote(schema)}.{quote(table)}"
        frame = pl.DataFrame({column: [1, 2] for column in columns})
        replace_table(path, name, df=frame)
        ensure_index(path, name, columns=columns)
        assert ensure_index(path, name, columns=columns) == ensure_index(path, name, columns=columns)
        # A wider type, with an index in place, is the path that rewrites the table.
        wider = pl.DataFrame({column: [1.5] for column in columns})
        replace_rows_by_values(path, name, df=wider, column=columns[0])
        compact_database(path)
        stored = read_table(path, name, select=columns)
        assert stored.columns == columns
        assert stored.rows() == [(1.0,) * len(columns), (2.0,) * len(columns), (1.5,) * len(columns)]
        assert read_rows_by_values(path, name, column=columns[1], is_in=[1.5]).height == 1
        key, *natural = columns
        slim = normalize_columns(path, "dd.dimension", df=stored, on=natural, key_column=f"{key} key")
        assert slim is not None
        assert slim.rows() == [(1.0, 1), (2.0, 3), (1.5, 2)]
        full = denormalize_columns(path, "dd.dimension", df=slim, key_column=f"{key} key", drop_key=True)
        assert full.equals(stored)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("fact", TableName("main", "fact")),
        ("mart.fact", TableName("mart", "fact")),
        ('"a.b"."c""d"', TableName("a.b", 'c"d')),
        ('we"ird', TableName("main", 'we"ird')),
        ('mart."x.y"', TableName("mart", "x.y")),
    ],
)
def test_table_names(text: str, name: TableName) -> None:
    assert parse_table(text) == name


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "a.b.c", '""', "a\0b", "\ud800"])
def test_what_is_no_table_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        replace_table(tmp_path / "mart.duckdb", text, df=pl.DataFrame({"a": [1]}))
    assert error.value.code == "name-invalid"
    assert not (tmp_path / "mart.duckdb").exists()


@pytest.mark.parametrize(
    "stem", ["mart", "main", "temp", "system", "a b", "it's", 'q"uote', "x.y", "information_schema"]
)
def test_any_file_name_and_a_schema_named_like_the_file(stem: str, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / f"{stem}.duckdb"
    replace_table(path, "mart.fact", df=pl.DataFrame({"a": [1, 2, 2]}))
    ensure_index(path, "mart.fact", columns="a")
    replace_rows_by_values(path, "mart.fact", df=pl.DataFrame({"a": [2.0]}), column="a")
    compact_database(path)
    assert read_table(path, "mart.fact")["a"].to_list() == [1.0, 2.0]


def test_names_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="'a' and 'A'") as error:
        replace_table(tmp_path / "mart.duckdb", "t", df=pl.DataFrame({"a": [1], "A": [2]}))
    assert error.value.code == "column-conflict"


def test_tables_and_columns_match_in_either_case(tmp_path: Path) -> None:
    path = tmp_path / "mart.duckdb"
    replace_rows_by_file(path, "Mart.Fact", df=pl.DataFrame({"Delay": [1]}), file_hash="a")
    replace_rows_by_file(path, "mart.fact", df=pl.DataFrame({"delay": [2]}), file_hash="b")
    assert read_table(path, "MART.FACT", select="DELAY").to_dict(as_series=False) == {"Delay": [1, 2]}


@pytest.mark.parametrize(
    "make", [pl.DataFrame, lambda data: pl.DataFrame(data).lazy(), pa.table], ids=["frame", "lazy", "arrow"]
)
def test_kinds_of_frames(make, tmp_path: Path) -> None:
    path = tmp_path / "mart.duckdb"
    written = replace_table(path, "t", df=make({"a": [1, 2]}))
    assert isinstance(written, pl.DataFrame)
    assert read_table(path, "t").equals(written)


@pytest.mark.parametrize("df", [[1], {"a": [1]}, None, pl.Series([1]), pa.chunked_array([[1]])])
def test_what_is_no_frame(df: object, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        build_dimension(tmp_path / "mart.duckdb", "t", df=df)
    assert error.value.code == "frame-type"


def test_python_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="'thing'") as error:
        replace_table(tmp_path / "mart.duckdb", "t", df=pl.DataFrame({"thing": [object()]}))
    assert error.value.code == "column-type-unsupported"


def test_sql_sees_tables_and_no_python_variables(tmp_path: Path) -> None:
    path = tmp_path / "mart.duckdb"
    replace_table(path, "t", df=pl.DataFrame({"a": [1]}))
    frame = pl.DataFrame({"a": [2]})
    with pytest.raises(DatabaseError) as error:
        read_sql(path, sql="SELECT * FROM frame")
    assert error.value.code == "sql-failed"
    assert frame.height == 1
