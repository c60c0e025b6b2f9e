"""Checkpoints: a step's output written so that a later process has it back, exactly, or not at all.

A checkpoint is a small JSON object: `{"kind": "json", "text"}`, or `{"kind": "path", "value", "path", "size",
"mtime_ns"}` with `path` absolute, or `{"kind": "arrow" | "pickle", "file", "size", "crc", "type"}` with `file` relative
to the run's folder.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import pickle
import stat
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

SMALL = 16_384
"""Characters of JSON that still go inline into the ledger's row."""

LARGEST_INLINE_INT = 2000
"""Bits of an int that still goes inline; Python refuses to read ones of many thousand digits from text."""

DEEPEST_INLINE = 50
"""Lists and dicts within each other that still go inline."""

_PATH = type(Path())

CHEAP_BYTES = 1 << 20
"""An output of up to this size is always worth a checkpoint."""

BYTES_PER_SECOND = 100 << 20
"""A larger output is worth one when writing it at this speed takes less than a fifth of the step's own time."""


class CheckpointDamaged(Exception):
    """A checkpoint is missing, truncated, or not what was written."""


def inline(value: Any) -> str | None:
    """`value` as JSON text that reads back equal and of the same types, or None when it is not small and plain."""
    if not _plain(value, [SMALL], 0):
        return None
    text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= SMALL else None


def _plain(value: Any, left: list[int], depth: int) -> bool:
    kind = type(value)
    if value is None or kind is bool:
        return True
    if kind is int:
        return value.bit_length() <= LARGEST_INLINE_INT
    if kind is float:
        return math.isfinite(value)
    left[0] -= len(value) if kind is str else 2
    if left[0] < 0 or depth > DEEPEST_INLINE:
        return False
    if kind is str:
        return True
    if kind is list:
        return len(value) <= 1000 and all(_plain(each, left, depth + 1) for each in value)
    if kind is dict:
        return len(value) <= 1000 and all(
            type(key) is str and _plain(key, left, depth) and _plain(each, left, depth + 1)
            for key, each in value.items()
        )
    return False


def save(value: Any, folder: Path, stem: str, *, allowance: float | None) -> dict[str, Any] | None:
    """Writes a checkpoint of `value` as `<folder>/checkpoints/<stem>.*` where it needs a file.

    `allowance` is how many bytes it may take (None: any). Returns the checkpoint, or None when the value cannot be
    stored or is too large for the allowance: then a run resumes further back. Raises OSError when the disk is full.
    """
    text = inline(value)
    if text is not None:
        return {"kind": "json", "text": text}
    if type(value) is _PATH and (existing := _path(value)) is not None:
        return existing
    frame = _frame_type(value)
    if frame is not None:
        return _write(folder, f"{stem}.arrow", lambda path: _write_arrow(value, frame, path, allowance), "arrow", frame)
    return _write(folder, f"{stem}.pickle", lambda path: _pickle(value, path, allowance), "pickle", None)


def storable(values: dict[int, Any], allowance: float | None) -> dict[int, Any]:
    """Those of `values` that can be pickled, each by itself, as long as they fit into the allowance."""
    kept: dict[int, Any] = {}
    left = math.inf if allowance is None else allowance
    with open(os.devnull, "wb") as nowhere:
        for index, value in values.items():
            measured = _Bounded(nowhere, left)
            try:
                pickle.Pickler(measured, protocol=5).dump(value)
            except BaseException:
                continue
            kept[index], left = value, measured.left
    return kept


def load(checkpoint: dict[str, Any], folder: Path) -> Any:
    """The value that `save` stored. Raises CheckpointDamaged."""
    kind = checkpoint["kind"]
    if kind == "json":
        return json.loads(checkpoint["text"])
    if kind == "path":
        if not intact(checkpoint, folder):
            raise CheckpointDamaged(f"{checkpoint['path']} is gone, or not as it was")
        return Path(checkpoint["value"])
    path = folder / checkpoint["file"]
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(f"{path.name} cannot be read: {error.strerror}") from error
    if len(data) != checkpoint["size"] or zlib.crc32(data) != checkpoint["crc"]:
        raise CheckpointDamaged(f"{path.name} is not what was written")
    try:
        return pickle.loads(data) if kind == "pickle" else _read_arrow(data, checkpoint["type"])
    except Exception as error:
        raise CheckpointDamaged(f"{path.name} cannot be read back: {error}") from error


