"""Reads `pixi.toml`, and `[tool.pixi]` of a `pyproject.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowstead.environments.conda_channels import (
    channels_of,
    check_name,
    check_platforms,
    is_selector,
    require_rattler,
    selectors,
    spec_of,
)
from flowstead.environments.conda_pip import with_pip
from flowstead.environments.declaration import Declaration, Requirement
from flowstead.environments.manifest import OURSELVES, Toml, Trace, canonical, decode, invalid, relative_to
from flowstead.environments.requirements_file import Entry

_SPEC_KEYS = {"build": "build", "build-number": "build_number", "channel": "channel", "subdir": "subdir"} | {
    "file-name": "fn", "md5": "md5", "sha256": "sha256", "url": "url", "license": "license"
}  # fmt: skip
_FROM_SOURCE = ("path", "git")
_TABLES = ("dependencies", "host-dependencies", "build-dependencies")


def read_pixi(path: Path, workspace: Path, trace: Trace | None = None) -> Declaration:
    """What a `pixi.toml`, or a `pyproject.toml` with `[tool.pixi]`, says an environment of this machine must hold.

    The environment is the default one, or that which `[tool.flowstead] environment` names. A `pixi.lock` beside it is
    taken along. Activation scripts are not run, which `why` says. Raises ManifestInvalid with the line, and
    EnvironmentUnusable (`conda-missing`).
    """
    file = relative_to(path, workspace)
    require_rattler(file)
    trace = trace or Trace()
    lock = path.with_name("pixi.lock")
    content, locked = trace.read(path), trace.read(lock)
    if content is None:
        raise invalid("is not there", file)
    text = None if locked is None else decode(locked, relative_to(lock, workspace))
    manifest = _Manifest(decode(content, file), file, path.name == "pyproject.toml")
    declaration, entries = _read(manifest, path.parent, text)
    return with_pip(declaration, entries, path.parent, workspace, trace)


def _read(manifest: _Manifest, folder: Path, lock: str | None) -> tuple[Declaration, list[Entry]]:
    """The declaration without its pip part, and the entries of that."""
    file, in_project = manifest.file, bool(manifest.root)
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
    python = manifest.table("project").get("requires-python") if in_project else None
    if isinstance(python, str) and python.strip():
        line = manifest.line("project", "requires-python")
        requirements["python"] = Requirement(f"python {python.replace(' ', '')}", file, line)
    why = f"{file} says which packages its environment {chosen!r} needs."
    if any(manifest.table(*feature.path, "activation") for feature in features):
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
    return declaration, entries


@dataclass(frozen=True)
class _Feature:
    """A part of a manifest that an environment is made of: its name, and where its tables are."""

    name: str
    path: tuple[str, ...]


class _Manifest(Toml):
    """A manifest as it was read, with the lines of its entries; what is pixi's is below `root`."""

    def __init__(self, text: str, file: str, in_project: bool) -> None:
        super().__init__(text, file)
        self.root: tuple[str, ...] = ("tool", "pixi") if in_project else ()
        self.head = (*self.root, "workspace" if "workspace" in self.table(*self.root) else "project")
        if not in_project and self.head[-1] not in self.top:
            raise invalid("has no table [workspace]", file)

    def chosen(self) -> tuple[str, list[_Feature]]:
        """The environment that is to be made, by name, and the features that it has, the default one last."""
        name = self.table("tool", "flowstead").get("environment", "default")
        if not isinstance(name, str):
            raise self.refusal(
                f"has {name!r} where the name of an environment is expected", "tool", "flowstead", "environment"
            )
        environments = self.table(*self.root, "environments")
        asked = environments.get(name)
        place = (*self.root, "environments", name)
        if asked is None and name != "default":
            raise invalid(
                f"has no environment {name!r}",
                self.file,
                self.line("tool", "flowstead", "environment"),
                hint=f"There are: {', '.join(sorted({'default', *environments}))}.",
            )
        without_default = False
        if isinstance(asked, dict):
            without_default = asked.get("no-default-feature") is True
            asked = asked.get("features", [])
        names = self.texts(asked or [], *place)
        features: list[_Feature] = []
        for each in names:
            if each not in self.table(*self.root, "feature"):
                extra = self.table("project", "optional-dependencies") | self.table("dependency-groups")
                if not self.root or each not in extra:
                    raise self.refusal(f"has no feature {each!r}", *place)
            features.append(_Feature(each, (*self.root, "feature", each)))
        if not without_default:
            features.append(_Feature("default", self.root))
        return name, features

    def channels(self, path: tuple[str, ...]) -> list[tuple[int, str, int | None]]:
        """Priority, name and line of each channel in a table."""
        line = self.line(*path, "channels")
        found: list[tuple[int, str, int | None]] = []
        for each in self.list(*path, "channels"):
            name, priority = each, 0
            if isinstance(each, dict):
                name, priority = each.get("channel"), each.get("priority", 0)
            if not isinstance(name, str) or not isinstance(priority, int):
                raise self.refusal(f"has {name!r} where a channel must be a text", *path, "channels")
            found.append((priority, name, line))
        return found

    def platforms(self, path: tuple[str, ...]) -> list[tuple[str, int | None]]:
        line = self.line(*path, "platforms")
        found = [each.get("platform") if isinstance(each, dict) else each for each in self.list(*path, "platforms")]
        return [(name, line) for name in self.texts(found, *path, "platforms")]

    def list(self, *path: str) -> list[Any]:
        """The list at a path, empty where there is none. Raises ManifestInvalid where something else is there."""
        found = self.table(*path[:-1]).get(path[-1], [])
        if not isinstance(found, list):
            raise self.refusal(f"has no list under {path[-1]!r}", *path)
        return found


