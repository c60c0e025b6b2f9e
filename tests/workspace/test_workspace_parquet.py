"""Tables as Parquet: what others read of them, what damage does, and what foreign files are."""

from __future__ import annotations

import io
import os
import struct
from typing import Any

import duckdb
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowstead.workspace.parquet import decode, decode_metadata, decode_table, encode_table

LONG = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"
FEW = settings(max_examples=100 if LONG else 30, deadline=None)
Columns = dict[str, tuple[str, list[Any]]]

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "double": st.floats(allow_nan=False),
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
}


@st.composite
def tables(draw: st.DrawFn, *, min_rows: int = 0) -> Columns:
    names = draw(st.lists(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), min_size=1, max_size=20, unique=True))
    rows = draw(st.integers(min_rows, 70))
    columns: Columns = {}
    for name in names:
        kind = draw(st.sampled_from(sorted(VALUES)))
        values = st.lists(st.one_of(st.none(), VALUES[kind]), min_size=rows, max_size=rows)
        columns[name] = (kind, draw(st.one_of(values, st.just([None] * rows))))
    return columns


def plain(columns: Columns) -> dict[str, list[Any]]:
    return {name: values for name, (_, values) in columns.items()}


@FEW
@given(tables(), st.dictionaries(st.text(max_size=8), st.text(max_size=300), max_size=20))
def test_what_was_written_is_read(columns: Columns, metadata: dict[str, str]) -> None:
    data = encode_table(columns, metadata)
    assert decode_table(data) == plain(columns)
    assert list(decode_table(data)) == list(columns)
    assert decode(data) == (plain(columns), metadata)
    assert decode_metadata(data) == metadata


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=100 if LONG else 25)
@given(columns=tables())
def test_others_read_the_same(columns: Columns, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = encode_table(columns, {"a": "b"})
    table = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
    types = {"int64": pa.int64(), "double": pa.float64(), "string": pa.string()}
    assert [(field.name, field.type) for field in table.schema] == [(n, types[k]) for n, (k, _) in columns.items()]
    assert table.to_pydict() == plain(columns)
    assert polars.read_parquet(io.BytesIO(data)).to_dict(as_series=False) == plain(columns)
    path = tmp_path_factory.getbasetemp() / "table.parquet"
    path.write_bytes(data)
    with duckdb.connect() as connection:
        result = connection.execute(f"SELECT * FROM read_parquet('{path}')")
        rows = result.fetchall()
        names = [each[0] for each in result.description or []]
    assert names == list(columns)
    assert rows == list(zip(*plain(columns).values(), strict=True))


def test_types_are_those_that_people_expect(tmp_path: Any) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(encode_table({"n": ("int64", [1]), "x": ("double", [1.5]), "s": ("string", ["ä"])}))
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{path}')").fetchall()
    assert [row[1] for row in described] == ["BIGINT", "DOUBLE", "VARCHAR"]
    assert polars.read_parquet_schema(path) == {"n": polars.Int64, "x": polars.Float64, "s": polars.String}


@FEW
@given(tables(), st.data())
def test_a_flipped_bit_is_noticed(columns: Columns, data: st.DataObject) -> None:
    whole = encode_table(columns, {"tables": "logs"})
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match=r"^It "):
        decode_table(bytes(damaged))


@FEW
@given(tables(), st.data())
def test_a_cut_file_is_noticed(columns: Columns, data: st.DataObject) -> None:
    whole = encode_table(columns)
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    for cut in (whole[:start], whole[start + 1 :], whole[:start] + whole[end:], whole[:start] + bytes(end - start)):
        if cut != whole:
            with pytest.raises(ValueError, match=r"^It "):
                decode_table(cut)


def test_every_bit_of_a_small_file_counts() -> None:
    whole = encode_table({"n": ("int64", [1, None]), "s": ("string", ["a" * 300, None])})
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            with pytest.raises(ValueError):
                decode_table(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1PAR1", b"PAR1" + bytes(100) + b"PAR1", b"x" * 500])
def test_what_is_no_table_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^It "):
        decode_table(data)


def test_a_table_of_others_is_refused() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"a": [1, 2, 3]}), buffer)
    with pytest.raises(ValueError, match="made by others"):
        decode_table(buffer.getvalue())


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"a": ("int64", [1]), "b": ("int64", [])},
        {"a": ("int64", [2**63])},
        {"a": ("int64", ["1"])},
        {"a": ("double", ["1"])},
        {"a": ("string", [1])},
        {"a": ("string", ["\ud800"])},
        {"a": ("date", [1])},
    ],
)
def test_what_cannot_be_written_is_refused(columns: Any) -> None:
    with pytest.raises(ValueError, match=r"^(A table needs|The column a of)"):
        encode_table(columns)


def test_many_rows_are_smaller_than_their_text() -> None:
    rows = [f"line {number} of the log" for number in range(20_000)]
    data = encode_table({"n": ("int64", list(range(20_000))), "s": ("string", rows)})
    assert len(data) < sum(map(len, rows)) // 2
    assert decode_table(data)["s"] == rows
    assert pq.read_metadata(io.BytesIO(data)).num_rows == 20_000


def test_not_a_number_stays_one() -> None:
    (value,) = decode_table(encode_table({"x": ("double", [float("nan")])}))["x"]
    assert struct.pack("<d", value) == struct.pack("<d", float("nan"))
