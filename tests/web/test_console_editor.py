"""Flows, notebooks and configuration written in the console: checked, saved, and never lost to another writer."""

from __future__ import annotations

import json
import re
from typing import Any

from axe import findings
from consoles import owned_by_another

SUMS = """
from flowstead import Flow

def add(context):
    context.summary = "added"

def build():
    return Flow("Sums").step(add)
"""
MODULE = "flow_modules/sums.py"


def opened(window: Any, path: str) -> Any:
    """The editor's page with a file open; what it is typed into has the focus."""
    page = window.page
    page.get_by_role("link", name="Editor").click()
    page.get_by_role("navigation", name="Files").get_by_role("link", name=path.rpartition("/")[2]).click()
    page.get_by_role("region", name=path).wait_for()
    return page


def text_of(page: Any, path: str) -> Any:
    return page.get_by_role("textbox", name=f"Text of {path}")


def typed_at_end(page: Any, path: str, text: str) -> None:
    text_of(page, path).click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(text)


def test_a_mistake_shows_in_the_margin_and_saving_mends_it(console: Any, workspace: Any) -> None:
    module = workspace.module("sums", SUMS)
    window = console()
    page = opened(window, MODULE)
    page.get_by_text("No problems").wait_for()
    before = module.read_text()
    typed_at_end(page, MODULE, "FARES = pl.DataFrame()")
    problem = page.get_by_role("region", name="Problems").get_by_role(
        "button", name=re.compile("name 'pl' is not defined")
    )
    problem.wait_for()
    page.locator(".cm-lint-marker-error").wait_for()
    page.get_by_text("● not saved").wait_for()
    assert module.read_text() == before, "nothing is saved before somebody says so"
    assert page.get_by_role("button", name="Run", exact=True).is_disabled()
    # The list leads to the line.
    problem.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.insert_text("FARES = 3")
    page.get_by_text("No problems").wait_for()
    page.keyboard.press("Control+s")
    page.get_by_text(re.compile("^saved")).wait_for()
    assert module.read_text() == before + "FARES = 3"
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_url(re.compile("/runs/r_"))
    assert window.told == []


def test_what_is_not_saved_outlives_the_page(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    window = console()
    page = opened(window, MODULE)
    typed_at_end(page, MODULE, "# half a thought")
    page.get_by_text("● not saved").wait_for()
    page.get_by_role("link", name="Home").click()
    page.get_by_role("button", name="Run Sums").wait_for()
    page = opened(window, MODULE)
    page.get_by_text("# half a thought").wait_for()
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.get_by_text("# half a thought").wait_for()
    page.get_by_role("img", name="not saved").wait_for()


def test_two_writers_lose_nothing(console: Any, workspace: Any) -> None:
    module = workspace.module("sums", SUMS)
    page = opened(console(), MODULE)
    page.get_by_text("No problems").wait_for()
    # Without anything unsaved, what another program writes is simply there.
    module.write_text(SUMS.replace("added", "added by another editor"))
    page.get_by_text("added by another editor").wait_for()
    typed_at_end(page, MODULE, "# mine\n")
    module.write_text(SUMS.replace("added", "theirs"))
    page.get_by_text("Somebody else changed this file").wait_for()
    page.keyboard.press("Control+s")
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="On the disk: theirs").get_by_text("theirs").wait_for()
    dialog.get_by_role("textbox", name="Yours").get_by_text("# mine").wait_for()
    assert "# mine" not in module.read_text()
    dialog.get_by_role("button", name="Take theirs").click()
    page.get_by_role("region", name=MODULE).get_by_text("theirs").wait_for()
    page.get_by_text("# mine").wait_for(state="detached")
    # What gave way is still there.
    page.get_by_role("button", name="Bring it back").click()
    page.get_by_text("# mine").wait_for()
    module.write_text(SUMS.replace("added", "theirs again"))
    page.get_by_role("button", name="Compare and decide").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep mine").click()
    page.get_by_text(re.compile("^saved")).wait_for()
    assert "# mine" in module.read_text() and "theirs again" not in module.read_text()
    page.get_by_text("Their version").wait_for()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_role("dialog").get_by_text("theirs again").wait_for()


