"""preview and run_once: a flow run here and now, without a record."""

import os
from datetime import date

import pytest

from flowstead import Batch, Flow, FlowContext, RunCancelled
from flowstead.flow.errors import FlowDefinitionError, ParameterRefused, StepFailure


@pytest.fixture
def folder(tmp_path):
    for name in ("in/b.csv", "in/a.csv", "in/sub/c.csv", "in/~$a.csv", "in/notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def bound(flow, folder):
    return flow.bind(name="daily", module_dir=folder / "flow_modules", workspace_root=folder)


def read(context):
    return context.source.path.read_text()


def test_preview_returns_the_real_object_and_later_steps_never_run(folder):
    ran = []

    def step(value):
        def body(context):
            ran.append(value)
            return [value]

        return body

    flow = bound(Flow("g").step(step("a"), save_as="raw").step(step("b"), save_as="clean").step(step("c")), folder)
    assert flow.preview(use="raw") == ["a"] and ran == ["a"]
    assert flow.preview() == ["c"] == flow.preview("current")
    assert ran == ["a", "a", "b", "c", "a", "b", "c"]


def test_preview_of_an_unknown_waypoint_names_the_known_ones(folder):
    flow = bound(Flow("g").step(read, save_as="raw").step(read, save_as="clean"), folder)
    with pytest.raises(FlowDefinitionError, match=r"'row', which no step saves. Waypoints of this flow: raw, clean\."):
        flow.preview(use="row")
    with pytest.raises(FlowDefinitionError, match="No step has save_as="):
        Flow("g").step(read).preview(use="raw")


def test_preview_takes_the_first_file_in_order(folder):
    flow = bound(Flow("g").watch(mode="poll", source="../in", interval="1h", extensions="csv").step(read), folder)
    assert flow.preview() == "in/a.csv"
    with pytest.raises(StepFailure, match=r"no file to preview with in .*The flow takes \.pdf") as caught:
        flow.watch(source="../in", extensions="pdf").preview()
    assert caught.value.code == "source-empty"
    with pytest.raises(StepFailure, match="is not there") as caught:
        flow.watch(source="../gone").preview()
    assert caught.value.code == "source-missing"


def test_run_once_gives_a_context_for_each_file(folder):
    def write(context):
        path = context.mirror.with_suffix(".txt")
        path.write_text(context.current)
        return path

    flow = Flow("g").watch(source="../in", extensions="csv").mirror("../out").step(read).step(write)
    contexts = bound(flow, folder).run_once()
    assert all(type(context) is FlowContext for context in contexts)
    assert [c.source.relative_path.as_posix() for c in contexts] == ["a.csv", "b.csv", "sub/c.csv"]
    assert [c.current for c in contexts] == [folder / "out" / name for name in ("a.txt", "b.txt", "sub/c.txt")]
    assert (folder / "out/sub/c.txt").read_text() == "in/sub/c.csv"
    assert len({c.run_id for c in contexts}) == 3 and contexts[0].flow_name == "daily"


def test_run_once_of_a_batch_is_one_run_on_the_root(folder):
    flow = Flow("g").watch(source="../in", run_as="batch").collect("csv").map(lambda ref: ref.name)
    (context,) = bound(flow, folder).run_once()
    assert context.current == Batch(["a.csv", "b.csv"])
    assert (context.source.root, context.source.path) == (folder / "in", None)


def test_a_batch_of_a_single_file_source_knows_its_file(folder):
    flow = Flow("g").watch(source="../in/a.csv", run_as="batch").mirror("../out")
    (context,) = bound(flow.step(lambda c: c.mirror.with_suffix(".parquet")), folder).run_once()
    assert context.source.path == folder / "in/a.csv"
    assert context.current == folder / "out/a.parquet"


def test_an_empty_source_has_no_runs(folder):
    (folder / "empty").mkdir()
    assert bound(Flow("g").watch(source="../empty").step(read), folder).run_once() == []


def test_an_unbound_flow_looks_from_the_current_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert Flow("g").watch(source="in", extensions="csv").step(read).preview() == "in/a.csv"
    assert Flow("g").collect("csv", root="in").preview().names() == ("a.csv", "b.csv")


def test_params_are_typed_before_anything_runs(folder):
    ran = []
    flow = Flow("g").ask("since", date).ask("key", default="k", secret=True)
    flow = flow.step(lambda c: ran.append(1) or (c.params["since"], c.secret("key")))
    with pytest.raises(ParameterRefused, match="'since' has no value"):
        flow.preview()
    with pytest.raises(ParameterRefused):
        flow.run_once(params={"since": "yesterday"})
    assert ran == []
    assert flow.preview(params={"since": "2024-03-31"}) == (date(2024, 3, 31), "k")


def test_secrets_come_from_the_environment_too(monkeypatch):
    monkeypatch.setenv("SALES_TOKEN", "t")
    assert Flow("g").step(lambda c: c.secret("SALES_TOKEN")).preview() == "t"
    monkeypatch.delenv("SALES_TOKEN")
    with pytest.raises(StepFailure, match="environment variable SALES_TOKEN") as caught:
        Flow("g").step(lambda c: c.secret("SALES_TOKEN")).preview()
    assert caught.value.code == "secret-missing"


def test_artifacts_are_checked_and_not_written(folder):
    before = sorted(os.listdir(folder))
    flow = Flow("g").step(lambda c: [c.report("# R"), c.debug.save_json(1), c.log("seen", rows=1), c.progress(1, 2)])
    assert bound(flow, folder).preview() == [None] * 4
    assert sorted(os.listdir(folder)) == before


def test_log_lines_are_shown_on_standard_error(capfd):
    Flow("g").step(lambda c: c.log.warning("late", rows=3)).preview()
    assert capfd.readouterr().err == "warning: late rows=3\n"


def test_what_a_step_raises_is_raised_as_it_is():
    def fail(context):
        raise KeyError("column")

    with pytest.raises(KeyError, match="column"):
        Flow("g").step(fail).preview()

    def cancel(context):
        raise RunCancelled

    with pytest.raises(RunCancelled):
        Flow("g").step(cancel).run_once()


def test_an_unknown_waypoint_in_use_and_an_empty_map_are_coded():
    with pytest.raises(StepFailure) as caught:
        Flow("g").step(lambda c: c, use="raw").run_once()
    assert caught.value.code == "waypoint-missing"
    with pytest.raises(StepFailure) as caught:
        Flow("g").collect("csv", root="no/such/folder").map(lambda item: item).run_once()
    assert caught.value.code == "map-empty"
