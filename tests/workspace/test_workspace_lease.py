"""Leases, requests, marker files, and for how long something has been seen unchanged."""

from __future__ import annotations

import errno
import json
import os

import pytest
from hostile_os import HostileOs

from flowstead.workspace import shared
from flowstead.workspace.lease import ControlRequest, Lease, Sightings, mark, read_row, write_row
from flowstead.workspace.shared import SharedFolder

LEASE = Lease("sales", "id", "höst", "d1", 17, "active", 1_700_000_000_000_000, 2, "0.1", 40, 3, 5)


@pytest.fixture
def folder(tmp_path) -> SharedFolder:
    return SharedFolder(tmp_path / ".workspace_state")


def test_a_row_is_read_as_it_was_written_also_by_others(folder):
    import pyarrow.parquet

    request = ControlRequest("id", "host", 4, "cli", 1, "r")
    write_row(folder, "leases/sales.parquet", LEASE)
    write_row(folder, "requests/sales.parquet", request)
    assert read_row(folder, "leases/sales.parquet", Lease) == LEASE
    assert read_row(folder, "requests/sales.parquet", ControlRequest) == request
    assert pyarrow.parquet.read_table(folder.root / "leases" / "sales.parquet").to_pylist() == [LEASE._asdict()]


def test_what_is_no_such_row_is_none(folder):
    write_row(folder, "whole", LEASE)
    whole = folder.read("whole") or b""
    for content in (b"", whole[:50], whole[:-1], b"PAR1", bytes(reversed(whole))):
        folder.replace("x", content)
        assert read_row(folder, "x", Lease) is None
    assert read_row(folder, "whole", ControlRequest) is None
    assert read_row(folder, "absent", Lease) is None


def test_markers_show_one_of_two_and_may_fail(folder, monkeypatch):
    mark(folder, "sales", leased=True, text="host 17\n")
    assert folder.names("leased") == ["sales"] and folder.names("available") == []
    mark(folder, "sales", leased=False, text="")
    assert folder.names("leased") == [] and folder.names("available") == ["sales"]
    hostile = HostileOs()
    monkeypatch.setattr(shared, "os", hostile)
    hostile.failures = dict.fromkeys(["open", "unlink"], errno.EACCES)
    mark(folder, "sales", leased=True, text="")
    assert os.listdir(folder.root / "available") == ["sales"]


def test_unchanged_counts_from_the_end_of_the_first_look_to_the_beginning_of_this_one(tmp_path):
    sightings = Sightings(tmp_path / "seen.json", "boot")
    assert sightings.unchanged("owner", [1, 5], 100.0, 160.0) == 0
    assert sightings.unchanged("owner", [1, 5], 190.0, 290.0) == 30
    assert sightings.unchanged("owner", [1, 5], 150.0, 170.0) == 0, "a look that began before that end"
    assert sightings.unchanged("owner", [1, 6], 300.0, 301.0) == 0
    assert sightings.unchanged("owner", [1, 6], 310.0, 311.0) == 9
    assert sightings.unchanged("request", ["a"], 310.0, 311.0) == 0
    assert sightings.unchanged("owner", [1, 6], 320.0, 321.0) == 19


def test_sightings_outlive_the_process_but_not_the_boot(tmp_path):
    path = tmp_path / "local" / "seen.json"
    Sightings(path, "boot").unchanged("owner", [1], 100.0, 100.0)
    assert Sightings(path, "boot").unchanged("owner", [1], 150.0, 150.0) == 50
    assert Sightings(path, "boot").unchanged("owner", [1], 90.0, 90.0) == 0, "the clock began again"
    assert Sightings(path, "boot").unchanged("owner", [1], 150.0, 150.0) == 60
    assert Sightings(path, "other boot").unchanged("owner", [1], 151.0, 151.0) == 0


def test_they_are_written_only_when_something_changes(tmp_path):
    path = tmp_path / "seen.json"
    sightings = Sightings(path, "boot")
    sightings.unchanged("owner", [1], 1.0, 1.0)
    path.unlink()
    sightings.unchanged("owner", [1], 50.0, 50.0)
    assert not path.exists()
    sightings.unchanged("owner", [2], 50.0, 50.0)
    assert json.loads(path.read_text())["seen"]["owner"]["since"] == 50.0


@pytest.mark.parametrize("content", ["", "[]", "{", '{"boot_id": "boot", "seen": 3}', '{"boot_id": "boot"}'])
def test_a_damaged_memory_is_none(tmp_path, content):
    path = tmp_path / "seen.json"
    path.write_text(content)
    assert Sightings(path, "boot").unchanged("owner", [1], 5.0, 5.0) == 0


def test_a_memory_that_cannot_be_kept_is_no_failure(tmp_path):
    (tmp_path / "file").write_text("")
    sightings = Sightings(tmp_path / "file" / "seen.json", "boot")
    assert sightings.unchanged("owner", [1], 5.0, 5.0) == 0
    assert sightings.unchanged("owner", [1], 9.0, 9.0) == 4
