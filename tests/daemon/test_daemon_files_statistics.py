"""What is in columns, beside what Polars says of the same data."""

from __future__ import annotations

import datetime as dt
import itertools
import os
import random
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pytest
from looking import Looking, people

from flowstead.daemon.files import statistics


def _mixed(rows: int) -> pl.DataFrame:
    chance = random.Random(7)

    def some(value: Any) -> Any:
        return value if chance.random() > 0.1 else None

    return pl.DataFrame(
        {
            "whole": [some(chance.randrange(-500, 500)) for _ in range(rows)],
            "few": [chance.randrange(7) for _ in range(rows)],
            "real": [some(chance.gauss(10, 3)) for _ in range(rows)],
            "rough": [chance.choice([1.5, float("nan"), float("inf"), -2.0]) for _ in range(rows)],
            "exact": pl.Series([Decimal(chance.randrange(10_000)) / 100 for _ in range(rows)], dtype=pl.Decimal(10, 2)),
            "word": [some(chance.choice(["a", "b", "b", "c", "ü" * 2000])) for _ in range(rows)],
            "unique": [f"id {number}" for number in range(rows)],
            "flag": [some(chance.random() > 0.3) for _ in range(rows)],
            "day": [some(dt.date(2024, 1, 1) + dt.timedelta(chance.randrange(300))) for _ in range(rows)],
            "moment": [dt.datetime(2024, 1, 1) + dt.timedelta(seconds=chance.randrange(10**6)) for _ in range(rows)],
            "nothing": pl.Series([None] * rows, dtype=pl.Int64),
            "list": [[number] for number in range(rows)],
            "bytes": [b"x"] * rows,
        }
    )


ROWS = 5000
COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"


@pytest.fixture(scope="module")
def mixed() -> pl.DataFrame:
    return _mixed(ROWS)


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_statistics_are_those_of_polars(looking: Looking, workspace: Any, mixed: pl.DataFrame, ending: str) -> None:
    path = workspace.root / f"mixed.{ending}"
    mixed.write_parquet(path) if ending == "parquet" else mixed.write_ipc(path)
    answer = looking.statistics(path.name)
    assert (answer["rows"], answer["sampled"], answer["approximate"]) == (ROWS, None, False)
    columns = answer["columns"]
    assert list(columns) == mixed.columns
    for name in mixed.columns:
        series, column = mixed[name], columns[name]
        assert column["nulls"] == series.null_count(), name
        assert column["count"] == ROWS - series.null_count(), name
        assert column["approximate"] == []
        if name not in ("list", "bytes", "rough"):
            assert column["distinct"] == series.drop_nulls().n_unique(), name
    for name in ("whole", "few", "real"):
        assert columns[name]["min"] == pytest.approx(mixed[name].min())
        assert columns[name]["max"] == pytest.approx(mixed[name].max())
        assert columns[name]["mean"] == pytest.approx(mixed[name].mean())
    assert columns["exact"]["min"] == str(mixed["exact"].min())
    assert columns["exact"]["mean"] == pytest.approx(float(mixed["exact"].cast(pl.Float64).mean()))  # type: ignore[arg-type]
    assert columns["day"]["min"] == str(mixed["day"].min())
    assert columns["moment"]["max"] == mixed["moment"].max().isoformat()  # type: ignore[union-attr]
    assert columns["flag"]["distinct"] == 2
    assert columns["nothing"]["min"] is columns["nothing"]["mean"] is columns["nothing"]["histogram"] is None
    assert columns["nothing"]["top"] == []
    assert columns["list"]["distinct"] is columns["list"]["min"] is None
    finite = mixed.filter(pl.col("rough").is_finite())["rough"]
    assert columns["rough"]["not_finite"] == ROWS - len(finite)
    assert (columns["rough"]["min"], columns["rough"]["max"]) == (-2.0, 1.5)
    assert columns["rough"]["mean"] == pytest.approx(finite.mean())


