"""What the workspace's `pyproject.toml` says that flows need."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowstead.environments.declaration import Declaration, Requirement
from flowstead.environments.local_packages import local_address, local_digest, local_package
from flowstead.environments.lock_file import check_locked, read_lock
from flowstead.environments.manifest import (
    OURSELVES,
    Toml,
    Trace,
    canonical,
    checked_python,
    decode,
    parsed,
    relative_to,
)
from flowstead.environments.uv_settings import read_uv_settings

LEFT_TO_PIXI = "is a manifest of pixi ([tool.pixi]), which is asked last"

_DEPENDENCIES = ("project", "dependencies")
_EXTRAS = ("project", "optional-dependencies")
_GROUPS = ("dependency-groups",)


@dataclass(slots=True)
class Listed:
    """Requirements as they were listed, each once; whether Flowstead itself was among them; their names."""

    requirements: dict[tuple[str, bool], Requirement] = field(default_factory=dict[tuple[str, bool], Requirement])
    names: set[str] = field(default_factory=set[str])
    ourselves: bool = False
    local: dict[str, str] = field(default_factory=dict[str, str])

    def add(self, text: str, toml: Toml, folder: Path, trace: Trace, *path: str) -> None:
        """Adds a requirement that stands at `path`. Raises ManifestInvalid."""
        self.add_at(text, toml.file, toml.line(*path, value=text), folder, trace)

    def add_at(self, text: str, file: str, line: int | None, folder: Path, trace: Trace) -> None:
        """Adds a requirement; a path in it is relative to `folder`. Raises ManifestInvalid."""
        found = parsed(text.replace("${PROJECT_ROOT}", folder.as_posix()), file, line)
        if found.name == OURSELVES:
            self.ourselves = True
            return
        self.names.add(found.name)
        place = local_address(found.url, folder) if found.url is not None else None
        if place is not None:
            path, found.url = place
            self.local[path] = local_package(path, False, file, line, trace)
        written = str(found)
        self.requirements.setdefault((written, False), Requirement(written, file, line))


def read_project(folder: Path, workspace: Path, trace: Trace) -> tuple[Declaration | None, str]:
    """What `pyproject.toml` in a folder says, with the `uv.lock` beside it, and in a few words what it came to.

    None where it says nothing of packages, or leaves it to pixi. Raises ManifestInvalid.
    """
    path = folder / "pyproject.toml"
    content = trace.read(path)
    if content is None:
        return None, "is not there"
    file = relative_to(path, workspace)
    toml = Toml(decode(content, file), file)
    if has_pixi(toml):
        return None, LEFT_TO_PIXI
    extras, groups = _chosen(toml, "extras"), _chosen(toml, "groups")
    if "dependencies" not in toml.table("project") and not extras and not groups:
        return None, _why_not(toml)
    listed = Listed()
    if "dependencies" in toml.table("project"):
        for text in toml.texts(toml.table("project")["dependencies"], *_DEPENDENCIES):
            _add(text, listed, toml, folder, trace, *_DEPENDENCIES)
    own = len(listed.requirements) if "dependencies" in toml.table("project") else None
    for extra in extras:
        _add_extra(extra, listed, toml, folder, trace, (), ("tool", "flowstead", "extras"))
    for group in groups:
        _add_group(group, listed, toml, folder, trace, (), ("tool", "flowstead", "groups"))
    python = toml.table("project").get("requires-python")
    declaration = Declaration(
        "uv",
        file,
        _why(file, own, extras, groups),
        requires_python=None if python is None else checked_python(python, toml, "project", "requires-python"),
        requires_python_line=toml.line("project", "requires-python") if python is not None else None,
        groups=(*extras, *groups),
    )
    declaration = finished(
        declaration, listed, toml, folder, trace, extras=extras, groups=groups, lock=folder / "uv.lock"
    )
    return declaration, verdict(listed)


def finished(
    declaration: Declaration,
    listed: Listed,
    toml: Toml,
    folder: Path,
    trace: Trace,
    *,
    extras: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    lock: Path,
) -> Declaration:
    """A declaration with the requirements that were listed, the settings of uv, and its lock file.

    Raises ManifestInvalid.
    """
    chosen = {canonical(each) for each in extras}, {canonical(each) for each in groups}
    settings = read_uv_settings(toml, folder, listed.names, chosen, trace)
    declaration = replace(
        declaration,
        requirements=tuple(listed.requirements.values()),
        tool_uv=settings.table,
        local=listed.local | settings.local,
    )
    content = trace.read(lock)
    if content is None or not declaration.requirements:
        return declaration
    file = lock.name if "/" not in declaration.file else f"{declaration.file.rpartition('/')[0]}/{lock.name}"
    locked = read_lock(decode(content, file), file, folder)
    for requirement in declaration.requirements:
        check_locked(requirement, locked, file)
    counts = {
        path: trace.look(local_digest, (path, editable)) for path, editable in locked.local if os.path.exists(path)
    }
    return replace(
        declaration,
        lock=locked.text,
        local={**declaration.local, **counts},
        why=f"{declaration.why[:-1]}, in the versions of {file}.",
    )


def verdict(listed: Listed) -> str:
    """In a few words, of a manifest that decides."""
    count = len(listed.requirements)
    text = f"decides, with {counted(count)}"
    return f"{text}; {OURSELVES} itself is left out, as it is in each environment" if listed.ourselves else text


def counted(count: int) -> str:
    return "no packages" if count == 0 else "1 package" if count == 1 else f"{count} packages"


def has_pixi(toml: Toml) -> bool:
    return "pixi" in toml.table("tool")


def _chosen(toml: Toml, key: str) -> tuple[str, ...]:
    """The extras or groups that `[tool.flowstead]` names."""
    path = ("tool", "flowstead", key)
    return tuple(dict.fromkeys(toml.texts(toml.table("tool", "flowstead").get(key, []), *path)))


def _why_not(toml: Toml) -> str:
    dynamic = toml.table("project").get("dynamic")
    if isinstance(dynamic, list) and "dependencies" in dynamic:
        return "has [project] dependencies that are dynamic, which only building it would tell"
    if toml.table("tool", "poetry").get("dependencies"):
        return "has dependencies for poetry only, and no [project] dependencies"
    if "project" not in toml.top:
        return "has no [project] table, so it says nothing of packages"
    return "has a [project] table without dependencies, so it says nothing of packages"


def _why(file: str, own: int | None, extras: tuple[str, ...], groups: tuple[str, ...]) -> str:
    parts = [counted(own)] if own is not None else []
    for word, names in (("extra", extras), ("group", groups)):
        if names:
            parts.append(f"its {word}{'s' if len(names) > 1 else ''} {_and(names)}")
    return f"{file} of the workspace lists {', and '.join(parts)}."


def _and(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _add(
    text: str,
    listed: Listed,
    toml: Toml,
    folder: Path,
    trace: Trace,
    *path: str,
    within: tuple[str, ...] = (),
) -> None:
    """Adds a requirement; one of extras of the project itself stands for what these list."""
    own = toml.table("project").get("name")
    if isinstance(own, str) and "[" in text:
        found = parsed(text.replace("${PROJECT_ROOT}", ""), toml.file, toml.line(*path, value=text))
        if found.name == canonical(own) and found.url is None:
            for extra in sorted(found.extras):
                _add_extra(extra, listed, toml, folder, trace, within, path)
            return
    listed.add(text, toml, folder, trace, *path)


def _add_extra(
    name: str,
    listed: Listed,
    toml: Toml,
    folder: Path,
    trace: Trace,
    within: tuple[str, ...],
    asked_at: tuple[str, ...],
) -> None:
    key = _named(name, toml.table(*_EXTRAS), "extra", toml, asked_at)
    if key in within:
        return  # extras may name one another in a circle: each counts once
    for text in toml.texts(toml.table(*_EXTRAS)[key], *_EXTRAS, key):
        _add(text, listed, toml, folder, trace, *_EXTRAS, key, within=(*within, key))


def _add_group(
    name: str,
    listed: Listed,
    toml: Toml,
    folder: Path,
    trace: Trace,
    within: tuple[str, ...],
    asked_at: tuple[str, ...],
) -> None:
    key = _named(name, toml.table(*_GROUPS), "dependency group", toml, asked_at)
    if key in within:
        raise toml.refusal(
            f"has dependency groups that include one another: {' > '.join((*within, key))}", *_GROUPS, key
        )
    entries = toml.table(*_GROUPS)[key]
    if not isinstance(entries, list):
        raise toml.refusal(f"has no list under {key!r}", *_GROUPS, key)
    for entry in entries:
        if isinstance(entry, str):
            _add(entry, listed, toml, folder, trace, *_GROUPS, key)
        elif isinstance(entry, dict) and list(entry) == ["include-group"] and isinstance(entry["include-group"], str):
            _add_group(entry["include-group"], listed, toml, folder, trace, (*within, key), (*_GROUPS, key))
        else:
            raise toml.refusal(
                f"has {str(entry)[:200]} in {key!r}, which is no requirement and no group", *_GROUPS, key
            )


def _named(name: str, table: Mapping[str, Any], what: str, toml: Toml, asked_at: tuple[str, ...]) -> str:
    """The key of an extra or a group, however it is spelled. Raises ManifestInvalid."""
    for key in table:
        if canonical(key) == canonical(name):
            return key
    there = f"There are: {', '.join(sorted(table))}." if table else f"It has no {what}s at all."
    raise toml.refusal(f"has no {what} {name!r}", *asked_at, value=name, hint=there)
