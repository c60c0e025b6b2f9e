from __future__ import annotations

import datetime
import tempfile
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flowstead.helpers.duckdb import (
    DatabaseError,
    attach_dimension,
    build_dimension,
    denormalize_columns,
    normalize_columns,
    read_table,
    replace_table,
)

ROUTES = pl.DataFrame({"origin": ["JFK", "EWR", None, "EWR"], "distance": [2475, 200, None, 200]})


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "marts" / "mart.duckdb"


def code_of(error: pytest.ExceptionInfo[DatabaseError]) -> str:
    assert isinstance(error.value, ValueError)
    assert error.value.hint
    return error.value.code


def test_keys_follow_the_order_of_the_values_and_nulls_come_last(database: Path) -> None:
    keys = build_dimension(database, "mart.route", df=ROUTES)
    assert keys is not None
    assert keys.rows() == [("EWR", 200, 1), ("JFK", 2475, 2), (None, None, 3)]
    assert keys.schema["dimension_key"] == pl.Int64


def test_new_combinations_continue_after_the_highest_key(database: Path) -> None:
    build_dimension(database, "route", df=ROUTES, return_df=False)
    more = pl.DataFrame({"origin": ["AAA", "JFK"], "distance": [1, 2475]})
    keys = build_dimension(database, "route", df=more)
    assert keys is not None
    assert keys.rows() == [("JFK", 2475, 2), ("AAA", 1, 4)]
    assert read_table(database, "route").height == 4


def test_build_returns_nothing_when_not_asked(database: Path) -> None:
    assert build_dimension(database, "route", df=ROUTES, return_df=False) is None


def test_natural_key_keeps_the_types_of_the_frame(database: Path) -> None:
    moment = datetime.datetime(2013, 1, 1, 5, tzinfo=datetime.UTC)
    frame = pl.DataFrame(
        {
            "kind": pl.Series(["a", "b"], dtype=pl.Categorical),
            "at": pl.Series([moment, moment]).dt.convert_time_zone("America/New_York"),
            "took": [datetime.timedelta(minutes=3), None],
        }
    )
    keys = build_dimension(database, "kinds", df=frame)
    assert keys is not None
    assert_frame_equal(keys.drop("dimension_key"), frame)


def test_a_column_of_nothing_takes_its_type_from_the_first_values(database: Path) -> None:
    build_dimension(database, "plane", df=pl.DataFrame({"tail": [None], "model": ["A320"]}))
    keys = build_dimension(database, "plane", df=pl.DataFrame({"tail": ["N1", None], "model": ["A320", "A320"]}))
    assert keys is not None
    assert keys.rows() == [(None, "A320", 1), ("N1", "A320", 2)]


def test_a_wider_number_widens_the_dimension_and_keeps_its_keys(database: Path) -> None:
    build_dimension(database, "distance", df=pl.DataFrame({"miles": pl.Series([7], dtype=pl.Int16)}))
    keys = build_dimension(database, "distance", df=pl.DataFrame({"miles": [7.0, 7.5]}))
    assert keys is not None
    assert keys.rows() == [(7.0, 1), (7.5, 2)]


def test_attach_keeps_rows_and_their_order(database: Path) -> None:
    build_dimension(database, "route", df=ROUTES)
    flights = pl.DataFrame(
        {"flight": [4, 3, 2, 1], "origin": ["EWR", "XXX", None, "EWR"], "distance": [200, 1, None, 200]}
    )
    attached = attach_dimension(database, "route", df=flights.lazy(), on=["origin", "distance"])
    assert attached["dimension_key"].to_list() == [1, None, 3, 1]
    assert_frame_equal(attached.drop("dimension_key"), flights)
    short = attach_dimension(database, "route", df=flights, on=["origin", "distance"], drop_key=True)
    assert short.columns == ["flight", "dimension_key"]


def test_attach_refuses_duplicate_dimension_rows(database: Path) -> None:
    replace_table(database, "route", df=pl.DataFrame({"origin": ["A", "A"], "dimension_key": [1, 2]}))
    with pytest.raises(DatabaseError, match="origin='A'") as error:
        attach_dimension(database, "route", df=pl.DataFrame({"origin": ["B"]}), on="origin")
    assert code_of(error) == "dimension-duplicates"


def test_attach_to_what_is_not_there(database: Path) -> None:
    frame = pl.DataFrame({"origin": ["A"]})
    with pytest.raises(DatabaseError) as error:
        attach_dimension(database, "route", df=frame, on="origin")
    assert code_of(error) == "database-missing"
    assert not database.exists()
    build_dimension(database, "mart.other", df=frame)
    with pytest.raises(DatabaseError, match=r"mart\.other") as error:
        attach_dimension(database, "route", df=frame, on="origin")
    assert code_of(error) == "table-missing"
    with pytest.raises(DatabaseError, match="origin") as error:
        attach_dimension(database, "mart.other", df=frame.rename({"origin": "start"}), on="start")
    assert code_of(error) == "column-missing"
    with pytest.raises(DatabaseError) as error:
        attach_dimension(database, "mart.other", df=frame, on="end")
    assert code_of(error) == "column-missing"


