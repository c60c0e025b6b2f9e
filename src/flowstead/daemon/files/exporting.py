"""A table, filtered and sorted, as a file to take along."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flowstead.daemon.files.cells import Column, quoted
from flowstead.daemon.files.selecting import Selection
from flowstead.daemon.files.tables import Table, literal, room_of
from flowstead.model.errors import FlowsteadError

MOST_ROWS_IN_EXCEL = 1_048_575
MOST_COLUMNS_IN_EXCEL = 16_384
ROWS_AT_ONCE = 2000
FORMATS = ("csv", "xlsx", "parquet")


def export(table: Table, chosen: Selection, format: str) -> Path:
    """Writes the chosen rows and columns; returns the file. Raises FlowsteadError (`export-too-large`)."""
    names = ", ".join(quoted(column.name) for column in chosen.columns)
    order = f"ORDER BY {chosen.order_by}" if chosen.order_by else ""
    query = f"SELECT {names} {chosen.from_where} {order}"
    path = room_of(table.connection) / f"export.{format}"
    if format == "xlsx":
        _write_workbook(table, chosen, query, path)
    else:
        options = "FORMAT csv, HEADER" if format == "csv" else "FORMAT parquet, COMPRESSION zstd"
        table.connection.execute(f"COPY ({query}) TO {literal(str(path))} ({options})", chosen.parameters)
    return path


def _write_workbook(table: Table, chosen: Selection, query: str, path: Path) -> None:
    import xlsxwriter

    columns = chosen.columns
    (rows,) = table.connection.execute(f"SELECT count(*) {chosen.from_where}", chosen.parameters).fetchone() or (0,)
    if rows > MOST_ROWS_IN_EXCEL or len(columns) > MOST_COLUMNS_IN_EXCEL:
        raise FlowsteadError(
            f"{rows:,} rows of {len(columns):,} columns do not fit into an Excel sheet.",
            code="export-too-large",
            hint="Filter them, or take CSV or Parquet.",
        )
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "tmpdir": str(path.parent),
    }
    with xlsxwriter.Workbook(str(path), options) as workbook:
        formats = {
            "date": workbook.add_format({"num_format": "yyyy-mm-dd"}),
            "timestamp": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        }
        sheet = workbook.add_worksheet()
        for position, column in enumerate(columns):
            sheet.write_string(0, position, column.name[:32_767])
        cells = ", ".join(_cell(column) for column in columns)
        result = table.connection.execute(f"SELECT {cells} FROM ({query})", chosen.parameters)
        number = 0
        while batch := result.fetchmany(ROWS_AT_ONCE):
            for row in batch:
                number += 1
                for position, (column, value) in enumerate(zip(columns, row, strict=True)):
                    if value is not None:
                        _write(sheet, number, position, column, value, formats)


def _cell(column: Column) -> str:
    """What Excel can hold of a column: its dates begin in 1900, and its texts have an end."""
    name = quoted(column.name)
    if column.kind in ("date", "timestamp"):
        days = f"epoch({name}) / 86400.0 + 25569"
        return f"CASE WHEN isfinite({name}) AND year({name}) BETWEEN 1901 AND 9999 THEN {days} END"
    if column.kind in ("number", "boolean"):
        return name
    return f"left(CAST({name} AS VARCHAR), 32767)"


def _write(sheet: Any, row: int, position: int, column: Column, value: Any, formats: dict[str, Any]) -> None:
    if column.kind in formats:
        sheet.write_number(row, position, value, formats[column.kind])
    elif isinstance(value, bool):
        sheet.write_boolean(row, position, value)
    elif column.kind == "number" and abs(value) < 1e15:  # of more digits it keeps fifteen
        sheet.write_number(row, position, value)
    else:
        sheet.write_string(row, position, str(value))
