"""Reads `environment.yml`: conda's packages with their channels, and what pip installs on top of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from flowstead.environments.conda_channels import (
    channels_of,
    check_name,
    check_platforms,
    require_rattler,
    spec_of,
)
from flowstead.environments.conda_pip import with_pip
from flowstead.environments.declaration import Declaration, Requirement
from flowstead.environments.manifest import OURSELVES, Trace, canonical, decode, invalid, relative_to
from flowstead.environments.pixi_manifest import read_pixi
from flowstead.environments.requirements_file import Entry

if TYPE_CHECKING:
    from yaml import MappingNode, Node

__all__ = ["read_environment_yml", "read_pixi"]

_KEYS = ("name", "channels", "dependencies", "platforms", "variables", "prefix")


def read_environment_yml(path: Path, workspace: Path, trace: Trace | None = None) -> Declaration:
    """What an `environment.yml` says an environment of this machine must hold.

    `name` and `prefix` do not count; `variables` are not set, and `why` says so. Raises ManifestInvalid with the line,
    and EnvironmentUnusable (`conda-missing`).
    """
    file = relative_to(path, workspace)
    require_rattler(file)
    trace = trace or Trace()
    content = trace.read(path)
    if content is None:
        raise invalid("is not there", file)
    declaration, entries = _read(decode(content, file), file, path.parent)
    return with_pip(declaration, entries, path.parent, workspace, trace)


def _read(text: str, file: str, folder: Path) -> tuple[Declaration, list[Entry]]:
    """The declaration without its pip part, and the entries of that."""
    from yaml import MappingNode

    top = _mapping(text, file)
    if "dependencies" not in top:
        import difflib

        near = next((key for key in top if difflib.get_close_matches(key, ["dependencies"], 1, 0.8)), None)
        line = _line(top[near]) if near else None
        raise invalid("has no list of dependencies" + (f", only {near!r}" if near else ""), file, line)
    requirements: list[Requirement] = []
    pip: list[Entry] = []
    for node in _items(top["dependencies"], "dependencies", file):
        if isinstance(node, MappingNode):
            pip += _pip_list(node, file)
            continue
        spec, line = _text(node, "a dependency", file), _line(node)
        if canonical(check_name(spec, file, line)) != OURSELVES:  # the runtime stands for it
            requirements.append(Requirement(spec_of(spec, folder), file, line))
    channels = [(_text(each, "a channel", file), _line(each)) for each in _optional(top, "channels", file)]
    platforms = [(_text(each, "a platform", file), _line(each)) for each in _optional(top, "platforms", file)]
    why = f"{file} says which conda packages it needs."
    if "variables" in top and top["variables"].value:
        why += " Its variables are not set."
    declaration = Declaration(
        "conda",
        file,
        why,
        requirements=tuple(requirements),
        channels=channels_of(channels, folder, file),
        platforms=(check_platforms(platforms, file),),
    )
    return declaration, pip


def _pip_list(node: MappingNode, file: str) -> Iterator[Entry]:
    """The entries of a `pip:` list among the dependencies."""
    pairs = _pairs(node, file)
    for key, value in pairs.items():
        if key != "pip":
            raise invalid(f"has {key!r} among its dependencies, where only 'pip' may have a list", file, _line(node))
        for each in _items(value, "pip", file):
            yield Entry(_text(each, "what pip is to install", file), file, _line(each))


def _mapping(text: str, file: str) -> dict[str, Node]:
    """The top level of the file, by key."""
    import yaml

    try:
        # Not libyaml's loader: it crashes the whole process on a file that is nested deep enough.
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise invalid(f"is not valid YAML: {error.problem or error.context}", file, mark.line + 1 if mark else None)
    except yaml.YAMLError as error:
        raise invalid(f"is not valid YAML: {error}", file)
    except RecursionError:
        raise invalid("is not valid YAML: it is nested too deep", file) from None
    if not isinstance(node, yaml.MappingNode):
        raise invalid("does not have keys and values at its top", file, 1)
    return _pairs(node, file)


def _pairs(node: MappingNode, file: str) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for key, value in node.value:
        name = _text(key, "a key", file)
        if name in found:
            raise invalid(f"has {name!r} twice", file, _line(key))
        found[name] = value
    return found


def _optional(top: dict[str, Node], key: str, file: str) -> list[Node]:
    return _items(top[key], key, file) if key in top else []


def _items(node: Node, key: str, file: str) -> list[Node]:
    from yaml import SequenceNode

    if isinstance(node, SequenceNode):
        return list(node.value)
    if node.tag == "tag:yaml.org,2002:null":
        return []
    raise invalid(f"has no list under {key!r}", file, _line(node))


def _text(node: Node, what: str, file: str) -> str:
    """A text as it stands in the file. Raises ManifestInvalid for a number, a list, and nothing."""
    if node.tag != "tag:yaml.org,2002:str" or not str(node.value).strip():
        shown = f"{node.value!r} ({node.tag.rpartition(':')[2]})" if isinstance(node.value, str) else "a list"
        raise invalid(f"has {shown} where {what} must be a text", file, _line(node))
    return str(node.value).strip()


def _line(node: Node) -> int:
    return node.start_mark.line + 1