def test_two_versions_are_merged_by_hand(console: Any, workspace: Any) -> None:
    module = workspace.file("config/limits.toml", "low = 1\nhigh = 2\n")
    page = opened(console(), "config/limits.toml")
    typed_at_end(page, "config/limits.toml", "mine = 3\n")
    module.write_text("low = 10\nhigh = 2\n")
    page.get_by_role("button", name="Compare and decide").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=re.compile("[Rr]evert")).first.click()
    dialog.get_by_role("button", name="Save what is on the right").click()
    page.get_by_text(re.compile("^saved")).wait_for()
    assert module.read_text() == "low = 10\nhigh = 2\nmine = 3\n"


def test_a_notebook_is_written_cell_by_cell(console: Any, workspace: Any) -> None:
    def cell(kind: str, name: str, source: str) -> dict[str, Any]:
        made: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}, "source": source}
        output = {"name": "stdout", "output_type": "stream", "text": ["kept\n"]}
        return made | ({"execution_count": 1, "outputs": [output]} if kind == "code" else {})

    cells = [
        cell("markdown", "title", "# All sums"),
        cell("code", "build", SUMS.strip()),
        cell("code", "odd", "LEFT = 1"),
    ]
    text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1)
    notebook = workspace.file("flow_modules/sums.ipynb", text)
    window = console()
    page = opened(window, "flow_modules/sums.ipynb")
    page.get_by_role("heading", name="All sums").wait_for()
    odd = page.get_by_role("textbox", name="Code cell 2")
    odd.click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(" / 0")
    page.locator("section", has=odd).locator(".cm-lint-marker-error").first.wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text("LEFT = 2")
    page.get_by_text("No problems").wait_for()
    page.get_by_role("button", name="Move Code cell 2 up").click()
    page.get_by_role("button", name="Add Markdown").click()
    page.get_by_role("textbox", name="Markdown cell at place 4").click()
    page.keyboard.insert_text("The end.")
    page.get_by_role("button", name="Save").click()
    page.get_by_text(re.compile("^saved")).wait_for()
    now = json.loads(notebook.read_text())["cells"]
    assert [(each["cell_type"], "".join(each["source"])) for each in now] == [
        ("markdown", "# All sums"),
        ("code", "LEFT = 2"),
        ("code", SUMS.strip()),
        ("markdown", "The end."),
    ]
    assert all(each["outputs"] for each in now if each["cell_type"] == "code"), "what they gave is kept"
    page.get_by_role("button", name="Delete Code cell 1").click()
    page.get_by_role("button", name="Bring the deleted cell back").click()
    page.get_by_text(re.compile("^saved")).wait_for()
    assert window.told == []


def test_files_are_made_renamed_and_deleted(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    page = opened(console(), MODULE)
    page.get_by_role("button", name="New").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill("sums")
    dialog.get_by_role("button", name="Create").click()
    dialog.get_by_text("There is a flow sums already").wait_for()
    dialog.get_by_role("textbox", name="Name").fill("products")
    dialog.get_by_role("button", name="Create").click()
    page.get_by_role("region", name="flow_modules/products.py").wait_for()
    page.get_by_text("No problems").wait_for()
    page.get_by_role("button", name="Rename").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Name").fill("quotients")
    page.get_by_role("dialog").get_by_role("button", name="Rename").click()
    page.get_by_role("region", name="flow_modules/quotients.py").wait_for()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.get_by_text("Choose a file on the left").wait_for()
    assert [path.name for path in workspace.flow_modules.glob("*.py")] == ["sums.py"]


def test_an_observer_reads_and_is_told_why(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS)
    owned_by_another(workspace)
    page = opened(console(), MODULE)
    page.get_by_text("Only to be read.").wait_for()
    page.get_by_text(re.compile("DESK-07")).last.wait_for()
    text_of(page, MODULE).click()
    page.keyboard.insert_text("x = 1")
    assert "x = 1" not in text_of(page, MODULE).inner_text()
    for name in ("New", "Save", "Rename", "Delete"):
        assert page.get_by_role("button", name=name, exact=True).count() == 0


def test_the_editor_has_no_serious_finding(console: Any, workspace: Any) -> None:
    workspace.module("sums", SUMS + "\n1 / 0\n")
    page = opened(console(), MODULE)
    page.locator(".cm-lint-marker-error").wait_for()
    found = {"a problem": findings(page)}
    typed_at_end(page, MODULE, "# mine\n")
    (workspace.flow_modules / "sums.py").write_text(SUMS)
    page.get_by_role("button", name="Compare and decide").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Yours").wait_for()
    found["a conflict"] = findings(page)
    assert found == {"a problem": [], "a conflict": []}
