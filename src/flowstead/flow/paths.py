"""`context.source` and `context.mirror`: names that lead to paths below a root, and never out of it.

Names are judged by their text, the same on every system: a backslash separates, `C:` is a drive, and links are
followed as they lie. A flow that works on one machine therefore works, and writes the same tree, on another.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import ClassVar

from flowstead.flow.errors import PathRefused

_DRIVE = re.compile(r"[A-Za-z]:")
# Neither empty nor led or ended by a dot or a space, without a separator or a drive.
_EXTENSION = re.compile(r"[^./\\:\0\s](?:[^/\\:\0]*[^./\\:\0\s])?")
_RELATIVE_HINT = 'Give a name relative to {root}, such as "summary.parquet" or "2024/summary.parquet".'


def relative_name(name: str | os.PathLike[str], *, argument: str, root: Path, base: PurePosixPath) -> PurePosixPath:
    """`name`, taken from the folder `base` below `root`, as a path relative to `root`.

    Raises PathRefused, naming `argument`: `path-absolute`, `path-escapes`, `path-empty` (nothing that could name a
    file) or `path-invalid` (not a name that every system can hold).
    """
    if not isinstance(name, str | os.PathLike):
        raise PathRefused(
            f"{argument} is {name!r}, not a file name.",
            code="path-invalid",
            hint=_RELATIVE_HINT.format(root=root),
        )
    text = os.fspath(name).replace("\\", "/")

    def refuse(code: str, why: str) -> PathRefused:
        return PathRefused(
            f"{argument} is {os.fspath(name)!r}, {why}.", code=code, hint=_RELATIVE_HINT.format(root=root)
        )

    if not text.strip():
        raise refuse("path-empty", "which is empty")
    if "\0" in text:
        raise refuse("path-invalid", "which holds a NUL character")
    parts: list[str] = list(base.parts)
    pieces = text.rstrip("/").split("/")
    # A drive is looked for in every piece: "./C:x" would otherwise become one once the dot is gone.
    if text.startswith("/") or any(_DRIVE.match(piece) for piece in pieces):
        raise refuse("path-absolute", "an absolute path")
    for piece in pieces:
        if piece in ("", "."):
            continue
        if piece == "..":
            if not parts:
                raise refuse("path-escapes", f"which leaves {root}")
            parts.pop()
        elif not piece.strip(" ."):
            raise refuse("path-invalid", "which holds a part of only dots and spaces")
        else:
            parts.append(piece)
    if not parts or pieces[-1] in (".", ".."):
        raise refuse("path-empty", "which names a folder, not a file in it")
    return PurePosixPath(*parts)


class _Namespace:
    """Names below `root`, some of them relative to the run's own source file."""

    __slots__ = ()
    root: Path
    _argument: ClassVar[str]

    @property
    def relative_path(self) -> Path | None:
        """The source file's path relative to the source root; None when the run has no file of its own."""
        raise NotImplementedError

    def _at(self, relative: PurePosixPath) -> Path:
        return self.root / relative

    def _named(self, method: str, name: str | os.PathLike[str], base: PurePosixPath) -> Path:
        argument = f"{self._argument}.{method}(name)"
        return self._at(relative_name(name, argument=argument, root=self.root, base=base))

    def _folder(self) -> PurePosixPath:
        relative = self.relative_path
        return PurePosixPath() if relative is None else PurePosixPath(relative.parent.as_posix())

    def _own_folder(self) -> PurePosixPath:
        relative = self.relative_path
        return PurePosixPath() if relative is None else self._folder() / relative.stem

    @property
    def folder(self) -> Path:
        """The folder of the file; without a file, the root."""
        return self._at(self._folder())

    @property
    def dir(self) -> Path:
        """The folder of what belongs to the file alone: beside it, named by its stem; without a file, the root."""
        return self._at(self._own_folder())

    def with_suffix(self, suffix: str) -> Path:
        """The file with another extension, ".parquet" or "parquet".

        Raises PathRefused when the run has no file of its own, and for what is no extension.
        """
        argument = f"{self._argument}.with_suffix(suffix)"
        return self._at(_with_extension(self.relative_path, suffix, argument))

    def with_extension(self, extension: str) -> Path:
        """The file with another extension, "parquet" or ".parquet". Raises PathRefused as with_suffix does."""
        argument = f"{self._argument}.with_extension(extension)"
        return self._at(_with_extension(self.relative_path, extension, argument))

    def file(self, name: str | os.PathLike[str]) -> Path:
        """`name` in the file's folder. Raises PathRefused for a name that is absolute or leaves the root."""
        return self._named("file", name, self._folder())

    def namespaced_file(self, name: str | os.PathLike[str]) -> Path:
        """`name` in the folder that belongs to the file alone. Raises PathRefused as file does."""
        return self._named("namespaced_file", name, self._own_folder())

    def root_file(self, name: str | os.PathLike[str]) -> Path:
        """`name` below the root. Raises PathRefused as file does."""
        return self._named("root_file", name, PurePosixPath())


