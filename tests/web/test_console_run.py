"""The run page: what a person does with one run, in a real browser."""

from __future__ import annotations

import json
import re
from typing import Any

from axe import findings

DELAYS = """
from flowstead import Flow

DESCRIPTION = "Reads days, some of which cannot be read, and reports."

PICTURE = b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8"/></svg>'

def build():
    return (
        Flow("Reports")
        .ask("airport", default="JFK")
        .step(collect_days)
        .map(read_day, on_error="skip")
        .step(draw)
        .step(write_report)
    )

def collect_days(context):
    context.log.info("forty days", folder="inbox")
    return list(range(40))

def read_day(context, day):
    if day % 17 == 5:
        raise ValueError(f"day {day} has no carrier column")
    return day

def draw(context):
    context.metadata["days"] = len(context.current)
    context.show(PICTURE, "delays")
    context.debug.save_json({"worst": "EV"}, "counts")
    context.report("# Delays by carrier\\n\\n| carrier | delay |\\n|---|---|\\n| EV | 19.9 |\\n\\n![delays](delays)")
    return context.current

def write_report(context):
    context.summary = "37 days"
    context.log.error("the mart is locked")
    return 1 / DIVISOR
"""

TALKING = """
import time
from pathlib import Path

from flowstead import Flow

def build():
    return Flow("Live").step(say)

def say(context):
    go = Path(__file__).parent.parent / "go"
    print("line 1")
    number = 1
    while not go.exists():
        time.sleep(0.02)
    for number in range(2, 500):
        print(f"line {number}")
"""


def run_of(console: Any, workspace: Any, flow: str) -> tuple[Any, str]:
    """A window on a run of a flow that has ended, and the address of its page."""
    window = console()
    window.page.get_by_role("button", name=f"Run {flow}").click()
    if ".ask(" in (workspace.flow_modules / f"{flow.lower()}.py").read_text():
        window.page.get_by_role("dialog", name=f"Run {flow}").get_by_role("button", name="Run", exact=True).click()
    window.page.wait_for_url(re.compile("/runs/r_"))
    window.page.get_by_role("treegrid", name="Steps").wait_for()
    return window, window.page.url


def test_what_a_run_kept_is_shown(console: Any, workspace: Any) -> None:
    workspace.module("delays", DELAYS.replace("DIVISOR", "1"))
    window, _ = run_of(console, workspace, "Delays")
    page = window.page
    page.get_by_text("37 days").wait_for()
    page.get_by_role("tab", name=re.compile("Report")).click()
    page.get_by_role("heading", name="Delays by carrier").wait_for()
    picture = page.get_by_role("article").get_by_role("img", name="delays")
    picture.wait_for()
    page.wait_for_function("document.querySelector('article img').naturalWidth > 0")
    page.get_by_role("tab", name=re.compile("Data")).click()
    page.get_by_role("region", name="delays").get_by_role("img").wait_for()
    page.get_by_text('"worst"').wait_for()
    page.get_by_role("tab", name="Details").click()
    assert "JFK" in page.get_by_role("region", name="Parameters").inner_text()
    assert "37" in page.get_by_role("region", name="Metadata").inner_text()
    # A step that is chosen leaves only what it has made.
    page.get_by_role("row", name="Collect Days").click()
    page.get_by_role("tab", name=re.compile("Data")).click()
    page.get_by_text("Collect Days kept nothing").wait_for()
    assert "step=collect_days" in page.url and "tab=data" in page.url
    assert window.told == []


def test_a_map_is_opened_and_lists_those_that_failed_first(console: Any, workspace: Any) -> None:
    workspace.module("delays", DELAYS.replace("DIVISOR", "1"))
    window, _ = run_of(console, workspace, "Delays")
    page = window.page
    page.get_by_text("40/40 · 3 failed").wait_for()
    steps = page.get_by_role("treegrid", name="Steps")
    steps.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    items = page.get_by_role("row", name=re.compile("^Item "))
    items.first.wait_for()
    assert [items.nth(index).get_attribute("aria-label") for index in range(4)] == [
        "Item 5 of Read Day, failed",
        "Item 22 of Read Day, failed",
        "Item 39 of Read Day, failed",
        "Item 0 of Read Day, succeeded",
    ]
    page.keyboard.press("ArrowDown")
    page.get_by_role("tabpanel", name="Error").get_by_text("ValueError: day 5 has no carrier column").first.wait_for()
    assert "item=5" in page.url
    page.reload()
    page.get_by_role("tabpanel", name="Error").get_by_text("ValueError: day 5 has no carrier column").first.wait_for()
    page.get_by_role("row", name="Item 22 of Read Day").wait_for()


def test_an_error_shows_the_line_and_is_retried_from_its_step(console: Any, workspace: Any) -> None:
    workspace.module("delays", DELAYS.replace("DIVISOR", "0"))
    window, address = run_of(console, workspace, "Delays")
    page = window.page
    page.get_by_role("tab", name="Error").click()
    told = page.get_by_role("region", name="Error in Write Report")
    told.get_by_text("ZeroDivisionError: division by zero", exact=True).wait_for()
    told.get_by_text('context.log.error("the mart is locked")').wait_for()
    assert told.get_by_text("Traceback (most recent call last)").is_hidden()
    told.get_by_text("Traceback", exact=True).click()
    told.get_by_text("Traceback (most recent call last)").wait_for()
    assert page.get_by_role("button", name="Cancel").count() == 0
    workspace.module("delays", DELAYS.replace("DIVISOR", "1"))
    # Any step before may be the first one; what came before it is kept.
    page.get_by_role("button", name="Retry", exact=True).first.click()
    page.get_by_role("menuitem", name="Retry from Read Day").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("row", name="Draw").click()
    page.get_by_role("button", name="Retry from Draw").first.click()
    page.wait_for_url(lambda url: "/runs/r_" in url and url.split("?")[0] != address)
    page.get_by_role("link", name=address[-8:]).wait_for()
    page.get_by_text("37 days").wait_for()
    page.get_by_text("taken over").nth(1).wait_for()
    page.get_by_role("link", name="Previous run of this flow, failed").click()
    page.wait_for_url(re.compile(address[-8:]))


