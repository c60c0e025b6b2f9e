"""Building flows: what is kept, what is refused, and how the refusal reads."""

import functools
import json
from dataclasses import FrozenInstanceError
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstead import Choice, Flow
from flowstead.flow.describe import describe
from flowstead.flow.errors import FlowDefinitionError


def read(context):
    return context


def read_item(item):
    return item


def read_both(context, item):
    return item


class Reader:
    def read(self, context):
        return context

    def __call__(self, context):
        return context


def refused(build) -> FlowDefinitionError:
    with pytest.raises(FlowDefinitionError) as caught:
        build()
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.code and error.hint and str(error) == f"{error.message} {error.hint}"
    return error


FLOW = Flow("Sales")


@pytest.mark.parametrize(
    ("build", "code", "names"),
    [
        (lambda: Flow(""), "argument-invalid", "Flow(group=...) is ''"),
        (lambda: Flow(group="  "), "argument-invalid", "Flow(group=...)"),
        (lambda: Flow(7), "argument-invalid", "Flow(group=...) is 7"),
        (lambda: Flow("a", name=""), "argument-invalid", "Flow(name=...)"),
        (lambda: Flow("a", label=" "), "argument-invalid", "Flow(label=...)"),
        (lambda: Flow("a", resume="later"), "argument-invalid", '"auto", "manual", "never"'),
        (lambda: Flow("a", timeout="nan"), "duration-invalid", "Flow(timeout=...) is 'nan'"),
        (lambda: FLOW.watch(mode="sometimes"), "argument-invalid", "watch(mode=...) is 'sometimes'"),
        (lambda: FLOW.watch(run_as="crowd"), "argument-invalid", "watch(run_as=...)"),
        (lambda: FLOW.watch(max_parallel=0), "argument-invalid", "watch(max_parallel=...) is 0"),
        (lambda: FLOW.watch(max_parallel=True), "argument-invalid", "watch(max_parallel=...) is True"),
        (lambda: FLOW.watch(max_parallel=1.5), "argument-invalid", "1 or more"),
        (lambda: FLOW.watch(mode="manual", interval="5s"), "trigger-conflict", "was given interval="),
        (lambda: FLOW.watch(mode="manual", time="08:00"), "trigger-conflict", "was given time="),
        (lambda: FLOW.watch(mode="manual", cron="* * * * *"), "trigger-conflict", "was given cron="),
        (lambda: FLOW.watch(mode="manual", settle=3), "trigger-conflict", "was given settle="),
        (lambda: FLOW.watch(mode="manual", timezone="UTC"), "trigger-conflict", "was given timezone="),
        (lambda: FLOW.watch(mode="poll"), "trigger-incomplete", "no source= and interval="),
        (lambda: FLOW.watch(mode="poll", source="in"), "trigger-incomplete", "no interval="),
        (lambda: FLOW.watch(mode="poll", interval="5s"), "trigger-incomplete", "no source="),
        (lambda: FLOW.watch(mode="poll", source="in", interval="5s", time="08:00"), "trigger-conflict", "time="),
        (lambda: FLOW.watch(mode="poll", source="in", interval="5s", cron="* * * * *"), "trigger-conflict", "cron="),
        (lambda: FLOW.watch(mode="poll", source="in", interval="5s", settle=-1), "argument-invalid", "settle"),
        (lambda: FLOW.watch(mode="poll", source="in", interval="5s", settle=True), "argument-invalid", "settle"),
        (lambda: FLOW.watch(mode="poll", source="in", interval="5s", settle="soon"), "duration-invalid", "settle"),
        (lambda: FLOW.watch(mode="poll", source="", interval="5s"), "argument-invalid", "watch(source=...) is ''"),
        (lambda: FLOW.watch(mode="poll", source=3, interval="5s"), "argument-invalid", "watch(source=...) is 3"),
        (lambda: FLOW.watch(mode="schedule"), "trigger-incomplete", "no interval=, time= or cron="),
        (lambda: FLOW.watch(mode="schedule", interval="5s", time="08:00"), "trigger-conflict", "interval= and time="),
        (lambda: FLOW.watch(mode="schedule", time="08:00", cron="* * * * *"), "trigger-conflict", "time= and cron="),
        (lambda: FLOW.watch(mode="schedule", interval="5s", settle=2), "trigger-conflict", "settle="),
        (lambda: FLOW.watch(mode="schedule", interval="5 parsecs"), "duration-invalid", "'5 parsecs'"),
        (lambda: FLOW.watch(mode="schedule", time="8:30"), "time-invalid", "'8:30'"),
        (lambda: FLOW.watch(mode="schedule", time="24:00"), "time-invalid", "'24:00'"),
        (lambda: FLOW.watch(mode="schedule", time="08:60"), "time-invalid", "'08:60'"),
        (lambda: FLOW.watch(mode="schedule", time="٠٨:٣٠"), "time-invalid", "not a time of day"),
        (lambda: FLOW.watch(mode="schedule", time=[]), "time-invalid", "watch(time=...) is []"),
        (lambda: FLOW.watch(mode="schedule", time=["08:00", "noon"]), "time-invalid", "holds 'noon'"),
        (lambda: FLOW.watch(mode="schedule", time=["08:00", "08:00"]), "time-invalid", "twice"),
        (lambda: FLOW.watch(mode="schedule", time=830), "time-invalid", "830"),
        (lambda: FLOW.watch(mode="schedule", interval="1h", timezone="Mars/Base"), "timezone-invalid", "Mars/Base"),
        (lambda: FLOW.watch(mode="schedule", interval="1h", timezone="../etc"), "timezone-invalid", "../etc"),
        (lambda: FLOW.watch(mode="schedule", interval="1h", timezone=2), "timezone-invalid", "timezone=...) is 2"),
        (lambda: FLOW.watch(mode="schedule", interval="1h", missed="most"), "argument-invalid", "missed"),
        (lambda: FLOW.watch(extensions=[]), "argument-invalid", "watch(extensions=...) is empty"),
        (lambda: FLOW.watch(extensions=["."]), "argument-invalid", "holds '.'"),
        (lambda: FLOW.watch(extensions=[".csv", 3]), "argument-invalid", "holds 3"),
        (lambda: FLOW.watch(extensions=3), "argument-invalid", "watch(extensions=...) is 3"),
        (lambda: FLOW.mirror(root=""), "argument-invalid", "mirror(root=...)"),
        (lambda: FLOW.step(3), "step-not-callable", "step(fn) is 3"),
        (lambda: FLOW.step(lambda: 1), "step-arity", "a lambda()"),
        (lambda: FLOW.step(read_both), "step-arity", "read_both(context, item)"),
        (lambda: FLOW.step(Reader.read), "step-arity", "read(self, context)"),
        (lambda: FLOW.step(functools.partial(read, 1)), "step-arity", "read()"),
        (lambda: FLOW.map(lambda: 1), "step-arity", "map(fn)"),
        (lambda: FLOW.map(lambda a, b, c: 1), "step-arity", "one parameter, the item, or two"),
        (lambda: FLOW.map(None), "step-not-callable", "without calling it"),
        (lambda: FLOW.step(read, save_as="current"), "argument-invalid", 'save_as=...) is "current"'),
        (lambda: FLOW.map(read_item, save_as="current"), "argument-invalid", "map(save_as=...)"),
        (lambda: FLOW.collect(".csv", save_as=" current "), "argument-invalid", "collect(save_as=...)"),
        (lambda: FLOW.step(read, save_as=""), "argument-invalid", "step(save_as=...) is ''"),
        (lambda: FLOW.step(read, use=3), "argument-invalid", "step(use=...) is 3"),
        (lambda: FLOW.step(read, label=""), "argument-invalid", "step(label=...)"),
        (lambda: FLOW.step(read, retries=-1), "argument-invalid", "0 or more"),
        (lambda: FLOW.step(read, retries=True), "argument-invalid", "step(retries=...) is True"),
        (lambda: FLOW.step(read, retry_delay="0s"), "duration-invalid", "step(retry_delay=...)"),
        (lambda: FLOW.step(read, timeout="inf"), "duration-invalid", "step(timeout=...)"),
        (lambda: FLOW.step(read, checkpoint="yes"), "argument-invalid", "step(checkpoint=...) is 'yes'"),
        (lambda: FLOW.map(read_item, workers=0), "argument-invalid", "map(workers=...)"),
        (lambda: FLOW.map(read_item, on_error="ignore"), "argument-invalid", '"raise", "collect", "skip"'),
        (lambda: FLOW.collect([]), "argument-invalid", "collect(extensions=...) is empty"),
        (lambda: FLOW.collect(".csv", recursive="yes"), "argument-invalid", "collect(recursive=...)"),
        (lambda: FLOW.collect(".csv", root=""), "argument-invalid", "collect(root=...)"),
        (lambda: FLOW.ask("a b"), "argument-invalid", "ask(name=...) is 'a b'"),
        (lambda: FLOW.ask("n", list), "argument-invalid", "ask('n', type=...)"),
        (lambda: FLOW.ask("n", int, default="x"), "argument-invalid", "ask('n', default=...) is 'x'"),
        (lambda: FLOW.ask("n", secret="yes"), "argument-invalid", "ask('n', secret=...)"),
        (lambda: FLOW.ask("n").ask("n"), "argument-invalid", "ask('n') comes twice"),
        (lambda: FLOW.ask("n", Choice("a", "b"), default="c"), "argument-invalid", "'c'"),
        (lambda: Choice(), "choice-invalid", "nothing"),
        (lambda: Choice("a", 1), "choice-invalid", "'a', 1"),
        (lambda: Choice("a", "a"), "choice-invalid", "different values"),
        (lambda: FLOW.ask("n").watch(mode="schedule", interval="1h"), "ask-needs-default", "ask('n')"),
        (lambda: FLOW.watch(mode="schedule", interval="1h").ask("n"), "ask-needs-default", "starts runs by itself"),
    ],
)
def test_every_misuse_names_the_argument_and_what_would_be_right(build, code, names):
    error = refused(build)
    assert error.code == code
    assert names in str(error)


