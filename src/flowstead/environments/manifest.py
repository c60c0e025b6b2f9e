"""What all manifests have in common: their bytes and what else was looked at, the lines of TOML, checked entries."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.model.errors import ManifestInvalid

if TYPE_CHECKING:
    from packaging.requirements import Requirement as Parsed

OURSELVES = "flowstead"
"""The package that no environment gets from an index: the runtime stands for it."""


class Trace:
    """What was looked at to come to a result, so that the result can be used again while all of it is the same.

    Contents are compared, not times: a file that was replaced within the same tick of a clock counts.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[Callable[[Any], Any], Any], Any] = {}

    def read(self, path: Path | str) -> bytes | None:
        """The content of a file; None when there is no such file. Raises ManifestInvalid when it cannot be read."""
        return self.look(read_file, str(path))

    def variable(self, name: str) -> str | None:
        """An environment variable."""
        return self.look(os.environ.get, name)

    def look(self, at: Callable[[Any], Any], what: Any) -> Any:
        """`at(what)`, which is called again to find out whether it is still the same."""
        key = at, what
        if key not in self._seen:
            self._seen[key] = at(what)
        return self._seen[key]

    def holds(self) -> bool:
        """Whether all of it is still the same. Raises what looking at it raises."""
        return all(at(what) == before for (at, what), before in self._seen.items())


def read_file(path: str) -> bytes | None:
    """The content of a file, None when there is no such file. Raises ManifestInvalid when it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except (OSError, ValueError) as error:
        if os.path.isdir(path):
            return None  # Windows says that it may not be read
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid(f"cannot be read: {reason}", path) from error


def decode(content: bytes, file: str) -> str:
    """The text of a manifest in UTF-8, or in UTF-16 with its mark, as PowerShell writes it. Raises ManifestInvalid."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise invalid(f"is no UTF-8 text (byte {error.start})", file, line) from None


def invalid(
    what: str, file: str, line: int | None = None, *, hint: str | None = None, **detail: Any
) -> ManifestInvalid:
    """The error of a manifest in which something is wrong; `what` goes on after the file's name."""
    where = file if line is None else f"{file}:{line}"
    if line is not None:
        detail["line"] = line
    return ManifestInvalid(
        f"{where} {what}.", hint=hint or f"Mend {where}, then start the flow again.", file=file, **detail
    )


def relative_to(path: Path, workspace: Path) -> str:
    """A file's name as people are told it: relative to the workspace where it lies in it."""
    try:
        return Path(os.path.normpath(path)).relative_to(workspace).as_posix()
    except ValueError:
        return str(path)


def canonical(name: str) -> str:
    """A package's name, as package indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


class Toml:
    """A TOML text that was read, with the lines of its entries.

    `offset` is the number of lines above it in the file that it stands in.
    """

    def __init__(self, text: str, file: str, *, offset: int = 0) -> None:
        self.file = file
        self._offset = offset
        self._lines = re.split(r"\r\n|\r|\n", text)
        try:
            self.top: dict[str, Any] = tomllib.loads("\n".join(self._lines))
        except RecursionError:
            raise invalid("is not valid TOML: it is nested too deep", file, offset + 1) from None
        except ValueError as error:  # also a number of too many digits, which is none of tomllib's own
            at = re.search(r"at line (\d+)", str(error))
            line = int(at.group(1)) if at else max(1, len(self._lines))
            reason = re.sub(r" \(at (line \d+, column \d+|end of document)\)", "", str(error)).rstrip(".")
            raise invalid(f"is not valid TOML: {reason}", file, offset + line) from None

    def table(self, *path: str) -> dict[str, Any]:
        """The table at a path, empty where there is none. Raises ManifestInvalid where something else is there."""
        at: Any = self.top
        for depth, name in enumerate(path):
            at = at.get(name, {})
            if not isinstance(at, dict):
                raise self.refusal(
                    f"has no table where [{'.'.join(path[: depth + 1])}] is expected", *path[: depth + 1]
                )
        return at

    def texts(self, value: Any, *path: str) -> list[str]:
        """A list of texts, which stands at `path`. Raises ManifestInvalid for anything else."""
        if not isinstance(value, list):
            raise self.refusal(f"has no list under {path[-1]!r}", *path)
        for each in value:
            if not isinstance(each, str):
                raise self.refusal(f"has {each!r} in {path[-1]!r}, where only texts may be", *path)
        return value

    def line(self, *path: str, value: str | None = None) -> int | None:
        """The line in its file where an entry begins, or, with `value`, where that text stands in it."""
        index = self._index(path)
        if value is not None:
            for quoted in (f'"{value}"', f"'{value}'"):
                for number in range(index or 0, len(self._lines)):
                    if quoted in self._lines[number]:
                        return self._offset + number + 1
        return None if index is None else self._offset + index + 1

    def refusal(self, what: str, *path: str, value: str | None = None, hint: str | None = None) -> ManifestInvalid:
        """The error of an entry, with its line."""
        return invalid(what, self.file, self.line(*path, value=value), hint=hint)

    def _index(self, path: tuple[str, ...]) -> int | None:
        """Where an entry is given a value, or its table begins; else where what it lies in begins."""
        table: tuple[str, ...] = ()
        for number, line in enumerate(self._lines):
            stripped = line.lstrip()
            if stripped.startswith("["):
                header = re.match(r"\[\[?([^\[\]]+)\]", stripped)
                if header is not None:
                    table = _parts(header.group(1))
                    if table[: len(path)] == path:
                        return number
                continue
            if path[:1] != table[:1] and table:
                continue
            named = re.match(r"""((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""", stripped)
            if named is not None and (*table, *_parts(named.group(1)))[: len(path)] == path:
                return number
        return self._index(path[:-1]) if len(path) > 1 else None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"""\s*("[^"]*"|'[^']*'|[^.]+)\s*""", dotted))


def parsed(text: str, file: str, line: int | None) -> Parsed:
    """A requirement with a name (`polars[all]>=1 ; sys_platform == "linux"`), canonical. Raises ManifestInvalid."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
        found.name = canonical(found.name)
        found.extras = {canonical(each) for each in found.extras}
        return found
    except (InvalidRequirement, RecursionError) as error:
        reason = (str(error) or "nested too deep").strip().splitlines()[0].strip().rstrip(".:")
        raise invalid(
            f"has a requirement that cannot be read: {text.strip()[:200]!r} ({reason[:200]})",
            file,
            line,
            hint='Write it like: polars>=1.0,<2, or: pandas[excel]==2.2.* ; python_version >= "3.11"',
        ) from None


def checked_python(text: Any, toml: Toml, *path: str) -> str | None:
    """`requires-python` as it stands at `path`, in one spelling; None for nothing. Raises ManifestInvalid."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    hint = 'Write it like: requires-python = ">=3.11"'
    if not isinstance(text, str):
        raise toml.refusal("has a requires-python that is no text", *path, hint=hint)
    try:
        return str(SpecifierSet(text)) or None
    except InvalidSpecifier:
        raise toml.refusal(f"has a requires-python that is no version specifier: {text[:200]!r}", *path, hint=hint)
