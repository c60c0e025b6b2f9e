"""Reads requirement files as pip has them: includes, constraints, options, hashes, local packages."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flowstead.environments.declaration import Requirement
from flowstead.environments.local_packages import (
    absolute_path,
    local_address,
    local_name,
    local_package,
    path_of_address,
)
from flowstead.environments.manifest import OURSELVES, Trace, canonical, decode, invalid, parsed, relative_to

_SHORT = {
    "-r": "--requirement", "-c": "--constraint", "-e": "--editable", "-i": "--index-url", "-f": "--find-links",
    "--pypi-url": "--index-url",
}  # fmt: skip
_WITH_VALUE = (
    "--index-url", "--extra-index-url", "--find-links", "--no-binary", "--only-binary", "--trusted-host",
    "--use-feature",
)  # fmt: skip
_ALONE = ("--no-index", "--require-hashes", "--pre", "--prefer-binary")
_INCLUDES = ("--requirement", "--constraint")
_MOST_DEEP = 50

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
_PATH = re.compile(r"\.{1,2}([/\\\[;\s]|$)|[/\\]|[A-Za-z]:[/\\]|file:")
_ARCHIVE = re.compile(r"\.(whl|zip|tar\.gz|tar\.bz2|tgz)$", re.IGNORECASE)


@dataclass(slots=True)
class RequirementsFile:
    """What a requirement file and those that it includes ask for. `ourselves`: Flowstead was among it, and left out."""

    requirements: list[Requirement] = field(default_factory=list[Requirement])
    constraints: list[Requirement] = field(default_factory=list[Requirement])
    options: list[str] = field(default_factory=list[str])
    local: dict[str, str] = field(default_factory=dict[str, str])
    ourselves: bool = False


def read_requirements(
    path: Path, workspace: Path, trace: Trace | None = None, *, constraining: bool = False
) -> RequirementsFile:
    """What a requirement file asks for; with `constraining`, all of it is constraints.

    Raises ManifestInvalid with file and line, also when the file is not there.
    """
    reader = _Reader(workspace, trace or Trace())
    reader.read(path, constraining, ())
    return reader.found


@dataclass(frozen=True, slots=True)
class Entry:
    """What would be a line of a requirement file and stands in another one: at `line` of `file`."""

    text: str
    file: str
    line: int | None


def read_entries(entries: Iterable[Entry], folder: Path, workspace: Path, trace: Trace) -> RequirementsFile:
    """What entries ask for, like the lines of a requirement file in `folder`. Raises ManifestInvalid."""
    reader = _Reader(workspace, trace)
    for entry in entries:
        reader.line(entry.text, entry.file, entry.line or 1, folder, False, ())
    return reader.found


class _Reader:
    def __init__(self, workspace: Path, trace: Trace) -> None:
        self.found = RequirementsFile()
        self._workspace = workspace
        self._trace = trace

    def read(self, path: Path, constraining: bool, within: tuple[tuple[str, int], ...]) -> None:
        """Reads one file; `within` are the files, with lines, that include it."""
        file = relative_to(path, self._workspace)
        content = self._trace.read(path)
        if content is None:
            if not within:
                raise invalid("is not there", file)
            raise invalid(f"includes {file}, which is not there", *within[-1])
        folder = path.parent
        for line, text in _logical_lines(decode(content, file)):
            self.line(text, file, line, folder, constraining, within)

    def line(
        self, text: str, file: str, line: int, folder: Path, constraining: bool, within: tuple[tuple[str, int], ...]
    ) -> None:
        """Reads one line, with the files that it includes."""
        text = self._expanded(text)
        if not text.startswith("-"):
            self._requirement(text, file, line, folder, constraining)
            return
        option, value = _option(text, file, line)
        if option in _INCLUDES:
            included = self._included(value, folder, file, line, (*within, (file, line)))
            self.read(included, constraining or option == "--constraint", (*within, (file, line)))
        elif option == "--editable":
            self._editable(value, file, line, folder, constraining)
        else:
            self._add_option(option, value, folder)

    def _expanded(self, text: str) -> str:
        """The line with environment variables in place of their names.

        Credentials of an address keep the names: the installer puts in what these stand for, and nothing records it.
        """
        if "${" not in text:
            return text
        pieces: list[str] = []
        at = 0
        for kept in _CREDENTIALS.finditer(text):
            pieces += (_VARIABLE.sub(self._value, text[at : kept.start()]), kept.group())
            at = kept.end()
        return "".join((*pieces, _VARIABLE.sub(self._value, text[at:])))

    def _value(self, name: re.Match[str]) -> str:
        value = self._trace.variable(name.group(1))
        return name.group() if value is None else value

    def _included(self, value: str, folder: Path, file: str, line: int, within: tuple[tuple[str, int], ...]) -> Path:
        if re.match(r"(https?|ftp|git\+\w+):", value):
            raise invalid(
                f"includes {value[:300]!r}, which is an address",
                file,
                line,
                hint="Keep a copy of that file in the workspace, and include the copy.",
            )
        path = Path(absolute_path(path_of_address(value) if value.startswith("file:") else value, folder))
        name = relative_to(path, self._workspace)
        if len(within) > _MOST_DEEP:
            raise invalid(f"is included through {_MOST_DEEP} files, and includes {name}", file, line)
        if any(name == before for before, _ in within):
            chain = " > ".join([*(before for before, _ in within), name][-6:])
            raise invalid(f"includes {name}, and so itself: {chain}", file, line)
        return path

    def _add_option(self, option: str, value: str, folder: Path) -> None:
        if option == "--find-links" and not re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", value):
            path = absolute_path(value, folder)
            value = path if re.fullmatch(r"[\w/\\:.+-]+", path) else Path(path).as_uri()
        text = f"{option} {value}" if value else option
        if text not in self.found.options:
            self.found.options.append(text)

    def _editable(self, value: str, file: str, line: int, folder: Path, constraining: bool) -> None:
        if re.match(r"(git|hg|svn|bzr)\+", value):
            self._add(Requirement(value, file, line, editable=True), constraining)
            return
        self._local(value, file, line, folder, constraining, editable=True)

    def _requirement(self, text: str, file: str, line: int, folder: Path, constraining: bool) -> None:
        text, hashes = _without_hashes(text, file, line)
        bare = text.partition(";")[0].strip()
        if _PATH.match(text) or ("://" not in text and _ARCHIVE.search(bare.partition("[")[0]) and " @ " not in text):
            self._local(text, file, line, folder, constraining, hashes=hashes)
        elif re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
            self._add(Requirement(f"{text}{hashes}", file, line), constraining)
        else:
            found = parsed(text, file, line)
            if found.name == OURSELVES:
                self.found.ourselves = True
                return
            place = local_address(found.url, folder) if found.url is not None else None
            if place is not None:
                path, found.url = place
                self.found.local[path] = local_package(path, False, file, line, self._trace)
            self._add(Requirement(f"{found}{hashes}", file, line), constraining)

    def _local(
        self,
        text: str,
        file: str,
        line: int,
        folder: Path,
        constraining: bool,
        *,
        editable: bool = False,
        hashes: str = "",
    ) -> None:
        """A package in a folder or a file: `./package[extra] ; marker`."""
        place, *markers = (part.strip() for part in re.split(r"\s;|;\s", text, maxsplit=1))
        place, _, inside = place.partition("#") if place.startswith("file:") else (place, "", "")
        with_extras = re.fullmatch(r"(.+?)\[([\w\s,.-]*)\]", place)
        place, extras = (with_extras.group(1), with_extras.group(2)) if with_extras is not None else (place, "")
        path = absolute_path(path_of_address(place) if place.startswith("file:") else place, folder)
        digest = local_package(path, editable, file, line, self._trace)
        name = self._trace.look(local_name, path)
        if name == OURSELVES:
            self.found.ourselves = True
            return
        self.found.local[path] = digest
        written = path if re.fullmatch(r"[\w/\\:.+ -]+", path) and not inside else Path(path).as_uri()
        written += f"#{inside}" if inside else ""
        extras = ",".join(sorted(canonical(each.strip()) for each in extras.split(",") if each.strip()))
        written += f"[{extras}]" if extras else ""
        written += "".join(f" ; {marker}" for marker in markers)
        self._add(Requirement(f"{written}{hashes}", file, line, editable), constraining)

    def _add(self, requirement: Requirement, constraining: bool) -> None:
        kept = self.found.constraints if constraining else self.found.requirements
        if not any(each.text == requirement.text and each.editable == requirement.editable for each in kept):
            kept.append(requirement)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with something in them, without comments, continued ones as one, and the number each begins at."""
    parts: list[str] = []
    begun = 1
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        comment = line.lstrip().startswith("#")
        if not parts:
            begun = number
        if line.endswith("\\") and not comment:
            parts.append(line[:-1])
            continue
        # A comment ends a continued line, as it does for pip.
        parts.append(" " if comment else line)
        whole = re.sub(r"(^|\s)#.*$", "", "".join(parts)).strip()
        parts = []
        if whole:
            yield begun, whole
    whole = re.sub(r"(^|\s)#.*$", "", "".join(parts)).strip()
    if whole:
        yield begun, whole