def test_an_async_function_is_refused():
    async def fetch(context): ...

    assert refused(lambda: FLOW.step(fetch)).code == "step-async"


@pytest.mark.parametrize(
    ("fn", "name", "label"),
    [
        (read, "read", "Read"),
        (lambda context: 1, "step_1", "Step 1"),
        (lambda *args: 1, "step_1", "Step 1"),
        (functools.partial(read_both, item=1), "read_both", "Read Both"),
        (Reader().read, "read", "Read"),
        (Reader(), "Reader", "Reader"),
        (str, "str", "Str"),
    ],
)
def test_anything_callable_with_one_context_is_a_step(fn, name, label):
    step = FLOW.step(fn).steps[0]
    assert (step.name, step.label, step.fn, step.kind) == (name, label, fn, "step")


def test_a_map_function_takes_the_item_or_the_context_and_the_item():
    def with_option(item, upper=False): ...
    def with_optional_item(context, item=None): ...

    taken = [
        FLOW.map(fn).steps[0].takes_context
        for fn in (read_item, read_both, with_option, with_optional_item, lambda *args: 1, len)
    ]
    assert taken == [False, True, False, True, False, False]
    assert FLOW.step_each(read_both).steps == FLOW.map(read_both).steps


def test_names_are_unique_within_a_flow():
    flow = FLOW.step(read).step(read).step(lambda c: c).collect(".csv").collect(".csv").step(read, label="Third")
    assert [step.name for step in flow.steps] == ["read", "read_2", "step_3", "collect", "collect_2", "read_3"]
    assert [step.label for step in flow.steps][-2:] == ["Collect 2", "Third"]
    assert [step.index for step in flow.steps] == list(range(6))


