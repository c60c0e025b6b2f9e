"""Reads a `uv.lock`: what of it says whether it is up to date, and which local packages it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from flowstead.environments.declaration import Requirement
from flowstead.environments.local_packages import absolute_path
from flowstead.environments.manifest import Toml, canonical, invalid, parsed

_SOURCE = re.compile(r'^(source = \{ (registry|editable|directory|path|virtual) = ")([^"]*)(" \})', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Locked:
    """A lock file with its paths absolute, the locked versions by package, and `(path, editable)` of local packages."""

    text: str
    versions: Mapping[str, tuple[str, ...]]
    local: tuple[tuple[str, bool], ...]


@lru_cache(maxsize=16)
def read_lock(text: str, file: str, folder: Path) -> Locked:
    """What a lock file of uv says; paths in it are relative to `folder`. Raises ManifestInvalid."""
    toml = Toml(text, file)
    hint = "Make it anew with: uv lock"
    packages = toml.top.get("package", [])
    if not isinstance(packages, list) or not all(isinstance(each, dict) for each in packages):
        raise toml.refusal("is no lock file of uv: it has no [[package]]", "package", hint=hint)
    versions: dict[str, tuple[str, ...]] = {}
    local: list[tuple[str, bool]] = []
    for package in packages:
        name, version, source = package.get("name"), package.get("version"), package.get("source")
        if not isinstance(name, str) or not isinstance(source, dict):
            raise toml.refusal("is no lock file of uv: a package has no name, or no source", "package", hint=hint)
        if isinstance(version, str):
            versions[canonical(name)] = (*versions.get(canonical(name), ()), version)
        for kind in ("editable", "directory", "path"):
            path = source.get(kind)
            if isinstance(path, str) and path != ".":
                local.append((absolute_path(path, folder), kind == "editable"))
    return Locked(_SOURCE.sub(lambda found: _absolute(found, folder), text), versions, tuple(local))


def check_locked(requirement: Requirement, locked: Locked, file: str) -> None:
    """Raises ManifestInvalid when a requirement does not admit what the lock has, or the lock does not know it."""
    found = parsed(requirement.text, requirement.file, requirement.line)
    there = locked.versions.get(found.name, ())
    if there and (found.url is not None or any(found.specifier.contains(each, prereleases=True) for each in there)):
        return
    asked = f"{found.name}{found.specifier}"
    has = f"{found.name} {' and '.join(there)}" if there else f"no {found.name}"
    if not there and found.marker is not None:
        return  # uv leaves out what holds on no platform that it locks for
    raise invalid(
        f"asks for {asked}, and {file} has {has}",
        requirement.file,
        requirement.line,
        hint=f"Bring {file} up to date with: uv lock",
    )


def _absolute(found: re.Match[str], folder: Path) -> str:
    before, _, path, after = found.groups()
    if path == "." or "\\" in path or re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", path):
        return found.group()
    return f"{before}{absolute_path(path, folder)}{after}"
