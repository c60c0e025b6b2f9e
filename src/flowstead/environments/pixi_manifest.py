"""Reads `pixi.toml`, and `[tool.pixi]` of a `pyproject.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from flowstead.environments.conda_channels import (
    channels_of,
    check_name,
    check_platforms,
    invalid,
    is_selector,
    read_manifest,
    relative_to,
    require_rattler,
    selectors,
    spec_of,
)
from flowstead.environments.conda_pip import Entry, canonical, with_pip
from flowstead.environments.declaration import Declaration, Requirement

_SPEC_KEYS = {"build": "build", "build-number": "build_number", "channel": "channel", "subdir": "subdir"} | {
    "file-name": "fn", "md5": "md5", "sha256": "sha256", "url": "url", "license": "license"
}  # fmt: skip
_FROM_SOURCE = ("path", "git")
_TABLES = ("dependencies", "host-dependencies", "build-dependencies")


def read_pixi(path: Path, workspace: Path) -> Declaration:
    """What a `pixi.toml`, or a `pyproject.toml` with `[tool.pixi]`, says an environment of this machine must hold.

    The environment is the default one, or that which `[tool.flowstead] environment` names. A `pixi.lock` beside it is
    taken along. Activation scripts are not run, which `why` says. Raises ManifestInvalid with the line, and
    EnvironmentUnusable (`conda-missing`).
    """
    file = relative_to(path, workspace)
    require_rattler(file)
    lock = path.with_name("pixi.lock")
    locked = read_manifest(lock, relative_to(lock, workspace)) if lock.is_file() else None
    declaration, entries = _read(read_manifest(path, file), file, path.parent, path.name == "pyproject.toml", locked)
    return with_pip(declaration, entries, path.parent, workspace)


@lru_cache(maxsize=64)
def _read(
    text: str, file: str, folder: Path, in_project: bool, lock: str | None
) -> tuple[Declaration, tuple[Entry, ...]]:
    """The declaration without its pip part, and the entries of that."""
    manifest = _Manifest(text, file, in_project)
    chosen, features = manifest.chosen()
    channels: list[tuple[int, str, int | None]] = []
    platforms: list[list[tuple[str, int | None]]] = [manifest.platforms(manifest.head)]
    for feature in features:
        channels += manifest.channels(feature.path)
        platforms.append(manifest.platforms(feature.path))
    channels += manifest.channels(manifest.head)
    channels.sort(key=lambda each: -each[0])
    here = ""
    for each in platforms:
        here = check_platforms(each, file)
    requirements: dict[str, Requirement] = {}
    entries: list[Entry] = []
    options: list[str] = []
    for feature in features:
        for name, asked in _specs(manifest, feature, here, folder):
            requirements.setdefault(f"{name}\0{asked.text}", asked)
        entries += _pip(manifest, feature, here)
        options += _pip_options(manifest, feature.path, folder)
    entries += _pip_of_project(manifest, features) if in_project else ()
    python = manifest.table(("project",)).get("requires-python") if in_project else None
    if isinstance(python, str) and python.strip():
        line = manifest.line(("project",), "requires-python")
        requirements["python"] = Requirement(f"python {python.replace(' ', '')}", file, line)
    why = f"{file} says which packages its environment {chosen!r} needs."
    if any(manifest.table((*feature.path, "activation")) for feature in features):
        why += " Its activation is not run."
    declaration = Declaration(
        "conda",
        file,
        why,
        requirements=tuple(requirements.values()),
        options=tuple(options + _pip_options(manifest, manifest.head, folder)),
        lock=lock,
        groups=(chosen,),
        channels=channels_of([(name, line) for _, name, line in channels], folder, file),
        platforms=(here,),
    )
    return declaration, tuple(entries)


@dataclass(frozen=True)
class _Feature:
    """A part of a manifest that an environment is made of: its name, and where its tables are."""

    name: str
    path: tuple[str, ...]


class _Manifest:
    """A manifest as it was read, with the lines of its entries."""

    def __init__(self, text: str, file: str, in_project: bool) -> None:
        self.file = file
        self._lines = text.splitlines()
        try:
            self._top: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"at line (\d+)", str(error))
            raise invalid(f"is not valid TOML: {error}", file, int(at.group(1)) if at else len(self._lines) or 1)
        except RecursionError:
            raise invalid("is not valid TOML: it is nested too deep", file) from None
        self.root: tuple[str, ...] = ("tool", "pixi") if in_project else ()
        name = "workspace" if "workspace" in self.table(self.root) else "project"
        self.head = (*self.root, name)
        if not in_project and name not in self._top:
            raise invalid("has no table [workspace]", file)

    def table(self, path: tuple[str, ...]) -> dict[str, Any]:
        """The table at `path`, empty where there is none. Raises ManifestInvalid when something else is there."""
        at: Any = self._top
        for depth, name in enumerate(path):
            at = at.get(name, {})
            if not isinstance(at, dict):
                line = self.line(path[:depth], name)
                raise invalid(f"has no table where [{'.'.join(path[: depth + 1])}] is expected", self.file, line)
        return at

    def chosen(self) -> tuple[str, list[_Feature]]:
        """The environment that is to be made, by name, and the features that it has, the default one last."""
        name = self.table(("tool", "flowstead")).get("environment", "default")
        environments = self.table((*self.root, "environments"))
        asked = environments.get(name)
        line = self.line((*self.root, "environments"), str(name))
        if asked is None and name != "default":
            raise invalid(
                f"has no environment {name!r}",
                self.file,
                self.line(("tool", "flowstead"), "environment"),
                hint=f"There are: {', '.join(sorted({'default', *environments}))}.",
            )
        without_default = False
        if isinstance(asked, dict):
            without_default = asked.get("no-default-feature") is True
            asked = asked.get("features", [])
        names = self._texts(asked or [], "a feature", line)
        features: list[_Feature] = []
        for each in names:
            if each not in self.table((*self.root, "feature")):
                extra = self.table(("project", "optional-dependencies")) | self.table(("dependency-groups",))
                if not self.root or each not in extra:
                    raise invalid(f"has no feature {each!r}", self.file, line)
            features.append(_Feature(each, (*self.root, "feature", each)))
        if not without_default:
            features.append(_Feature("default", self.root))
        return str(name), features

    def channels(self, path: tuple[str, ...]) -> list[tuple[int, str, int | None]]:
        """Priority, name and line of each channel in a table."""
        line = self.line(path, "channels")
        found: list[tuple[int, str, int | None]] = []
        for each in self._list(self.table(path).get("channels", []), "channels", line):
            priority, name = (each.get("priority", 0), each.get("channel")) if isinstance(each, dict) else (0, each)
            if not isinstance(name, str) or not isinstance(priority, int):
                raise invalid("has a channel that is no text", self.file, line)
            found.append((priority, name, line))
        return found

    def platforms(self, path: tuple[str, ...]) -> list[tuple[str, int | None]]:
        line = self.line(path, "platforms")
        found = self._list(self.table(path).get("platforms", []), "platforms", line)
        names = [each.get("platform") if isinstance(each, dict) else each for each in found]
        return [(name, line) for name in self._texts(names, "a platform", line)]

    def line(self, path: tuple[str, ...], key: str) -> int | None:
        """The line that says `key` in the table at `path`, counting from 1; None where that is not found."""
        at: tuple[str, ...] = ()
        for number, line in enumerate(self._lines, 1):
            header = re.match(r"\s*\[\[?([^\[\]]+)\]", line)
            if header is not None:
                at = _keys(header.group(1))
                if at[: len(path) + 1] == (*path, key):
                    return number
                continue
            named = re.match(r"""\s*((?:[\w.-]|"[^"]*"|'[^']*'|\s*\.\s*)+?)\s*=""", line)
            if named is not None and (*at, *_keys(named.group(1)))[: len(path) + 1] == (*path, key):
                return number
        return self.line(path[:-1], path[-1]) if path else None

    def _list(self, value: Any, what: str, line: int | None) -> list[Any]:
        if not isinstance(value, list):
            raise invalid(f"has no list under {what!r}", self.file, line)
        return value

    def _texts(self, value: Any, what: str, line: int | None) -> list[str]:
        for each in self._list(value, what, line):
            if not isinstance(each, str):
                raise invalid(f"has {each!r} where {what} must be a text", self.file, line)
        return value


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[^.]+)\s*""", dotted))


def _entries(manifest: _Manifest, feature: _Feature, key: str, platform: str) -> Iterator[tuple[str, Any, int | None]]:
    """Name, value and line of the entries of a feature's table; those for this platform stand in for the wider ones."""
    target = (*feature.path, "target")
    for name in manifest.table(target):
        if not is_selector(name):
            raise invalid(f"has an unknown platform {name!r}", manifest.file, manifest.line(target, name))
    found: dict[str, tuple[str, Any, int | None]] = {}
    for path in ((*feature.path, key), *((*target, each, key) for each in selectors(platform))):
        for name, value in manifest.table(path).items():
            found[name.lower()] = (name, value, manifest.line(path, name))
    yield from found.values()


