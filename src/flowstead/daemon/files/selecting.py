"""Which rows and columns are asked for, as SQL; values never become part of the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flowstead.daemon.files.cells import Column, quoted
from flowstead.daemon.files.tables import TABLE, Table
from flowstead.model.errors import UsageError

_COMPARED = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TEXTS = {
    "contains": "contains(lower(CAST({} AS VARCHAR)), lower(?))",
    "starts-with": "starts_with(lower(CAST({} AS VARCHAR)), lower(?))",
    "ends-with": "suffix(lower(CAST({} AS VARCHAR)), lower(?))",
}
_NULLS = {"is-null": "{} IS NULL", "is-not-null": "{} IS NOT NULL"}
OPERATIONS = (*_COMPARED, *_TEXTS, "in", *_NULLS)


@dataclass(frozen=True)
class Selection:
    """`where` and `order_by` are SQL, empty where nothing is wanted; `parameters` are those of `where`."""

    columns: list[Column]
    where: str
    parameters: list[Any]
    order_by: str

    @property
    def from_where(self) -> str:
        return f"FROM {TABLE} {self.where}"


def selection(
    table: Table,
    *,
    columns: list[str] | None = None,
    filters: list[dict[str, Any]] | None = None,
    sort: list[dict[str, Any]] | None = None,
    most: int | None = None,
) -> Selection:
    """Of the named `columns` (None: the first `most`).

    Raises UsageError (`filter-invalid`) and NotFound (`column-not-found`).
    """
    chosen = table.columns[:most] if columns is None else [table.column(name) for name in columns]
    conditions: list[str] = []
    parameters: list[Any] = []
    for each in filters or []:
        column = table.column(each["column"])
        condition, values = _condition(column, each["op"], each.get("value"))
        if each["op"] in ("in", *_COMPARED):
            _check_values(table, column, values)
        conditions.append(condition)
        parameters += values
    keys: list[str] = []
    for key in sort or []:
        way = "DESC" if key.get("descending") else "ASC"
        keys.append(f"{quoted(table.column(key['column']).name)} {way} NULLS LAST")
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return Selection(chosen, where, parameters, ", ".join(keys))


def _condition(column: Column, op: str, value: Any) -> tuple[str, list[Any]]:
    name = quoted(column.name)
    if column.kind == "text" and column.type != "VARCHAR":
        name = f"CAST({name} AS VARCHAR)"
    if op in _NULLS:
        return _NULLS[op].format(name), []
    if op in _TEXTS:
        return _TEXTS[op].format(name), [_text(value, op)]
    if op == "in":
        if not isinstance(value, list) or not value:
            raise _invalid("The filter 'in' takes a list of values.")
        # Compared as the column's own type: 1 finds 1.0, and a text is never compared as a number.
        return f"{name} IN ({', '.join(_typed(column) for _ in value)})", [_text(each, op) for each in value]
    if op in _COMPARED:
        return f"{name} {_COMPARED[op]} {_typed(column)}", [_text(value, op)]
    raise _invalid(f"There is no filter {op!r}.", hint=f"One of: {', '.join(OPERATIONS)}")


def _check_values(table: Table, column: Column, values: list[str]) -> None:
    for value in values:
        found = table.connection.execute(f"SELECT TRY_CAST(CAST(? AS VARCHAR) AS {_type(column)})", [value]).fetchone()
        if found is None or found[0] is None:
            raise _invalid(f"{column.name} holds {column.type}, which {value[:100]!r} is not.")


def _type(column: Column) -> str:
    # Of an ENUM, another value than its own would be an error, not a difference.
    return "VARCHAR" if column.kind == "text" else column.type


def _typed(column: Column) -> str:
    if column.is_nested:
        raise _invalid(f"{column.name} holds nested values, which cannot be compared.")
    return f"CAST(CAST(? AS VARCHAR) AS {_type(column)})"


def _text(value: Any, op: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | str):
        return str(value)
    raise _invalid(f"The filter {op!r} takes a text or a number, not {value!r}."[:200])


def _invalid(message: str, hint: str = "") -> UsageError:
    return UsageError(message, code="filter-invalid", hint=hint)
