"""The guides, read in the console without a network."""

from __future__ import annotations

import re
from typing import Any

from axe import findings


def test_guides_are_read_and_lead_to_each_other(console: Any) -> None:
    window = console()
    page = window.page
    page.get_by_role("link", name="Docs").click()
    guides = page.get_by_role("navigation", name="Guides")
    page.get_by_role("heading", name="Writing flows", level=1).wait_for()
    # A heading of the page, from its contents.
    page.get_by_role("navigation", name="On this page").get_by_role("link", name="Checkpoints").click()
    page.wait_for_url(re.compile("#checkpoints$"))
    page.wait_for_function("document.activeElement.id === 'checkpoints'")
    # A heading of another guide, from a link in the text.
    guides.get_by_role("link", name="Commands").click()
    page.get_by_role("heading", name="Commands", level=1).wait_for()
    page.locator("article").get_by_role("link", name="Environments").last.click()
    page.wait_for_url(re.compile("/docs/environments"))
    page.get_by_role("heading", name="Environments", level=1).wait_for()
    page.locator("article pre .code-string").first.wait_for()
    assert window.told == []
    assert {url.split("/")[2] for url in window.asked} == {window.url.split("/")[2]}, "nobody else is asked"


def test_guides_are_searched(console: Any) -> None:
    page = console().page
    page.get_by_role("link", name="Docs").click()
    page.get_by_role("heading", level=1).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("waypoint checkpoint")
    found = page.get_by_role("region", name="Found")
    found.get_by_text("with “waypoint checkpoint”").wait_for()
    found.get_by_role("link", name=re.compile("Checkpoints|Steps")).first.click()
    page.wait_for_url(re.compile("/docs/authoring#"))
    # The section that was found has the focus once it is shown.
    page.wait_for_function("() => decodeURIComponent(location.hash.slice(1)) === document.activeElement.id")
    page.get_by_role("searchbox", name="Search the guides").fill("no guide has these words")
    page.get_by_text("No guide says").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("heading", name="Writing flows", level=1).wait_for()


def test_what_is_found_is_listed_once_every_guide_is_here(console: Any) -> None:
    page = console().page
    held: list[Any] = []
    page.route(re.compile("/api/v1/guides/architecture$"), lambda route: held.append(route))
    page.get_by_role("link", name="Docs").click()
    page.get_by_role("searchbox", name="Search the guides").fill("lease")
    found = page.get_by_role("region", name="Found")
    page.wait_for_function("() => performance.getEntriesByName(`${location.origin}/api/v1/guides/workspaces`).length")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert found.get_by_role("link").count() == 0, "a place that comes later would move the others"
    held[0].continue_()
    found.get_by_text("with “lease”").wait_for()
    assert found.get_by_role("link").count() > 1


def test_the_guides_have_no_serious_finding(console: Any) -> None:
    page = console().page
    page.get_by_role("link", name="Docs").click()
    page.locator("article .code-keyword").first.wait_for()
    found = {"guide": findings(page)}
    page.get_by_role("searchbox", name="Search the guides").fill("flow")
    page.get_by_role("region", name="Found").get_by_role("link").first.wait_for()
    found["search"] = findings(page)
    assert found == {"guide": [], "search": []}