def test_histograms_hold_every_value_once(looking: Looking, workspace: Any, mixed: pl.DataFrame) -> None:
    mixed.write_parquet(workspace.root / "mixed.parquet")
    columns = looking.statistics("mixed.parquet")["columns"]
    for name in ("whole", "few", "real", "exact", "day", "moment"):
        bins = columns[name]["histogram"]
        assert sum(each["count"] for each in bins) == columns[name]["count"], name
        assert all(before["to"] == after["from"] for before, after in itertools.pairwise(bins)), name
    assert [(each["from"], each["count"]) for each in columns["few"]["histogram"]] == [
        (value, (mixed["few"] == value).sum()) for value in range(7)
    ]
    for each in columns["real"]["histogram"][:-1]:
        within = mixed.filter((pl.col("real") >= each["from"]) & (pl.col("real") < each["to"]))
        assert within.height == pytest.approx(each["count"], abs=1)  # a value on a border may fall to either side
    assert columns["word"]["histogram"] is columns["flag"]["histogram"] is None


def test_top_values_are_the_most_frequent(looking: Looking, workspace: Any, mixed: pl.DataFrame) -> None:
    mixed.write_parquet(workspace.root / "mixed.parquet")
    columns = looking.statistics("mixed.parquet", columns=["word", "few", "flag"])["columns"]
    assert list(columns) == ["word", "few", "flag"]
    counted = mixed["word"].drop_nulls().value_counts(sort=True)
    assert columns["word"]["top"] == [
        {"value": word[:1000], "count": count}
        for word, count in counted.sort("count", "word", descending=[True, False]).rows()
    ]
    assert [each["count"] for each in columns["few"]["top"]] == sorted(
        mixed["few"].value_counts()["count"].to_list(), reverse=True
    )
    assert {each["value"] for each in columns["flag"]["top"]} == {True, False}


def test_statistics_of_filtered_rows(looking: Looking, workspace: Any, mixed: pl.DataFrame) -> None:
    mixed.write_parquet(workspace.root / "mixed.parquet")
    answer = looking.statistics("mixed.parquet", filters=[{"column": "word", "op": "=", "value": "b"}])
    chosen = mixed.filter(pl.col("word") == "b")
    assert answer["rows"] == chosen.height
    assert answer["columns"]["real"]["mean"] == pytest.approx(chosen["real"].mean())
    assert answer["columns"]["word"]["distinct"] == 1
    none = looking.statistics("mixed.parquet", filters=[{"column": "few", "op": ">", "value": 100}])
    assert none["rows"] == 0 and none["columns"]["real"]["min"] is None and none["columns"]["real"]["histogram"] is None


@pytest.mark.parametrize(
    "frame",
    [
        pl.DataFrame({"a": [1.0]}),
        pl.DataFrame({"a": [-1e308, 1e308]}),
        pl.DataFrame({"a": [float("nan"), None]}),
        pl.DataFrame({"a": [-(2**63), 2**63 - 1]}),
        pl.DataFrame({"a": [dt.date(1, 1, 1), dt.date(9999, 12, 31)]}),
        pl.DataFrame({"a": [5, 5, 5]}),
        pl.DataFrame({"a": pl.Series([], dtype=pl.Float64)}),
        pl.DataFrame({"a": [dt.timedelta(1)]}),
        pl.DataFrame({"a": [dt.time(1)]}),
        pl.DataFrame({"a": pl.Series([2**64 - 1, 0], dtype=pl.UInt64)}),
    ],
)
def test_extreme_columns(looking: Looking, workspace: Any, frame: pl.DataFrame) -> None:
    frame.write_parquet(workspace.root / "extreme.parquet")
    column = looking.statistics("extreme.parquet")["columns"]["a"]
    assert column["count"] == frame.height - frame["a"].null_count()
    bins = column["histogram"]
    if bins:
        assert sum(each["count"] for each in bins) == column["count"] - column["not_finite"]


