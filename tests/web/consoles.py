"""Browser windows that are signed in to a daemon."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from flowstead.client import MachineClient
from flowstead.model.run import now_us
from flowstead.workspace.claims import Claim, Claims
from flowstead.workspace.machine import MachineIdentity
from flowstead.workspace.shared import SharedFolder

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def owned_by_another(workspace: Any) -> None:
    """Lets another workstation have claimed the workspace, which nobody owns: here it is only looked at."""
    claims = Claims(SharedFolder(workspace.root / ".workspace_state"))
    last = claims.listing(fresh=True).highest
    accepted, after = (claims.released(last) or 0, "release") if last else (0, "none")
    other = MachineIdentity("another", "DESK-07", "boot", "node")
    claim = Claim(last + 1, last + 1, other, "", "daemon", 7, "0.1.0", now_us(), "test", accepted, after, "token")
    assert claims.put(claim)


def run_to_its_end(machine: MachineClient, workspace: Any, flow: str) -> None:
    """Runs a flow without a page, and returns once it has succeeded."""
    with machine.client(machine.open(workspace.root)["workspace"]) as client:
        started = client.start(flow, new=True)
        for change in client.events(after=started["after"]):
            if change and change["kind"] == "run" and change["change"] == "succeeded":
                return


class Console:
    """A signed-in browser window; `told` is what the page complained of."""

    def __init__(self, browser: Browser, machine: MachineClient) -> None:
        self.url: str = machine.url  # type: ignore[attr-defined]
        self.told: list[str] = []
        self.context = browser.new_context(viewport={"width": 1360, "height": 820}, color_scheme="light")
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(60_000)  # nothing takes this long, but machines are held up now and then
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("console", lambda line: self.told.append(line.text) if line.type == "error" else None)
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(self.url + machine.launch_path())

    def seen(self) -> str:
        """The text of the page as it is now, and what the page complained of."""
        shown = "(it did not answer)"
        with suppress(Exception):
            shown = self.page.locator("body").inner_text(timeout=2_000)
        return "\n".join([shown, *self.told])

    def close(self) -> None:
        self.context.close()
