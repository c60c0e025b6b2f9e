"""What `collect` and `map` hand on: an immutable batch, references to files, and the outcome of one item."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar, overload

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class FileRef(os.PathLike):
    """A file that `collect` found; works wherever a path does (`open(ref)`, `polars.read_csv(ref)`)."""

    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        object.__setattr__(self, "path", Path(path))

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name with its extension."""
        return self.path.name

    @property
    def stem(self) -> str:
        """The file's name without its last extension."""
        return self.path.stem

    @property
    def suffix(self) -> str:
        """The file's last extension, with the dot."""
        return self.path.suffix

    @property
    def parent(self) -> Path:
        """The folder that holds the file."""
        return self.path.parent

    def exists(self) -> bool:
        """Whether the file is there now."""
        return self.path.exists()


@dataclass(frozen=True, slots=True, repr=False)
class Batch(Generic[T]):
    """An immutable sequence of items, made from any iterable. Batches of equal items are equal; a slice is a batch."""

    items: tuple[T, ...] = ()

    def __init__(self, items: Iterable[T] = ()) -> None:
        object.__setattr__(self, "items", tuple(items))

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Batch[T]: ...
    def __getitem__(self, index: int | slice) -> T | Batch[T]:
        return Batch(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __repr__(self) -> str:
        shown = ", ".join(repr(item) for item in self.items[:3])
        more = f", … {len(self.items)} items" if len(self.items) > 3 else ""
        return f"Batch([{shown}{more}])"

    def names(self) -> tuple[str, ...]:
        """The file name of each item; the items are FileRefs or paths."""
        return tuple(path.name for path in self.paths())

    def paths(self) -> tuple[Path, ...]:
        """The path of each item; the items are FileRefs or paths. Raises TypeError for anything else."""
        return tuple(Path(os.fspath(item)) for item in self.items)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """How one item of a map ended: `value` when it is ok, `error` (an exception) when it failed."""

    index: int
    item: object
    value: object = None
    error: BaseException | None = None
    status: Literal["succeeded", "failed", "skipped"] = "succeeded"

    @property
    def ok(self) -> bool:
        """Whether the item has a value."""
        return self.status == "succeeded"
