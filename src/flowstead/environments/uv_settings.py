"""`[tool.uv]` of a pyproject.toml or a script block: the parts that bear on what is installed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowstead.environments.local_packages import absolute_path, local_package, workspace_member
from flowstead.environments.manifest import OURSELVES, Toml, Trace, canonical

_KEPT = (
    "index", "index-url", "extra-index-url", "no-index", "find-links", "index-strategy", "constraint-dependencies",
    "override-dependencies", "exclude-dependencies", "build-constraint-dependencies", "dependency-metadata",
    "extra-build-dependencies", "extra-build-variables", "no-binary", "no-binary-package", "no-build",
    "no-build-package", "no-build-isolation", "no-build-isolation-package", "no-sources", "no-sources-package",
    "config-settings", "config-settings-package", "prerelease", "resolution", "fork-strategy", "exclude-newer",
    "exclude-newer-package", "torch-backend",
)  # fmt: skip


@dataclass(slots=True)
class UvSettings:
    """What was kept of `[tool.uv]`, paths absolute, and what counts of local packages that its sources name."""

    table: dict[str, Any] = field(default_factory=dict[str, Any])
    local: dict[str, str] = field(default_factory=dict[str, str])


def read_uv_settings(
    toml: Toml, folder: Path, names: set[str], chosen: tuple[set[str], set[str]], trace: Trace
) -> UvSettings:
    """The kept parts of `[tool.uv]`. Paths in it are relative to `folder`.

    `names` are the packages asked for, canonical: sources of others do not count. `chosen` are the extras and groups
    taken in: a source for another one does not hold. Raises ManifestInvalid.
    """
    found = UvSettings()
    table = toml.table("tool", "uv")
    for key in _KEPT:
        if key in table:
            found.table[key] = _absolute(key, table[key], folder, toml)
    sources: dict[str, Any] = {}
    for name, value in toml.table("tool", "uv", "sources").items():
        if canonical(name) not in names or canonical(name) == OURSELVES:
            continue
        several = value if isinstance(value, list) else [value]
        kept: list[dict[str, Any]] = []
        for each in several:
            if not isinstance(each, dict):
                raise toml.refusal(f"has a source of {name} that is no table", "tool", "uv", "sources", name)
            source = _source(name, each, folder, chosen, toml, trace, found.local)
            if source is not None:
                kept.append(source)
        if kept:
            sources[name] = kept if len(kept) > 1 else kept[0]
    if sources:
        found.table["sources"] = sources
    return found


def _source(
    name: str,
    source: dict[str, Any],
    folder: Path,
    chosen: tuple[set[str], set[str]],
    toml: Toml,
    trace: Trace,
    local: dict[str, str],
) -> dict[str, Any] | None:
    """A source as the installer is to have it; None for one of an extra or a group that is not taken in."""
    where = ("tool", "uv", "sources", name)
    for key, names in zip(("extra", "group"), chosen, strict=True):
        if key in source and (not isinstance(source[key], str) or canonical(source[key]) not in names):
            return None
    kept = {key: value for key, value in source.items() if key not in ("extra", "group")}
    if kept.get("workspace") is True:
        member = trace.look(workspace_member, (folder, canonical(name)))
        if member is None:
            raise toml.refusal(
                f"takes {name} from the uv workspace, which has no such member",
                *where,
                hint=f"Add its folder to members in [tool.uv.workspace], or give {name} a source with a path.",
            )
        kept = {"path": str(member), "editable": kept.get("editable") is not False} | (
            {"marker": kept["marker"]} if "marker" in kept else {}
        )
    elif "path" in kept:
        if not isinstance(kept["path"], str):
            raise toml.refusal(f"has a path of {name} that is no text", *where)
        kept["path"] = absolute_path(kept["path"], folder)
    if "path" in kept:
        path, editable = kept["path"], kept.get("editable") is True
        local[path] = local_package(path, editable, toml.file, toml.line(*where), trace)
    return kept


def _absolute(key: str, value: Any, folder: Path, toml: Toml) -> Any:
    """A setting with the paths in it absolute."""
    if key == "index":
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise toml.refusal("has no [[tool.uv.index]], but something else of that name", "tool", "uv", "index")
        return [
            {inner: _address(each, folder) if inner == "url" else each for inner, each in one.items()} for one in value
        ]
    if key == "index-url":
        return _address(value, folder)
    if key in ("extra-index-url", "find-links") and isinstance(value, list):
        return [_address(each, folder) for each in value]
    return value


def _address(value: Any, folder: Path) -> Any:
    """An address as it is; a path absolute."""
    if not isinstance(value, str) or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value):
        return value
    return absolute_path(value, folder)
