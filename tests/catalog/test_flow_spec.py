"""A plan read as a FlowSpec loses nothing, and tolerates what a newer version would add."""

import json
from datetime import date
from pathlib import Path

from flowstead.flow.definition import Choice, Flow
from flowstead.flow.describe import describe
from flowstead.model.flow import FlowSpec


def plan():
    flow = (
        Flow("Sales", label="Daily sales", resume="manual", timeout="2h")
        .watch(mode="poll", source="in", interval="30s", extensions=".csv", settle="2s", run_as="batch", max_parallel=3)
        .mirror("out")
        .ask("region", Choice("north", "south"), default="north")
        .ask("day", date, default=date(2024, 1, 2))
        .ask("token", str, default="", secret=True)
        .collect([".csv"], root="in", recursive=True)
        .map(len, workers=4, on_error="collect", save_as="sizes")
        .step(lambda context: 1, use="sizes", retries=2, retry_delay="5s", timeout="1m", checkpoint=True)
    )
    bound = flow.bind(name="daily", module_dir=Path("/nowhere/flow_modules"), workspace_root=Path("/nowhere"))
    return json.loads(json.dumps(describe(bound)))


def test_a_plan_survives_the_way_there_and_back():
    original = plan()
    spec = FlowSpec.from_dict(original | {"description": "x"})
    assert spec.as_dict() == original | {"description": "x"}
    assert (spec.name, spec.group, spec.timeout) == ("daily", "Sales", 7200.0)
    assert (spec.trigger.interval, spec.trigger.settle) == (30.0, {"seconds": 2.0})
    assert [param.name for param in spec.params] == ["region", "day", "token"]
    assert [step.kind for step in spec.steps] == ["collect", "map", "step"]
    assert (spec.steps[1].workers, spec.steps[2].retry_delay, spec.steps[2].checkpoint) == (4, 5.0, True)


def test_fields_of_a_newer_version_are_ignored():
    original = plan()
    newer = json.loads(json.dumps(original))
    for part in (newer, newer["trigger"], newer["params"][0], newer["steps"][0]):
        part["of the future"] = {}
    assert FlowSpec.from_dict(newer) == FlowSpec.from_dict(original)
