"""settings.toml: what it may hold, and that every setting is documented."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from flowstead.model.errors import UsageError
from flowstead.model.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_with_its_default():
    text = DOCUMENT.read_text("utf-8")
    for field in fields(Settings):
        shown = json.dumps(field.default)
        row = next((line for line in text.splitlines() if line.startswith(f"| `{field.name}` ")), None)
        assert row is not None, f"{field.name} is missing in docs/settings.md"
        assert row.split("|")[2].strip().strip("`") == shown


@pytest.fixture(autouse=True)
def no_variables(monkeypatch):
    for field in fields(Settings):
        monkeypatch.delenv(f"FLOWSTEAD_{field.name.upper()}", raising=False)


def test_without_a_file_the_defaults_hold(tmp_path):
    assert Settings.load(tmp_path) == Settings()
    assert Settings().slots >= 2


def test_a_file_changes_what_it_names(tmp_path):
    (tmp_path / "settings.toml").write_text('worker_slots = 7\ndurability = "full"\nparallel_groups = ["A"]\n')
    settings = Settings.load(tmp_path)
    assert (settings.slots, settings.durability, settings.parallel_groups) == (7, "full", ("A",))
    assert settings.cancel_grace == Settings().cancel_grace


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("worker_slot = 3", "worker_slots"),
        ("worker_slots = -1", "worker_slots"),
        ("worker_slots = true", "worker_slots"),
        ("worker_slots = 1.5", "worker_slots"),
        ('durability = "maybe"', "durability"),
        ('parallel_groups = "A"', "parallel_groups"),
        ("cancel_grace = nan", "cancel_grace"),
        ("pool_uv = 21", "at most 20"),
        ("environment_folder = 3", "environment_folder"),
        ("worker_slots", "TOML"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, text, says):
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(UsageError) as refused:
        Settings.load(tmp_path)
    assert refused.value.code == "settings-invalid"
    assert says in refused.value.message + refused.value.hint


def test_an_environment_variable_counts_before_the_file(tmp_path, monkeypatch):
    (tmp_path / "settings.toml").write_text('worker_slots = 7\ndurability = "full"\nparallel_groups = ["A"]\n')
    given = {"WORKER_SLOTS": "3", "CANCEL_GRACE": "2.5", "PARALLEL_GROUPS": "B, C", "ENVIRONMENT_FOLDER": "/big"}
    for name, text in given.items():
        monkeypatch.setenv(f"FLOWSTEAD_{name}", text)
    settings = Settings.load(tmp_path)
    assert (settings.slots, settings.cancel_grace, settings.parallel_groups) == (3, 2.5, ("B", "C"))
    assert (settings.durability, settings.environment_folder) == ("full", "/big")


@pytest.mark.parametrize(("name", "text"), [("WORKER_SLOTS", "many"), ("DURABILITY", "maybe"), ("POOL_UV", "21")])
def test_a_variable_that_does_not_fit_is_named(tmp_path, monkeypatch, name, text):
    monkeypatch.setenv(f"FLOWSTEAD_{name}", text)
    with pytest.raises(UsageError, match=f"FLOWSTEAD_{name}"):
        Settings.load(tmp_path)
