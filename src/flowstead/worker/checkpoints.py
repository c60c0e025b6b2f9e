"""Checkpoints: a step's output written so that a later process has it back, exactly, or not at all.

A checkpoint is a small JSON object: `{"kind": "json", "text"}`, or `{"kind": "path", "path", "size", "mtime_ns"}`, or
`{"kind": "arrow" | "pickle", "file", "size", "crc", "type"}` with `file` relative to the run's folder.
"""

from __future__ import annotations

import errno
import json
import math
import os
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import Any, BinaryIO

SMALL = 16_384
"""Characters of JSON that still go inline into the ledger's row."""

CHEAP_BYTES = 1 << 20
"""An output of up to this size is always worth a checkpoint."""

BYTES_PER_SECOND = 100 << 20
"""A larger output is worth one when writing it at this speed takes less than a fifth of the step's own time."""


class CheckpointDamaged(Exception):
    """A checkpoint is missing, truncated, or not what was written."""


def inline(value: Any) -> str | None:
    """`value` as JSON text that reads back equal and of the same types, or None when it is not small and plain."""
    budget = [512]
    if not _plain(value, budget):
        return None
    text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= SMALL else None


def _plain(value: Any, budget: list[int]) -> bool:
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return True
    if kind is str:
        return len(value) <= SMALL
    if kind is float:
        return math.isfinite(value)
    budget[0] -= 1
    if budget[0] < 0:
        return False
    if kind is list:
        return len(value) <= 1000 and all(_plain(each, budget) for each in value)
    if kind is dict:
        return len(value) <= 1000 and all(type(key) is str and _plain(each, budget) for key, each in value.items())
    return False


def save(value: Any, folder: Path, stem: str, *, allowance: float | None) -> dict[str, Any] | None:
    """Writes a checkpoint of `value` as `<folder>/checkpoints/<stem>.*` where it needs a file.

    `allowance` is how many bytes it may take (None: any). Returns the checkpoint, or None when the value cannot be
    stored or is too large for the allowance: then a run resumes further back.
    """
    text = inline(value)
    if text is not None:
        return {"kind": "json", "text": text}
    if isinstance(value, PurePath):
        return _path(value)
    frame = _frame_type(value)
    if frame is not None:
        if allowance is not None and _frame_size(value) > allowance:
            return None
        return _write(folder, f"{stem}.arrow", lambda path: _write_arrow(value, frame, path), "arrow", frame)
    return _write(folder, f"{stem}.pickle", lambda path: _pickle(value, path, allowance), "pickle", None)


def load(checkpoint: dict[str, Any], folder: Path) -> Any:
    """The value that `save` stored. Raises CheckpointDamaged."""
    kind = checkpoint["kind"]
    if kind == "json":
        return json.loads(checkpoint["text"])
    if kind == "path":
        return Path(checkpoint["path"])
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


def _path(value: PurePath) -> dict[str, Any] | None:
    try:
        found = os.stat(value)
    except (OSError, ValueError):
        return None
    if not os.path.isfile(value):
        return {"kind": "path", "path": str(value), "size": None, "mtime_ns": None}
    return {"kind": "path", "path": str(value), "size": found.st_size, "mtime_ns": found.st_mtime_ns}


class _TooLarge(Exception):
    pass


class _Bounded:
    """A file for the pickler that stops at an allowance of bytes."""

    def __init__(self, file: BinaryIO, allowance: float) -> None:
        self._file = file
        self._left = allowance

    def write(self, data: Any) -> int:
        size = data.nbytes if isinstance(data, memoryview | pickle.PickleBuffer) else len(data)
        self._left -= size
        if self._left < 0:
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
    except OSError as error:
        beside.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        return None
    except Exception:
        # Whatever a user's type raises while it is pickled only means that it has no checkpoint.
        beside.unlink(missing_ok=True)
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
    return {
        ("polars", "DataFrame"): "polars",
        ("pandas", "DataFrame"): "pandas",
        ("pyarrow", "Table"): "pyarrow",
        ("duckdb", "DuckDBPyRelation"): "pyarrow",
    }.get((kind.__module__.partition(".")[0].lstrip("_"), kind.__name__))


def _frame_size(value: Any) -> int:
    for measure in ("estimated_size", "get_total_buffer_size"):
        if hasattr(value, measure):
            return int(getattr(value, measure)())
    if hasattr(value, "memory_usage"):
        return int(value.memory_usage(index=True).sum())
    return 0


def _write_arrow(value: Any, frame: str, path: Path) -> None:
    if frame == "polars":
        value.write_ipc(path)
        return
    import pyarrow

    if frame == "pandas":
        table = pyarrow.Table.from_pandas(value)
    else:
        table = value if isinstance(value, pyarrow.Table) else value.to_arrow_table()
    with pyarrow.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


def _read_arrow(data: bytes, frame: str) -> Any:
    if frame == "polars":
        import io

        import polars

        return polars.read_ipc(io.BytesIO(data), use_pyarrow=False, memory_map=False)
    import pyarrow

    table = pyarrow.ipc.open_file(pyarrow.BufferReader(data)).read_all()
    return table.to_pandas() if frame == "pandas" else table


def auto_allowance(duration_us: int) -> float:
    """How many bytes an output may take that cost `duration_us` of work, under `checkpoint="auto"`."""
    return max(CHEAP_BYTES, duration_us / 1_000_000 / 5 * BYTES_PER_SECOND)
