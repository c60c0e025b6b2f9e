"""How sources are recorded, so that every workstation means the same folder."""

import ntpath
import posixpath
from pathlib import Path

import pytest

from flowstead.workspace.layout import WorkspaceLayout, recorded_root


@pytest.mark.parametrize(
    ("source", "workspace", "paths", "recorded"),
    [
        ("/mnt/team/sales/in", "/mnt/team/sales", posixpath, "in"),
        ("/mnt/team/incoming/x", "/mnt/team/sales", posixpath, "../incoming/x"),
        ("/mnt/team/sales", "/mnt/team/sales", posixpath, "."),
        ("/mnt/other/in", "/mnt/team/sales", posixpath, "../../other/in"),
        ("/data/in", "/mnt/team/sales", posixpath, "/data/in"),
        ("T:\\team\\in", "T:\\team\\sales", ntpath, "../in"),
        ("T:\\in", "T:\\sales", ntpath, "../in"),
        ("T:\\sales\\in\\deep", "T:\\sales", ntpath, "in/deep"),
        ("\\\\server\\team\\in", "\\\\server\\team\\sales", ntpath, "../in"),
        ("\\\\server\\other\\in", "\\\\server\\team\\sales", ntpath, "\\\\server\\other\\in"),
        ("C:\\data\\in", "T:\\sales", ntpath, "C:\\data\\in"),
        ("C:\\data\\in", "\\\\server\\team\\sales", ntpath, "C:\\data\\in"),
    ],
)
def test_a_source_is_recorded_relative_to_a_workspace_on_the_same_share(source, workspace, paths, recorded):
    assert recorded_root(source, workspace, paths) == recorded


def test_a_key_leads_back_to_its_folder_and_follows_a_workspace_that_moves(tmp_path):
    here = WorkspaceLayout(tmp_path / "mnt" / "team" / "sales", tmp_path / "local")
    there = WorkspaceLayout(Path("/Volumes/team/sales"), tmp_path / "local")
    for source in (here.root / "in", here.root.parent / "incoming", Path("/somewhere/else")):
        assert here.root_path(here.root_key(source)) == source
    assert str(there.root_path(here.root_key(here.root.parent / "incoming"))) == "/Volumes/team/incoming"
