"""The list of runs: its filters, its keys, what is done with many at once, and that it keeps still."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe import findings
from consoles import owned_by_another, run_to_its_end

PLAIN = """
from flowstead import Flow

def work(context):
    context.summary = "plain"

def build():
    return Flow("Plain work").step(work)
"""


@pytest.fixture
def runs(console: Any, workspace: Any, machine: Any) -> Any:
    """A window on the runs of two flows, three of which failed."""
    workspace.module("plain", PLAIN)
    workspace.module("failing", PLAIN.replace('context.summary = "plain"', 'raise ValueError("no such month")'))

    def opened(query: str = "") -> Any:
        window = console()
        window.page.get_by_role("main").wait_for()
        base = window.page.url.rstrip("/")
        window.start = lambda flow: window.page.evaluate(
            """async ([address, flow]) => {
                const answer = await fetch(`/api/v1/workspaces/${address}/flows/${flow}/start`, {
                    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({new: true})
                });
                if (!answer.ok) throw new Error(await answer.text());
            }""",
            [base.rsplit("/", 1)[-1], flow],
        )
        for flow in ("plain", "failing", "failing", "plain", "failing"):
            window.start(flow)
        window.page.goto(f"{base}/runs{query}")
        return window

    return opened


def test_filters_are_in_the_address(runs: Any) -> None:
    page = runs(query="?status=failed").page
    page.get_by_text("3 runs that fit").wait_for()
    page.get_by_role("row", name=re.compile("failed.*no such month")).nth(2).wait_for()
    page.get_by_role("combobox", name="Flow").click()
    page.get_by_role("option", name="Plain").click()
    page.wait_for_url(re.compile("flow="))
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_text("5 runs", exact=True).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("plain")
    page.wait_for_url(re.compile("text=plain"))
    page.get_by_text("2 runs that fit").wait_for()
    page.goto(page.url.split("?")[0] + "?when=7d&status=succeeded,failed")
    page.get_by_text("5 runs that fit").wait_for()
    page.goto(page.url.split("?")[0] + "?when=2013-01-01")
    page.get_by_text("Nothing ran that fits").wait_for()


def test_the_keys_choose_and_open(runs: Any) -> None:
    page = runs().page
    page.get_by_text("5 runs", exact=True).wait_for()
    page.get_by_role("row", name=re.compile("failed")).nth(2).wait_for()
    page.get_by_role("grid").focus()
    page.keyboard.press("x")
    page.get_by_text("1 run chosen").wait_for()
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+J")
    page.get_by_text("3 runs chosen").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("5 runs", exact=True).wait_for()
    page.keyboard.press("a")
    page.get_by_text("All 5 runs chosen").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/runs/r_"))


def test_many_are_retried_at_once(runs: Any, workspace: Any) -> None:
    page = runs().page
    page.get_by_role("row", name=re.compile("failed")).nth(2).wait_for()
    workspace.module("failing", PLAIN.replace("plain", "mended"))
    page.goto(page.url + "?status=failed")
    page.get_by_role("row", name=re.compile("failed")).nth(2).wait_for()
    page.get_by_role("grid").focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowDown")
    page.get_by_role("button", name="Retry 2").click()
    page.get_by_text("2 runs started again").wait_for()
    page.mouse.move(2, 2)  # over the list, it would keep still and only offer what is new
    page.goto(page.url.split("?")[0] + "?trigger=retry&status=succeeded")
    page.get_by_text("2 runs that fit").wait_for()


def test_many_are_cancelled_at_once(runs: Any, workspace: Any) -> None:
    waits = """
    import time

    while True:
        context.check_cancelled()
        time.sleep(0.01)"""
    workspace.module("plain", PLAIN.replace('context.summary = "plain"', waits.strip()))
    page = runs().page
    page.get_by_text("5 runs", exact=True).wait_for()
    page.get_by_role("row", name=re.compile("running.*Plain")).wait_for()
    page.get_by_role("row", name=re.compile("queued")).nth(3).wait_for()  # flows of one group take turns
    page.get_by_role("grid").focus()
    page.keyboard.press("a")
    page.get_by_role("button", name="Cancel those still open").click()
    page.get_by_text("5 runs cancelled").wait_for()
    page.mouse.move(2, 2)
    page.goto(page.url + "?status=cancelled")
    page.get_by_text("5 runs that fit").wait_for()
    page.get_by_role("row", name=re.compile("cancelled.*Plain")).nth(1).wait_for()


def test_an_observer_chooses_and_changes_nothing(runs: Any, workspace: Any, machine: Any) -> None:
    page = runs().page
    page.get_by_role("row", name=re.compile("failed")).nth(2).wait_for()
    with machine.client(machine.open(workspace.root)["workspace"]) as client:
        client.release()
    owned_by_another(workspace)
    page.get_by_text("watching · owned by DESK-07").wait_for()
    page.get_by_role("row", name=re.compile("failed")).first.get_by_role("checkbox").check()
    assert page.get_by_role("button", name="Retry 1").is_disabled()
    page.get_by_role("row", name=re.compile("failed")).first.get_by_role("link").first.click()
    page.get_by_text("no such month").first.wait_for()
    offered = page.get_by_role("button", name=re.compile("^Retry")).all()
    assert offered and all(each.is_disabled() for each in offered)
    assert "DESK-07" in (offered[0].get_attribute("title") or "")
    page.keyboard.press("Control+k")
    page.get_by_role("textbox", name="Find a flow or a run, or do something").fill("plain")
    page.get_by_role("option", name=re.compile("Plain")).first.wait_for()
    assert page.get_by_role("option", name=re.compile("^Run Plain")).count() == 0
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Home", exact=True).click()
    assert page.get_by_role("button", name="Retry Failing").is_disabled()
    assert page.get_by_role("button", name="Engine off").is_disabled()


def test_an_answer_that_news_has_overtaken_is_asked_for_again(console: Any, workspace: Any, machine: Any) -> None:
    workspace.module("plain", PLAIN)
    page = console().page
    page.get_by_text("0 runs in 7 days").wait_for()
    late: list[Any] = []

    def overtaken(asked: Any) -> None:
        if late:
            asked.continue_()
            return
        answer = asked.fetch()
        run_to_its_end(machine, workspace, "plain")
        late.append(lambda: asked.fulfill(response=answer))

    page.route(re.compile(r"/runs[?].*count=true"), overtaken)
    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_text("1 run in 7 days").wait_for()
    late[0]()
    page.get_by_role("row", name=re.compile("succeeded.*Plain")).wait_for()


def test_rows_keep_their_place_while_somebody_looks(runs: Any) -> None:
    window = runs()
    page = window.page
    page.get_by_text("5 runs", exact=True).wait_for()
    rows = page.get_by_role("row")
    rows.nth(2).hover()
    before = rows.nth(2).inner_text().split()[-1]
    window.start("plain")
    window.start("plain")
    page.get_by_role("button", name="2 new").wait_for()
    assert rows.nth(2).inner_text().split()[-1] == before
    page.get_by_role("button", name="2 new").hover()
    assert page.get_by_text("5 runs", exact=True).is_visible(), "what leads to the button moves nothing either"
    page.get_by_role("button", name="2 new").click()
    page.get_by_text("7 runs", exact=True).wait_for()
    # Nobody looks: what comes is shown.
    page.mouse.move(2, 2)
    page.get_by_role("grid").blur()
    window.start("plain")
    page.get_by_text("8 runs", exact=True).wait_for()
    assert window.told == []


def test_the_list_has_no_serious_finding(runs: Any) -> None:
    page = runs().page
    page.get_by_role("row", name=re.compile("failed")).first.wait_for()
    assert findings(page) == []
    page.get_by_role("grid").focus()
    page.keyboard.press("x")
    page.get_by_text("1 run chosen").wait_for()
    assert findings(page) == []
