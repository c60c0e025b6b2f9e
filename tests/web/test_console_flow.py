"""A flow's page: its plan, its form, its versions, its files, and what is wrong with it."""

from __future__ import annotations

import re
from typing import Any

from axe import findings
from consoles import owned_by_another

PLAN = """
from datetime import date

from flowstead import Choice, Flow

DESCRIPTION = "Books what is open."


def open_items(context):
    return [1, 2, 3]


def book(context, item):
    return item * FACTOR


def total(context):
    context.summary = f"{sum(context.current)} for {context.params['region']}, {context.params['limit']} at most"


def letters(context):
    pass


def build():
    return (
        Flow("Reports", label="Close month")
        .ask("region", Choice("north", "south"), label="Region", default="north")
        .ask("limit", int, label="At most so many", default=100)
        .ask("key", str, label="Key of the bank", secret=True)
        .step(open_items, save_as="items")
        .map(book, use="items", workers=2, save_as="booked")
        .step(total)
        .step(letters, use="items", retries=2)
    )
"""

INBOX = """
from flowstead import Flow

def read(context):
    text = context.source.path.read_text()
    if "bad" in text:
        raise ValueError("this file is bad")
    context.summary = f"read {text}"

def build():
    flow = Flow("Files", label="Read inbox")
    return flow.watch(mode="poll", source="../inbox", interval="1h", extensions=[".txt"]).step(read)
"""


def go(window: Any, flow: str, query: str = "") -> Any:
    """The page of a flow, in the window's workspace."""
    page = window.page
    page.wait_for_url(re.compile(r"/w/[^/]+$"))
    page.goto(f"{page.url}/flows/{flow}{query}")
    page.get_by_role("heading", level=1).wait_for()
    return page


def run_through(window: Any, page: Any) -> None:
    """Runs Close month by its form, with a region and a key."""
    page.get_by_role("button", name="Run…", exact=True).click()
    dialog = page.get_by_role("dialog", name="Run Close month")
    dialog.get_by_label("Key of the bank").fill("s3cret")
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("6 for north, 100 at most").first.wait_for()


def test_the_plan_is_a_graph_with_durations_and_states(console: Any, workspace: Any) -> None:
    workspace.module("close_month", PLAN.replace("FACTOR", "1"))
    window = console()
    page = go(window, "close_month")
    steps = page.get_by_role("listbox", name="Steps").get_by_role("option")
    steps.nth(3).wait_for()
    assert [each.removesuffix("not run yet") for each in steps.all_text_contents()] == [
        "1 Open Items step",
        "2 Book map",
        "3 Total step",
        "4 Letters step",
    ]
    address = page.url
    run_through(window, page)
    page.goto(address)
    book = page.get_by_role("option", name=re.compile(r"^2 Book map succeeded [\d.]+ m?s$"))
    book.click()
    details = page.get_by_role("region", name="Step Book")
    details.get_by_text("2 at once").wait_for()
    details.get_by_text("3 of 3 items").wait_for()
    details.get_by_text("flow_modules/close_month.py:12").wait_for()
    assert "step=book" in page.url
    # By keyboard: Tab comes to the chosen step, arrows move along the order of the plan.
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.get_by_role("region", name="Step Letters").get_by_text("up to 2").wait_for()
    page.get_by_role("region", name="Step Letters").get_by_role("link", name="its log").click()
    page.wait_for_url(re.compile("/runs/r_.*step=letters"))
    assert window.told == []


SCHEDULES = {
    'cron="15 8 * * 1-5"': "every weekday 08:15",
    'cron="*/10 9-17 * * MON-FRI"': "every weekday, every 10 min from 09:00 to 17:59",
    'cron="30 6,18 * * *"': "every day 06:30 and 18:30",
    'cron="5 * * * *"': "every hour at :05",
    'cron="0 */4 * * 6,0"': "every Saturday and Sunday, every 4 h",
    'cron="0 7 1,15 * *"': "on the 1st and 15th of every month 07:00",
    'cron="0 7 2 1 *", timezone="Europe/Paris"': "on the 2nd of January 07:00 (Europe/Paris)",
    'cron="1-59/7 3 * * 2"': "by cron 1-59/7 3 * * 2",
    'time=["08:15", "14:45"]': "every day 08:15 and 14:45",
    'interval="90m"': "every 90 min",
}


