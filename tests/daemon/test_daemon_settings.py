"""Settings through the API: told with where they come from, and changed as a person would in settings.toml."""

from __future__ import annotations

import json
import os
import stat
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Served

from flowstead.client import MachineClient
from flowstead.daemon.settings_text import change
from flowstead.model.errors import FlowsteadError, TransitionRefused, UsageError
from flowstead.model.settings import Settings

WRITTEN = """\
# The settings of this desk.

worker_slots = 4  # one for each of us
parallel_groups = [
    "Reports",  # they take long
    'Exports',
]

# Kept for the auditors:
retention_days = 365
watch = "poll"
"""


@pytest.fixture
def machine(served: Served) -> Iterator[MachineClient]:
    with served.machine_client() as machine:
        yield machine


def rows(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in answer["settings"]}


def test_every_setting_is_told_with_its_sentence_and_its_limits(machine: MachineClient, home: Path) -> None:
    answer = machine.settings()
    assert answer["path"] == str(home / "settings.toml") and answer["problem"] is None
    found = rows(answer)
    assert list(found) == list(Settings.defaults())
    for name, each in found.items():
        assert each["about"].endswith("."), f"{name} has no sentence in docs/settings.md"
        assert each["variable"] == f"FLOWSTEAD_{name.upper()}"
        if each["set_by"] == "default":
            assert each["value"] == each["default"] and each["file_value"] is None
    assert found["durability"]["choices"] == ["normal", "full"] and found["durability"]["kind"] == "choice"
    assert (found["pool_uv"]["most"], found["pool_uv"]["least"], found["pool_uv"]["kind"]) == (20, 0, "whole number")
    assert (found["cancel_grace"]["kind"], found["cancel_grace"]["default"]) == ("number", 10.0)
    assert (found["parallel_groups"]["kind"], found["parallel_groups"]["value"]) == ("names", [])
    assert (found["daemon_port"]["effect"], found["worker_slots"]["effect"]) == ("daemon", "workspace")
    assert "one per processor" in found["worker_slots"]["about"]
    # Tests of daemons set these.
    assert (found["pool_uv"]["set_by"], found["pool_uv"]["value"]) == ("environment", 0)


def test_where_a_value_comes_from(machine: MachineClient, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "settings.toml").write_text(WRITTEN)
    monkeypatch.setenv("FLOWSTEAD_RETENTION_DAYS", "7")
    found = rows(machine.settings())
    assert [found["worker_slots"][key] for key in ("value", "file_value", "set_by")] == [4, 4, "settings.toml"]
    assert [found["retention_days"][key] for key in ("value", "file_value", "set_by")] == [7, 365, "environment"]
    assert found["parallel_groups"]["value"] == ["Reports", "Exports"]


def test_changes_keep_what_is_not_theirs(machine: MachineClient, home: Path) -> None:
    path = home / "settings.toml"
    path.write_text(WRITTEN)
    path.chmod(0o640)
    answer = machine.change_settings(
        machine.settings()["tag"],
        {"worker_slots": 8, "parallel_groups": ["*"], "durability": "full", "watch": None, "retention_days": 365},
    )
    assert answer["changed"] == ["worker_slots", "parallel_groups", "durability", "watch"]
    assert path.read_text() == (
        '# The settings of this desk.\n\nworker_slots = 8  # one for each of us\nparallel_groups = ["*"]\n\n'
        '# Kept for the auditors:\nretention_days = 365\ndurability = "full"\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    settings = Settings.load(home)
    assert (settings.worker_slots, settings.durability, settings.watch) == (8, "full", "auto")
    # What is set to what it was stays as it is written.
    path.write_text(WRITTEN)
    answer = machine.change_settings(machine.settings()["tag"], {"parallel_groups": ["Reports", "Exports"]})
    assert (answer["changed"], path.read_text()) == ([], WRITTEN)
    answer = machine.change_settings(answer["tag"], {"worker_slots": None})
    assert path.read_text().startswith("# The settings of this desk.\n\n# one for each of us\nparallel_groups")
    again = machine.change_settings(answer["tag"], {"worker_slots": None, "cancel_grace": None})
    assert again["changed"] == [] and again["tag"] == answer["tag"]
    assert sorted(each.name for each in home.iterdir() if "part" in each.name) == []


def test_the_first_change_makes_the_file(machine: MachineClient, home: Path) -> None:
    answer = machine.change_settings(machine.settings()["tag"], {"worker_slots": 3})
    assert (home / "settings.toml").read_text() == "worker_slots = 3\n"
    assert rows(answer)["worker_slots"]["value"] == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"worker_slots": -1},
        {"worker_slots": "4"},
        {"worker_slots": 1.5},
        {"worker_slots": True},
        {"worker_slots": 10**12},
        {"cancel_grace": float("nan")},
        {"cancel_grace": float("inf")},
        {"durability": "some"},
        {"parallel_groups": "Reports"},
        {"parallel_groups": [1]},
        {"parallel_groups": {"a": 1}},
        {"environment_folder": 3},
        {"environment_folder": "\ud800"},
        {"pool_uv": 21},
        {"absent": 1},
        {"absent": None},
        {"watch": "poll", "worker_slots": -1},
    ],
)
def test_bad_changes_change_nothing(served: Served, machine: MachineClient, home: Path, changes: Any) -> None:
    path = home / "settings.toml"
    path.write_text(WRITTEN)
    body = json.dumps({"tag": machine.settings()["tag"], "changes": changes}).encode()
    answer = served.get("/api/v1/settings", method="POST", body=body, **served.bearer)
    assert answer.status == 400 and answer.code in ("settings-invalid", "request-invalid")
    assert path.read_text() == WRITTEN


