"""What a `uv.lock` pins, as constraints: each package's version and the hashes of its files."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from flowstead.environments.declaration import Requirement
from flowstead.environments.manifest import Toml, canonical


@dataclass(frozen=True, slots=True)
class Locked:
    """The pins of a lock file, the versions by package, and the commits of packages that come from git."""

    pins: tuple[Requirement, ...]
    versions: dict[str, tuple[str, ...]]
    commits: dict[str, str]


def read_lock(text: str, file: str) -> Locked:
    """What a lock file of uv pins. Raises ManifestInvalid."""
    toml = Toml(text, file)
    packages = toml.top.get("package", [])
    if not isinstance(packages, list) or not all(isinstance(each, dict) for each in packages):
        raise toml.refusal("is no lock file of uv: it has no [[package]]", "package", hint="Make it anew with: uv lock")
    lines = _lines(text)
    times = Counter(each.get("name") for each in packages if isinstance(each.get("name"), str))
    pins: list[Requirement] = []
    versions: dict[str, tuple[str, ...]] = {}
    commits: dict[str, str] = {}
    for package in packages:
        name, version, source = package.get("name"), package.get("version"), package.get("source")
        if not isinstance(name, str) or not isinstance(source, dict):
            continue
        git = source.get("git")
        if isinstance(git, str) and "#" in git:
            commits[canonical(name)] = git.rpartition("#")[2]
        if not isinstance(version, str) or "registry" not in source:
            continue
        versions[canonical(name)] = (*versions.get(canonical(name), ()), version)
        pin = f"{name}=={version}"
        markers = package.get("resolution-markers")
        if times[name] > 1 and isinstance(markers, list) and markers and all(isinstance(m, str) for m in markers):
            pin += " ; " + " or ".join(f"({each})" for each in markers)
        elif times[name] > 1:
            continue  # two versions that nothing tells apart: the resolver chooses
        pins.append(Requirement("".join((pin, *_hashes(package))), file, lines.get((name, version))))
    return Locked(tuple(pins), versions, commits)


def _hashes(package: dict[str, Any]) -> list[str]:
    wheels = package.get("wheels")
    files = [package.get("sdist"), *(wheels if isinstance(wheels, list) else ())]
    found = {each.get("hash") for each in files if isinstance(each, dict)}
    if None in found:
        return []  # not all files have one: then all others would be refused
    return [f" --hash={each}" for each in sorted(filter(None, found)) if re.fullmatch(r"sha\d+:[0-9a-f]+", each)]


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Where the entry of each package and version begins."""
    found: dict[tuple[str, str], int] = {}
    name, begun = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("[[package]]"):
            name, begun = "", number
        elif begun and line.startswith("name = "):
            name = line[7:].strip().strip('"')
        elif begun and name and line.startswith("version = "):
            found.setdefault((name, line[10:].strip().strip('"')), begun)
    return found