# -- conda's packages ------------------------------------------------------------------------------------------------


def _specs(manifest: _Manifest, feature: _Feature, platform: str, folder: Path) -> Iterator[tuple[str, Requirement]]:
    for table in _TABLES:
        for name, value, line in _entries(manifest, feature, table, platform):
            check_name(name, manifest.file, line)
            if name.lower() != "flowstead":  # the runtime stands for it
                yield name.lower(), Requirement(_spec(manifest, name, value, line, folder), manifest.file, line)


def _spec(manifest: _Manifest, name: str, value: Any, line: int | None, folder: Path) -> str:
    """A dependency as a package specification."""
    if isinstance(value, str):
        return name if value.strip() in ("", "*") else f"{name} {value.strip()}"
    if not isinstance(value, dict):
        raise invalid(f"has {value!r} where the version of {name} must be a text", manifest.file, line)
    for key, each in value.items():
        if key in _FROM_SOURCE:
            raise invalid(f"wants {name} built from its source ({key}), which is not done here", manifest.file, line)
        if key != "version" and key not in _SPEC_KEYS:
            raise invalid(f"says {key!r} of {name}, which is not understood", manifest.file, line)
        if not isinstance(each, str | int) or '"' in str(each):
            raise invalid(f"has {each!r} where {key} of {name} must be a text", manifest.file, line)
    parts: list[str] = []
    if value.get("version", "*") != "*":
        parts.append(f'version="{value["version"]}"')
    for key, inner in _SPEC_KEYS.items():
        if key in value:
            text = str(value[key])
            if key == "channel":
                text = spec_of(f"{text}::{name}", folder).rpartition("::")[0]
            parts.append(f'{inner}="{text}"')
    return f"{name}[{','.join(parts)}]" if parts else name


