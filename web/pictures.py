"""Pictures of every page of the console, light and dark, into docs/images: `uv run python -m web.pictures`.

Makes a home and the demo of its own, with a few more flows that fail, ask and take long, lets them run, and looks at
each page in the system's Chromium.
"""

from __future__ import annotations

import os
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.browsing import CHROMIUM, chromium
from flowstead.client import Client, MachineClient, connect
from flowstead.client.finding import transport_to
from flowstead.client.launching import start_daemon

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = Path(__file__).parents[1] / "docs" / "images"
SIZE = {"width": 1360, "height": 820}
MILLISECONDS_TO_SETTLE = 900
"""What is drawn at last is drawn after animations and fonts; nothing else tells that a page stands still."""

FLOWS = {
    "close_month": '''
        """Closes the books of a month."""

        from flowstead import Choice, Flow

        DESCRIPTION = "Closes the books of a month, carrier by carrier."


        def build():
            return (
                Flow("Reports")
                .ask("month", str, label="Month", default="2013-01")
                .ask("carrier", Choice("all", "AA", "DL", "UA"), label="Carrier", default="all")
                .ask("final", bool, label="Close it for good", default=False)
                .step(read_bookings, save_as="bookings")
                .step(check_totals, use="bookings", save_as="totals")
                .step(write_closing, use="totals")
            )


        def read_bookings(context):
            print(f"bookings of {context.params['month']}")
            return {"AA": 1210, "DL": 995, "UA": 1402}


        def check_totals(context):
            missing = [name for name in ("AA", "DL", "UA", "WN") if name not in context.current]
            if missing:
                raise ValueError(f"no bookings of {', '.join(missing)}")
            return sum(context.current.values())


        def write_closing(context):
            context.summary = f"{context.current:,} bookings"
    ''',
    "check_airports": '''
        """Looks up every airport, some of which answer slowly and some not at all."""

        import time
        from pathlib import Path

        from flowstead import Flow

        DESCRIPTION = "Asks every airport for its timetable."


        def build():
            return (
                Flow("Flights")
                .step(list_airports, save_as="airports")
                .map(ask_airport, use="airports", save_as="answers", workers=2, on_error="collect")
                .step(compare, use="answers")
            )


        def list_airports(context):
            lines = (Path(__file__).parents[1] / "databases/reference/airports.csv").read_text().splitlines()[1:241]
            print(len(lines), "airports")
            return [line.split(",")[0] for line in lines]


        def ask_airport(airport):
            time.sleep(0.2)
            if airport.startswith("A") and airport.endswith("K"):
                raise TimeoutError(f"{airport} did not answer within 0.2 s")
            print(airport, "answered")
            return airport


        def compare(context):
            answered = sum(result.ok for result in context.current)
            context.summary = f"{answered} of {len(context.current)} airports answered"
    ''',
    "seat_prices": '''
        # /// script
        # dependencies = ["numpy>=2", "scipy>=1.15"]
        # ///
        """What a seat would cost, in an environment of its own."""

        from flowstead import Flow

        DESCRIPTION = "What a seat would cost if every flight were full."


        def build():
            return Flow("Reports").step(fit_prices, save_as="prices")


        def fit_prices(context):
            import numpy as np
            from scipy.interpolate import CubicSpline

            miles = np.array([200, 500, 1000, 2500])
            prices = CubicSpline(miles, np.array([95, 130, 185, 320]))
            context.summary = f"a seat over 760 miles: {prices(760):.0f} dollars"
            return {int(each): float(prices(each)) for each in range(200, 2501, 100)}
    ''',
    "fares": '''
        """What seats cost."""

        from flowstead import Flow

        DESCRIPTION = "What seats cost, by route and day."
        FARES = pl.read_csv("fares.csv")


        def build():
            return Flow("Reports").step(read_fares)


        def read_fares(context):
            return FARES
    ''',
}


@dataclass(frozen=True)
class Shown:
    """A page to look at: its name, its address below the workspace, and what is awaited and done there first."""

    name: str
    path: str
    awaits: str
    clicks: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()