def test_a_long_log_is_searched_and_filtered(console: Any, workspace: Any) -> None:
    workspace.module("talking", TALKING)
    workspace.file("go")
    window, address = run_of(console, workspace, "Talking")
    page = window.page
    page.get_by_text("succeeded").first.wait_for()
    run_id = address.rsplit("/", 1)[1].partition("?")[0]
    [log] = workspace.root.parent.parent.glob(f"home/workspaces/*/runs/{run_id}/events.ndjson")
    lines = log.read_text("utf-8").splitlines()
    first = json.loads(lines[2])
    with log.open("a", encoding="utf-8") as file:
        for number in range(len(lines) + 1, 60_001):
            level = "error" if number % 20_000 == 7 else "info"
            entry = {**first, "seq": number, "level": level, "message": f"row {number} of many"}
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
    page.goto(f"{address.partition('?')[0]}?tab=logs")
    page.get_by_text("60,000 lines").wait_for()
    lines_shown = page.get_by_role("listbox", name="Log lines")
    lines_shown.focus()
    page.keyboard.press("End")
    page.get_by_role("option", name=re.compile("row 60000 of many")).wait_for()
    assert page.get_by_role("option").count() < 150, "only what is seen exists"
    # Errors, by level; the rest is counted, not shown.
    page.get_by_role("combobox", name="Level").click()
    page.get_by_role("option", name="Errors").click()
    page.get_by_text("2 of 60,000 lines").wait_for()
    page.get_by_role("option", name=re.compile("row 40007")).click()
    page.get_by_role("button", name="Show in context").click()
    page.get_by_role("option", name=re.compile("row 40006")).wait_for()
    assert "line=" in page.url and "context=true" in page.url
    # A text, and from one hit to the next.
    page.keyboard.press("/")
    page.goto(f"{address.partition('?')[0]}?tab=logs&context=true")
    field = page.get_by_role("textbox", name="Find in the log")
    page.get_by_text("60,000 lines").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("777 of")
    page.wait_for_url(re.compile("text=777"))
    for hit in (777, 1777, 2777):
        field.press("Enter")
        page.get_by_role("region", name=re.compile("^Line")).get_by_text(f"row {hit} of many").wait_for()
    field.press("Shift+Enter")
    page.get_by_role("region", name=re.compile("^Line")).get_by_text("row 1777 of many").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the log").click()
        page.get_by_role("menuitem", name="As text").click()
    assert download.value.path().read_text("utf-8").count("\n") == 60_000


def test_a_log_is_followed_live(console: Any, workspace: Any) -> None:
    workspace.module("talking", TALKING)
    window, _ = run_of(console, workspace, "Talking")
    page = window.page
    page.get_by_role("option", name=re.compile("line 1$")).wait_for()
    assert page.get_by_role("checkbox", name="Follow").is_checked()
    page.get_by_role("button", name="Cancel").wait_for()
    workspace.file("go")
    page.get_by_role("option", name=re.compile("Run of talking succeeded")).wait_for()
    page.get_by_role("option", name=re.compile("line 499$")).wait_for()
    page.get_by_role("option", name=re.compile("line 1$")).wait_for(state="detached")  # it stands at the end
    page.get_by_role("checkbox", name="Follow").wait_for(state="detached")
    assert window.told == []


def test_a_run_is_looked_through_with_the_keyboard(console: Any, workspace: Any) -> None:
    workspace.module("delays", DELAYS.replace("DIVISOR", "0"))
    window, _ = run_of(console, workspace, "Delays")
    page = window.page
    page.get_by_text("division by zero").first.wait_for()
    for key, tab in (("e", "Error"), ("d", "Data"), ("r", "Report"), ("i", "Details"), ("l", "Logs")):
        page.keyboard.press(key)
        page.get_by_role("tab", name=re.compile(tab), selected=True).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("mart")
    page.get_by_text(re.compile("^1 of")).wait_for()
    page.get_by_role("option").wait_for()  # of several it would complain
    page.keyboard.press("Enter")
    page.get_by_role("region", name=re.compile("^Line")).get_by_text("the mart is locked").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("forty days").wait_for()
    page.get_by_role("tab", name=re.compile("Logs")).focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("tab", name=re.compile("Data"), selected=True).wait_for()


def test_no_tab_has_a_serious_finding(console: Any, workspace: Any) -> None:
    workspace.module("delays", DELAYS.replace("DIVISOR", "0"))
    window, _ = run_of(console, workspace, "Delays")
    page = window.page
    page.get_by_text("division by zero").first.wait_for()
    page.get_by_role("row", name="Read Day").click()
    page.keyboard.press("ArrowRight")
    page.get_by_role("row", name=re.compile("^Item 5")).wait_for()
    page.keyboard.press("Escape")
    found = {}
    for tab, shown in (
        ("Logs", "forty days"),
        ("Data", "counts"),
        ("Error", "What now"),
        ("Report", "Delays by carrier"),
        ("Details", "Parameters"),
    ):
        page.get_by_role("tab", name=re.compile(tab)).click()
        page.get_by_role("tabpanel").get_by_text(shown).first.wait_for()
        found[tab] = findings(page)
    assert found == {tab: [] for tab in found}