def test_schedules_are_told_in_words(console: Any, workspace: Any) -> None:
    for number, watch in enumerate(SCHEDULES):
        workspace.module(
            f"flow_{number}",
            f"""
            from flowstead import Flow

            def build():
                return Flow("A", label="Flow {number}").watch(mode="schedule", {watch}, missed="skip").step(print)
            """,
        )
    window = console()
    page = window.page
    for number, words in enumerate(SCHEDULES.values()):
        page.get_by_role("row", name=f"Flow {number}").get_by_text(words).wait_for()
    page = go(window, "flow_0")
    page.get_by_text("every weekday 08:15, missed slots are skipped").wait_for()


def test_the_form_says_at_its_field_what_does_not_fit(console: Any, workspace: Any) -> None:
    workspace.module("close_month", PLAN.replace("FACTOR", "1"))
    window = console()
    page = go(window, "close_month")
    page.get_by_role("button", name="Run…", exact=True).press("Enter")
    dialog = page.get_by_role("dialog", name="Run Close month")
    dialog.get_by_label("At most so many").fill("many")
    dialog.get_by_role("button", name="Run", exact=True).click()
    dialog.get_by_text("Give a value.").wait_for()
    assert dialog.get_by_label("Key of the bank").evaluate("e => [document.activeElement === e, e.type]") == [
        True,
        "password",
    ]
    page.keyboard.type("s3cret")
    page.keyboard.press("Enter")
    dialog.get_by_text("'many' does not fit. Give a whole number, such as 7.").wait_for()
    dialog.get_by_label("At most so many").fill("7")
    region = dialog.get_by_role("combobox", name="Region")
    region.click()
    page.get_by_role("option", name="south").click()
    assert window.told == ["Failed to load resource: the server responded with a status of 400 (Bad Request)"]
    assert findings(page) == []
    dialog.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("6 for south, 7 at most").first.wait_for()


def test_files_by_what_became_of_them_and_one_is_run(console: Any, workspace: Any) -> None:
    workspace.module("read_inbox", INBOX)
    for name, text in (("a.txt", "one"), ("b.txt", "bad"), ("c.txt", "three")):
        workspace.file(f"inbox/{name}", text)
    window = console()
    page = go(window, "read_inbox", "?tab=files")
    page.get_by_role("button", name="never run 3").wait_for()
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs[?]flow=read_inbox"))
    page.go_back()
    page.get_by_role("button", name="failed 1").wait_for()
    page.get_by_role("button", name="fresh 2").click()
    page.get_by_role("row", name=re.compile("c.txt")).wait_for()
    page.get_by_role("row", name=re.compile("b.txt")).wait_for(state="detached")
    assert "state=fresh" in page.url
    # A filter of the address is there again after a reload; "/" goes to the text.
    page.reload()
    page.get_by_role("grid", name="Files").focus()
    page.keyboard.press("/")
    page.keyboard.type("a.t")
    page.get_by_role("row", name=re.compile("c.txt")).wait_for(state="detached")
    page.wait_for_url(re.compile("text=a.t"))
    page.get_by_role("button", name="All 3").click()
    page.keyboard.press("/")
    page.keyboard.press("Escape")
    # Nothing is due any more: the flow says so, and one file can be run all the same.
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("1 file failed before and did not change since.").wait_for()
    workspace.file("inbox/b.txt", "good now")
    page.get_by_role("button", name="Look again").click()
    page.get_by_role("button", name="changed 1").wait_for()
    page.get_by_role("button", name="Run b.txt").click()
    page.get_by_role("button", name="fresh 3").wait_for()
    page.get_by_role("grid", name="Files").focus()
    page.keyboard.press("Home")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("read good now").first.wait_for()
    assert window.told == []


