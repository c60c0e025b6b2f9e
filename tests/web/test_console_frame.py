"""What surrounds every page: palette, keys, how it looks, and whether the daemon is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psutil
from axe import findings
from consoles import run_to_its_end

from flowstead.client.finding import daemon_pid
from flowstead.client.launching import start_daemon

SUMS = """
from flowstead import Flow

def numbers(context):
    return [1, 2, 3]

def add(context):
    context.summary = f"the sum is {sum(context.current)}"

def build():
    return Flow("Sums").step(numbers).step(add)
"""


def kill_daemon(home: Path) -> None:
    pid = daemon_pid(home)
    assert pid is not None
    process = psutil.Process(pid)
    process.kill()
    process.wait(60)  # a page hears of it as soon as its connection is cut, a moment before the daemon's lock is free


def test_the_palette_finds_and_does(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").wait_for()
    page.keyboard.press("Control+k")
    asked = page.get_by_role("textbox", name="Find a flow or a run, or do something")
    assert findings(page) == []
    asked.fill("run sums")
    page.get_by_role("option", name="Run Sums").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("the sum is 6").first.wait_for()
    page.keyboard.press("Control+k")
    asked.fill("the sum")
    page.get_by_role("option", name=re.compile("the sum is 6")).wait_for()
    asked.fill("nothing is called like this")
    page.get_by_text("Nothing is called that").wait_for()
    page.keyboard.press("Escape")
    asked.wait_for(state="detached")


def test_keys_lead_to_every_page(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").wait_for()
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("These keys").wait_for()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    for letter, name in {"r": "Runs", "a": "Activity", "s": "Settings", "o": "Docs", "h": "Home"}.items():
        page.keyboard.press("g")
        page.keyboard.press(letter)
        page.get_by_role("link", name=name, exact=True).and_(page.locator("[aria-current=page]")).wait_for()
        page.wait_for_function(f"document.title.startsWith('{name} ·')")


def test_how_it_looks_is_kept(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").wait_for()
    row = "document.querySelector('table.rows tr').getBoundingClientRect().height"
    compact = page.evaluate(row)
    page.get_by_role("button", name=re.compile("^Density: compact")).click()
    page.get_by_role("button", name=re.compile("^Colours: auto")).click()
    page.get_by_role("button", name=re.compile("^Colours: light")).click()
    page.reload()
    page.get_by_role("button", name=re.compile("^Density: comfortable")).wait_for()
    page.get_by_role("button", name="Run Sums").wait_for()
    assert page.evaluate(row) > compact
    assert page.evaluate("document.documentElement.dataset.mantineColorScheme") == "dark"
    # On a small screen, too, it is said when a flow runs.
    page.set_viewport_size({"width": 1024, "height": 700})
    said = page.get_by_role("cell", name="by hand")
    assert said.evaluate("cell => cell.scrollWidth <= cell.clientWidth")


def test_the_daemon_goes_and_comes_back(console: Any, workspace: Any, home: Path) -> None:
    workspace.module("sums", SUMS)
    window = console()
    page = window.page
    page.get_by_text("● live").wait_for()
    page.get_by_role("link", name="Sums").wait_for()
    kill_daemon(home)
    page.get_by_text("The daemon is away").wait_for()
    assert page.get_by_role("link", name="Sums").is_visible(), "what was shown stays"
    start_daemon(home)
    page.get_by_text("The daemon is away").wait_for(state="detached")
    page.get_by_text("● live").wait_for()
    # Changes come again, without a reload.
    page.get_by_role("button", name="Run Sums").click()
    page.get_by_text("the sum is 6").first.wait_for()


def test_after_a_sleep_the_stream_is_read_anew(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    window = console()
    page = window.page
    page.clock.install()
    page.reload()
    page.get_by_text("● live").wait_for()
    page.get_by_role("button", name="Run Sums").click()
    page.get_by_text("the sum is 6").first.wait_for()
    # A machine that slept has a dead connection that does not say so; only its clock tells.
    with page.expect_request(re.compile(r"/events\?.*after=[1-9]")):
        page.clock.fast_forward("10:00")
    page.get_by_text("● live").wait_for()
    assert page.get_by_text("The daemon is away").count() == 0


def test_a_state_that_was_seen_before_a_break_is_not_shown_after_it(console: Any, workspace: Any, home: Path) -> None:
    workspace.module(
        "sums",
        SUMS.replace("return [1, 2, 3]", "__import__('time').sleep(600)").replace(
            'Flow("Sums")', 'Flow("Sums", resume="never")'
        ),
    )
    page = console().page
    page.get_by_role("button", name="Run Sums").click()
    page.wait_for_url(re.compile("/runs/r_"))
    facts = page.locator(".run-facts")
    facts.get_by_text("running", exact=True).wait_for()
    kill_daemon(home)
    page.get_by_text("The daemon is away").wait_for()
    # The next daemon knows nothing of the changes before it: the page begins anew.
    page.route("**/events?*", lambda route: route.fulfill(status=410), times=1)
    start_daemon(home)
    page.get_by_text("The daemon is away").wait_for(state="detached")
    facts.get_by_text("interrupted", exact=True).wait_for()


def test_tabs_share_one_stream(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    window = console()
    window.page.get_by_text("● live").wait_for()
    other = window.context.new_page()
    streams: list[str] = []
    other.on("request", lambda request: streams.append(request.url) if "/events" in request.url else None)
    other.goto(window.page.url)
    other.get_by_text("● live").wait_for()
    window.page.get_by_role("button", name="Run Sums").click()
    other.get_by_role("link", name=re.compile("just now|s ago")).wait_for()
    assert streams == []
    # The one that reads goes, and the other goes on.
    window.page.close()
    other.get_by_role("button", name="Run Sums").click()
    other.get_by_text("the sum is 6").first.wait_for()
    assert len(streams) == 1


def test_what_happens_between_two_streams_is_shown(console: Any, workspace: Any, machine: Any) -> None:
    workspace.module("sums", SUMS)
    window = console()
    window.page.get_by_text("● live").wait_for()

    def sums_run_meanwhile(stream: Any) -> None:
        run_to_its_end(machine, workspace, "sums")
        stream.continue_()

    other = window.context.new_page()
    other.route(re.compile("/events"), sums_run_meanwhile)
    other.goto(window.page.url.rstrip("/") + "/runs")
    other.get_by_text("Nothing has run here yet").wait_for()
    other.get_by_text("● live").wait_for()
    # Now it has to read the stream itself, and what happens before that one begins is told by none.
    window.page.close()
    other.get_by_role("row", name=re.compile("succeeded.*the sum is 6")).wait_for()


def test_an_address_without_a_page_names_three_places(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").wait_for()
    page.goto(page.url.rstrip("/") + "/flowz/sums")
    page.get_by_role("heading", name="There is nothing at this address").wait_for()
    assert page.locator("main").get_by_role("link").count() == 3
    page.get_by_role("link", name="the flow Sums").click()
    page.wait_for_url(re.compile("/flows/sums$"))


def test_a_session_that_has_ended_says_how_to_begin_another(console: Any, workspace: Any, home: Path) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_text("● live").wait_for()
    page.context.clear_cookies()
    kill_daemon(home)
    page.get_by_text("The daemon is away").wait_for()
    start_daemon(home)
    page.get_by_role("alert").get_by_text("flowstead web").wait_for()


def test_activity_tells_what_happens(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = console().page
    page.get_by_role("button", name="Run Sums").click()
    page.get_by_text("the sum is 6").first.wait_for()
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.get_by_role("log").get_by_text("Sums succeeded").wait_for()
    # What has happened is shown, also under a pointer that happens to be there when it comes.
    page.route("**/events?brief=true&after=*", lambda route: (page.get_by_role("log").hover(), route.continue_()))
    page.reload()
    page.get_by_role("log").get_by_text("Sums succeeded").wait_for()
    page.get_by_text("Steps", exact=True).click()
    page.get_by_role("log").get_by_text("Sums · Add").wait_for()
    assert findings(page) == []
    page.get_by_role("searchbox", name="Filter").fill("add")
    page.get_by_role("log").get_by_text("Sums succeeded").wait_for(state="detached")
    page.get_by_role("log").get_by_role("link", name="Sums · Add").click()
    page.wait_for_url(re.compile("/runs/r_"))
