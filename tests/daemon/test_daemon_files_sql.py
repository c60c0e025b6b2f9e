"""SQL over what a run has left, which reaches nothing else, and tables to take along."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from looking import Looking, people

from flowstead.model.errors import FlowsteadError, UsageError

FRAMES = """
    import duckdb
    import polars as pl
    from pathlib import Path
    from flowstead import Flow

    def build():
        return (
            Flow("Frames")
            .step(flights, save_as="flights")
            .step(carriers)
            .step(sheet, save_as="Odd name")
            .step(mart, save_as="mart")
        )

    def flights(context):
        frame = pl.DataFrame({"carrier": ["UA", "AA", "UA"], "delay": [2, None, 30]})
        context.debug.save_frame(frame, "kept")
        return frame

    def carriers(context):
        path = Path("../carriers.csv")
        path.write_text("carrier,name\\nUA,United\\nAA,American\\n")
        return path

    def sheet(context):
        path = Path("../sheet.xlsx")
        pl.DataFrame({"x": [1]}).write_excel(path)
        return path

    def mart(context):
        path = Path("../databases/mart.duckdb").resolve()
        with duckdb.connect(str(path)) as connection:
            connection.execute("CREATE OR REPLACE TABLE facts AS SELECT 42 AS answer")
        return path