def _entries(manifest: _Manifest, feature: _Feature, key: str, platform: str) -> Iterator[tuple[str, Any, int | None]]:
    """Name, value and line of the entries of a feature's table; those for this platform stand in for the wider ones."""
    target = (*feature.path, "target")
    for name in manifest.table(*target):
        if not is_selector(name):
            raise invalid(f"has an unknown platform {name!r}", manifest.file, manifest.line(*target, name))
    found: dict[str, tuple[str, Any, int | None]] = {}
    for path in ((*feature.path, key), *((*target, each, key) for each in selectors(platform))):
        for name, value in manifest.table(*path).items():
            found[name.lower()] = (name, value, manifest.line(*path, name))
    yield from found.values()


# -- conda's packages ------------------------------------------------------------------------------------------------


def _specs(manifest: _Manifest, feature: _Feature, platform: str, folder: Path) -> Iterator[tuple[str, Requirement]]:
    for table in _TABLES:
        for name, value, line in _entries(manifest, feature, table, platform):
            check_name(name, manifest.file, line)
            if canonical(name) != OURSELVES:  # the runtime stands for it
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
        if canonical(name) != OURSELVES:
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
    for key, each in value.items():
        if not isinstance(each, list if key == "extras" else bool if key == "editable" else str):
            raise invalid(f"has {each!r} as {key} of {name}, which is of the wrong kind", manifest.file, line)
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
        for each in manifest.list(*path, key):
            if isinstance(each, str):
                yield Entry(each, manifest.file, manifest.line(*path, key, value=each))


def _pip_options(manifest: _Manifest, path: tuple[str, ...], folder: Path) -> list[str]:
    """Options of an installer for `pypi-options`. Raises ManifestInvalid."""
    table: Mapping[str, Any] = manifest.table(*path, "pypi-options")
    line = manifest.line(*path, "pypi-options", next(iter(table), ""))
    found: list[str] = []
    for key, value in table.items():
        if key == "no-index" and isinstance(value, bool):
            found += ["--no-index"] if value else []
        elif key == "index-url":
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
