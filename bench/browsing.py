"""Pages of the console in the system's Chromium: how soon they show something, what they ask for, how they scroll."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")

_PAINT = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
_RECORD = """
() => {
  const frames = [];
  const each = (at) => { frames.push(at); window.recorded === frames && requestAnimationFrame(each); };
  window.recorded = frames;
  requestAnimationFrame(each);
}
"""
_RECORDED = "() => { const frames = window.recorded; window.recorded = null; return frames; }"
_FRAME = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
_NODES = "() => document.querySelectorAll('*').length"


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's browser, without a window."""
    from playwright.sync_api import sync_playwright

    arguments = [*_QUIET, "--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Asked(NamedTuple):
    """One request of a page: what came of it so far, in bytes as they were sent."""

    path: str
    size: int


class Requests:
    """What a page asks the daemon for from now on, also what streams in without an end."""

    def __init__(self, page: Page) -> None:
        self._paths: dict[str, str] = {}
        self._sizes: dict[str, int] = {}
        self._session = page.context.new_cdp_session(page)
        self._session.on("Network.requestWillBeSent", self._sent)
        self._session.on("Network.dataReceived", self._received)
        self._session.send("Network.enable")

    def _sent(self, event: dict[str, Any]) -> None:
        self._paths[event["requestId"]] = event["request"]["url"].split("/", 3)[-1]

    def _received(self, event: dict[str, Any]) -> None:
        number = event["requestId"]
        self._sizes[number] = self._sizes.get(number, 0) + event["dataLength"]

    def of(self, part: str = "") -> list[Asked]:
        """Those whose address has this part."""
        return [Asked(path, self._sizes.get(key, 0)) for key, path in self._paths.items() if part in path]


class Opened(NamedTuple):
    """Milliseconds from the beginning of a navigation: to the first paint with content, and to what was waited for."""

    painted: float
    shown: float


def open_page(page: Page, url: str, shown: Locator) -> Opened:
    """Opens an address as if it was typed, and waits until `shown` is to be seen."""
    page.goto(url, wait_until="commit")
    shown.wait_for()
    took = page.evaluate("() => performance.now()")
    return Opened(page.evaluate(_PAINT), took)


class Scrolled(NamedTuple):
    """How long frames took while a page was scrolled, in milliseconds, and the most elements that it had."""

    frames: int
    median: float
    p95: float
    worst: float
    late: float
    """The share of frames that took longer than two of a screen's sixty a second."""
    nodes: int


def scroll(page: Page, view: Locator, screens: int) -> Scrolled:
    """Turns the wheel over `view`, most of a screen at a time, down and then half of it up again."""
    box = view.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + min(box["height"] / 2, 300))
    page.evaluate(_RECORD)
    nodes = 0
    for turn in range(screens + screens // 2):
        page.mouse.wheel(0, 600 if turn < screens else -600)
        page.evaluate(_FRAME)
        if turn % 5 == 0:
            nodes = max(nodes, page.evaluate(_NODES))
    at = page.evaluate(_RECORDED)
    took = sorted(after - before for before, after in pairwise(at))
    late = sum(each > 2 * 1000 / 60 for each in took) / len(took)
    return Scrolled(len(took), median(took), took[len(took) * 95 // 100], took[-1], late, nodes)