def test_watch_twice_replaces_and_without_it_the_mode_is_manual():
    assert FLOW.trigger.mode == "manual"
    flow = FLOW.watch(mode="poll", source="in", interval="5s").watch(mode="schedule", time=["18:00", "06:30"])
    assert (flow.trigger.mode, flow.trigger.source, flow.trigger.time) == ("schedule", None, ("06:30", "18:00"))


def test_extensions_are_lower_case_with_their_dot():
    assert FLOW.collect(["CSV", ".XlsX", "*.csv"]).steps[0].extensions == (".csv", ".xlsx")
    assert FLOW.collect("parquet").steps[0].extensions == (".parquet",)
    assert FLOW.collect({".b", ".a", "c"}).steps[0].extensions == (".a", ".b", ".c")


def test_use_current_is_accepted():
    assert FLOW.step(read, use="current").steps[0].use == "current"


BUILDERS = st.sampled_from(
    [
        lambda flow: flow.step(read, save_as="raw"),
        lambda flow: flow.map(read_item, workers=2),
        lambda flow: flow.collect(".csv"),
        lambda flow: flow.mirror(root="out"),
        lambda flow: flow.watch(mode="poll", source="in", interval="5s"),
        lambda flow: flow.watch(mode="manual"),
        lambda flow: flow.ask(f"p{len(flow.params)}", int, default=1),
        lambda flow: flow.bind(name="x", module_dir=Path("m"), workspace_root=None),
    ]
)


