"""Requests about files: what there is, what is in it, and tables by the page."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from flowstead.daemon.files.answers import FileAnswer, exports_folder, headers_for
from flowstead.daemon.files.listing import entries, look, look_at, text_of
from flowstead.daemon.files.opening import Place
from flowstead.daemon.files.places import resolve, shown, shown_path, source_roots
from flowstead.daemon.files.readers import READERS
from flowstead.daemon.files.sources import described, run_tables, table_file
from flowstead.daemon.routes.route import Route
from flowstead.daemon.workspace_host import WorkspaceHost
from flowstead.model.errors import FlowsteadError, UsageError
from flowstead.model.run import iso

MOST_ENTRIES = 10_000
MOST_ROWS = 10_000
MOST_TEXT = 4 << 20
LONGEST_SQL = 50_000
_INLINE = ("image", "text", "markdown", "html", "pdf", "json")
_EXPORTS = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "parquet": "application/vnd.apache.parquet",
}


def list_files(
    host: WorkspaceHost, *, path: str = "", run_id: str | None = None, limit: int = 1000, cursor: int = 0
) -> dict[str, Any]:
    """A page of a folder, folders first, by name: `{path, entries, next}`.

    An entry is `{name, path, kind, size, modified_at}`; its kind is folder, link, special, or what its name says the
    file is. At the workspace's root, `sources` names the folders elsewhere that its runs have read.
    """
    _within("limit", limit, 1, MOST_ENTRIES)
    _within("cursor", cursor, 0)
    place = resolve(host, path, run_id=run_id)
    READERS.warm(host.settings.preview_memory_mb)  # whoever looks through folders opens one of their tables next
    found, more = entries(host, place, cursor, limit)
    answer = {"path": shown(host, place), "entries": found, "next": cursor + limit if more else None}
    if answer["path"] == "":
        named = (shown_path(host, root) for root in source_roots(host))
        answer["sources"] = [path for path in named if os.path.isabs(path)]
    return answer


def file_info(host: WorkspaceHost, *, path: str, run_id: str | None = None) -> dict[str, Any]:
    """What a file is: `{path, name, kind, format, media_type, size, modified_at}`; of a folder that it is one.

    Of a table also `columns` `[{name, type, kind}]`, `rows` (null: too many to count quickly), and `parts`, the sheets
    of a workbook or the tables of a database. One that cannot be read has its error as `problem`.
    """
    place = resolve(host, path, run_id=run_id)
    kind, found = look_at(place)
    answer: dict[str, Any] = {
        "path": shown(host, place),
        "name": place.name,
        "kind": kind.kind,
        "format": kind.format,
        "media_type": kind.media_type,
        "size": found.st_size,
        "modified_at": iso(found.st_mtime_ns // 1000),
        "problem": None,
    }
    if kind.kind == "table":
        try:
            answer |= _ask(host, {"about": "info", "file": described(host, place)})
        except FlowsteadError as error:
            answer["problem"] = error.as_dict()
    return answer


def file_content(host: WorkspaceHost, *, path: str, run_id: str | None = None) -> FileAnswer:
    """The file as it is. What a browser can show comes inline and sandboxed, anything else as a download."""
    place = resolve(host, path, run_id=run_id)
    kind, _ = look(place)
    media_type = "text/plain; charset=utf-8" if kind.kind == "markdown" else kind.media_type
    attached = kind.kind not in _INLINE
    return FileAnswer(place, media_type, headers_for(place.name, media_type, attached=attached))


def read_text(
    host: WorkspaceHost, *, path: str, run_id: str | None = None, offset: int = 0, limit: int = 1 << 18
) -> dict[str, Any]:
    """Up to `limit` bytes of a file as text, ending with a line where possible: `{text, offset, next, size, encoding}`.

    `next` is the offset of what follows, null at the end. Bytes that are no text of its encoding come as U+FFFD.
    """
    _within("offset", offset, 0)
    _within("limit", limit, 16, MOST_TEXT)
    return text_of(resolve(host, path, run_id=run_id), offset, limit)


def table_page(
    host: WorkspaceHost,
    *,
    path: str | None = None,
    run_id: str | None = None,
    artifact: str | None = None,
    step: str | int | None = None,
    sheet: str | None = None,
    table: str | None = None,
    offset: int = 0,
    limit: int = 100,
    sort: list[dict[str, Any]] | None = None,
    filters: list[dict[str, Any]] | None = None,
    columns: list[str] | None = None,
    view: str | None = None,
) -> dict[str, Any]:
    """Rows of a table: `{columns, columns_total, rows, offset, total, cut}`.

    It is named by a path (with `run_id`: in that run's folder), by `run_id` and the name of an artifact, or by `run_id`
    and a step, whose output or checkpoint it is; `sheet` is of a workbook, `table` of a database. Without `columns` the
    first 500 of `columns_total` come, and fewer rows than `limit` of a table with many.

    `sort` is `[{column, descending}]`, `filters` `[{column, op, value}]`, all of which must hold. Cells are as told in
    files/cells.py, and `cut` lists `[row, column]` of those that were too long. `total` is the number of filtered rows,
    null when counting would take long. A newer question of the same `view` ends this one (`preview-superseded`).
    """
    _within("offset", offset, 0)
    _within("limit", limit, 1, MOST_ROWS)
    file = table_file(host, path=path, run_id=run_id, artifact=artifact, step=step, sheet=sheet, table=table)
    question = {"about": "page", "offset": offset, "limit": limit, **_selection(sort, filters, columns), "file": file}
    return _ask(host, question, view)


def table_statistics(
    host: WorkspaceHost,
    *,
    path: str | None = None,
    run_id: str | None = None,
    artifact: str | None = None,
    step: str | int | None = None,
    sheet: str | None = None,
    table: str | None = None,
    columns: list[str] | None = None,
    filters: list[dict[str, Any]] | None = None,
    view: str | None = None,
) -> dict[str, Any]:
    """What is in the columns (the first 100, unless named): `{rows, sampled, approximate, columns}`; see table_page.

    Each column is `{name, type, kind, count, nulls, not_finite, distinct, min, max, mean, histogram, top,
    approximate}`: `count` of the values that are not null, `not_finite` of those that are NaN or infinite, which
    min, max, mean and histogram leave out; `histogram` `[{from, to, count}]` of numbers and dates, `top`
    `[{value, count}]`. Of a large table some are estimated, from `sampled` rows: `approximate` names which.
    """
    file = table_file(host, path=path, run_id=run_id, artifact=artifact, step=step, sheet=sheet, table=table)
    question = {"about": "statistics", **_selection(None, filters, columns), "file": file}
    return _ask(host, question, view)


def list_run_tables(host: WorkspaceHost, run_id: str) -> dict[str, Any]:
    """The tables that SQL over a run can name: `{tables: [{name, artifact, step, path}]}`."""
    run = host.reader.run(host.reader.run_id(run_id))
    return {
        "tables": [
            {"name": each.name, "artifact": each.artifact, "step": each.step, "path": shown(host, each.place)}
            for each in run_tables(host, run)
        ]
    }


def run_sql(
    host: WorkspaceHost, run_id: str, *, sql: str, limit: int = 1000, view: str | None = None
) -> dict[str, Any]:
    """Rows of one SELECT over the tables of a run: `{columns, rows, more, cut}`; see list_run_tables for their names.

    Nothing but these can be read, and nothing written. Raises `sql-refused` and `sql-failed`.
    """
    _check_sql(sql, limit)
    run = host.reader.run(host.reader.run_id(run_id))
    tables = run_tables(host, run)
    # Only those that the text mentions are opened; without any, all, so that it can ask what there is.
    mentioned = [each for each in tables if each.name.lower() in sql.lower()] or tables
    named = [{"name": each.name, "file": described(host, each.place)} for each in mentioned[:200]]
    return _ask(host, {"about": "sql", "sql": sql, "limit": limit, "tables": named}, view)


def table_sql(
    host: WorkspaceHost,
    *,
    sql: str,
    path: str | None = None,
    run_id: str | None = None,
    artifact: str | None = None,
    step: str | int | None = None,
    sheet: str | None = None,
    limit: int = 1000,
    view: str | None = None,
) -> dict[str, Any]:
    """The same over one table, which is named as in table_page and called `data`; those of a database `data.NAME`."""
    _check_sql(sql, limit)
    file = table_file(host, path=path, run_id=run_id, artifact=artifact, step=step, sheet=sheet)
    return _ask(host, {"about": "sql", "sql": sql, "limit": limit, "tables": [{"name": "data", "file": file}]}, view)


def _check_sql(sql: object, limit: int) -> None:
    _within("limit", limit, 1, MOST_ROWS)
    if not isinstance(sql, str) or len(sql) > LONGEST_SQL:
        raise UsageError(f"sql is a text of at most {LONGEST_SQL:,} characters.")


def export_table(
    host: WorkspaceHost,
    *,
    format: str,
    path: str | None = None,
    run_id: str | None = None,
    artifact: str | None = None,
    step: str | int | None = None,
    sheet: str | None = None,
    table: str | None = None,
    sort: list[dict[str, Any]] | None = None,
    filters: list[dict[str, Any]] | None = None,
    columns: list[str] | None = None,
) -> FileAnswer:
    """The chosen rows as a file: `format` is csv, xlsx or parquet; other arguments as in table_page."""
    if format not in _EXPORTS:
        raise UsageError(f"There is no format {format!r}.", hint=f"One of: {', '.join(_EXPORTS)}")
    file = table_file(host, path=path, run_id=run_id, artifact=artifact, step=step, sheet=sheet, table=table)
    question = {"about": "export", "format": format, **_selection(sort, filters, columns), "file": file}

    def take(written: Path) -> Place:
        folder = exports_folder()
        name = f"{secrets.token_hex(8)}.{format}"
        os.replace(written, folder / name)
        return Place(os.path.realpath(folder), name)

    place = READERS.export(question, memory_mb=host.settings.preview_memory_mb, take=take)
    name = f"{Path(file['relative']).name.partition('.')[0] or 'table'}.{format}"
    return FileAnswer(place, _EXPORTS[format], headers_for(name, _EXPORTS[format], attached=True), temporary=True)


def _ask(host: WorkspaceHost, question: dict[str, Any], view: str | None = None) -> Any:
    return READERS.ask(question, memory_mb=host.settings.preview_memory_mb, view=view)


def _selection(sort: object, filters: object, columns: object) -> dict[str, Any]:
    if columns is not None and not (isinstance(columns, list) and all(isinstance(each, str) for each in columns)):
        raise UsageError("columns is a list of names.")
    for name, given, keys in (("sort", sort, {"column"}), ("filters", filters, {"column", "op"})):
        entries = given if isinstance(given, list) else [] if given is None else [None]
        for entry in entries:
            if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in keys):
                raise UsageError(f"{name} is a list of objects, each with {' and '.join(sorted(keys))}.")
    return {"sort": sort, "filters": filters, "columns": columns}


def _within(name: str, number: object, least: int, most: int | None = None) -> None:
    if (
        isinstance(number, bool)
        or not isinstance(number, int)
        or number < least
        or (most is not None and number > most)
    ):
        reach = f"at least {least}" if most is None else f"from {least} to {most:,}"
        raise UsageError(f"{name} is {number!r}.", hint=f"Give a whole number {reach}.")


ROUTES = (
    Route("GET", "/files", list_files),
    Route("GET", "/files/info", file_info),
    Route("GET", "/files/content", file_content),
    Route("GET", "/files/text", read_text),
    Route("POST", "/tables/page", table_page),
    Route("POST", "/tables/statistics", table_statistics),
    Route("POST", "/tables/sql", table_sql),
    Route("POST", "/tables/export", export_table),
    Route("GET", "/runs/{run_id}/tables", list_run_tables),
    Route("POST", "/runs/{run_id}/sql", run_sql),
)
