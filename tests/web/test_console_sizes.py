"""Pages of what is large show their first rows at once, scroll, and load no more than they show.

Times are measured and told, and never judged here: docs/performance.md says what they are to reach.
"""

from __future__ import annotations

import gzip
import re
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from bench.browsing import Opened, Requests, Scrolled, open_page, scroll
from bench.large import TABLE, Large, make_large
from flowstead.client import MachineClient
from flowstead.client.finding import daemon_pid, transport_to
from flowstead.client.launching import start_daemon

if TYPE_CHECKING:
    from playwright.sync_api import Page

RUNS, STEPS, LINES, ROWS = 100_000, 1_000, 1_000_000, 12_000_000
MOST_NODES = 6_000
MOST_ASKED = 1_500_000
"""Bytes that a page of a workspace of 100 flows may ask for until it stands, of all that there is."""
MOST_SCROLLED = 4_000_000
"""Bytes that it may ask for while it is scrolled."""
MOST_JAVASCRIPT = 300_000
HEAVY = {"CodeMirror": "cm-content", "uPlot": "u-over", "Markdown": "thematicBreak"}
"""What only the code of a library says."""


class Desk(NamedTuple):
    machine: MachineClient
    large: Large
    url: str


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> Iterator[Desk]:
    """A daemon with the large workspace open."""
    folder = tmp_path_factory.mktemp("large")
    home = folder / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWSTEAD_HOME", str(home))
        large = make_large(folder / "workspace", home, runs=RUNS, steps=STEPS, lines=LINES, rows=ROWS)
        info = start_daemon(home)
        with MachineClient(transport_to(info, home)) as machine:
            machine.url = info.url  # type: ignore[attr-defined]
            key = machine.open(large.layout.root)["workspace"]
            yield Desk(machine, large, f"{info.url}/w/{key}")
            machine.stop()
        while daemon_pid(home) is not None:  # it writes there until it has ended
            time.sleep(0.05)
    shutil.rmtree(folder)  # more than a gigabyte


@pytest.fixture
def window(desk: Desk, windows: Any) -> Any:
    """A window that is signed in and at rest, as a browser is in which someone then types an address."""
    window = windows(desk.machine)
    window.page.get_by_role("main").get_by_role("link").first.wait_for()
    window.page.goto("about:blank")
    return window


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[Opened, Scrolled], None]:
    """Puts on record how long a page took."""

    def measured(opened: Opened, scrolled: Scrolled) -> None:
        record_property(
            "measured",
            f"shown after {opened.shown:.0f} ms (reach 1,000), painted after {opened.painted:.0f} ms (reach 800); "
            f"{scrolled.frames} frames, median {scrolled.median:.1f} ms (reach 17), p95 {scrolled.p95:.1f} ms, "
            f"worst {scrolled.worst:.0f} ms, {scrolled.late:.0%} late; {scrolled.nodes} elements",
        )

    return measured


def size_of(requests: Requests) -> int:
    return sum(each.size for each in requests.of("api/"))


def test_the_first_javascript_is_small(desk: Desk, window: Any) -> None:
    page: Page = window.page
    requests = Requests(page)
    open_page(page, desk.url, page.get_by_role("main").get_by_role("link").first)
    texts = [page.request.get(f"{window.url}/{each.path}").body() for each in requests.of(".js")]
    assert texts
    assert sum(len(gzip.compress(text)) for text in texts) <= MOST_JAVASCRIPT
    assert [name for name, said in HEAVY.items() if any(said.encode() in text for text in texts)] == []


def test_a_hundred_thousand_runs(desk: Desk, window: Any, measured: Any) -> None:
    page: Page = window.page
    requests = Requests(page)
    rows = page.get_by_role("main").get_by_role("row")
    opened = open_page(page, f"{desk.url}/runs", rows.nth(2))
    page.get_by_text("100,000 runs").wait_for()
    rows.filter(has_text="Wide").wait_for()
    assert size_of(requests) < MOST_ASKED, requests.of("api/")
    scrolled = scroll(page, rows.nth(5), 60)
    measured(opened, scrolled)
    assert scrolled.nodes < MOST_NODES and size_of(requests) < MOST_ASKED + MOST_SCROLLED
    # The very last one is there at once, without all that is before it.
    page.get_by_role("grid", name="Runs").press("End")
    rows.filter(has_text=f"run 0 of {RUNS - 1}").wait_for()
    assert size_of(requests) < MOST_ASKED + MOST_SCROLLED and len(requests.of("/runs?")) < 40


def test_a_run_of_a_thousand_steps(desk: Desk, window: Any, measured: Any) -> None:
    page: Page = window.page
    requests = Requests(page)
    steps = page.get_by_role("treegrid", name="Steps")
    opened = open_page(page, f"{desk.url}/runs/{desk.large.wide}", steps.get_by_text("Part 3", exact=True))
    scrolled = scroll(page, steps, 40)
    measured(opened, scrolled)
    assert scrolled.nodes < MOST_NODES
    steps.press("End")
    steps.get_by_text(f"Part {STEPS - 1}", exact=True).wait_for()
    assert size_of(requests) < MOST_ASKED, requests.of("api/")


def test_a_log_of_a_million_lines(desk: Desk, window: Any, measured: Any) -> None:
    page: Page = window.page
    requests = Requests(page)
    log = page.get_by_role("listbox", name="Log lines")
    opened = open_page(page, f"{desk.url}/runs/{desk.large.long}?tab=logs", log.get_by_role("option").nth(5))
    log.press("Home")
    log.get_by_text("line 0:").wait_for()
    scrolled = scroll(page, log, 60)
    measured(opened, scrolled)
    assert scrolled.nodes < MOST_NODES
    log.press("End")
    log.get_by_text(f"line {LINES - 1}:").wait_for()
    assert size_of(requests) < MOST_ASKED + MOST_SCROLLED, requests.of("api/")


def test_a_table_of_a_gigabyte(desk: Desk, window: Any, measured: Any) -> None:
    page: Page = window.page
    requests = Requests(page)
    grid = page.get_by_role("grid")
    opened = open_page(page, f"{desk.url}/data?path={TABLE}", grid.get_by_role("gridcell").nth(3))
    scrolled = scroll(page, grid, 60)
    measured(opened, scrolled)
    assert scrolled.nodes < MOST_NODES
    grid.press("Control+End")
    last = grid.get_by_role("row").filter(has=page.get_by_role("rowheader", name=f"{ROWS:,}", exact=True))
    last.get_by_role("gridcell", name=re.compile(f"^({ROWS - 1}|{ROWS - 1:,})$")).wait_for()
    assert size_of(requests) < MOST_ASKED + MOST_SCROLLED, requests.of("api/")