def intact(checkpoint: dict[str, Any], folder: Path) -> bool:
    """Whether a checkpoint is there as it was written, without reading any object out of it."""
    if checkpoint["kind"] == "json":
        return True
    if checkpoint["kind"] == "path":
        try:
            found = os.stat(checkpoint["path"])
        except OSError:
            return False
        return checkpoint["size"] is None or (found.st_size, found.st_mtime_ns) == (
            checkpoint["size"],
            checkpoint["mtime_ns"],
        )
    try:
        return _sum(folder / checkpoint["file"]) == (checkpoint["size"], checkpoint["crc"])
    except OSError:
        return False


def _path(value: Path) -> dict[str, Any] | None:
    try:
        # Absolute: the engine that looks whether it is intact has another current folder.
        path = os.path.abspath(value)
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    signature = (found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else (None, None)
    return {"kind": "path", "value": str(value), "path": path, "size": signature[0], "mtime_ns": signature[1]}


class _TooLarge(Exception):
    pass


class _Bounded(io.RawIOBase):
    """A file to write that stops at an allowance of bytes."""

    def __init__(self, file: BinaryIO, allowance: float) -> None:
        self._file = file
        self.left = allowance

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise _TooLarge
        return self._file.write(data)


def _write(folder: Path, name: str, writer: Callable[[Path], None], kind: str, frame: str | None) -> Any:
    target = folder / "checkpoints" / name
    beside = target.with_name(f"{name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        writer(beside)
        size, crc = _sum(beside)
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        # Whatever a user's type raises while it is stored, a panic of native code included, only means that it has no
        # checkpoint.
        return None
    return {"kind": kind, "file": f"checkpoints/{name}", "size": size, "crc": crc, "type": frame}


def _sum(path: Path) -> tuple[int, int]:
    crc = size = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc = zlib.crc32(block, crc)
            size += len(block)
    return size, crc


def _pickle(value: Any, path: Path, allowance: float | None) -> None:
    with path.open("wb") as file:
        target: Any = file if allowance is None else _Bounded(file, allowance)
        pickle.Pickler(target, protocol=5).dump(value)


def _frame_type(value: Any) -> str | None:
    kind = type(value)
    frame = _FRAMES.get((str(kind.__module__).partition(".")[0].lstrip("_"), kind.__name__))
    return None if frame == "pandas" and not _exact_in_arrow(value) else frame


def _exact_in_arrow(value: Any) -> bool:
    # Arrow chooses a type for objects, drops what an index knows of itself, and has only texts for names; pickled, such
    # a frame comes back as it was.
    return (
        type(value.index).__name__ == "RangeIndex"
        and len(value.columns) > 0
        and value.columns.is_unique
        and all(type(name) is str for name in value.columns)
        and all(str(dtype) != "object" for dtype in value.dtypes)
        and not value.attrs
    )


_FRAMES = {
    ("polars", "DataFrame"): "polars",
    ("pandas", "DataFrame"): "pandas",
    ("pyarrow", "Table"): "pyarrow",
    ("duckdb", "DuckDBPyRelation"): "duckdb",
}


def _write_arrow(value: Any, frame: str, path: Path, allowance: float | None) -> None:
    if frame == "polars":
        if allowance is not None and value.estimated_size() > allowance:
            raise _TooLarge
        value.write_ipc(path)
        return
    import pyarrow

    if frame == "duckdb":
        batches = value.to_arrow_reader()  # a result may be larger than memory
    else:
        table = pyarrow.Table.from_pandas(value) if frame == "pandas" else value
        if allowance is not None and table.nbytes > allowance:
            raise _TooLarge
        batches = table.to_reader()
    # Closed in any case: a connection with an open result takes no other query.
    with batches, path.open("wb") as file:
        target: Any = file if allowance is None else _Bounded(file, allowance)
        with pyarrow.ipc.new_file(target, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _read_arrow(data: bytes, frame: str) -> Any:
    if frame == "polars":
        import polars

        return polars.read_ipc(io.BytesIO(data))
    import pyarrow

    table = pyarrow.ipc.open_file(pyarrow.BufferReader(data)).read_all()
    if frame == "duckdb":
        import duckdb

        return duckdb.from_arrow(table)
    return table.to_pandas() if frame == "pandas" else table


def auto_allowance(duration_us: int) -> float:
    """How many bytes an output may take that cost `duration_us` of work, under `checkpoint="auto"`."""
    return max(CHEAP_BYTES, duration_us / 1_000_000 / 5 * BYTES_PER_SECOND)
