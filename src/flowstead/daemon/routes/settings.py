"""Requests about the settings of this machine: how they are, where that comes from, and changing them."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path
from typing import Any

from flowstead.daemon.authoring.text import tag_of
from flowstead.daemon.files.opening import Place
from flowstead.daemon.guidebook import table_rows
from flowstead.daemon.machine import Machine
from flowstead.daemon.placing import OpenFolder, refused
from flowstead.daemon.routes.route import Route
from flowstead.daemon.settings_text import change
from flowstead.model.errors import FlowsteadError, TransitionRefused, UsageError
from flowstead.model.home import home
from flowstead.model.settings import Settings, choices_of, most_of, parse, read_text, variable_of

_OF_DAEMON = ("daemon_", "environment_", "pool_")
"""Settings whose reader lives as long as the daemon does; others are read when a workspace is opened."""

_WRITING = threading.Lock()


def list_settings(machine: Machine) -> dict[str, Any]:
    """All settings: `{path, tag, problem, unknown, settings}`; the `tag` is given back when some are changed.

    A setting is `{name, value, default, file_value, set_by, variable, kind, choices, least, most, about, effect}`.
    `set_by` is default, settings.toml or environment, which comes before the file. `effect` says when a change counts:
    once the `workspace` is opened anew, or the `daemon` is started anew.
    """
    return _all(_path())


def change_settings(machine: Machine, *, tag: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Changes settings.toml, `{name: value}`, null for the default; answers all settings, and the `changed` names.

    They are checked together, and written together or not at all. Comments and order stay. Only when the file still is
    the one named by `tag`: else `edit-conflict`, with the settings as they are now in `detail.now`.

    Raises UsageError (`settings-invalid`, `settings-uneditable`), TransitionRefused, StorageError.
    """
    path = _path()
    with _WRITING:
        before = _content(path)
        if tag_of(before) != tag:
            raise TransitionRefused(
                "settings.toml was changed since it was read.",
                code="edit-conflict",
                hint="Look at it as it is now, then change it again.",
                now=_all(path),
            )
        text = _text(before, path)
        there = parse(text, path)
        wanted = {name: value for name, value in changes.items() if value is not None}
        Settings.check(wanted, path)
        for name in changes:
            if name not in there and name not in Settings.defaults():
                raise UsageError(
                    f"There is no setting {name!r}.", code="settings-invalid", hint="See the list of them."
                )
        other = {name: value for name, value in changes.items() if value != there.get(name)}
        new = change(text, other)
        Settings.of_file(new, path)
        if new != text:
            _write(path, before, new)
    after = parse(new, path)
    return {**_all(path), "changed": [name for name in changes if there.get(name) != after.get(name)]}


def _path() -> Path:
    """The file itself: people keep it elsewhere, and have a link lead there."""
    return Path(os.path.realpath(home() / "settings.toml"))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise refused(str(path), error) from error


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return read_text(path)  # says what is wrong with it


def _write(path: Path, before: bytes, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(str(path), error) from error

    def unchanged() -> None:
        # Race: an editor may save the file between this look and the replacing, which takes microseconds.
        if _content(path) != before:
            raise TransitionRefused("settings.toml was changed at this moment.", code="edit-conflict", now=_all(path))

    with OpenFolder(Place(str(path.parent), "")) as folder:
        status = folder.status(path.name)
        mode = stat.S_IMODE(status.st_mode) if status is not None else 0o600
        folder.put(path.name, text.encode(), mode=mode, before=unchanged)


def _all(path: Path) -> dict[str, Any]:
    content = _content(path)
    problem: FlowsteadError | None = None
    there: dict[str, object] = {}
    given: dict[str, object] = {}
    from_environment: dict[str, object] = {}
    try:
        text = _text(content, path)
        there = parse(text, path)
        given = Settings.of_file(text, path)
    except FlowsteadError as error:
        problem = error
    try:
        from_environment = Settings.of_environment(path)
    except FlowsteadError as error:
        problem = problem or error
    about = table_rows("settings")
    rows: list[dict[str, Any]] = []
    for name, default in Settings.defaults().items():
        set_by = "environment" if name in from_environment else "settings.toml" if name in given else "default"
        value = from_environment.get(name, given.get(name, default))
        rows.append(
            {
                "name": name,
                "value": _plain(value),
                "default": _plain(default),
                "file_value": _plain(given.get(name)),
                "set_by": set_by,
                "variable": variable_of(name),
                **_kind(name, default),
                "about": about.get(name, ""),
                "effect": "daemon" if name.startswith(_OF_DAEMON) else "workspace",
            }
        )
    return {
        "path": str(path),
        "tag": tag_of(content),
        "problem": None if problem is None else problem.as_dict(),
        "unknown": [name for name in there if name not in Settings.defaults()],
        "settings": rows,
    }


def _kind(name: str, default: object) -> dict[str, Any]:
    choices = choices_of(name)
    if choices:
        return {"kind": "choice", "choices": list(choices), "least": None, "most": None}
    if isinstance(default, tuple):
        return {"kind": "names", "choices": [], "least": None, "most": None}
    if isinstance(default, str):
        return {"kind": "text", "choices": [], "least": None, "most": None}
    kind = "number" if isinstance(default, float) else "whole number"
    return {"kind": kind, "choices": [], "least": 0, "most": most_of(name)}


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value


ROUTES = (
    Route("GET", "/settings", list_settings),
    Route("POST", "/settings", change_settings),
)