"""


@pytest.fixture
def run_id(looking: Looking, workspace: Any) -> str:
    workspace.module("frames", FRAMES)
    return looking.run("frames")


ANSWERED: list[tuple[str, list[list[Any]] | None]] = [
    ("SELECT count(*) FROM kept", [[3]]),
    ("FROM kept SELECT carrier, sum(delay) GROUP BY 1 ORDER BY 1", [["AA", None], ["UA", 32]]),
    ("SELECT name FROM flights JOIN carriers USING (carrier) ORDER BY delay LIMIT 1;", [["United"]]),
    ('WITH a AS (SELECT x + 1 AS y FROM "Odd name") SELECT y, y AS y FROM a', [[2, 2]]),
    ("SELECT answer FROM mart.facts -- the end", [[42]]),
    ("SELECT 2::BIGINT ** 53 + 1, 9007199254740993, 'nan'::DOUBLE, DATE '2024-01-02', [1, 2]", None),
    ("VALUES (1), (2)", [[1], [2]]),
    ("SELECT carrier FROM KEPT WHERE delay IS NULL", [["AA"]]),
    ("SELECT * FROM duckdb_secrets()", []),
    ("DESCRIBE kept", None),
    ("SUMMARIZE kept", None),
]


def test_what_can_be_asked(looking: Looking, run_id: str) -> None:
    tables = looking.call("GET", f"/runs/{run_id}/tables")["tables"]
    assert [(each["name"], each["artifact"], each["step"]) for each in tables] == [
        ("kept", "kept", None),
        ("flights", None, 0),
        ("carriers", None, 1),
        ("Odd name", None, 2),
        ("mart", None, 3),
    ]
    assert tables[2]["path"] == "carriers.csv"
    for sql, rows in ANSWERED:
        answer = looking.sql(run_id, sql)
        assert answer["more"] is False
        assert all(len(row) == len(answer["columns"]) for row in answer["rows"])
        if rows is not None:
            assert answer["rows"] == rows, sql
    answer = looking.sql(run_id, "SELECT * FROM kept ORDER BY delay", limit=2)
    assert answer["rows"] == [["UA", 2], ["UA", 30]] and answer["more"] is True
    assert [column["name"] for column in answer["columns"]] == ["carrier", "delay"]
    for sql in ("SELECT '" + "x" * 60_000 + "'", None, 5):
        with pytest.raises(UsageError):
            looking.sql(run_id, sql)  # type: ignore[arg-type]


REFUSED = [
    "COPY kept TO '{outside}/stolen.csv'",
    "COPY (SELECT 1) TO '{outside}/stolen.csv'",
    "ATTACH '{outside}/x.duckdb'",
    "ATTACH ':memory:' AS other",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "PRAGMA enable_external_access=true",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET memory_limit",
    "SET VARIABLE x = 1",
    "CREATE TABLE t AS SELECT 1",
    "CREATE MACRO m() AS 1",
    "DROP VIEW kept",
    "INSERT INTO kept VALUES ('x', 1)",
    "DELETE FROM mart.facts",
    "UPDATE mart.facts SET answer = 1",
    "EXPORT DATABASE '{outside}/all'",
    "IMPORT DATABASE '{outside}/all'",
    "CALL pragma_version()",
    "CHECKPOINT",
    "USE mart",
    "DETACH mart",
    "VACUUM",
    "BEGIN",
    "EXPLAIN SELECT 1",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "SELECT 1; SELECT 2",
    "SELECT 1; COPY kept TO '{outside}/stolen.csv'",
    "",
    "-- nothing",
]
FAILING = [
    "SELECT * FROM read_csv('{outside}/secret.csv')",
    "SELECT * FROM read_text('{outside}/secret.csv')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM '{outside}/secret.csv'",
    'SELECT * FROM "{outside}/secret.csv"',
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv('/proc/self/fd/0')",
    "SELECT * FROM sniff_csv('{outside}/secret.csv')",
    "SELECT * FROM glob('{outside}/*')",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('{outside}/secret.parquet')",
    "SELECT * FROM parquet_metadata('{outside}/secret.parquet')",
    "SELECT * FROM parquet_schema('{outside}/*.parquet')",
    "SELECT * FROM read_json('{outside}/secret.json')",
    "SELECT * FROM read_ndjson_objects('{outside}/secret.json')",
    "SELECT * FROM query('SELECT * FROM read_csv(''{outside}/secret.csv'')')",
    "SELECT * FROM query_table('{outside}/secret.csv')",
    "SELECT * FROM read_csv('https://example.org/x.csv')",
    "SELECT getenv('HOME')",
    "SELECT * FROM read_csv('{workspace}/config/settings.csv')",
    "SELECT * FROM read_csv('{home}/settings.toml')",
    "SELECT 1) AS result(c0); COPY kept TO '{outside}/stolen.csv'; SELECT * FROM (SELECT 1",
    "SELECT 1)) UNION ALL SELECT * FROM read_csv('{outside}/secret.csv') --",
    "SELECT nonsense FROM kept",
    "SELEC 1",
    "SELECT * FROM nobody",
    "SELECT (SELECT * FROM read_text('{outside}/secret.csv'))",
    "WITH s AS (SELECT * FROM read_text('{outside}/secret.csv')) SELECT * FROM s",
    "SELECT 'a'::INTEGER",
]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret.csv").write_text("secret\nvery\n")
    (folder / "secret.json").write_text('{"secret": 1}')
    pl.DataFrame({"secret": [1]}).write_parquet(folder / "secret.parquet")
    return folder


def _attack(looking: Looking, run_id: str, sql: str, outside: Path, home: Path) -> FlowsteadError:
    looking.root.joinpath("config", "settings.csv").write_text("a\n1\n")
    before = sorted(outside.iterdir())
    text = sql.format(outside=outside, workspace=looking.root, home=home)
    with pytest.raises(FlowsteadError) as caught:
        # With a name of every table, so that all of them are within reach.
        looking.sql(run_id, f"{text} /* kept flights carriers mart */" if text else text)
    assert sorted(outside.iterdir()) == before
    return caught.value


def test_all_but_one_select_is_refused(looking: Looking, run_id: str, outside: Path, home: Path) -> None:
    for sql in REFUSED:
        assert _attack(looking, run_id, sql, outside, home).code == "sql-refused", sql
    assert looking.sql(run_id, "SELECT count(*) FROM kept")["rows"] == [[3]]


def test_nothing_else_can_be_read(looking: Looking, run_id: str, outside: Path, home: Path) -> None:
    for sql in FAILING:
        error = _attack(looking, run_id, sql, outside, home)
        assert error.code in ("sql-failed", "sql-refused"), sql
        assert "very" not in error.message


def test_a_database_cannot_bring_a_view_that_reads_elsewhere(looking: Looking, workspace: Any, outside: Path) -> None:
    path = workspace.root / "databases" / "trap.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE VIEW trap AS SELECT * FROM read_csv('{outside}/secret.csv')")
        connection.execute("CREATE TABLE real AS SELECT 1 AS a")
    with pytest.raises(FlowsteadError) as caught:
        looking.page("databases/trap.duckdb", table="trap")
    assert "very" not in caught.value.message
    assert looking.page("databases/trap.duckdb", table="real")["rows"] == [[1]]


# -- exports -------------------------------------------------------------------------------------------------------


def test_an_export_holds_what_was_chosen(looking: Looking, workspace: Any) -> None:
    people().write_parquet(workspace.root / "people.parquet")
    fields: dict[str, Any] = {
        "path": "people.parquet",
        "sort": [{"column": "age", "descending": True}, {"column": "name"}],
        "filters": [{"column": "age", "op": "is-not-null"}],
        "columns": ["name", "age", "height", "member", "since"],
    }
    expected = (
        people().filter(pl.col("age").is_not_null()).sort("age", "name", descending=[True, False], nulls_last=True)
    )
    assert pl.read_parquet(io.BytesIO(looking.export(format="parquet", **fields))).equals(expected)
    text = io.BytesIO(looking.export(format="csv", **fields))
    assert pl.read_csv(text, try_parse_dates=True).equals(expected)
    book = pl.read_excel(io.BytesIO(looking.export(format="xlsx", **fields)))
    assert book.with_columns(pl.col("since").cast(pl.Date)).equals(expected)


def test_what_excel_would_change_goes_there_as_text(looking: Looking, workspace: Any) -> None:
    frame = pl.DataFrame(
        {
            "formula": ["=1+1", "https://example.org", "@x"],
            "large": [2**62, 5, None],
            "old": pl.Series(["1850-01-01", "2024-02-29", None]).str.to_date(),
            "list": [[1], [2, 3], None],
            "real": [float("nan"), 1.5, float("inf")],
        }
    )
    frame.write_parquet(workspace.root / "odd.parquet")
    book = pl.read_excel(io.BytesIO(looking.export(path="odd.parquet", format="xlsx")))
    assert book["formula"].to_list() == ["=1+1", "https://example.org", "@x"]
    assert str(book["large"][0]) == str(2**62)
    assert str(book["old"][1]).startswith("2024-02-29")
    assert book["list"][1] == "[2, 3]"


def test_exports_that_cannot_be_made(looking: Looking, workspace: Any) -> None:
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (FROM range(1_100_000) AS numbers(i)) TO '{workspace.root / 'long.parquet'}' (FORMAT parquet)"
        )
    with pytest.raises(FlowsteadError) as caught:
        looking.export(path="long.parquet", format="xlsx")
    assert caught.value.code == "export-too-large"
    with pytest.raises(UsageError):
        looking.export(path="long.parquet", format="pdf")
    assert len(looking.export(path="long.parquet", format="csv").splitlines()) == 1_100_001


def test_every_column_of_a_wide_table_is_exported(looking: Looking, workspace: Any) -> None:
    pl.DataFrame({f"c{number}": [number] for number in range(700)}).write_parquet(workspace.root / "wide.parquet")
    assert len(looking.page("wide.parquet")["columns"]) == 500
    assert pl.read_csv(io.BytesIO(looking.export(path="wide.parquet", format="csv"))).width == 700


def test_a_table_without_a_run_is_asked_as_data(looking: Looking, workspace: Any) -> None:
    (looking.root / "numbers.csv").write_text("a,b\n1,x\n2,y\n")
    answer = looking.call("POST", "/tables/sql", path="numbers.csv", sql="SELECT sum(a) AS total FROM data")
    assert (answer["rows"], answer["columns"][0]["name"], answer["more"]) == ([[3]], "total", False)
    with duckdb.connect(str(looking.root / "mart.duckdb")) as connection:
        connection.execute("CREATE TABLE facts AS SELECT 42 AS answer")
    assert looking.call("POST", "/tables/sql", path="mart.duckdb", sql="FROM data.facts")["rows"] == [[42]]
    with pytest.raises(FlowsteadError, match="LINE 2: nothing"):
        looking.call("POST", "/tables/sql", path="numbers.csv", sql="SELECT a,\nnothing FROM data")
    with pytest.raises(UsageError, match="CREATE"):
        looking.call("POST", "/tables/sql", path="numbers.csv", sql="CREATE TABLE x AS FROM data")
    with pytest.raises(FlowsteadError):
        looking.call("POST", "/tables/sql", path="numbers.csv", sql="FROM read_csv('/etc/passwd')")