def pages(client: Client) -> list[Shown]:
    """Every page, of the runs that there are."""
    runs = {row["flow"]: row["id"] for row in reversed(client.runs(limit=200)["runs"])}
    report, failed, long = runs["delay_report"], runs["close_month"], runs["check_airports"]
    return [
        Shown("home", "", "table.flows"),
        Shown("flow", "flows/delay_report", "main h1"),
        Shown("flow-files", "flows/ingest_flights?tab=files", "main h1"),
        Shown("flow-versions", "flows/close_month?tab=versions", "main h1"),
        Shown("flow-form", "flows/close_month?run", "[role=dialog]"),
        Shown("flow-broken", "flows/fares", "main h1"),
        Shown("run", f"runs/{long}", "main h1"),
        Shown("run-error", f"runs/{failed}?tab=error", "main h1"),
        Shown("run-data", f"runs/{report}?tab=data", "main h1"),
        Shown("runs", "runs", "main [role=row], main tr"),
        Shown("data", "data", "main h1"),
        Shown("data-table", "data?path=databases/flights.duckdb&part=flight", "[role=grid] [role=gridcell]"),
        Shown("editor", "editor?path=flow_modules/fares.py", ".cm-content"),
        Shown("environments", "environments", "main h1"),
        Shown("activity", "activity?kinds=run,step,artifact,standing,engine", "[role=log]"),
        Shown("settings", "settings", "main h1"),
        Shown("docs", "docs/authoring", "main h1"),
        Shown("palette", "", "table.flows", keys=("Control+k",)),
        Shown("keys", "", "table.flows", keys=("?",)),
    ]


def main(chosen: list[str]) -> int:
    """Takes the pictures that are chosen by name, or all of them; returns the exit code."""
    if CHROMIUM is None:
        print("There is no Chromium on PATH, with which to look at the pages.", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="flowstead-pictures-", ignore_cleanup_errors=True) as folder:
        home, demo = Path(folder) / "home", Path(folder) / "claims-desk"
        # Nobody's own environments: the pictures show the same on each machine.
        os.environ.update(FLOWSTEAD_HOME=str(home), FLOWSTEAD_POOL_UV="2", FLOWSTEAD_POOL_CONDA="0")
        os.environ.pop("FLOWSTEAD_WORKSPACE", None)
        info = start_daemon(home)
        with MachineClient(transport_to(info, home)) as machine:
            try:
                with chromium() as browser:
                    for scheme in ("light", "dark"):
                        look(browser, info.url, machine, scheme, [Shown("welcome", "", "form")], "/", chosen)
                    workspace = machine.create_demo(demo)
                    live(demo / "flights")
                    with connect(demo / "flights") as client:
                        for scheme in ("light", "dark"):
                            look(
                                browser,
                                info.url,
                                machine,
                                scheme,
                                pages(client),
                                f"/w/{workspace['workspace']}/",
                                chosen,
                            )
            finally:
                machine.stop()
    return 0


def live(root: Path) -> None:
    """What a few days leave behind: runs that went well, failed, and one that is under way."""
    for name, text in FLOWS.items():
        (root / "flow_modules" / f"{name}.py").write_text(textwrap.dedent(text).lstrip(), "utf-8")
    with connect(root) as client:
        for _ in client.prepare("seat_prices"):
            pass  # how far it is
        for name in ("ingest_flights", "join_weather", "delay_report", "close_month", "route_lookup", "seat_prices"):
            ended(client, client.start(name))
        module = root / "flow_modules" / "close_month.py"
        module.write_text(module.read_text("utf-8").replace('"UA", "WN"', '"UA", "B6"'), "utf-8")
        ended(client, client.start("close_month"))
        ended(client, client.start("check_airports"))
        client.start("check_airports", new=True)
        client.engine_start()


def ended(client: Client, started: dict[str, Any]) -> None:
    """Waits until all of these runs have ended."""
    waited = {*started["started"], *started["resumed"]}
    events = client.events(after=started["after"])
    while waited:
        event = next(events)
        if event and event["kind"] == "run" and event["row"]["status"] in ("succeeded", "failed", "cancelled"):
            waited.discard(event["id"])


def look(
    browser: Any, url: str, machine: MachineClient, scheme: str, shown: list[Shown], below: str, chosen: list[str]
) -> None:
    """Signs in, and takes a picture of each page in this colour scheme."""
    wanted = [each for each in shown if not chosen or each.name in chosen]
    if not wanted:
        return
    context = browser.new_context(viewport=SIZE, color_scheme=scheme, reduced_motion="reduce")
    page: Page = context.new_page()
    page.goto(url + machine.launch_path())
    page.wait_for_selector("main")
    for each in wanted:
        page.goto(f"{url}{below}{each.path}".rstrip("/") + ("/" if below == "/" else ""))
        page.wait_for_selector(each.awaits)
        page.wait_for_timeout(MILLISECONDS_TO_SETTLE)
        for selector in each.clicks:
            page.click(selector)
        for key in each.keys:
            page.keyboard.press(key)
        if each.clicks or each.keys:
            page.wait_for_timeout(MILLISECONDS_TO_SETTLE)
        path = IMAGES / f"{each.name}-{scheme}.png"
        page.screenshot(path=path)
        print(path.relative_to(IMAGES.parents[1]), flush=True)
    context.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
