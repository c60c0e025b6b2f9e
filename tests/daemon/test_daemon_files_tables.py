"""Tables by the page: every format, sorted and filtered, and what cells look like."""

from __future__ import annotations

import datetime as dt
import gzip
import os
import random
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from looking import Looking, people, values

from flowstead.daemon.files import databases, tables
from flowstead.model.errors import FlowsteadError, NotFound, UsageError

COMPLETE_RUN = os.environ.get("FLOWSTEAD_TEST_ALL") == "1"

FRAMES = """
    import polars as pl
    from pathlib import Path
    from flowstead import Flow

    def build():
        return (
            Flow("Frames")
            .step(make, save_as="made")
            .step(plain, save_as="numbers")
            .step(thing, save_as="thing")
            .step(write)
        )

    def make(context):
        frame = pl.DataFrame({{"n": [1, 2, 3], "word": ["a", "b", "c"]}})
        context.debug.save_frame(frame, "kept", {{"stage": "raw"}})
        context.debug.save_json({{"a": 1}}, "settings")
        return frame

    def plain(context):
        return [1, 2, 3]

    def thing(context):
        return {{1, 2, 3}}

    def write(context):
        path = Path("../out.csv")
        path.write_text("x,y\\n1,2\\n")
        return path
"""


def _workbook(frame: pl.DataFrame, path: Path) -> None:
    import xlsxwriter

    with xlsxwriter.Workbook(path) as book:
        frame.write_excel(book, worksheet="People")
        pl.DataFrame({"other": [7]}).write_excel(book, worksheet="Second sheet")