@dataclass(frozen=True, slots=True)
class SourcePaths(_Namespace):
    """Where a run's input lies: `root` is the watched folder, `path` the run's own file, if it has one."""

    _argument: ClassVar[str] = "source"
    root: Path
    path: Path | None = None

    def __post_init__(self) -> None:
        path = self.path
        if path is not None and (not path.is_relative_to(self.root) or ".." in path.parts):
            raise PathRefused(
                f"path is {str(path)!r}, which lies outside {self.root}.",
                code="path-escapes",
                hint="A source file lies below the source root.",
            )

    @classmethod
    def of(cls, source: Path, relative: str | None = None) -> SourcePaths:
        """The paths of a flow's `source`, a folder or a single file (whose root is then its parent folder).

        `relative` is the run's file as `files.scan` names it; without one, a folder has no file of its own (a batch).
        """
        single = source.is_file()
        root = source.parent if single else source
        if relative is not None:
            return cls(root, root / relative)
        return cls(root, source if single else None)

    @property
    def relative_path(self) -> Path | None:
        """The file's path relative to `root`; None when the run has no file of its own."""
        return None if self.path is None else self.path.relative_to(self.root)


@dataclass(frozen=True, slots=True)
class MirrorPaths(_Namespace):
    """Where a run's output goes: below `root`, at the place its source file has below the source root.

    Every path comes with its parent folders made; `folder` and `dir` are made themselves.
    """

    _argument: ClassVar[str] = "mirror"
    root: Path
    source: SourcePaths | None = None

    @property
    def source_path(self) -> Path | None:
        """The source file that is mirrored; None when the run has no file of its own."""
        return None if self.source is None else self.source.path

    @property
    def relative_path(self) -> Path | None:
        """The source file's path relative to its root, and so the mirrored one's; None without a file."""
        return None if self.source is None else self.source.relative_path

    @property
    def folder(self) -> Path:
        """The mirrored folder of the file; without a file, the root."""
        return _made(self.root / self._folder())

    @property
    def dir(self) -> Path:
        """The folder for outputs of the file alone: in `folder`, named by its stem; without a file, the root."""
        return _made(self.root / self._own_folder())

    def _at(self, relative: PurePosixPath) -> Path:
        path = self.root / relative
        _made(path.parent)
        return path


def _with_extension(relative: Path | None, extension: str, argument: str) -> PurePosixPath:
    if relative is None:
        raise PathRefused(
            f"{argument} needs one source file, and this run has none.",
            code="path-no-source-file",
            hint='Use file("name.ext") instead, or give the flow a source and run_as="individual".',
        )
    ending = extension.removeprefix(".") if isinstance(extension, str) else ""
    if not _EXTENSION.fullmatch(ending):
        raise PathRefused(
            f"{argument} is {extension!r}, not a file extension.",
            code="path-invalid",
            hint='Give one such as ".parquet".',
        )
    return PurePosixPath(relative.with_name(f"{relative.stem}.{ending}").as_posix())


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
