import pytest

from flowstead import discover_flows, load_flow
from flowstead.flow.errors import FlowDefinitionError

MODULE = """
    from flowstead import Flow
    def build():
        return Flow("Sales").collect("csv", root="../in")
"""


def test_flows_are_found_by_file_name(workspace, monkeypatch):
    workspace.module("daily", MODULE)
    workspace.module("_draft", "raise SystemExit")
    workspace.module("another", MODULE)
    workspace.module("flow_helpers/shared.py", "")
    flows = discover_flows(workspace.root)
    assert [(flow.name, flow.group) for flow in flows] == [("another", "Sales"), ("daily", "Sales")]
    assert flows[0].module_dir == workspace.flow_modules and flows[0].workspace_root == workspace.root

    (workspace.root / "in").mkdir()
    (workspace.root / "in/a.csv").write_text("x")
    monkeypatch.chdir(workspace.flow_modules)
    assert load_flow("daily").preview().names() == ("a.csv",)
    monkeypatch.chdir("/")
    monkeypatch.setenv("FLOWSTEAD_WORKSPACE", str(workspace.root))
    assert load_flow("daily") is not None and len(discover_flows()) == 2


def test_a_broken_module_hides_no_other(workspace):
    workspace.module("daily", MODULE)
    workspace.module("broken", "1 / 0")
    workspace.module("leaving", "raise SystemExit(3)")
    with pytest.warns(RuntimeWarning) as warned:
        assert [flow.name for flow in discover_flows(workspace.root)] == ["daily"]
    assert [str(warning.message).split(":")[0] for warning in warned] == [
        "broken is left out", "leaving is left out"]  # fmt: skip
    with pytest.raises(ZeroDivisionError):
        load_flow("broken", workspace.root)


def test_an_unknown_flow_and_a_missing_workspace_are_named(workspace, tmp_path, monkeypatch):
    workspace.module("daily", MODULE)
    with pytest.raises(FlowDefinitionError, match=r"no flow 'dayly' in .*Flows there: daily\.") as caught:
        load_flow("dayly", workspace.root)
    assert caught.value.code == "flow-not-found"
    with pytest.raises(FlowDefinitionError, match="is not a workspace") as caught:
        discover_flows(tmp_path / "elsewhere")
    assert caught.value.code == "workspace-not-found"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FlowDefinitionError, match="No workspace here"):
        discover_flows()


def test_two_modules_of_one_name_are_an_error_of_that_flow_alone(workspace):
    workspace.module("daily", MODULE)
    workspace.module("daily.ipynb", "{}")
    workspace.module("other", MODULE)
    with pytest.raises(FlowDefinitionError, match=r"both daily\.ipynb and daily\.py") as caught:
        load_flow("daily", workspace.root)
    assert caught.value.code == "flow-ambiguous"
    with pytest.warns(RuntimeWarning, match="daily is left out"):
        assert [flow.name for flow in discover_flows(workspace.root)] == ["other"]
