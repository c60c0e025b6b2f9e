"""Files that are dropped on a flow: in place at once, run, and linked to their runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from axe import findings
from test_console_flow import INBOX, go

WHOLE = INBOX.replace("context.source.path.read_text()", "'everything'").replace(
    'mode="poll"', 'mode="poll", run_as="batch"'
)
DROP = """(files) => {
  const transfer = new DataTransfer();
  for (const [name, text] of files) transfer.items.add(new File([text], name));
  const target = document.querySelector("h1");
  const how = {dataTransfer: transfer, bubbles: true, cancelable: true};
  const tell = (kind) => target.dispatchEvent(new DragEvent(kind, how));
  tell("dragenter");
  window.held = () => { tell("dragover"); tell("drop"); };
}"""


def drop(page: Any, *files: tuple[str, str]) -> None:
    """Holds files over the page, which invites to drop them, and drops them."""
    page.evaluate(DROP, files)
    page.get_by_text("Drop to put them into inbox and run Read inbox").wait_for()
    page.evaluate("window.held()")


@pytest.mark.parametrize("automated", [True, False], ids=["the engine is on", "the engine is off"])
def test_dropped_files_run_and_lead_to_their_runs(console: Any, workspace: Any, machine: Any, automated: bool) -> None:
    workspace.module("read_inbox", INBOX.replace("1h", "1s"))
    workspace.file("inbox/.keep")
    window = console()
    if automated:
        window.page.get_by_role("button", name="Engine off").click()
        window.page.get_by_role("button", name="Engine on").wait_for()
    page = go(window, "read_inbox")
    drop(page, ("monday.txt", "one"), ("tuesday.txt", "two"))
    uploads = page.get_by_role("region", name="Uploads")
    uploads.get_by_text("2 of 2 files in place · 2 runs").wait_for()
    uploads.get_by_text("succeeded").nth(1).wait_for()
    assert (workspace.root / "inbox/monday.txt").read_text() == "one"
    uploads.get_by_role("link", name="tuesday.txt: its run").click()
    page.wait_for_url(re.compile("/runs/r_"))
    page.get_by_text("read two").first.wait_for()
    # What was dropped is still told when one comes back.
    page.go_back()
    page.get_by_role("region", name="Uploads").get_by_role("button", name="Clear").click()
    page.get_by_role("region", name="Uploads").wait_for(state="detached")
    assert window.told == []


def test_a_file_that_is_there_is_replaced_kept_or_skipped(console: Any, workspace: Any, tmp_path: Path) -> None:
    workspace.module("read_inbox", INBOX)
    for name in ("a.txt", "b.txt", "c.txt"):
        workspace.file(f"inbox/{name}", "old")
        (tmp_path / name).write_text("new")
    (tmp_path / "d.csv").write_text("new")
    page = go(console(), "read_inbox")
    page.get_by_label("Files to upload").set_input_files(
        [tmp_path / name for name in ("a.txt", "b.txt", "c.txt", "d.csv")]
    )
    page.get_by_role("button", name="Replace a.txt").click()
    page.get_by_role("button", name="Keep both of b.txt").click()
    page.get_by_role("button", name="Skip c.txt").click()
    uploads = page.get_by_role("region", name="Uploads")
    uploads.get_by_text("left out").wait_for()
    uploads.get_by_text("It reads .txt files.").wait_for()
    uploads.get_by_text("succeeded").nth(1).wait_for()
    assert findings(page) == []
    there = {path.name: path.read_text() for path in (workspace.root / "inbox").iterdir()}
    assert there == {"a.txt": "new", "b.txt": "old", "b (2).txt": "new", "c.txt": "old"}
    # Only what was dropped has run.
    page.get_by_role("tab", name="Source files").click()
    page.get_by_role("button", name="never run 2").wait_for()


def test_files_for_a_whole_folder_run_once(console: Any, workspace: Any) -> None:
    workspace.module("read_inbox", WHOLE)
    workspace.file("inbox/.keep")
    page = go(console(), "read_inbox")
    drop(page, ("a.txt", "one"), ("b.txt", "two"))
    uploads = page.get_by_role("region", name="Uploads")
    uploads.get_by_text("2 of 2 files in place · 1 run").wait_for()
    uploads.get_by_role("link", name="b.txt: its run").click()
    page.get_by_text("read everything").first.wait_for()


def test_a_flow_without_a_source_folder_takes_no_files(console: Any, workspace: Any) -> None:
    workspace.module("plain", "from flowstead import Flow\n\ndef build():\n    return Flow('A').step(print)\n")
    page = go(console(), "plain")
    page.evaluate(DROP, [["a.txt", "one"]])
    page.get_by_text("reads no source folder").wait_for()
    page.evaluate("window.held()")
    page.get_by_text("reads no source folder").wait_for(state="detached")
    assert page.get_by_role("region", name="Uploads").count() == 0
    assert page.get_by_role("button", name="Upload files…").count() == 0
