"""What pip installs on top of conda's packages: the entries of a `pip:` list, as an installer takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from flowstead.environments.conda_channels import invalid
from flowstead.environments.declaration import Declaration, Requirement

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")


@dataclass(frozen=True, slots=True)
class Entry:
    """A line as it would stand in a requirements file, and where it stands."""

    text: str
    file: str
    line: int | None


def with_pip(declaration: Declaration, entries: tuple[Entry, ...], folder: Path, workspace: Path) -> Declaration:
    """A declaration with what pip is to install besides; paths in `entries` are relative to `folder`.

    Raises ManifestInvalid.
    """
    if not entries:
        return declaration
    pip: list[Requirement] = list(declaration.pip)
    constraints: list[Requirement] = list(declaration.constraints)
    options: list[str] = list(declaration.options)
    local: dict[str, str] = dict(declaration.local)
    for entry in entries:
        option, value = _option_of(entry)
        if option in ("-r", "--requirement", "-c", "--constraint"):
            read = _read_file(folder / value, option, entry, workspace)
            (pip if option in ("-r", "--requirement") else constraints).extend(read.requirements)
            constraints += read.constraints
            options += read.options
            local |= read.local
        elif option in ("-e", "--editable"):
            text = _local_path(value, entry, folder)
            pip.append(Requirement(text, entry.file, entry.line, editable=True))
        elif option in ("-f", "--find-links") and "://" not in value:
            options.append(f"--find-links {(folder / value).resolve()}")
        elif option is not None:
            options.append(f"{option} {value}".strip())
        elif _is_path(entry.text):
            pip.append(Requirement(_local_path(entry.text, entry, folder), entry.file, entry.line))
        elif _NAME.match(entry.text) is None:
            raise invalid(f"names no package for pip: {entry.text!r}", entry.file, entry.line)
        elif canonical(entry.text) != "flowstead":  # the runtime stands for it
            pip.append(Requirement(entry.text, entry.file, entry.line))
    return replace(declaration, pip=tuple(pip), constraints=tuple(constraints), options=tuple(options), local=local)


def canonical(text: str) -> str:
    """The name that a requirement begins with, as package indexes spell it."""
    found = _NAME.match(text)
    return re.sub(r"[-_.]+", "-", found.group(1)).lower() if found else ""


def _option_of(entry: Entry) -> tuple[str | None, str]:
    """An option and its value, or None and nothing for what is a requirement."""
    if not entry.text.startswith("-"):
        return None, ""
    found = re.match(r"(--[a-z-]+|-[a-z])(?:\s*=\s*|\s*)(.*)", entry.text)
    if found is None:
        raise invalid(f"has an option for pip that cannot be read: {entry.text!r}", entry.file, entry.line)
    return found.group(1), found.group(2).strip().strip("'\"")


def _is_path(text: str) -> bool:
    return re.match(r"\.{1,2}([/\\\[]|$)|[/~\\]|[A-Za-z]:[/\\]", text) is not None


def _local_path(text: str, entry: Entry, folder: Path) -> str:
    """The path of a local package, absolute; extras and addresses stay as they are. Raises ManifestInvalid."""
    if "://" in text:
        return text
    path, bracket, extras = text.partition("[")
    found = (folder / Path(path).expanduser()).resolve()
    if not found.exists():
        raise invalid(f"asks for {path}, which is not there", entry.file, entry.line)
    return f"{found}{bracket}{extras}"


def _read_file(path: Path, option: str, entry: Entry, workspace: Path) -> Declaration:
    """What a requirements file has that an entry names."""
    raise invalid(f"has {option} {path.name} for pip, which is not read yet", entry.file, entry.line)