# -- what pip installs -----------------------------------------------------------------------------------------------


def _pip(manifest: _Manifest, feature: _Feature, platform: str) -> Iterator[Entry]:
    for name, value, line in _entries(manifest, feature, "pypi-dependencies", platform):
        if canonical(name) != "flowstead":
            yield Entry(_pip_text(manifest, name, value, line), manifest.file, line)


def _pip_text(manifest: _Manifest, name: str, value: Any, line: int | None) -> str:
    """A dependency as a line of a requirements file."""
    if isinstance(value, str):
        return name if value.strip() in ("", "*") else f"{name}{_version(value)}"
    if not isinstance(value, dict):
        raise invalid(f"has {value!r} where the version of {name} must be a text", manifest.file, line)
    known = {"version", "extras", "path", "editable", "git", "branch", "tag", "rev", "subdirectory", "url"}
    unknown = sorted(set(value) - known - {"env-markers", "markers"})
    if unknown:
        raise invalid(f"says {unknown[0]!r} of {name}, which is not understood", manifest.file, line)
    extras = f"[{','.join(map(str, value['extras']))}]" if value.get("extras") else ""
    marker = value.get("env-markers", value.get("markers"))
    after = f" ; {marker}" if marker else ""
    inside = f"#subdirectory={value['subdirectory']}" if "subdirectory" in value else ""
    if "path" in value:
        path = str(value["path"])
        path = path if path.startswith((".", "/", "~")) else f"./{path}"
        return f"-e {path}{extras}" if value.get("editable") is True else f"{path}{extras}"
    if "git" in value:
        at = next((f"@{value[key]}" for key in ("rev", "tag", "branch") if key in value), "")
        address = str(value["git"])
        address = address if address.startswith("git+") else f"git+{address}"
        return f"{name}{extras} @ {address}{at}{inside}{after}"
    if "url" in value:
        return f"{name}{extras} @ {value['url']}{inside}{after}"
    version = str(value.get("version", "*")).strip()
    return f"{name}{extras}{'' if version in ('', '*') else _version(version)}{after}"


def _version(text: str) -> str:
    """A version as requirements have it: a bare one stands for itself."""
    return text.strip() if text.strip()[:1] in "<>=!~" else f"=={text.strip()}"


def _pip_of_project(manifest: _Manifest, features: list[_Feature]) -> Iterator[Entry]:
    """What `[project]` of a pyproject.toml has for these features: dependencies, extras and groups of their names."""
    places: list[tuple[tuple[str, ...], str]] = []
    for feature in features:
        if feature.name == "default":
            places.append((("project",), "dependencies"))
        else:
            places += [(("project", "optional-dependencies"), feature.name), (("dependency-groups",), feature.name)]
    for path, key in places:
        value = manifest.table(path).get(key, [])
        if not isinstance(value, list):
            raise invalid(f"has no list under {key!r}", manifest.file, manifest.line(path, key))
        for each in value:
            if isinstance(each, str):
                yield Entry(each, manifest.file, manifest.line(path, key))


def _pip_options(manifest: _Manifest, path: tuple[str, ...], folder: Path) -> list[str]:
    """Options of an installer for `pypi-options`. Raises ManifestInvalid."""
    table: Mapping[str, Any] = manifest.table((*path, "pypi-options"))
    line = manifest.line((*path, "pypi-options"), next(iter(table), ""))
    found: list[str] = []
    for key, value in table.items():
        if key == "index-url":
            found.append(f"--index-url {value}")
        elif key == "extra-index-urls" and isinstance(value, list):
            found += [f"--extra-index-url {each}" for each in value]
        elif key == "find-links" and isinstance(value, list) and all(isinstance(each, dict) for each in value):
            for each in value:
                place = each["url"] if "url" in each else (folder / str(each.get("path", "."))).resolve()
                found.append(f"--find-links {place}")
        elif key != "index-strategy":
            raise invalid(f"has {key!r} in pypi-options, which is not understood", manifest.file, line)
    return found
