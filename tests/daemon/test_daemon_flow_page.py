"""One flow in detail: how long its steps take, what its versions said, and what became of its source files."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from looking import Looking
from serving import until

from flowstead.engine import source_looks
from flowstead.ledger.transaction import Fence, StepOutcome
from flowstead.model.errors import FlowBroken, FlowNotFound, UsageError
from flowstead.model.flow import FlowSpec
from flowstead.model.run import ENDED, RunRequest

FLOW = """
    from flowstead import Flow

    def build():
        flow = Flow("G").watch(mode="poll", source="../inbox", interval="1h", extensions=[".csv"])
        return flow.step(read).step(write)

    def read(context):
        if "bad" in context.source.path.name:
            raise ValueError("bad")

    def write(context):
        pass
"""


@pytest.fixture
def page(looking: Looking, workspace: Any) -> Looking:
    workspace.module("takes", FLOW)
    return looking


def run_all(page: Looking) -> None:
    for run_id in page.call("POST", "/flows/takes/start")["started"]:
        until(lambda run_id=run_id: page.host.reader.run(run_id).status in ENDED, "it has ended")


def states(page: Looking, **fields: Any) -> dict[str, str]:
    return {file["path"]: file["state"] for file in page.call("GET", "/flows/takes/sources", **fields)["files"]}


def test_each_source_file_shows_what_became_of_it(page: Looking, workspace: Any) -> None:
    for name in ("a.csv", "b.csv", "bad.csv", "sub/c.csv", "other.txt"):
        workspace.file(f"inbox/{name}", "1\n")
    assert states(page) == dict.fromkeys(("a.csv", "b.csv", "bad.csv", "sub/c.csv"), "never")
    run_all(page)
    workspace.file("inbox/b.csv", "1\n2\n")
    workspace.file("inbox/new.csv", "1\n")
    shown = page.call("GET", "/flows/takes/sources")
    assert {file["path"]: file["state"] for file in shown["files"]} == {
        "a.csv": "fresh",
        "b.csv": "changed",
        "bad.csv": "failed",
        "new.csv": "never",
        "sub/c.csv": "fresh",
    }
    assert (shown["total"], shown["next"], shown["problem"]) == (5, None, None)
    counts = {"fresh": 2, "changed": 1, "failed": 1, "never": 1, "queued": 0, "running": 0, "interrupted": 0}
    assert shown["counts"] == counts
    bad = next(file for file in shown["files"] if file["path"] == "bad.csv")
    assert page.host.reader.run(bad["run"]).source_path == "bad.csv" and bad["size"] == 2
    assert list(states(page, state="failed, changed")) == ["b.csv", "bad.csv"]
    assert list(states(page, text="SUB")) == ["sub/c.csv"]
    assert page.call("GET", "/flows/takes/sources", text="nothing")["counts"] == counts
    page.host.engine.dispatcher.hold()
    page.host.engine.ledger.write(
        lambda tx: [
            tx.enqueue(
                RunRequest(
                    flow="takes",
                    group="G",
                    version="v",
                    trigger="file",
                    source_root=page.host.layout.root_key(workspace.root / "inbox"),
                    source_path=path,
                )
            )
            for path in ("new.csv", "a.csv")
        ]
    )
    assert states(page)["new.csv"] == "queued" and states(page)["a.csv"] == "queued"


def test_pages_of_many_files_are_cut_from_one_look(
    page: Looking, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_looks, "WORTH_KEEPING", 100)
    (workspace.root / "inbox").mkdir()
    for n in range(150):
        (workspace.root / "inbox" / f"{n:03}.csv").write_bytes(b"1")
    (workspace.root / "inbox" / "é.csv").write_bytes(b"1")
    found: list[str] = []
    cursor = None
    while True:
        shown = page.call("GET", "/flows/takes/sources", limit=40, cursor=cursor)
        found += [file["path"] for file in shown["files"]]
        cursor = shown["next"]
        if cursor is None:
            break
        (workspace.root / "inbox" / f"late-{len(found)}.csv").write_bytes(b"1")
    assert found == [*(f"{n:03}.csv" for n in range(150)), "é.csv"]
    assert page.call("GET", "/flows/takes/sources")["total"] == 151
    assert page.call("GET", "/flows/takes/sources", again=True)["total"] == 154


def test_a_source_that_cannot_be_looked_at_says_why(page: Looking, workspace: Any) -> None:
    shown = page.call("GET", "/flows/takes/sources")
    assert shown["problem"]["code"] == "source-missing" and shown["files"] == []
    workspace.module(
        "none", "from flowstead import Flow\ndef build(): return Flow('G').step(go)\ndef go(context): pass\n"
    )
    shown = page.call("GET", "/flows/none/sources")
    assert (shown["source"], shown["problem"], shown["total"]) == (None, None, 0)
    workspace.module("broken", "def build(:\n")
    with pytest.raises(FlowBroken, match="broken"):
        page.call("GET", "/flows/broken/sources")
    with pytest.raises(FlowNotFound):
        page.call("GET", "/flows/absent/sources")
    for fields in ({"limit": 0}, {"state": "fresh,stale"}):
        with pytest.raises(UsageError):
            page.call("GET", "/flows/takes/sources", **fields)


def test_versions_are_kept_with_what_they_said(page: Looking, workspace: Any) -> None:
    workspace.file("inbox/a.csv", "1\n")
    (first,) = page.call("GET", "/flows/takes/versions")["versions"]
    assert first["current"] and first["runs"] == 0 and first["first_run_at"] is None and first["stored"]
    run_all(page)
    workspace.module("flow_helpers/names", "NAME = 1\n")
    workspace.module("takes", FLOW.replace("pass", "return 2"))
    workspace.file("inbox/b.csv", "1\n")
    run_all(page)
    answer = page.call("GET", "/flows/takes/versions")
    new, old = answer["versions"]
    assert (old["digest"], old["current"], old["runs"]) == (first["digest"], False, 1)
    assert new["current"] and new["runs"] == 1 and new["first_run_at"] > old["first_run_at"] and answer["runs_exact"]
    texts = page.call("GET", f"/flows/takes/versions/{new['digest']}")["texts"]
    assert [text["file"] for text in texts] == ["flow_modules/takes.py", "flow_modules/flow_helpers/names.py"]
    assert "return 2" in texts[0]["text"] and texts[1] == {**texts[1], "text": "NAME = 1\n", "cut": False}
    (text,) = page.call("GET", f"/flows/takes/versions/{old['digest']}")["texts"]
    assert "pass" in text["text"] and "return 2" not in text["text"]
    # So does one that nobody can read.
    workspace.module("takes", "nothing\n")
    page.call("GET", "/flows", again=True)
    (broken, *_) = page.call("GET", "/flows/takes/versions")["versions"]
    assert broken["current"] and broken["stored"]
    text, _ = page.call("GET", f"/flows/takes/versions/{broken['digest']}")["texts"]
    assert text["text"] == "nothing\n"
    # A flow whose module is gone keeps its history; one that never was has none.
    os.remove(workspace.flow_modules / "takes.py")
    gone = page.call("GET", "/flows/takes/versions")["versions"]
    assert [each["current"] for each in gone] == [False, False]
    with pytest.raises(FlowNotFound):
        page.call("GET", "/flows/absent/versions")
    for digest in ("absent", "..", "%2e", old["digest"][:-1]):
        with pytest.raises(FlowNotFound):
            page.call("GET", f"/flows/takes/versions/{digest}")
    with pytest.raises(FlowNotFound, match="is one of takes"):
        page.call("GET", f"/flows/other/versions/{old['digest']}")


def test_durations_are_those_of_the_last_runs_that_succeeded(page: Looking) -> None:
    assert page.call("GET", "/flows/takes/durations") == {"flow": "takes", "runs": 0, "run": None, "steps": []}
    steps = [
        {"index": n, "name": name, "label": name.title(), "kind": "step"} for n, name in enumerate(("read", "write"))
    ]
    plans = {
        "v1": FlowSpec.from_dict({"name": "takes", "group": "G", "label": "T", "steps": steps}),
        "v0": FlowSpec.from_dict({"name": "takes", "group": "G", "label": "T", "steps": steps[:1]}),
    }
    ledger = page.host.engine.ledger
    page.host.engine.dispatcher.hold()

    def record(version: str, status: str, *took: int) -> None:
        request = RunRequest(flow="takes", group="G", version=version, trigger="manual")
        fence = Fence(request.id, "t", 1_000_000)

        def write(tx: Any) -> None:
            tx.put_version(version, "takes", "G", json.dumps(plans[version].as_dict()))
            tx.enqueue(request)
            tx.claim(fence, "w", first_step=True)
            for step, each in enumerate(took):
                following = (step + 1, 1) if step + 1 < len(took) else None
                outcome = StepOutcome(step, 1, "succeeded", 1_000_000, 1_000_000 + each * 1000)
                assert tx.finish_step(fence, outcome, following=following)
            tx.end_run(fence, status)

        ledger.write(write)

    record("v1", "succeeded", 999, 999)
    for n in range(1, 50):
        record("v1", "succeeded", n, 2 * n)
    record("v0", "succeeded", 77_777)
    record("v1", "failed", 55_555, 55_555)
    record("v1", "succeeded", 25, 50)
    shown = page.call("GET", "/flows/takes/durations")
    # Fifty runs are measured: neither the failed one, nor the oldest two; the other plan's steps are others.
    assert shown["runs"] == 50 and shown["run"]["count"] == 50
    read, write = (step["took"] for step in shown["steps"])
    assert (read["count"], read["median_ms"], read["longest_ms"]) == (49, 25.0, 49.0)
    assert write["median_ms"] == 2 * read["median_ms"] and write["p10_ms"] < write["median_ms"] < write["p90_ms"]
    with pytest.raises(FlowNotFound):
        page.call("GET", "/flows/absent/durations")