def _option(text: str, file: str, line: int) -> tuple[str, str]:
    """An option by its long name, and its value. Raises ManifestInvalid."""
    found = re.match(r"(--[A-Za-z][A-Za-z-]*|-[A-Za-z])(\s*=\s*|\s*)(.*)", text)
    if found is None:
        raise invalid(f"has a line that cannot be read: {text[:200]!r}", file, line)
    option = _SHORT.get(found.group(1), found.group(1))
    rest = found.group(3).strip()
    if option in _ALONE and not rest:
        return option, ""
    if option not in (*_WITH_VALUE, *_INCLUDES, "--editable"):
        near = " with a value" if option in _ALONE else ""
        raise invalid(f"has an option that is not understood: {option}{near}", file, line)
    try:
        # Windows paths keep their backslashes.
        lexer = shlex.shlex(rest, posix=True, punctuation_chars=False)
        lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
        words = list(lexer)
    except ValueError as error:
        raise invalid(f"has a line that cannot be read: {text[:200]!r} ({error})", file, line) from None
    if option == "--editable":
        return option, rest.strip("\"'") if rest else _no_value(option, file, line)
    if len(words) != 1:
        if len(words) > 1 and not any(word.startswith("-") for word in words):
            raise invalid(f"has more than one value for {option}: {rest[:200]!r}", file, line)
        if len(words) > 1:
            raise invalid(f"has more than one option in a line: {text[:200]!r}", file, line, hint="Use a line each.")
        return option, _no_value(option, file, line)
    return option, words[0]


def _no_value(option: str, file: str, line: int) -> str:
    raise invalid(f"has {option} without a value", file, line)


def _without_hashes(text: str, file: str, line: int) -> tuple[str, str]:
    """A requirement, and its `--hash` options in one order."""
    split = re.search(r"\s--?[a-z]", text)
    if split is None:
        return text, ""
    hashes: set[str] = set()
    rest = text[split.start() :].strip()
    for option in re.split(r"\s+(?=--?[a-z])", rest):
        found = re.fullmatch(r"--hash(?:\s*=\s*|\s+)([a-z0-9]+:[0-9A-Fa-f]+)", option.strip())
        if found is None:
            raise invalid(
                f"has something after a requirement that is not understood: {option.strip()[:200]}", file, line
            )
        hashes.add(found.group(1).lower())
    return text[: split.start()].strip(), "".join(f" --hash={each}" for each in sorted(hashes))
