"""What the child does: opens the file that a question is about, or takes it as it stands open, and answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from flowstead.daemon.files.cells import quoted
from flowstead.daemon.files.databases import attach_as, stamps
from flowstead.daemon.files.exporting import export
from flowstead.daemon.files.pages import SECONDS_TO_COUNT, page, within
from flowstead.daemon.files.queries import query
from flowstead.daemon.files.selecting import Selection, selection
from flowstead.daemon.files.statistics import statistics
from flowstead.daemon.files.tables import (
    File,
    Opened,
    Table,
    connect,
    disconnect,
    lock,
    open_place,
    open_table,
    relation_of,
    unreadable,
)
from flowstead.model.errors import FlowsteadError, UsageError

MOST_OPEN = 3
"""Tables that stay open for further questions."""

MOST_COLUMNS_SHOWN = 500
MOST_COLUMNS_COUNTED = 100
"""Columns of a page and of statistics when none are named."""


class Work:
    """Answers questions, one after another; `interrupt` comes from another thread."""

    def __init__(self, memory_mb: int) -> None:
        self._memory_mb = memory_mb
        self._scratch = Path.cwd()
        self._open: dict[File, tuple[tuple[int, ...], Table]] = {}
        self._lock = threading.Lock()
        self._current: tuple[int, duckdb.DuckDBPyConnection | None] = (0, None)

    def interrupt(self, number: int) -> None:
        """Ends the question of that number, if it is the one being answered and DuckDB is at it."""
        with self._lock:
            current, connection = self._current
            if current == number and connection is not None:
                connection.interrupt()

    def answer(self, question: dict[str, Any]) -> Any:
        """The answer to a question. Raises FlowsteadError for whatever goes wrong."""
        with self._lock:
            self._current = (question["number"], None)
        try:
            return _ANSWERS[question["about"]](self, question)
        except FlowsteadError:
            raise
        except (MemoryError, duckdb.OutOfMemoryException) as error:
            raise self._out_of_memory(error) from None
        except duckdb.InterruptException:
            raise FlowsteadError("It was interrupted.", code="preview-interrupted") from None
        except BaseException as error:
            # Libraries raise whatever they like, a panic of native code included, about a file that is damaged.
            if type(error).__name__ in ("ArrowMemoryError", "ArrowCapacityError"):
                raise self._out_of_memory(error) from None
            if "file" not in question:
                raise FlowsteadError(str(error)[:1000], code="sql-failed") from None
            raise unreadable(_file(question), error) from None
        finally:
            with self._lock:
                self._current = (0, None)

    def _out_of_memory(self, error: BaseException) -> FlowsteadError:
        self._open.clear()
        return FlowsteadError(
            f"It takes more memory than the {self._memory_mb:,} MB that a preview may use.",
            code="preview-memory",
            hint="Ask for less, or raise preview_memory_mb in settings.toml.",
        )

    def _at(self, connection: duckdb.DuckDBPyConnection) -> None:
        with self._lock:
            self._current = (self._current[0], connection)

    # -- tables ------------------------------------------------------------------------------------------------

    @contextmanager
    def _table(self, question: dict[str, Any], *, as_text: bool = False) -> Iterator[Table]:
        file = _file(question)
        opened = open_place(file.place)
        signature = opened.signature
        if file.format == "duckdb":
            signature = tuple(stamps(file, opened))
        known = self._open.pop(file, None)
        if known is not None and known[0] == signature and known[1].as_text >= as_text:
            opened.close()
            table = known[1]
        else:
            if known is not None:
                known[1].close()
            table = self._opened(file, opened, as_text=as_text)
        self._open[file] = (signature, table)
        self._at(table.connection)
        try:
            yield table
        finally:
            if table.is_lent:
                self._open.pop(file)[1].close()
            while len(self._open) > MOST_OPEN:
                self._open.pop(next(iter(self._open)))[1].close()

    def _opened(self, file: File, opened: Opened, *, as_text: bool) -> Table:
        try:
            return open_table(file, opened, self._scratch, self._memory_mb, as_text=as_text)
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            if file.format not in ("csv", "tsv") or as_text:
                opened.close()
                raise
        except BaseException:
            opened.close()
            raise
        # A value further down is not of the type that the first rows promised.
        return self._opened(file, opened, as_text=True)

    def _with_table(self, question: dict[str, Any], work: Callable[[Table], Any]) -> Any:
        is_csv = question["file"]["format"] in ("csv", "tsv")
        try:
            with self._table(question) as table:
                return work(table)
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            # In a large file, one that is read anew each time, such a value is met only now.
            if not is_csv:
                raise
            as_text = True
        except duckdb.PermissionException:
            # Race: the file has been replaced, and what was open is not what has this name now.
            self._forget(question)
            as_text = False
        with self._table(question, as_text=as_text) as table:
            return work(table)

    def _forget(self, question: dict[str, Any]) -> None:
        known = self._open.pop(_file(question), None)
        if known is not None:
            known[1].close()

    # -- answers -----------------------------------------------------------------------------------------------

    def info(self, question: dict[str, Any]) -> dict[str, Any]:
        """`{columns, rows, parts}`; rows is None when to count them would take long."""

        def look(table: Table) -> dict[str, Any]:
            if table.total is None and table.columns:
                counted = within(table.connection, SECONDS_TO_COUNT, "SELECT count(*) FROM source", [])
                table.total = None if counted is None else counted[0][0]
            return {
                "columns": [column.as_dict() for column in table.columns],
                "rows": table.total,
                "parts": table.parts,
            }

        return self._with_table(question, look)

    def page(self, question: dict[str, Any]) -> dict[str, Any]:
        return self._with_table(
            question, lambda table: page(table, _chosen(table, question), question["offset"], question["limit"])
        )

    def statistics(self, question: dict[str, Any]) -> dict[str, Any]:
        def look(table: Table) -> dict[str, Any]:
            chosen = _chosen(table, question, most=MOST_COLUMNS_COUNTED)
            total = table.total
            if total is None or chosen.where:
                statement = f"SELECT count(*) {chosen.from_where}"
                counted = within(table.connection, SECONDS_TO_COUNT, statement, chosen.parameters)
                total = None if counted is None else counted[0][0]
            return statistics(table, chosen, total)

        return self._with_table(question, look)

    def export(self, question: dict[str, Any]) -> dict[str, Any]:
        def write(table: Table) -> dict[str, Any]:
            path = export(table, _chosen(table, question, most=None), question["format"])
            return {"file": path.relative_to(self._scratch).as_posix()}

        return self._with_table(question, write)

    def sql(self, question: dict[str, Any]) -> dict[str, Any]:
        """Over the tables `[{name, file}]`; what the files of some of them have wrong is told only if they are used."""
        connection = connect(self._scratch, self._memory_mb)
        self._at(connection)
        opened: list[Opened] = []
        try:
            for table in question["tables"]:
                file = File(**table["file"])
                opened.append(open_place(file.place))
                self._add(connection, table["name"], file, opened[-1])
            lock(connection, [each.path for each in opened])
            return query(connection, question["sql"], question["limit"])
        finally:
            disconnect(connection)
            for each in opened:
                each.close()

    def _add(self, connection: duckdb.DuckDBPyConnection, name: str, file: File, opened: Opened) -> None:
        try:
            if file.format == "duckdb":
                attach_as(connection, name, file, opened)
            else:
                relation, _ = relation_of(connection, file, opened, self._memory_mb)
                connection.execute(f"CREATE TEMP VIEW {quoted(name)} AS FROM {relation}")
        except (MemoryError, duckdb.OutOfMemoryException, duckdb.InterruptException, FlowsteadError):
            raise
        except Exception as error:
            raise unreadable(file, error) from None


def _file(question: dict[str, Any]) -> File:
    return File(**question["file"])


def _chosen(table: Table, question: dict[str, Any], most: int | None = MOST_COLUMNS_SHOWN) -> Selection:
    if not table.columns:
        names = ", ".join(part["name"] for part in table.parts[:20])
        hint = f"Name one of: {names}" if names else "It holds no table."
        raise UsageError("Which of its tables is meant was not said.", code="table-not-named", hint=hint)
    columns, filters, sort = (question.get(name) for name in ("columns", "filters", "sort"))
    return selection(table, columns=columns, filters=filters, sort=sort, most=most)


_ANSWERS: dict[str, Callable[[Work, dict[str, Any]], Any]] = {
    "info": Work.info,
    "page": Work.page,
    "statistics": Work.statistics,
    "export": Work.export,
    "sql": Work.sql,
}
