"""Files and tables in the console: found, looked through, asked, drawn and taken along."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import pytest
import xlsxwriter
from axe import findings

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)
KEEPS = """
import polars as pl
from flowstead import Flow

def totals(context):
    frame = pl.DataFrame({"carrier": ["UA", "AA"], "delay": [1.5, None]})
    context.debug.save_frame(frame, "kept")
    return frame

def done(context):
    return None

def build():
    return Flow("Keeping").step(totals, save_as="delays").step(done)
"""


@pytest.fixture
def data(console: Any, workspace: Any) -> Any:
    """A window on the data page of a workspace with a table of 5,000 flights."""
    root: Path = workspace.root
    rows = 5000
    pl.DataFrame(
        {
            "flight": range(rows),
            "carrier": [("UA", "AA", "B6", None)[n % 4] for n in range(rows)],
            "delay": [float(n % 60) for n in range(rows)],
            "note": ["a long text " * 40 if n == 0 else "" for n in range(rows)],
        }
    ).write_parquet(root / "flights.parquet")

    def opened(query: str = "") -> Any:
        window = console()
        window.page.get_by_role("main").wait_for()
        window.base = window.page.url.rstrip("/")
        window.page.goto(f"{window.base}/data{query}")
        return window

    return opened


def test_files_are_found_and_opened_by_keys(data: Any, workspace: Any) -> None:
    folder = workspace.root / "lake" / "many"
    folder.mkdir(parents=True)
    for number in range(600):
        (folder / f"day_{number:03}.csv").write_text("a,b\n1,2\n")
    window = data()
    page = window.page
    page.get_by_role("link", name="lake").click()
    page.get_by_role("link", name="many").click()
    page.get_by_text("600 entries").wait_for()
    assert page.get_by_role("row").count() < 60
    page.keyboard.press("/")
    page.keyboard.type("day_59")
    page.get_by_text("10 entries of 600").wait_for()
    page.get_by_role("grid").focus()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("day_591.csv"))
    page.get_by_text("1 row").wait_for()
    page.get_by_role("navigation", name="Where").get_by_role("link", name="lake").click()
    page.get_by_role("link", name="many").wait_for()
    assert window.told == []


def test_a_table_is_sorted_and_filtered_and_says_what_is_in_it(data: Any) -> None:
    window = data(query="?path=flights.parquet")
    page = window.page
    page.get_by_text("5,000 rows").wait_for()
    page.get_by_text("25 % null").wait_for()
    page.get_by_role("columnheader", name=re.compile("flight")).get_by_role("button", name="flight", exact=True).click()
    page.wait_for_url(re.compile(re.escape("sort=%2Bflight")))
    page.get_by_role("columnheader", name=re.compile("flight")).get_by_role(
        "button", name=re.compile("^flight")
    ).click()
    page.locator("#cell-0-0", has_text="4,999").wait_for()
    page.get_by_role("button", name="Filter carrier").click()
    page.get_by_role("checkbox", name=re.compile("^AA")).click()
    page.get_by_text("1,250 rows that fit").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Filter delay").click()
    menu = page.get_by_role("dialog", name="Filter delay")
    menu.get_by_role("combobox", name="How it is compared").click()
    menu.get_by_role("option", name="is above").click()
    menu.get_by_role("textbox", name="Value").fill("57")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Take away: delay is above 57").wait_for()
    # Whoever is sent the address sees the same.
    page.reload()
    page.get_by_role("button", name="Take away: carrier is one of AA").click()
    page.get_by_role("button", name="Take away: carrier is one of AA").wait_for(state="detached")
    assert window.told == []


def test_keys_move_to_the_last_row_and_open_a_long_text(data: Any) -> None:
    page = data(query="?path=flights.parquet").page
    page.get_by_text("5,000 rows").wait_for()
    grid = page.get_by_role("grid", name="Rows")
    assert grid.get_attribute("aria-rowcount") == "5001"
    grid.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_text(re.compile("a long text a long text")).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    grid.focus()
    page.keyboard.press("Home")
    page.keyboard.press("Control+End")
    page.locator("#cell-4999-0", has_text="4,999").wait_for()
    page.locator("#cell-4999-1", has_text="null").wait_for()


def test_sql_is_answered_drawn_and_told_its_errors(data: Any) -> None:
    window = data(query="?path=flights.parquet")
    page = window.page
    page.get_by_role("button", name="SQL").click()
    editor = page.get_by_role("textbox", name="SQL")
    editor.click()
    page.keyboard.type("SELECT carrier, nothing FROM data")
    page.keyboard.press("Control+Enter")
    page.get_by_role("alert").get_by_text(re.compile('"nothing" not found')).wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.press("Backspace")
    page.keyboard.type("SELECT carrier, count(*) AS flights FROM data GROUP BY 1 ORDER BY 1")
    page.keyboard.press("Control+Enter")
    page.get_by_role("grid", name="Result").get_by_text("1,250").first.wait_for()
    page.get_by_text("4 rows", exact=True).wait_for()
    page.get_by_text("Chart", exact=True).click()
    page.get_by_role("img", name=re.compile("Bars of flights over carrier, 4 points")).wait_for()
    page.get_by_text("Lines", exact=True).click()
    page.get_by_role("img", name=re.compile("Lines of flights over carrier")).wait_for()
    page.reload()
    page.get_by_role("img", name=re.compile("Lines of flights over carrier")).wait_for()
    assert [line for line in window.told if "422" not in line] == []


def test_a_table_is_taken_along_as_it_is_filtered(data: Any, tmp_path: Path) -> None:
    where = quote(json.dumps(["carrier", "=", "B6"]))
    page = data(query=f"?path=flights.parquet&sort=-flight&where={where}").page
    page.get_by_text("1,250 rows that fit").wait_for()
    for name, suffix in (("CSV", "csv"), ("Excel", "xlsx"), ("Parquet", "parquet")):
        with page.expect_download() as download:
            page.get_by_role("button", name=f"Download as {name}").click()
        assert download.value.suggested_filename == f"flights.{suffix}"
        download.value.save_as(tmp_path / f"flights.{suffix}")
    assert pl.read_csv(tmp_path / "flights.csv")["flight"].to_list()[:2] == [4998, 4994]
    assert pl.read_parquet(tmp_path / "flights.parquet").height == 1250


def test_the_sheets_of_a_workbook_are_chosen(data: Any, workspace: Any) -> None:
    with xlsxwriter.Workbook(workspace.root / "months.xlsx") as book:
        for month, flights in (("January", 27004), ("February", 24951)):
            sheet = book.add_worksheet(month)
            sheet.write_row(0, 0, ["month", "flights"])
            sheet.write_row(1, 0, [month, flights])
    page = data(query="?path=months.xlsx").page
    page.get_by_role("gridcell", name="27,004").wait_for()
    page.get_by_text("February", exact=True).click()
    page.get_by_role("gridcell", name="24,951").wait_for()
    page.wait_for_url(re.compile("part=February"))
    page.reload()
    page.get_by_role("gridcell", name="24,951").wait_for()


def test_a_table_of_many_columns_has_only_those_in_view(data: Any, workspace: Any) -> None:
    pl.DataFrame({f"column_{number}": [number] for number in range(700)}).write_parquet(workspace.root / "wide.parquet")
    page = data(query="?path=wide.parquet").page
    page.get_by_text(re.compile(r"700 \(the first 500 are shown\)")).wait_for()
    heads = page.get_by_role("columnheader")
    heads.filter(has_text="column_0").wait_for()
    assert heads.count() < 40
    page.get_by_role("grid", name="Rows").press("End")
    heads.filter(has_text="column_499").wait_for()
    page.get_by_role("gridcell", name="499").wait_for()
    assert heads.count() < 40


def test_what_a_run_left_is_seen_and_asked(data: Any, workspace: Any) -> None:
    workspace.module("keeping", KEEPS)
    window = data()
    page = window.page
    page.goto(window.base)
    page.get_by_role("button", name="Run Keeping").click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("succeeded").first.wait_for()
    page.goto(f"{window.base}/data")
    page.get_by_role("region", name="What flows left last").get_by_role("link", name="Keeping").click()
    page.get_by_role("region", name="kept").get_by_role("cell", name="1.5").wait_for()
    page.get_by_role("button", name="SQL").click()
    page.get_by_text("Tables: kept, delays").wait_for()
    page.get_by_role("textbox", name="SQL").click()
    page.keyboard.type("SELECT max(delay) AS worst FROM delays")
    page.keyboard.press("Control+Enter")
    page.get_by_role("grid", name="Result").get_by_text("1.5").wait_for()
    page.get_by_role("button", name="SQL").click()
    page.get_by_role("link", name="delays").click()
    page.get_by_role("grid", name="Rows").wait_for()
    page.get_by_text("2 rows").wait_for()
    page.get_by_text("null", exact=True).first.wait_for()
    page.get_by_role("link", name="All that this run left").click()
    page.get_by_role("link", name="checkpoints").wait_for()


def test_files_are_shown_as_what_they_are(data: Any, workspace: Any) -> None:
    root: Path = workspace.root
    (root / "dot.png").write_bytes(PIXEL)
    (root / "read.md").write_text("# A heading\n\n![dot](dot.png)\n")
    (root / "page.html").write_text("<h1>Hello</h1><script>document.title = 'run'</script>")
    (root / "paper.pdf").write_bytes(b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n")
    (root / "settings.json").write_text('{"a": {"b": [1, 2]}}')
    (root / "thing.bin").write_bytes(bytes(range(256)))
    window = data(query="?path=dot.png")
    page = window.page
    image = page.get_by_role("img", name="dot.png")
    image.wait_for()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    page.goto(f"{window.base}/data?path=read.md")
    page.get_by_role("heading", name="A heading").wait_for()
    assert page.get_by_role("img", name="dot").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    page.goto(f"{window.base}/data?path=page.html")
    page.frame_locator("iframe").get_by_role("heading", name="Hello").wait_for()
    page.goto(f"{window.base}/data?path=settings.json")
    page.get_by_text('"b": [').wait_for()
    page.goto(f"{window.base}/data?path=thing.bin")
    page.get_by_text("of no kind that can be shown here").wait_for()
    assert page.get_by_role("link", name="Download file").get_attribute("download") == "thing.bin"
    page.goto(f"{window.base}/data?path=paper.pdf")
    page.locator("iframe[title='paper.pdf']").wait_for()
    assert not [line for line in window.told if "frame" in line.lower() and "sandbox" not in line.lower()]
    page.goto(f"{window.base}/data?path=absent.csv")
    page.get_by_role("alert").get_by_text(re.compile("There is no")).wait_for()


def test_the_page_has_no_serious_finding(data: Any) -> None:
    window = data()
    page = window.page
    page.get_by_role("link", name="flights.parquet").wait_for()
    found = {"folder": findings(page)}
    page.get_by_role("link", name="flights.parquet").click()
    page.get_by_text("25 % null").wait_for()
    found["table"] = findings(page)
    page.get_by_role("button", name="Filter carrier").click()
    page.get_by_role("checkbox", name=re.compile("^AA")).click()
    page.get_by_text("1,250 rows that fit").wait_for()
    found["menu"] = findings(page)
    sql = quote("SELECT carrier, count(*) AS n FROM data GROUP BY 1")
    page.goto(f"{window.base}/data?path=flights.parquet&view=chart&sql={sql}")
    page.get_by_role("img", name=re.compile("Bars of n")).wait_for()
    found["sql"] = findings(page)
    assert found == {"folder": [], "table": [], "menu": [], "sql": []}
