"""Files that reach DuckDB through Arrow: Arrow's own, workbooks, and CSV with thousands of columns."""

from __future__ import annotations

import io
import os
import zipfile
from typing import Any

from flowstead.daemon.files.opening import FileUnreadable
from flowstead.daemon.files.tables import File, Opened
from flowstead.model.errors import NotFound

LARGEST_WORKBOOK = 256 << 20
LARGEST_WIDE = 64 << 20
WIDE = 300
"""Columns beyond which DuckDB takes hundreds of megabytes for a CSV file of any length."""


def open_arrow(opened: Opened) -> Any:
    """What DuckDB can scan of an Arrow file or stream, without reading it into memory where it can be mapped."""
    import pyarrow
    import pyarrow.dataset
    import pyarrow.ipc

    with os.fdopen(os.dup(opened.descriptor), "rb") as file:
        is_file = os.pread(file.fileno(), 6, 0) == b"ARROW1" if hasattr(os, "pread") else file.read(6) == b"ARROW1"
    if is_file:
        return pyarrow.dataset.dataset(opened.path, format="ipc")
    return pyarrow.ipc.open_stream(pyarrow.memory_map(opened.path)).read_all()


def wide_delimiter(beginning: bytes) -> str | None:
    """What separates the columns of a CSV file that has more than WIDE of them; None for any other file."""
    first = beginning.partition(b"\n")[0]
    count, delimiter = max((first.count(each), each) for each in (b",", b";", b"\t", b"|"))
    return delimiter.decode() if count > WIDE else None


def read_wide(file: File, opened: Opened, delimiter: str) -> Any:
    """A CSV file as an Arrow table. Raises FileUnreadable when it is too large for that."""
    import pyarrow
    import pyarrow.csv

    if opened.size > LARGEST_WIDE:
        raise _too_large(file, opened.size)
    parsing = pyarrow.csv.ParseOptions(delimiter=delimiter)

    def read(types: dict[str, Any]) -> Any:
        options = pyarrow.csv.ConvertOptions(column_types=types)
        with pyarrow.input_stream(opened.path, compression="gzip" if file.zipped else None) as content:
            return pyarrow.csv.read_csv(content, parse_options=parsing, convert_options=options)

    try:
        return read({})
    except pyarrow.ArrowInvalid:
        # A value further down is not of the type that the first rows promised.
        with pyarrow.input_stream(opened.path, compression="gzip" if file.zipped else None) as content:
            names = pyarrow.csv.open_csv(content, parse_options=parsing).schema.names
        return read(dict.fromkeys(names, pyarrow.string()))


def read_sheet(file: File, opened: Opened, memory_mb: int) -> tuple[Any, list[dict[str, Any]]]:
    """A sheet of a workbook (its first one unless `file.sheet` names another) as an Arrow table, and all sheets.

    Raises FileUnreadable for a workbook that would not fit into the memory there is, and NotFound
    (`sheet-not-found`).
    """
    import fastexcel

    if opened.size > LARGEST_WORKBOOK:
        raise _too_large(file, opened.size)
    with os.fdopen(os.dup(opened.descriptor), "rb") as content:
        content.seek(0)
        data = content.read()
    _check_unpacked(file, data, (memory_mb << 20) // 2 if memory_mb else LARGEST_WORKBOOK * 8)
    workbook = fastexcel.read_excel(data)
    names = workbook.sheet_names
    if file.sheet is not None and file.sheet not in names:
        hint = f"It has: {', '.join(names[:20])}"
        raise NotFound(f"There is no sheet {file.sheet!r}.", code="sheet-not-found", hint=hint)
    if not names:
        raise FileUnreadable(f"{file.place.name} holds no sheet.")
    sheet = workbook.load_sheet(file.sheet or names[0])
    return sheet.to_arrow(), [{"name": name} for name in names]


def _check_unpacked(file: File, data: bytes, most: int) -> None:
    """Refuses what is small only as long as it is zipped."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
        return  # an old .xls, or damaged, which its reader will tell
    if unpacked > most:
        raise _too_large(file, unpacked)


def _too_large(file: File, size: int) -> FileUnreadable:
    return FileUnreadable(
        f"{file.place.name} is too large to be looked at: {size / 1e6:,.0f} MB unpacked.",
        code="file-too-large",
        hint="Read it in a flow, and keep what you need as Parquet.",
    )
