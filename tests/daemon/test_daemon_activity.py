"""The stream that a console lives on: brief changes, and how the workspace stands, told without being asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from serving import Served, items

from flowstead.client.http import HttpTransport

STEPS = 40
FLOWS = {
    "many": f"""
        from flowstead import Flow

        def build():
            flow = Flow("Many").watch(mode="schedule", interval="1h")
            for n in range({STEPS}):
                flow = flow.step(go, label=f"Step {{n}}")
            return flow

        def go(context):
            pass
    """,
}


@pytest.fixture
def transport(served: Served, workspace: Any) -> Iterator[HttpTransport]:
    for name, source in FLOWS.items():
        workspace.module(name, source)
    with served.transport("tcp") as transport:
        served.key = transport.request("POST", "/workspaces", {"path": str(workspace.root)})["workspace"]
        yield transport


def read(stream: Iterator[Any], last: Callable[[Any], bool]) -> list[Any]:
    found: list[Any] = []
    for item in items(stream):
        found.append(item)
        if last(item):
            return found
    raise AssertionError("the stream ended")


def of_kind(kind: str, **state: Any) -> Callable[[Any], bool]:
    return lambda item: item["kind"] == kind and all(item["state"][name] == value for name, value in state.items())


def test_a_stream_tells_how_the_workspace_stands_and_when_that_changes(
    served: Served, transport: HttpTransport
) -> None:
    path = f"/workspaces/{served.key}"
    stream = transport.stream("GET", f"{path}/events", {"states": True})
    first = read(stream, of_kind("engine"))
    assert [(item["kind"], item["change"], item["seq"]) for item in first] == [
        ("standing", "free", None),
        ("engine", "off", None),
    ]
    assert first[0]["id"] == served.key and first[1]["state"] == {"automated": False, "flows": {}}
    transport.request("POST", f"{path}/engine/start", {})
    told = read(
        stream,
        lambda item: item["kind"] == "engine" and bool((item["state"]["flows"].get("many") or {}).get("next_due")),
    )
    assert told[-1]["state"]["automated"] and told[-1]["state"]["flows"]["many"]["state"] == "scheduled"
    assert any(item["kind"] == "standing" and item["state"]["mine"] for item in told)
    transport.request("POST", f"{path}/engine/stop", {})
    told = read(stream, of_kind("engine", automated=False))
    assert told[-1]["state"]["flows"] == {"many": None}
    transport.request("POST", f"{path}/release", {})
    read(stream, of_kind("standing", state="free"))


def test_a_brief_stream_costs_what_changed(served: Served, transport: HttpTransport) -> None:
    path = f"/workspaces/{served.key}"
    started = transport.request("POST", f"{path}/flows/many/start", {})
    (run_id,) = started["started"]

    def ended(item: Any) -> bool:
        return item["kind"] == "run" and item["change"] == "succeeded"

    brief = read(transport.stream("GET", f"{path}/events", {"after": started["after"], "brief": True}), ended)
    whole = read(transport.stream("GET", f"{path}/events", {"after": started["after"]}), ended)
    rows = [item["row"] for item in brief if item["kind"] in ("run", "step")]
    assert {row["id"] for row in rows} == {run_id}
    assert all(row["steps"] == [] for row in rows) and len(whole[-1]["row"]["steps"]) == STEPS
    # Folded, it is the same view.
    folded = {item["step"]["index"]: item["step"] for item in brief if item["kind"] == "step"}
    assert [folded[n] for n in range(STEPS)] == whole[-1]["row"]["steps"]
    assert {**brief[-1]["row"], "steps": whole[-1]["row"]["steps"]} == whole[-1]["row"]
    assert all("step" not in item and "state" not in item for item in whole)
    assert len(str(brief)) < len(str(whole)) / 4


def test_a_stream_that_is_taken_up_again_goes_on_and_says_how_things_stand(
    served: Served, transport: HttpTransport
) -> None:
    path = f"/workspaces/{served.key}"
    started = transport.request("POST", f"{path}/flows/many/start", {})
    fields = {"after": started["after"], "states": True, "brief": True}
    before = read(transport.stream("GET", f"{path}/events", fields), lambda item: item["kind"] == "step")
    seen = [item["seq"] for item in before if item["seq"] is not None]
    again = read(
        transport.stream("GET", f"{path}/events", {**fields, "after": seen[-1]}),
        lambda item: item["kind"] == "run" and item["change"] == "succeeded",
    )
    assert [item["kind"] for item in again[:2]] == ["standing", "engine"]
    numbers = [item["seq"] for item in again if item["seq"] is not None]
    assert numbers == sorted(numbers) and numbers[0] > seen[-1]
