"""What a person does in the console, done in a real browser."""

from __future__ import annotations

import re
from typing import Any

from axe import findings

SUMS = """
from flowstead import Flow

DESCRIPTION = "Adds a few numbers."

def numbers(context):
    print("three of them")
    return [1, 2, 3]

def add(context):
    total = sum(context.current) / DIVISOR
    context.summary = f"the sum is {total:g}"

def build():
    return Flow("Sums").step(numbers).step(add)
"""


def test_a_flow_is_run_and_watched(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS.replace("DIVISOR", "1"))
    window = console()
    page = window.page
    page.get_by_role("button", name="Run Sums").click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("the sum is 6").wait_for()
    page.get_by_role("log").get_by_text("three of them").wait_for()
    # A step that is chosen leaves only its lines.
    page.get_by_role("row", name="Add").click()
    page.get_by_role("log").get_by_text("three of them").wait_for(state="detached")
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("row", name=re.compile("succeeded.*Sums")).wait_for()
    page.goto(page.url + "?status=failed")
    page.get_by_text("Nothing ran that fits").wait_for()
    assert window.told == []
    assert {url.split("/")[2] for url in window.asked} == {window.url.split("/")[2]}, "nobody else is asked"


def test_a_failure_shows_its_line_and_a_retry_leads_to_the_new_run(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS.replace("DIVISOR", "0"))
    page = console().page
    page.get_by_role("button", name="Run Sums").click()
    page.get_by_text("division by zero").first.wait_for()
    page.get_by_role("button", name="flow_modules/sums.py:10").wait_for()
    assert page.get_by_role("button", name="Cancel").count() == 0
    workspace.module("sums", SUMS.replace("DIVISOR", "2"))
    failed = page.url
    page.get_by_role("button", name="Retry from Add").first.click()
    page.wait_for_url(lambda url: "/runs/r_" in url and url != failed)
    page.get_by_text("the sum is 3").wait_for()


def test_without_a_session_there_is_no_console(console: Any, workspace: Any, browser: Any) -> None:
    workspace.module("sums", SUMS)
    window = console()
    with browser.new_context() as stranger:
        page = stranger.new_page()
        answer = page.goto(window.url)
        assert answer.status == 401


def test_no_page_has_a_serious_finding(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS.replace("DIVISOR", "0"))
    page = console().page
    found = {"home": findings(page)}
    page.get_by_role("button", name="Run Sums").click()
    page.get_by_text("division by zero").first.wait_for()
    found["run"] = findings(page)
    page.get_by_role("link", name="Runs").click()
    page.get_by_role("row").nth(1).wait_for()
    found["runs"] = findings(page)
    assert found == {"home": [], "run": [], "runs": []}