def test_attach_refuses_values_of_another_kind(database: Path) -> None:
    build_dimension(database, "route", df=pl.DataFrame({"distance": [1]}))
    with pytest.raises(DatabaseError, match=r"BIGINT.*VARCHAR") as error:
        attach_dimension(database, "route", df=pl.DataFrame({"distance": ["far"]}), on="distance")
    assert code_of(error) == "column-type-mismatch"


def test_the_key_column_may_not_be_in_the_frame(database: Path) -> None:
    with pytest.raises(DatabaseError) as error:
        build_dimension(database, "route", df=ROUTES, key_column="ORIGIN")
    assert code_of(error) == "column-conflict"
    assert not database.exists()


def test_normalize_and_denormalize_are_inverse(database: Path) -> None:
    flights = pl.DataFrame(
        {"flight": [1, 2, 3], "origin": ["B", None, "B"], "dest": ["x", "y", "x"], "delay": [0, 9, 4]}
    )
    slim = normalize_columns(database, "mart.route", df=flights, on=["origin", "dest"], key_column="route")
    assert slim is not None
    assert slim.columns == ["flight", "delay", "route"]
    full = denormalize_columns(database, "mart.route", df=slim, key_column="route", drop_key=True)
    assert_frame_equal(full.select(flights.columns), flights)
    assert "route" not in full.columns


def test_normalize_returns_what_is_asked_for(database: Path) -> None:
    frame = pl.DataFrame({"n": [1, 2], "origin": ["B", "B"]})
    mapping = normalize_columns(database, "origin", df=frame, on="origin", returns="map")
    assert mapping is not None
    assert mapping.rows() == [("B", 1)]
    assert normalize_columns(database, "origin", df=frame, on="origin", returns=None) is None
    kept = normalize_columns(database, "origin", df=frame, on="origin", drop_key=False)
    assert kept is not None
    assert kept.columns == ["n", "origin", "dimension_key"]
    with pytest.raises(DatabaseError) as error:
        normalize_columns(database, "origin", df=frame, on="origin", returns="frame")  # type: ignore[arg-type]
    assert code_of(error) == "returns-invalid"


def test_denormalize_picks_columns_and_leaves_unknown_keys_empty(database: Path) -> None:
    build_dimension(database, "route", df=ROUTES)
    frame = pl.DataFrame({"dimension_key": [2, None, 99, 1], "n": [1, 2, 3, 4]})
    full = denormalize_columns(database, "route", df=frame, select=["distance"])
    assert full.rows() == [(2, 1, 2475), (None, 2, None), (99, 3, None), (1, 4, 200)]
    with pytest.raises(DatabaseError) as error:
        denormalize_columns(database, "route", df=frame.with_columns(origin=pl.lit("x")))
    assert code_of(error) == "column-conflict"
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO route VALUES ('dup', 1, 2)")
    with pytest.raises(DatabaseError) as error:
        denormalize_columns(database, "route", df=frame)
    assert code_of(error) == "dimension-duplicates"


combinations = st.lists(
    st.tuples(
        st.none() | st.text(max_size=3),
        st.none() | st.integers(-2, 2),
        st.none() | st.dates(datetime.date(2013, 1, 1), datetime.date(2013, 1, 3)),
    ),
    max_size=12,
)
SCHEMA = {"name": pl.String, "number": pl.Int64, "day": pl.Date}


@settings(max_examples=12, deadline=None)
@given(batches=st.lists(combinations, min_size=1, max_size=3))
def test_keys_are_one_to_one_with_combinations_and_never_change(batches: list[list[tuple[object, ...]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mart.duckdb"
        known: dict[tuple[object, ...], int] = {}
        for batch in batches:
            frame = pl.DataFrame(batch, schema=SCHEMA, orient="row")
            mapping = build_dimension(path, "dimension", df=frame)
            assert mapping is not None
            found = {row[:-1]: row[-1] for row in mapping.rows()}
            assert set(found) == set(batch)
            assert len(found) == mapping.height
            assert {row: key for row, key in found.items() if row in known}.items() <= known.items()
            known |= found
            assert sorted(known.values()) == list(range(1, len(known) + 1))
            attached = attach_dimension(path, "dimension", df=frame, on=list(SCHEMA))
            assert attached.rows() == [(*row, known[row]) for row in batch]
            slim = attached.select("dimension_key")
            assert denormalize_columns(path, "dimension", df=slim, drop_key=True).rows() == batch