def _database(frame: pl.DataFrame, path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.register("frame", frame)
        connection.execute("CREATE TABLE people AS FROM frame")
        connection.execute("CREATE VIEW grown AS FROM people WHERE age > 30")
        connection.execute("CREATE SCHEMA more; CREATE TABLE more.other (a INTEGER)")


WRITERS: dict[str, Callable[[pl.DataFrame, Path], Any]] = {
    "people.parquet": lambda frame, path: frame.write_parquet(path),
    "people.csv": lambda frame, path: frame.write_csv(path),
    "people.tsv": lambda frame, path: frame.write_csv(path, separator="\t"),
    "semicolons.csv": lambda frame, path: frame.write_csv(path, separator=";"),
    "people.csv.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_csv().encode())),
    "people.arrow": lambda frame, path: frame.write_ipc(path),
    "packed.feather": lambda frame, path: frame.write_ipc(path, compression="lz4"),
    "stream.arrows": lambda frame, path: frame.write_ipc_stream(path),
    "people.ndjson": lambda frame, path: frame.write_ndjson(path),
    "people.jsonl.gz": lambda frame, path: path.write_bytes(gzip.compress(frame.write_ndjson().encode())),
    "people.json": lambda frame, path: frame.write_json(path),
    "people.xlsx": _workbook,
    "people.duckdb": _database,
}


@pytest.fixture(params=list(WRITERS))
def stored(request: Any, workspace: Any) -> dict[str, str]:
    """The people in each format; how they are asked for."""
    WRITERS[request.param](people(), workspace.root / request.param)
    return {"path": request.param, **({"table": "people"} if request.param.endswith("duckdb") else {})}


def test_every_format_gives_the_same_page(looking: Looking, stored: dict[str, str]) -> None:
    answer = looking.page(**stored)
    assert answer["total"] == 5
    assert answer["cut"] == []
    expected = people()
    for name in ("name", "age", "height", "member"):
        assert values(answer, name) == expected[name].to_list(), name
    since = [each and str(each) for each in expected["since"].to_list()]
    # A workbook knows no dates without a time of day.
    assert [each and each.removesuffix("T00:00:00") for each in values(answer, "since")] == since
    kinds = {column["name"]: column["kind"] for column in answer["columns"]}
    assert kinds["since"] in ("date", "timestamp") and kinds["age"] == "number" and kinds["member"] == "boolean"
    info = looking.info(stored["path"])
    assert (info["kind"], info["problem"]) == ("table", None)
    assert (info["rows"], len(info["columns"])) == ((None, 0) if "table" in stored else (5, 5))


def test_every_format_is_sorted_and_filtered(looking: Looking, stored: dict[str, str]) -> None:
    answer = looking.page(
        **stored,
        columns=["name", "age"],
        sort=[{"column": "age", "descending": True}, {"column": "name"}],
        filters=[{"column": "age", "op": ">", "value": 30}],
        limit=2,
        offset=1,
    )
    assert [column["name"] for column in answer["columns"]] == ["name", "age"]
    assert answer["rows"] == [["Emil", 41], ["Ada", 36]]
    assert (answer["total"], answer["offset"]) == (3, 1)


# -- sheets and databases ------------------------------------------------------------------------------------------


def test_a_workbook_has_sheets(looking: Looking, workspace: Any) -> None:
    _workbook(people(), workspace.root / "people.xlsx")
    assert looking.info("people.xlsx")["parts"] == [{"name": "People"}, {"name": "Second sheet"}]
    assert looking.page("people.xlsx", sheet="Second sheet")["rows"] == [[7]]
    with pytest.raises(FlowsteadError) as caught:
        looking.page("people.xlsx", sheet="Third")
    assert caught.value.code == "sheet-not-found" and "Second sheet" in caught.value.hint


def test_a_database_has_tables_and_views(looking: Looking, workspace: Any) -> None:
    _database(people(), workspace.root / "databases" / "mart.duckdb")
    path = "databases/mart.duckdb"
    parts = {part["name"]: part for part in looking.info(path)["parts"]}
    assert {name: part["kind"] for name, part in parts.items()} == {
        "people": "table",
        "grown": "view",
        "more.other": "table",
    }
    assert parts["people"]["rows"] == 5
    assert looking.page(path, table="grown")["total"] == 3
    assert looking.page(path, table="more.other")["rows"] == []
    for table, code in (("nothing", "table-not-found"), (None, "table-not-named")):
        with pytest.raises(FlowsteadError) as caught:
            looking.page(path, table=table)
        assert caught.value.code == code and "people" in caught.value.hint


def test_a_database_is_seen_while_a_flow_writes_it(looking: Looking, workspace: Any) -> None:
    path = workspace.root / "databases" / "busy.duckdb"
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys\n"
            f"connection = duckdb.connect({str(path)!r})\n"
            "connection.execute('CREATE TABLE t AS SELECT 1 AS a')\n"
            "connection.execute('CHECKPOINT')\n"
            "connection.execute('INSERT INTO t VALUES (2)')\n"
            "print('ready', flush=True)\n"
            "for line in sys.stdin:\n"
            "    connection.execute('INSERT INTO t VALUES (3)')\n"
            "    print('done', flush=True)\n",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None and writer.stdout is not None
    try:
        assert writer.stdout.readline() == "ready\n"
        assert values(looking.page("databases/busy.duckdb", table="t"), "a") == [1, 2]
        # What the writer does next is neither held up, nor hidden by what was read before.
        writer.stdin.write("\n")
        writer.stdin.flush()
        assert writer.stdout.readline() == "done\n"
        assert values(looking.page("databases/busy.duckdb", table="t"), "a") == [1, 2, 3]
    finally:
        writer.communicate(timeout=60)
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchall() == [(3,)]


@pytest.mark.parametrize(("changes", "ends"), [(1, "copied"), (99, "busy")])
def test_a_database_that_changes_while_it_is_copied(workspace: Any, monkeypatch: Any, changes: int, ends: str) -> None:
    path = workspace.root / "databases" / "restless.duckdb"
    _database(people(), path)
    pour, copies = databases._pour, 0

    def pour_and_change(descriptor: int, target: Path) -> None:
        nonlocal copies
        copies += 1
        pour(descriptor, target)
        if copies <= changes:
            os.utime(path, ns=(copies, copies))

    monkeypatch.setattr(databases, "_pour", pour_and_change)
    file = tables.File(str(workspace.root), "databases/restless.duckdb", "duckdb", table="people")
    opened = tables.open_place(file.place)
    if ends == "busy":
        with pytest.raises(FlowsteadError) as caught:
            tables.open_table(file, opened, workspace.root, 1024)
        assert caught.value.code == "database-busy"
        opened.close()
    else:
        table = tables.open_table(file, opened, workspace.root, 1024)
        assert (table.total, copies) == (5, 2)
        table.close()


# -- what runs have left -------------------------------------------------------------------------------------------


def test_what_a_run_kept_and_gave_out(looking: Looking, workspace: Any) -> None:
    workspace.module("frames", FRAMES.format())
    run_id = looking.run("frames")
    expected = [[1, "a"], [2, "b"], [3, "c"]]
    assert looking.page(run_id=run_id, artifact="kept")["rows"] == expected
    assert looking.page(run_id=run_id, step="make")["rows"] == expected
    assert looking.page(run_id=run_id[-8:], step=0)["rows"] == expected
    assert looking.page("artifacts/kept.parquet", run_id=run_id)["rows"] == expected
    assert looking.page(run_id=run_id, step="write")["rows"] == [[1, 2]]
    names = [entry["name"] for entry in looking.call("GET", "/files", run_id=run_id, path="")["entries"]]
    assert {"artifacts", "checkpoints", "events.ndjson"} <= set(names)
    for fields, code in (
        ({"step": "thing"}, "not-a-table"),
        ({"step": "plain"}, "not-a-table"),
        ({"step": "none"}, "step-not-found"),
        ({"artifact": "none"}, "artifact-not-found"),
        ({"artifact": "settings"}, None),
    ):
        if code is not None:
            with pytest.raises(FlowsteadError) as caught:
                looking.page(run_id=run_id, **fields)
            assert caught.value.code == code
    with pytest.raises(FlowsteadError) as caught:
        looking.page(run_id=run_id, step="thing")
    assert "pickled" in caught.value.message


@pytest.mark.parametrize(
    "fields", [{}, {"run_id": "r_1"}, {"path": "a.csv", "artifact": "b"}, {"artifact": "a"}, {"step": 1}]
)
def test_a_table_is_named_in_one_way(looking: Looking, fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        looking.page(**fields)


def test_what_is_not_there_is_told(looking: Looking, workspace: Any) -> None:
    with pytest.raises(NotFound):
        looking.page("none.csv")
    with pytest.raises(NotFound):
        looking.page(run_id="r_none", step=0)
    workspace.file("a.txt", "hello")
    with pytest.raises(FlowsteadError) as caught:
        looking.page("a.txt")
    assert caught.value.code == "not-a-table"


# -- pages ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def numbers(workspace: Any) -> pl.DataFrame:
    """Ten thousand rows with many equal ones, in several row groups."""
    chance = random.Random(1)
    frame = pl.DataFrame(
        {
            "row": range(10_000),
            "few": [chance.randrange(20) if chance.random() > 0.05 else None for _ in range(10_000)],
            "word": [chance.choice(["Apple", "pear", "Fig", None]) for _ in range(10_000)],
        }
    )
    frame.write_parquet(workspace.root / "n.parquet", row_group_size=700)
    frame.write_csv(workspace.root / "n.csv")
    frame.write_ipc(workspace.root / "n.arrow")
    return frame


@pytest.mark.parametrize("name", ["n.parquet", "n.csv", "n.arrow"])
def test_pages_together_are_the_table(looking: Looking, numbers: pl.DataFrame, name: str) -> None:
    seen = [row for start in range(0, 10_000, 3000) for row in looking.page(name, offset=start, limit=3000)["rows"]]
    assert [tuple(row) for row in seen] == numbers.rows()
    assert looking.page(name, offset=20_000)["rows"] == []
    assert looking.page(name, offset=20_000)["total"] == 10_000


@pytest.mark.parametrize("name", ["n.parquet", "n.csv", "n.arrow"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorted_pages_repeat_and_miss_nothing(
    looking: Looking, numbers: pl.DataFrame, name: str, descending: bool
) -> None:
    sort = [{"column": "few", "descending": descending}]
    seen = [
        row
        for start in range(0, 10_000, 1999)
        for row in looking.page(name, sort=sort, offset=start, limit=1999)["rows"]
    ]
    expected = numbers.sort("few", descending=descending, nulls_last=True, maintain_order=True)
    assert [tuple(row) for row in seen] == expected.rows()


FILTERS: list[tuple[dict[str, Any], pl.Expr]] = [
    ({"column": "few", "op": "=", "value": 7}, pl.col("few") == 7),
    ({"column": "few", "op": "!=", "value": "7"}, pl.col("few") != 7),
    ({"column": "few", "op": "<", "value": 3}, pl.col("few") < 3),
    ({"column": "few", "op": "<=", "value": 3}, pl.col("few") <= 3),
    ({"column": "few", "op": ">", "value": 17}, pl.col("few") > 17),
    ({"column": "few", "op": ">=", "value": 17}, pl.col("few") >= 17),
    ({"column": "few", "op": "in", "value": [1, 2, 3]}, pl.col("few").is_in([1, 2, 3])),
    ({"column": "few", "op": "is-null"}, pl.col("few").is_null()),
    ({"column": "word", "op": "is-not-null"}, pl.col("word").is_not_null()),
    ({"column": "word", "op": "contains", "value": "P"}, pl.col("word").str.to_lowercase().str.contains("p")),
    ({"column": "word", "op": "starts-with", "value": "f"}, pl.col("word") == "Fig"),
    ({"column": "word", "op": "ends-with", "value": "e"}, pl.col("word") == "Apple"),
    ({"column": "few", "op": "contains", "value": "1"}, pl.col("few").cast(pl.String).str.contains("1")),
    ({"column": "word", "op": "=", "value": "x' OR 1=1 --"}, pl.col("word") == "never"),
]


@pytest.mark.parametrize(("asked", "expected"), FILTERS, ids=lambda each: each["op"] if isinstance(each, dict) else "")
def test_filters_find_what_polars_finds(
    looking: Looking, numbers: pl.DataFrame, asked: dict[str, Any], expected: pl.Expr
) -> None:
    rows = numbers.filter(expected).rows()
    answer = looking.page("n.parquet", filters=[asked], limit=10_000)
    assert [tuple(row) for row in answer["rows"]] == rows
    assert answer["total"] == len(rows)
    assert looking.page("n.parquet", filters=[asked], limit=5)["total"] == len(rows)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"filters": [{"column": "few", "op": "=", "value": "many"}]}, "filter-invalid"),
        ({"filters": [{"column": "few", "op": "like", "value": "1"}]}, "filter-invalid"),
        ({"filters": [{"column": "few", "op": "=", "value": None}]}, "filter-invalid"),
        ({"filters": [{"column": "few", "op": "in", "value": []}]}, "filter-invalid"),
        ({"filters": [{"column": "fev", "op": "=", "value": 1}]}, "column-not-found"),
        ({"filters": [{"op": "=", "value": 1}]}, "usage"),
        ({"filters": "few = 1"}, "usage"),
        ({"sort": [{"column": 'few" DESC; DROP TABLE source; --'}]}, "column-not-found"),
        ({"sort": ["few"]}, "usage"),
        ({"columns": ["few", "none"]}, "column-not-found"),
        ({"columns": "few"}, "usage"),
        ({"limit": 0}, "usage"),
        ({"limit": 10**6}, "usage"),
        ({"offset": -1}, "usage"),
        ({"filters": [{"column": "word", "op": "=", "value": "x" * 100_000}]}, "usage"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    looking: Looking, numbers: pl.DataFrame, fields: dict[str, Any], code: str
) -> None:
    with pytest.raises(FlowsteadError) as caught:
        looking.page("n.parquet", **fields)
    assert caught.value.code == code
    assert looking.page("n.parquet", limit=1)["total"] == 10_000


def test_a_replaced_file_is_read_anew(looking: Looking, workspace: Any) -> None:
    for number in range(3):
        pl.DataFrame({"a": [number]}).write_parquet(workspace.root / "new.parquet")
        (workspace.root / "new.parquet").replace(workspace.root / "x.parquet")
        assert looking.page("x.parquet")["rows"] == [[number]]
    (workspace.root / "x.parquet").unlink()
    with pytest.raises(NotFound):
        looking.page("x.parquet")


# -- cells ---------------------------------------------------------------------------------------------------------


def test_cells_are_json_that_every_reader_takes(looking: Looking, workspace: Any) -> None:
    frame = pl.DataFrame(
        {
            "safe": [2**53, -(2**53), 0],
            "large": [2**53 + 1, -(2**63), None],
            "unsigned": pl.Series([2**64 - 1, 1, None], dtype=pl.UInt64),
            "real": [float("nan"), float("inf"), 0.1],
            "single": pl.Series([0.1, float("-inf"), None], dtype=pl.Float32),
            "exact": pl.Series([Decimal("1.10"), Decimal("-0.05"), None], dtype=pl.Decimal(10, 2)),
            "day": [dt.date(2024, 2, 29), dt.date(1, 1, 1), dt.date(9999, 12, 31)],
            "moment": [dt.datetime(2024, 2, 29, 1, 2, 3), dt.datetime(1, 1, 1), None],
            "zoned": pl.Series([dt.datetime(2024, 7, 1, 12), None, None]).dt.replace_time_zone("Europe/Berlin"),
            "time": [dt.time(1, 2, 3), dt.time(23, 59, 59, 500_000), None],
            "length": [dt.timedelta(days=1, hours=2), dt.timedelta(0), None],
            "bytes": [b"\0\xff", b"", None],
            "list": [[1, 2**60], [], None],
            "struct": [{"a": float("nan"), "b": ["x"]}, {"a": 1.5, "b": None}, None],
            "kind": pl.Series(["a", "b", None], dtype=pl.Enum(["a", "b"])),
            "text": ["x" * 1001, "y" * 1000, "ü\0\n"],
            "nothing": [None, None, None],
        }
    )
    frame.write_parquet(workspace.root / "cells.parquet")
    answer = looking.page("cells.parquet")
    assert values(answer, "safe") == [2**53, -(2**53), 0]
    assert values(answer, "large") == [str(2**53 + 1), str(-(2**63)), None]
    assert values(answer, "unsigned") == [str(2**64 - 1), 1, None]
    assert values(answer, "real") == [None, None, 0.1]
    assert values(answer, "single") == [0.1, None, None]
    assert values(answer, "exact") == ["1.10", "-0.05", None]
    assert values(answer, "day") == ["2024-02-29", "0001-01-01", "9999-12-31"]
    assert values(answer, "moment") == ["2024-02-29T01:02:03", "0001-01-01T00:00:00", None]
    assert values(answer, "zoned") == ["2024-07-01T10:00:00Z", None, None]
    assert values(answer, "time") == ["01:02:03", "23:59:59.5", None]
    assert values(answer, "bytes") == ["2 bytes", "0 bytes", None]
    assert values(answer, "list") == [[1, str(2**60)], [], None]
    assert values(answer, "struct")[1:] == [{"a": 1.5, "b": None}, None]
    assert values(answer, "kind") == ["a", "b", None]
    assert values(answer, "text") == ["x" * 1000, "y" * 1000, "ü\0\n"]
    assert values(answer, "nothing") == [None, None, None]
    assert answer["cut"] == [[0, [column["name"] for column in answer["columns"]].index("text")]]
    import orjson

    assert b"NaN" not in orjson.dumps(answer)


def test_long_nested_values_are_cut(looking: Looking, workspace: Any) -> None:
    workspace.file("deep.json", '[{"a": ' + "[" * 100 + "]" * 100 + '}, {"a": null}]')
    pl.DataFrame({"l": [list(range(1000)), [1]]}).write_parquet(workspace.root / "long.parquet")
    answer = looking.page("long.parquet")
    assert answer["cut"] == [[0, 0]]
    assert len(answer["rows"][0][0]) == 1000 and answer["rows"][1][0] == [1]
    assert len(looking.page("deep.json")["rows"]) == 2


def test_columns_with_difficult_names(looking: Looking, workspace: Any) -> None:
    names = ['a"b', "select", "Ä", "a b", "x.y", "{0}", "%s", "rowid", "file_row_number", ""]
    frame = pl.DataFrame({name: [number, number + 1] for number, name in enumerate(names)})
    frame.write_parquet(workspace.root / "names.parquet")
    frame.write_csv(workspace.root / "names.csv")
    for file in ("names.parquet", "names.csv"):
        answer = looking.page(file)
        found = [column["name"] for column in answer["columns"]]
        assert found[:9] == names[:9]
        for name in found:
            descending = looking.page(file, sort=[{"column": name, "descending": True}], columns=[name])
            assert descending["rows"] == looking.page(file, columns=[name])["rows"][::-1]
            assert looking.statistics(file, columns=[name])["columns"][name]["count"] == 2


def test_a_wide_file_is_read_in_part(looking: Looking, workspace: Any) -> None:
    wide = 10_000 if COMPLETE_RUN else 3000
    header = ",".join(f"c{number}" for number in range(wide))
    row = ",".join("1" for _ in range(wide))
    (workspace.root / "wide.csv").write_text("\n".join([header, *[row] * 50]) + "\n")
    answer = looking.page("wide.csv", limit=1000)
    assert (answer["total"], answer["columns_total"]) == (50, wide)
    assert len(answer["columns"]) == 500 and len(answer["rows"]) == 50
    assert looking.page("wide.csv", columns=["c0", f"c{wide - 1}"])["rows"] == [[1, 1]] * 50
    found = looking.statistics("wide.csv", columns=["c5"])
    assert found["columns"]["c5"]["count"] == 50


def test_a_file_that_is_read_anew_each_time_is_sorted_alike(looking: Looking, workspace: Any) -> None:
    """More columns than are kept in memory."""
    frame = pl.DataFrame({f"c{number}": [row % (number + 2) for row in range(200)] for number in range(600)})
    frame.write_csv(workspace.root / "broad.csv")
    sort = [{"column": "c1", "descending": True}]
    rows = [
        row for start in (0, 77, 154) for row in looking.page("broad.csv", sort=sort, offset=start, limit=77)["rows"]
    ]
    expected = frame.sort("c1", descending=True, maintain_order=True).select(frame.columns[:500])
    assert [tuple(row) for row in rows] == expected.rows()
    found = looking.page("broad.csv", filters=[{"column": "c599", "op": ">", "value": 100}], columns=["c599"], limit=5)
    assert (found["total"], found["rows"][0]) == (99, [101])


def test_a_csv_whose_types_change_far_down(looking: Looking, workspace: Any) -> None:
    lines = ["n", *["1"] * 60_000, "NA?", "2"]
    (workspace.root / "late.csv").write_text("\n".join(lines) + "\n")
    answer = looking.page("late.csv", offset=59_999, limit=10)
    assert answer["total"] == 60_002
    assert values(answer, "n") == ["1", "NA?", "2"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_csv_as_spreadsheets_write_it(looking: Looking, workspace: Any, encoding: str) -> None:
    text = "Straße;Größe\nMüllerweg;1\nÖsterreich;2\n"
    (workspace.root / "german.csv").write_bytes(text.encode(encoding))
    answer = looking.page("german.csv")
    assert [column["name"] for column in answer["columns"]] == ["Straße", "Größe"]
    assert values(answer, "Straße") == ["Müllerweg", "Österreich"]