def test_versions_differ_and_count_their_runs(console: Any, workspace: Any) -> None:
    workspace.module("close_month", PLAN.replace("FACTOR", "1"))
    window = console()
    page = go(window, "close_month")
    address = page.url
    run_through(window, page)
    workspace.module("close_month", PLAN.replace("FACTOR", "10"))
    page.goto(f"{address}?tab=versions")
    versions = page.get_by_role("radiogroup", name="Version")
    versions.get_by_text("not run yet").wait_for()
    versions.get_by_text("1 run").wait_for()
    changes = page.get_by_role("region", name="Changes")
    changes.get_by_text("return item * 10").wait_for()
    changes.get_by_text("return item * 1", exact=True).wait_for()
    versions.get_by_role("radio").nth(0).press("ArrowDown")
    page.wait_for_url(re.compile("version="))
    assert changes.get_by_label("Compared with").input_value()
    assert window.told == []


def test_a_broken_flow_shows_its_line_and_leads_to_the_editor(console: Any, workspace: Any) -> None:
    workspace.module("broken", "from flowstead import Flow\n\nTABLE = pl.DataFrame()\n")
    window = console()
    page = go(window, "broken")
    error = page.get_by_role("region", name="Error")
    error.get_by_role("alert").get_by_text("name 'pl' is not defined").wait_for()
    error.get_by_text("import polars as pl").wait_for()
    error.get_by_text("flow_modules/broken.py:3").wait_for()
    error.get_by_text("TABLE = pl.DataFrame()", exact=True).wait_for()
    assert page.get_by_role("button", name="Run", exact=True).is_disabled()
    error.get_by_role("link", name="Mend it in the editor").click()
    page.wait_for_url(re.compile(r"/editor\?path=flow_modules%2Fbroken.py&line=3"))
    assert window.told == []


def test_an_observer_looks_and_starts_nothing(console: Any, workspace: Any) -> None:
    workspace.module("close_month", PLAN.replace("FACTOR", "2"))
    workspace.module("read_inbox", INBOX)
    workspace.file("inbox/a.txt", "one")
    owned_by_another(workspace)
    window = console()
    page = go(window, "close_month")
    page.get_by_text(re.compile("watching · owned by DESK-07")).wait_for()
    page.get_by_text(re.compile("DESK-07")).last.wait_for()
    assert page.get_by_role("button", name="Run…", exact=True).is_disabled()
    page.get_by_role("tab", name="Source", exact=True).click()
    page.get_by_text("Books what is open.").last.wait_for()
    page.goto(page.url.replace("close_month", "read_inbox"))
    page.get_by_role("tab", name="Source files").click()
    page.get_by_text("a.txt").wait_for()
    assert page.get_by_role("button", name="Run", exact=True).first.is_disabled()
    assert page.get_by_role("button", name="Upload files…").is_disabled()
    assert findings(page) == []
    assert window.told == []


def test_no_view_of_a_flow_has_a_serious_finding(console: Any, workspace: Any) -> None:
    workspace.module("read_inbox", INBOX)
    workspace.module("broken", "x = 1 / 0\n")
    for name, text in (("a.txt", "one"), ("b.txt", "bad")):
        workspace.file(f"inbox/{name}", text)
    page = go(console(), "read_inbox")
    address = page.url
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs[?]flow=read_inbox"))
    found: dict[str, list[str]] = {}
    seen = {
        "plan": page.get_by_role("region", name="Step Read"),
        "source": page.get_by_text("context.source.path"),
        "versions": page.get_by_role("region", name="Changes"),
        "runs": page.get_by_text("this file is bad"),
        "files": page.get_by_role("button", name="failed 1"),
        "environment": page.get_by_text("has no script block"),
    }
    for tab, what in seen.items():
        page.goto(f"{address}?tab={tab}")
        what.first.wait_for()
        found[tab] = findings(page)
    page.goto(address.replace("read_inbox", "broken"))
    page.get_by_text("division by zero").first.wait_for()
    found["broken"] = findings(page)
    assert found == {view: [] for view in (*seen, "broken")}