@pytest.mark.parametrize("stored", ["csv", "tsv", "ndjson", "json", "xlsx", "duckdb"])
def test_every_format_has_statistics(looking: Looking, workspace: Any, stored: str) -> None:
    path = workspace.root / f"people.{stored}"
    frame = people()
    fields: dict[str, Any] = {}
    match stored:
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "ndjson":
            frame.write_ndjson(path)
        case "json":
            frame.write_json(path)
        case "xlsx":
            frame.write_excel(path)
        case _:
            with duckdb.connect(str(path)) as connection:
                connection.register("frame", frame)
                connection.execute("CREATE TABLE t AS FROM frame")
            fields["table"] = "t"
    column = looking.statistics(path.name, **fields)["columns"]["age"]
    assert (column["count"], column["nulls"], column["min"], column["max"]) == (4, 1, 28, 41)
    assert column["mean"] == pytest.approx(36.5) and column["top"][0] == {"value": 41, "count": 2}


def test_a_large_file_is_estimated_and_says_so(looking: Looking, workspace: Any) -> None:
    rows = 1_500_000 if COMPLETE_RUN else 700_000
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (
                SELECT i AS id, i % 100 AS few, CASE WHEN i % 10 = 0 THEN NULL ELSE i * 0.5 END AS half,
                       'text ' || (i % 5) AS word
                FROM range({rows}) AS numbers(i)
            ) TO '{workspace.root / "large.parquet"}' (FORMAT parquet)
            """
        )
    answer = looking.statistics("large.parquet")
    assert (answer["rows"], answer["sampled"], answer["approximate"]) == (rows, statistics.MOST_SAMPLED, True)
    columns = answer["columns"]
    assert columns["half"]["nulls"] == rows // 10 and "nulls" not in columns["half"]["approximate"]
    assert (columns["id"]["min"], columns["id"]["max"]) == (0, rows - 1)
    assert columns["id"]["mean"] == pytest.approx((rows - 1) / 2)
    assert "min" not in columns["id"]["approximate"]
    assert columns["id"]["distinct"] == pytest.approx(rows, rel=0.01)
    assert columns["few"]["distinct"] == 100
    assert {"distinct", "histogram", "top"} <= set(columns["few"]["approximate"])
    assert {"min", "max"} <= set(columns["word"]["approximate"])
    # Spread over the whole file: each bin holds about as many.
    for each in columns["id"]["histogram"]:
        assert each["count"] == pytest.approx(rows / 20, rel=0.6)
    assert [each["count"] for each in columns["word"]["top"]] == [pytest.approx(rows / 5, rel=0.02)] * 5
    assert columns["id"]["top"] == []
    filtered = looking.statistics("large.parquet", filters=[{"column": "few", "op": "<", "value": 50}])
    assert filtered["rows"] == rows / 2 and filtered["columns"]["few"]["max"] == 49
    assert filtered["columns"]["half"]["nulls"] == pytest.approx(rows / 20, rel=0.1)


@pytest.mark.skipif(not COMPLETE_RUN, reason="a file of that size belongs to the long run")
def test_a_large_csv_is_estimated_too(looking: Looking, workspace: Any) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            COPY (SELECT i AS id, repeat('x', 40) || (i % 7) AS word FROM range(1_500_000) AS numbers(i))
            TO '{workspace.root / "large.csv"}' (FORMAT csv)
            """
        )
    assert (workspace.root / "large.csv").stat().st_size > 64 << 20
    answer = looking.page("large.csv", limit=2, sort=[{"column": "id", "descending": True}])
    assert answer["rows"] == [[1_499_999, "x" * 40 + "4"], [1_499_998, "x" * 40 + "3"]]
    found = looking.statistics("large.csv")
    assert found["approximate"] and found["sampled"] == statistics.MOST_SAMPLED
    assert found["columns"]["word"]["distinct"] == 7
