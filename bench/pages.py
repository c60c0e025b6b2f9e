"""Rows about the console: how soon a page of what is large shows its first rows in a browser that was there before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench.api import daemon
from bench.browsing import CHROMIUM, chromium, open_page
from bench.large import TABLE, make_large
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from flowstead.client.finding import find_daemon
from flowstead.daemon.console import is_built
from flowstead.model.home import home

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_TABLE = "<!doctype html><table>{}</table>"
_ROW = "<tr>" + "<td>a cell of a row</td>" * 7 + "</tr>"


def large_pages(setting: Setting) -> Samples:
    if CHROMIUM is None or not is_built():
        raise RuntimeError("There is no Chromium, or the console is not built: npm run build --prefix web")
    runs, steps = setting.size(100_000, 2000), setting.size(1000, 100)
    lines, rows = setting.size(1_000_000, 20_000), setting.size(12_000_000, 300_000)
    large = make_large(setting.folder / "workspace", home(), runs=runs, steps=steps, lines=lines, rows=rows)
    plain = _plain(setting.folder / "plain.html")
    with daemon() as machine, chromium() as browser:
        key = machine.open(large.layout.root)["workspace"]
        info = find_daemon(home())
        assert info is not None
        with browser.new_context(viewport={"width": 1360, "height": 820}) as context:
            page = context.new_page()
            page.goto(info.url + machine.launch_path())
            workspace = f"{info.url}/w/{key}"
            pages = {
                "": page.get_by_role("main").get_by_role("link").nth(4),
                "/runs": page.get_by_role("grid", name="Runs").get_by_role("row").nth(2),
                f"/runs/{large.wide}": page.get_by_role("treegrid", name="Steps").get_by_role("row").nth(2),
                f"/runs/{large.long}?tab=logs": page.get_by_role("option").nth(2),
                f"/data?path={TABLE}": page.get_by_role("gridcell").nth(2),
            }
            while True:
                yield tuple(_opened(page, workspace + path, shown, plain) for path, shown in pages.items())


def _plain(path: Path) -> str:
    """A page of 40 rows, as a browser shows them without any script."""
    path.write_text(_TABLE.format(_ROW * 40), "utf-8")
    return path.as_uri()


def _opened(page: Page, url: str, shown: Locator, plain: str) -> Sample:
    took = open_page(page, url, shown).shown
    return Sample(took, open_page(page, plain, page.get_by_role("row").nth(2)).shown)


MEASUREMENTS = (
    Measurement(
        (
            Row("page-home", "the first page, 100 flows of 100,000 runs", "ms", "a page without script", Reach(1000)),
            Row("page-runs", "the page of 100,000 runs", "ms", "a page without script", Reach(1000)),
            Row("page-run", "the page of a run of 1,000 steps", "ms", "a page without script", Reach(1000)),
            Row("page-log", "the page of a log of 1,000,000 lines", "ms", "a page without script", Reach(1000)),
            Row("page-data", "the page of a 1 GB Parquet file", "ms", "a page without script", Reach(1000)),
        ),
        large_pages,
    ),
)
