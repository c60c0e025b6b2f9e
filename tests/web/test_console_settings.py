"""Settings seen, changed and reset in the console, and the switch that stops everything."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from axe import findings

WAITS = """
import time
from flowstead import Flow

def wait(context):
    while True:
        time.sleep(0.1)

def build():
    return Flow("Slow").step(wait, label="Wait for the moon")
"""


def settings_of(window: Any) -> Any:
    page = window.page
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("heading", name="Settings", level=1).wait_for()
    return page


def test_a_setting_is_changed_checked_and_reset(console: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    window = console()
    page = settings_of(window)
    slots = page.get_by_role("textbox", name="worker_slots")
    assert slots.input_value() == "0"
    slots.fill("2.5")
    page.get_by_text("A whole number is needed.").wait_for()
    slots.fill("4")
    slots.press("Enter")
    page.get_by_text("Saved. It counts once the workspace is opened anew.").wait_for()
    assert (home / "settings.toml").read_text() == "worker_slots = 4\n"
    # What somebody wrote into the file meanwhile is not overwritten.
    (home / "settings.toml").write_text("# mine\nworker_slots = 4\nretention_days = 7\n")
    pool = page.get_by_role("textbox", name="cancel_grace")
    pool.fill("12")
    pool.press("Enter")
    page.get_by_text("settings.toml was changed since it was read.").wait_for()
    assert page.get_by_role("textbox", name="retention_days").input_value() == "7"
    pool.press("Enter")
    page.get_by_text("Saved.").nth(1).wait_for()
    assert (
        "# mine" in (home / "settings.toml").read_text() and "cancel_grace = 12" in (home / "settings.toml").read_text()
    )
    page.get_by_role("button", name="Reset worker_slots to its default").click()
    page.get_by_role("button", name="Reset worker_slots to its default").wait_for(state="detached")
    assert slots.input_value() == "0"
    # What a variable says cannot be changed here.
    assert page.get_by_role("textbox", name="pool_uv", exact=True).is_disabled()
    page.get_by_text("FLOWSTEAD_POOL_UV").wait_for()
    page.get_by_role("searchbox", name="Find a setting").fill("retention")
    page.get_by_role("textbox", name="worker_slots").wait_for(state="detached")
    assert page.get_by_role("textbox").count() == 2


def test_the_kill_switch_says_what_is_lost_and_stops_the_workspace(console: Any, workspace: Any) -> None:
    workspace.module("slow", WAITS)
    page = console().page
    page.get_by_role("button", name="Run Slow").click()
    page.get_by_text("Wait for the moon").first.wait_for()
    page.get_by_role("link", name="Settings").click()
    page.get_by_role("button", name="Stop the workspace…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("1 run would be interrupted").wait_for()
    dialog.get_by_role("listitem").get_by_text("slow").wait_for()
    stop = dialog.get_by_role("button", name="Stop the workspace")
    assert stop.is_disabled()
    dialog.get_by_role("textbox", name=re.compile("^Type .* to go on")).fill(workspace.root.name)
    stop.click()
    dialog.get_by_text("1 worker ended.").wait_for()
    dialog.get_by_role("button", name="Open it again").click()
    page.get_by_text("interrupted").first.wait_for()


def test_the_daemon_is_stopped_after_a_second_step(console: Any, workspace: Any) -> None:
    page = settings_of(console())
    page.get_by_role("button", name="Stop the daemon…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Nothing is under way").wait_for()
    stop = dialog.get_by_role("button", name="Stop the daemon")
    assert stop.is_disabled()
    dialog.get_by_role("checkbox").check()
    stop.click()
    dialog.get_by_text("flowstead daemon start").wait_for()


def test_settings_have_no_serious_finding(console: Any) -> None:
    page = settings_of(console())
    found = {"settings": findings(page)}
    page.get_by_role("button", name="Stop the workspace…").click()
    page.get_by_text("Nothing is under way").wait_for()
    found["kill switch"] = findings(page)
    assert found == {"settings": [], "kill switch": []}