@given(st.lists(BUILDERS, max_size=12))
def test_no_method_changes_the_flow_it_is_called_on(builders):
    flows = [Flow("Sales", label="Daily")]
    shots = [repr(flows[0])]
    for builder in builders:
        flows.append(builder(flows[-1]))
        shots.append(repr(flows[-1]))
    assert [repr(flow) for flow in flows] == shots
    for flow in flows:
        with pytest.raises(FrozenInstanceError):
            flow.group = "Other"
    again = Flow("Sales", label="Daily")
    for builder in builders:
        again = builder(again)
    assert again == flows[-1]


def test_describe_is_plain_data_with_absolute_paths(tmp_path):
    flow = (
        Flow("Sales", resume="manual", timeout="2h")
        .watch(mode="poll", source="../in", interval="1m", extensions="csv", settle="10s", max_parallel=3)
        .mirror(root="../out")
        .ask("since", date, default="2024-03-31", label="Since when")
        .ask("region", Choice("north", "south"), default="north")
        .ask("where", Path, default=None)
        .collect("csv", root="more", recursive=True, save_as="files")
        .map(functools.partial(read_both), use="files", on_error="skip", retries=2, timeout="90s")
        .step(read, checkpoint=False, retry_delay="500ms")
        .bind(name="daily_sales", module_dir=tmp_path / "flow_modules", workspace_root=tmp_path)
    )
    plan = json.loads(json.dumps(describe(flow)))
    assert plan["name"] == "daily_sales"
    assert (plan["group"], plan["label"], plan["resume"], plan["timeout"]) == ("Sales", "Daily Sales", "manual", 7200)
    assert plan["trigger"] == {
        "mode": "poll",
        "run_as": "individual",
        "max_parallel": 3,
        "source": str(tmp_path / "in"),
        "interval": 60,
        "time": [],
        "cron": None,
        "timezone": None,
        "missed": "latest",
        "extensions": [".csv"],
        "settle": {"seconds": 10},
    }
    assert plan["mirror"] == str(tmp_path / "out")
    assert [(p["name"], p["type"], p["default"], p["required"], p["label"]) for p in plan["params"]] == [
        ("since", "date", "2024-03-31", False, "Since when"),
        ("region", "choice", "north", False, "Region"),
        ("where", "path", None, False, "Where"),
    ]
    assert plan["params"][1]["choices"] == ["north", "south"]
    files, mapped, last = plan["steps"]
    assert (files["kind"], files["root"], files["line"]) == ("collect", str(tmp_path / "flow_modules/more"), None)
    assert (mapped["use"], mapped["on_error"], mapped["retries"], mapped["timeout"]) == ("files", "skip", 2, 90)
    assert mapped["line"] == read_both.__code__.co_firstlineno
    assert (last["checkpoint"], last["retry_delay"]) == (False, 0.5)


def test_looks_are_described_for_a_poll_and_nothing_for_the_others():
    poll = FLOW.watch(mode="poll", source="in", interval="5s", settle=0)
    assert describe(poll)["trigger"]["settle"] == {"looks": 0}
    assert describe(FLOW.watch(settle=1))["trigger"]["settle"] is None


def test_the_line_of_a_wrapped_method_or_callable_is_its_own():
    from flowstead.flow.signatures import first_line

    @functools.wraps(read)
    def wrapper(context):
        return read(context)

    assert first_line(wrapper) == first_line(read) == read.__code__.co_firstlineno
    assert first_line(Reader().read) == Reader.read.__code__.co_firstlineno
    assert first_line(Reader()) == Reader.__call__.__code__.co_firstlineno
    assert first_line(len) is None
