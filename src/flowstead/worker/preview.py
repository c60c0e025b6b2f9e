"""Previews in a worker: a flow runs up to a waypoint, and what came of it is described, not recorded.

The description of a value is one of
`{"kind": "frame", "type", "columns": [{"name", "type"}], "rows": [[text or None]], "total"}` for a data frame,
`{"kind": "items", "type", "items": [text], "total"}` for a sequence,
`{"kind": "json", "type", "value"}` for what JSON can say, and `{"kind": "text", "type", "text"}` for anything else.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowstead.flow.batch import Batch, FileRef
from flowstead.flow.failures import describe_failure

if TYPE_CHECKING:
    from flowstead.flow.definition import Flow
    from flowstead.worker.channel import Channel

LONGEST_TEXT = 20_000


def preview(channel: Channel, flow: Flow, frame: dict[str, Any], root: Path) -> None:
    """Answers a `preview` frame `{use, rows, params}` with `{"type": "preview", "value": ...}` or `"error"`."""
    try:
        value = flow.preview(frame["use"], params=frame["params"])
        answer = {"value": describe(value, frame["rows"])}
    except (Exception, SystemExit) as error:
        answer = {"error": describe_failure(error, root)}
    sys.stdout.flush()
    sys.stderr.flush()
    channel.send({"type": "preview", **answer})


def describe(value: Any, rows: int) -> dict[str, Any]:
    """What `value` looks like, with at most `rows` rows or items of it."""
    library, name = type(value).__module__.partition(".")[0].lstrip("_"), type(value).__name__
    kind = name if library == "builtins" else f"{library}.{name}"
    table = _frame(library, name, value, rows)
    if table is not None:
        return {"kind": "frame", "type": kind, **table}
    if isinstance(value, Batch):
        return {"kind": "items", "type": "Batch", "items": _items(value.items, rows), "total": len(value)}
    if isinstance(value, Path):
        return {"kind": "text", "type": "Path", "text": _path(value)}
    if isinstance(value, list | tuple):
        return {"kind": "items", "type": kind, "items": _items(value, rows), "total": len(value)}
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = None
    if text is not None and len(text) <= LONGEST_TEXT:
        return {"kind": "json", "type": kind, "value": json.loads(text)}
    return {"kind": "text", "type": kind, "text": repr(value)[:LONGEST_TEXT]}


def _items(values: Any, rows: int) -> list[str]:
    return [_item(each) for each in values[:rows]]


def _item(value: Any) -> str:
    if isinstance(value, FileRef):
        value = value.path
    return _path(value) if isinstance(value, Path) else repr(value)[:2000]


def _path(path: Path) -> str:
    try:
        return f"{path} ({path.stat().st_size:,} bytes)"
    except OSError:
        return f"{path} (does not exist)"


def _frame(library: str, name: str, value: Any, rows: int) -> dict[str, Any] | None:
    """Columns, first rows and length of a data frame; None for anything else. Its library is never imported here."""
    if library == "polars" and name in ("DataFrame", "LazyFrame"):
        frame = value.collect() if name == "LazyFrame" else value
        columns = [(column, str(kind)) for column, kind in frame.schema.items()]
        return _table(columns, frame.head(rows).rows(), frame.height)
    if library == "polars" and name == "Series":
        return _table([(value.name or "value", str(value.dtype))], [(each,) for each in value.head(rows)], len(value))
    if library == "pandas" and name in ("DataFrame", "Series"):
        frame = value.to_frame() if name == "Series" else value
        columns = [(str(column), str(kind)) for column, kind in zip(frame.columns, frame.dtypes, strict=True)]
        cells = frame.head(rows).astype(object).where(frame.head(rows).notna(), None)
        return _table(columns, cells.itertuples(index=False, name=None), len(frame))
    if library == "pyarrow" and name in ("Table", "RecordBatch"):
        first = value.slice(0, rows)
        columns = [(field.name, str(field.type)) for field in value.schema]
        return _table(columns, zip(*(column.to_pylist() for column in first.columns), strict=True), value.num_rows)
    if library == "duckdb" and name == "DuckDBPyRelation":
        columns = list(zip(value.columns, map(str, value.types), strict=True))
        (total,) = value.aggregate("count(*)").fetchone()
        return _table(columns, value.limit(rows).fetchall(), total)
    return None


def _table(columns: list[tuple[str, str]], rows: Any, total: int) -> dict[str, Any]:
    return {
        "columns": [{"name": name, "type": kind} for name, kind in columns],
        "rows": [[None if cell is None else str(cell)[:500] for cell in row] for row in rows],
        "total": total,
    }
