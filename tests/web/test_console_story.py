"""A person's day with the console, from an empty home on: each test goes through several pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe import findings

from flowstead.client import MachineClient
from flowstead.client.finding import transport_to
from flowstead.client.launching import start_daemon

LONG = """
from pathlib import Path
from flowstead import Flow

def days(context):
    return list(range(200))

def crunch(day):
    import time
    if day >= 40:
        while not Path("go").exists():
            time.sleep(0.01)
    return day

def add(context):
    context.summary = f"added {len(context.current)}"

def build():
    counted = Flow("Sums").step(days, save_as="days").map(crunch, use="days", save_as="done", workers=2)
    return counted.step(add, use="done")
"""


def test_the_demo_from_an_empty_home(windows: Any, machine: MachineClient, tmp_path: Path) -> None:
    window = windows(machine)
    page = window.page
    page.get_by_role("heading", name="A folder of Python flows").wait_for()
    assert findings(page) == []
    demo = page.get_by_role("form", name="See it work")
    demo.get_by_role("textbox", name="Folder").fill(str(tmp_path / "demo"))
    demo.get_by_role("button", name="Make the demo").click()
    page.get_by_text("Nothing ran here yet").wait_for()
    # What waits in the inbox runs by itself, and what comes of it, too; all of it is seen live.
    page.get_by_role("button", name="Engine off").click()
    page.get_by_text(re.compile(r"\d+ running")).wait_for()
    page.get_by_role("row", name=re.compile("succeeded Delay report.*ago|succeeded Delay report.*just now")).wait_for()
    page.get_by_role("row", name=re.compile("succeeded Delay report")).get_by_role(
        "link", name=re.compile("just now|ago")
    ).click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text(re.compile("27,004 flights")).first.wait_for()
    # The report's picture.
    page.get_by_role("tab", name=re.compile("Data")).click()
    picture = page.get_by_role("img", name=re.compile("delays"))
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    # The mart.
    page.goto(page.url.split("/runs/")[0] + "/data?path=databases/flights.duckdb")
    page.get_by_role("radiogroup", name="Table").get_by_text("flight", exact=True).click()
    page.get_by_text(re.compile("27,004 rows")).wait_for()
    page.get_by_role("columnheader").nth(2).wait_for()
    assert window.told == []


def test_a_long_map_is_cancelled_half_way_and_taken_up_again(console: Any, workspace: Any) -> None:
    workspace.module("sums", LONG)
    page = console().page
    page.get_by_role("button", name="Run Sums").click()
    page.wait_for_url(re.compile("/runs/r_"))
    first = page.url
    page.get_by_text(re.compile(r"40\s*/\s*200")).first.wait_for()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_text("cancelled").first.wait_for()
    workspace.file("flow_modules/go")
    page.get_by_role("button", name=re.compile("Retry from Crunch")).click()
    page.wait_for_url(lambda url: "/runs/r_" in url and url != first)
    page.get_by_text("added 200").first.wait_for()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[MachineClient]:
    """Another machine: a daemon in a home of its own."""
    home = tmp_path / "other"
    info = start_daemon(home)
    with MachineClient(transport_to(info, home)) as machine:
        machine.url = info.url  # type: ignore[attr-defined]
        yield machine
        machine.stop()


def test_control_passes_from_one_window_to_the_other(console: Any, workspace: Any, windows: Any, other: Any) -> None:
    workspace.module("sums", LONG)
    here = console().page
    here.get_by_role("button", name="Run Sums").click()
    here.get_by_text(re.compile(r"40\s*/\s*200")).first.wait_for()
    here.get_by_text("owned here").wait_for()
    other.open(workspace.root)
    there = windows(other).page
    there.get_by_text(re.compile("watching · owned by")).wait_for()
    # An observer starts nothing, and stops nothing either, once it sees what runs.
    assert there.get_by_role("button", name=re.compile("(Run|Stop) Sums")).is_disabled()
    there.get_by_role("button", name="Request control").click()
    there.get_by_role("button", name="Withdraw request").wait_for()
    here.get_by_text(re.compile("handing over to|asks for it")).wait_for()
    # What runs may finish; then the other one owns it.
    workspace.file("flow_modules/go")
    there.get_by_text("owned here").wait_for()
    here.get_by_text(re.compile("watching · owned by")).wait_for()
    there.get_by_role("button", name="Run Sums").click()
    there.wait_for_url(re.compile("/runs/r_"))
    there.get_by_text("added 200").first.wait_for()
    run = there.url.rpartition("/")[2]
    here.get_by_role("link", name="Home", exact=True).click()
    here.locator(f"a[href$='{run}']").get_by_text(re.compile("just now|ago")).wait_for()
    assert here.get_by_role("button", name="Run Sums").is_disabled()


SUMS = """
from flowstead import Flow

