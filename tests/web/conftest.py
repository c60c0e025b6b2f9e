"""The console in the system's Chromium, on a real daemon in a home of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from consoles import Console

from bench.browsing import CHROMIUM, chromium
from flowstead.client import MachineClient
from flowstead.client.finding import transport_to
from flowstead.client.launching import start_daemon
from flowstead.daemon.console import is_built
from flowstead.model.errors import DaemonLost, DaemonUnreachable

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    if not is_built():
        pytest.skip("the console is not built: Node.js 20.19 or later builds it")
    with chromium() as browser:
        yield browser


@pytest.fixture
def machine(home: Path) -> Iterator[MachineClient]:
    info = start_daemon(home)
    with MachineClient(transport_to(info, home)) as machine:
        machine.url = info.url  # type: ignore[attr-defined]
        yield machine
        with suppress(DaemonUnreachable, DaemonLost):  # a test may have stopped it
            machine.stop()


OPENED = pytest.StashKey[list[Console]]()


@pytest.fixture
def windows(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Opens signed-in windows of a machine's console; they close with the test."""
    opened = request.node.stash.setdefault(OPENED, [])

    def window(machine: MachineClient) -> Console:
        opened.append(Console(browser, machine))
        return opened[-1]

    yield window
    for each in opened:
        each.close()


@pytest.fixture
def console(windows: Any, machine: MachineClient, workspace: Any) -> Any:
    """Opens windows on the workspace."""

    def window() -> Console:
        machine.open(workspace.root)
        return windows(machine)

    return window


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells what the windows showed when a test failed."""
    report = yield
    if report.when == "call" and report.failed:
        for window in item.stash.get(OPENED, []):
            report.sections.append((f"Window on {window.page.url}", window.seen()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What tests measured, which no test judges: it depends on what else the machine does."""
    measured = [
        f"{report.nodeid.rpartition('::')[2]}: {what}"
        for report in terminalreporter.getreports("passed")
        for name, what in report.user_properties
        if name == "measured"
    ]
    if measured:
        terminalreporter.section("measured")
        for line in measured:
            terminalreporter.line(line)
