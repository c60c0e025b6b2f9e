"""Flow code that others can write runs only in a workspace that the user trusts."""

from __future__ import annotations

import os
import sys

import pytest

from flowstead.model.errors import WorkspaceUntrusted
from flowstead.workspace.layout import WorkspaceLayout
from flowstead.workspace.trust import require_trust, trust, writable_by_others

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")

FLOW = """
    from flowstead import Flow
    def build():
        return Flow("Tests").step(lambda context: 1)
"""


@pytest.fixture
def layout(home, workspace):
    workspace.module("one", FLOW)
    return WorkspaceLayout.of(workspace.root)


def test_a_folder_that_only_the_user_can_write_is_trusted(layout):
    require_trust(layout)


@pytest.mark.parametrize("part", ["", "flow_modules", "flow_modules/one.py", "flow_modules/flow_helpers"])
def test_what_everybody_can_write_needs_trust(layout, part):
    path = layout.root / part
    path.mkdir(exist_ok=True) if part.endswith("helpers") else None
    path.chmod(0o777)
    with pytest.raises(WorkspaceUntrusted) as refused:
        require_trust(layout)
    assert refused.value.exit_code == 4
    assert path.name in refused.value.message
    trust(layout.root)
    require_trust(layout)


def test_trust_is_of_one_workspace(layout, tmp_path):
    other = tmp_path / "other" / "flow_modules"
    other.mkdir(parents=True)
    other.chmod(0o777)
    trust(layout.root)
    with pytest.raises(WorkspaceUntrusted):
        require_trust(WorkspaceLayout.of(other.parent))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_module_of_another_user_needs_trust(layout):
    os.chown(layout.flow_modules / "one.py", 12345, 12345)
    assert "another user" in (writable_by_others(layout) or "")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_shared_group_needs_trust_and_a_private_one_does_not(layout):
    module = layout.flow_modules / "one.py"
    module.chmod(0o664)
    assert writable_by_others(layout) is None
    os.chown(module, 0, 12345)
    module.chmod(0o664)
    assert "group" in (writable_by_others(layout) or "")