def numbers(context):
    print("numbers up to", context.params["most"])
    return list(range(1, context.params["most"] + 1))

def share(context):
    context.summary = f"one share is {sum(context.current) / context.params['people']:g}"

def build():
    return Flow("Sums").ask("most", int, default=3).ask("people", int, default=0).step(numbers).step(share)
"""


def test_a_flow_is_broken_and_mended_in_the_editor(console: Any, workspace: Any) -> None:
    module = workspace.module("sums", SUMS)
    window = console()
    page = window.page
    page.get_by_role("link", name="Sums", exact=True).click()
    page.get_by_role("tab", name="Source").click()
    page.locator("main").get_by_role("link", name=re.compile("editor", re.I)).first.click()
    text = page.get_by_role("textbox", name="Text of flow_modules/sums.py")
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text("FARES = pl.DataFrame()")
    page.locator(".cm-lint-marker-error").wait_for()
    page.keyboard.press("Control+s")
    page.get_by_text(re.compile("^saved")).wait_for()
    assert module.read_text().endswith("FARES = pl.DataFrame()")
    # Home says it, with the line, and leads back to it.
    page.get_by_role("link", name="Home", exact=True).click()
    needs = page.get_by_role("region", name="Needs you")
    needs.get_by_text(re.compile("name 'pl' is not defined")).wait_for()
    needs.get_by_role("link", name="Open").click()
    page.wait_for_url(re.compile(r"/editor\?path=.*line=12"))
    text.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Shift+Home")
    page.keyboard.press("Delete")
    page.get_by_text("No problems").wait_for()
    page.keyboard.press("Control+s")
    page.get_by_text(re.compile("^saved")).wait_for()
    page.get_by_role("link", name="Home", exact=True).click()
    page.get_by_role("button", name="Run Sums").wait_for()
    assert needs.count() == 0


def test_all_of_it_by_keyboard(console: Any, workspace: Any) -> None:
    """Finds a flow, runs it with parameters, opens its log, and retries a step, without a mouse."""
    module = workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").wait_for()
    keyboard = page.keyboard
    keyboard.press("Control+k")
    page.get_by_role("textbox", name="Find a flow or a run, or do something").wait_for()
    keyboard.type("run sums")
    page.get_by_role("option", name=re.compile("^Run Sums")).wait_for()
    keyboard.press("Enter")
    most = page.get_by_role("dialog").get_by_role("textbox", name=re.compile("^Most"))
    most.wait_for()
    page.wait_for_function("document.activeElement?.name === 'most'")
    keyboard.press("Control+a")
    keyboard.type("4")
    keyboard.press("Enter")
    page.wait_for_url(re.compile("/runs/r_"))
    first = page.url
    page.get_by_text("division by zero").first.wait_for()
    # The log: its tab, then its lines.
    focus_on(page, page.get_by_role("tab", selected=True))
    for _ in range(6):
        if page.get_by_role("tab", name=re.compile("^Logs")).get_attribute("aria-selected") == "true":
            break
        keyboard.press("ArrowLeft")
    page.get_by_text("numbers up to 4").wait_for()
    # With its line mended, only the step that failed runs again.
    module.write_text(module.read_text().replace("/ context.params['people']", "/ 2"))
    focus_on(page, page.get_by_role("button", name="Retry from Share").first)
    keyboard.press("Enter")
    page.wait_for_url(lambda url: "/runs/r_" in url and url != first)
    page.get_by_text("one share is 5").first.wait_for()


def focus_on(page: Any, target: Any) -> None:
    """Tab by tab, as a person would get there."""
    target.wait_for()
    page.keyboard.press("Home")
    for _ in range(120):
        if target.evaluate("each => each === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the keyboard does not lead there")