def test_only_what_was_read_is_changed(machine: MachineClient, home: Path) -> None:
    path = home / "settings.toml"
    path.write_text(WRITTEN)
    tag = machine.settings()["tag"]
    path.write_text("worker_slots = 5\n")
    with pytest.raises(TransitionRefused) as caught:
        machine.change_settings(tag, {"worker_slots": 8})
    assert caught.value.code == "edit-conflict" and path.read_text() == "worker_slots = 5\n"
    now = caught.value.detail["now"]
    assert now == machine.settings() and rows(now)["worker_slots"]["value"] == 5
    outcomes: list[str] = []

    def save(number: int) -> None:
        try:
            machine.change_settings(now["tag"], {"worker_slots": 10 + number})
            outcomes.append("changed")
        except FlowsteadError as error:
            outcomes.append(error.code)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["changed"] + ["edit-conflict"] * 7


def test_a_broken_file_is_told_and_mended_as_far_as_can_be(machine: MachineClient, home: Path) -> None:
    path = home / "settings.toml"
    path.write_text("worker_slot = 4\nretention_days = 3\n")
    answer = machine.settings()
    assert answer["unknown"] == ["worker_slot"] and answer["problem"]["code"] == "settings-invalid"
    assert "worker_slots" in answer["problem"]["hint"]
    with pytest.raises(UsageError):
        machine.change_settings(answer["tag"], {"retention_days": 4})
    answer = machine.change_settings(answer["tag"], {"worker_slot": None, "worker_slots": 4})
    assert (answer["problem"], path.read_text()) == (None, "retention_days = 3\nworker_slots = 4\n")
    for content in (b"worker_slots = \n", b"a = '\xe4'\n", b"[table]\nx = 1\n"):
        path.write_bytes(content)
        answer = machine.settings()
        assert answer["problem"]["code"] == "settings-invalid"
        with pytest.raises(UsageError):
            machine.change_settings(answer["tag"], {"worker_slots": 4})
        assert path.read_bytes() == content


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_file_that_is_kept_elsewhere_stays_there(machine: MachineClient, home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles" / "flowstead.toml"
    kept.parent.mkdir()
    kept.write_text("worker_slots = 4\n")
    (home / "settings.toml").symlink_to(kept)
    machine.change_settings(machine.settings()["tag"], {"worker_slots": 5})
    assert (home / "settings.toml").is_symlink() and kept.read_text() == "worker_slots = 5\n"


# -- the text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "changes", "after"),
    [
        ("", {"a": 1}, "a = 1\n"),
        ("b = 2", {"a": 1}, "b = 2\na = 1\n"),
        ("b = 2\r\n", {"a": "x"}, 'b = 2\r\na = "x"\r\n'),
        ("\"a\" = 1\n'b'= 2\n", {"a": 3, "b": 4}, "\"a\" = 3\n'b'= 4\n"),
        ("a = '#' # note\n", {"a": "y"}, 'a = "y" # note\n'),
        ('a = "\\"#\\""\nb = 1\n', {"a": None}, "b = 1\n"),
        ('a = """\nb = 1\n"""  # x\nb = 2\n', {"a": None}, "# x\nb = 2\n"),
        ('a = """\nb = 1\n"""\nb = 2\n', {"b": 3}, 'a = """\nb = 1\n"""\nb = 3\n'),
        ("a = [1, # ]\n 2]\nb = 1\n", {"b": 2}, "a = [1, # ]\n 2]\nb = 2\n"),
        ("a = [1, # ]\n 2]\nb = 1\n", {"a": ["x", "y"]}, 'a = ["x", "y"]\nb = 1\n'),
        ("[t]\na = 1\n", {"a": 2}, "a = 2\n[t]\na = 1\n"),
        ("# only\n", {"a": 1.5}, "# only\na = 1.5\n"),
        ("a = 1", {"a": None}, ""),
        ("  a  =  1  \n", {"a": 2}, "  a  =  2  \n"),
        ("a = 1\n", {"a": 'q"\\\n\x7fä'}, 'a = "q\\"\\\\\\n\\u007fä"\n'),
    ],
)
def test_changing_a_text(text: str, changes: dict[str, Any], after: str) -> None:
    assert change(text, changes) == after


@pytest.mark.parametrize("text", ["a.b = 1\n", "a = \n", '"\\u0061" = 1\n'])
def test_what_only_its_author_can_change_is_left(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        change(text, {"a": 2})
    assert caught.value.code == "settings-uneditable"


_names = st.sampled_from(["a", "b", "c_d", "e-f"])
_texts = st.text(alphabet="ab#\"'\\[]{}=\n\t,ä\x7f", max_size=8)
_values = st.one_of(st.integers(-9, 9), st.floats(0, 9), st.booleans(), _texts, st.lists(_texts, max_size=3))


@given(st.dictionaries(_names, _values), st.dictionaries(_names, _values | st.none()), st.sampled_from(["\n", "\r\n"]))
def test_any_change_is_what_was_asked_for(before: dict[str, Any], changes: dict[str, Any], newline: str) -> None:
    import tomli_w

    text = "".join(f"# {name}?{newline}{tomli_w.dumps({name: value})}" for name, value in before.items())
    changed = change(text, changes)
    expected = {name: value for name, value in {**before, **changes}.items() if value is not None}
    assert tomllib.loads(changed) == expected
    assert [line for line in changed.splitlines() if line.startswith("# ")] == [f"# {name}?" for name in before]
