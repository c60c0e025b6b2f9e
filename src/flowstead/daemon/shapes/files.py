"""Files and tables."""

from __future__ import annotations

from typing import Any, NotRequired

from typing_extensions import TypedDict

from flowstead.daemon.shapes.errors import Error


class FileEntry(TypedDict):
    """An entry of a folder."""

    name: str
    path: str
    kind: str
    size: int | None
    modified_at: str | None


class FilePage(TypedDict):
    """A page of a folder. At the workspace's root, `sources` are folders elsewhere that runs have read."""

    path: str
    entries: list[FileEntry]
    next: int | None
    sources: NotRequired[list[str]]


class Column(TypedDict):
    name: str
    type: str
    kind: str


class Part(TypedDict):
    """A sheet of a workbook, or a table or view of a database."""

    name: str
    schema: NotRequired[str]
    table: NotRequired[str]
    kind: NotRequired[str]
    rows: NotRequired[int | None]
    columns: NotRequired[int]


class FileInfo(TypedDict):
    """What a file is; of a table also its columns, rows and parts, or the `problem` with it."""

    path: str
    name: str
    kind: str
    format: str | None
    media_type: str
    size: int
    modified_at: str
    problem: Error | None
    columns: NotRequired[list[Column]]
    rows: NotRequired[int | None]
    parts: NotRequired[list[Part]]


class FileText(TypedDict):
    """A piece of a file as text; `next` is where the next one begins."""

    text: str
    encoding: str
    offset: int
    next: int | None
    size: int


class TablePage(TypedDict):
    """Rows of a table; `cut` names `[row, column]` of cells that were too long."""

    columns: list[Column]
    columns_total: int
    rows: list[list[Any]]
    offset: int
    total: int | None
    cut: list[list[int]]


class Bucket(TypedDict("_Bounds", {"from": Any, "to": Any})):
    """One bar of a histogram."""

    count: int


class TopValue(TypedDict):
    value: Any
    count: int


class ColumnStatistics(Column):
    """What is in a column; what is in `approximate` was estimated."""

    count: int
    nulls: int
    not_finite: int
    distinct: int | None
    min: Any
    max: Any
    mean: float | None
    histogram: list[Bucket] | None
    top: list[TopValue] | None
    approximate: list[str]


class TableStatistics(TypedDict):
    rows: int | None
    sampled: int | None
    approximate: bool
    columns: list[ColumnStatistics]


class RunTable(TypedDict):
    """A table that SQL over a run can name."""

    name: str
    artifact: str | None
    step: int | None
    path: str


class RunTables(TypedDict):
    tables: list[RunTable]


class SqlRows(TypedDict):
    """Rows of a SELECT; `more` when there are more than were asked for."""

    columns: list[Column]
    rows: list[list[Any]]
    more: bool
    cut: list[list[int]]
