"""Types and values of a table as JSON has them: one rule for every cell of every answer.

- A number is a JSON number, but a whole number beyond 2**53, which JavaScript would round, is text of its digits, and
  so is every DECIMAL. NaN and infinities are null.
- Dates and times are text in ISO 8601; a time with a zone is in UTC, ending in Z.
- Binary is told as its length ("12 bytes"). Lists, structs, maps and JSON are nested JSON.
- Text longer than MOST_CHARACTERS, and nested values whose JSON is longer, are cut to that, and told to be cut.
"""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

MOST_CHARACTERS = 1000
LARGEST_EXACT = 2**53
DEEPEST = 100
"""Brackets in a nested value that is still sent as JSON, not as text."""

_NUMBERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"),
    *("UHUGEINT", "BIGNUM", "FLOAT", "DOUBLE"),
}
_AS_TEXT = {"UUID", "BIT", "TIME", "TIME_NS", "TIME WITH TIME ZONE", "INTERVAL", "BIGNUM", '"NULL"', "NULL"}


class Column(NamedTuple):
    """A column; `type` is DuckDB's name of it."""

    name: str
    type: str

    @property
    def kind(self) -> str:
        """number, text, boolean, date, timestamp, time, binary or nested."""
        if self.type in _NUMBERS or self.type.startswith("DECIMAL"):
            return "number"
        if self.is_nested:
            return "nested"
        if self.type.startswith("TIMESTAMP"):
            return "timestamp"
        kinds = {"BOOLEAN": "boolean", "DATE": "date", "BLOB": "binary", "BIT": "text", "INTERVAL": "time"}
        return "time" if self.type.startswith("TIME") else kinds.get(self.type, "text")

    @property
    def is_nested(self) -> bool:
        return self.type.endswith("]") or self.type.startswith(
            ("STRUCT", "MAP", "UNION", "JSON", "VARIANT", "GEOMETRY")
        )

    def as_dict(self) -> dict[str, Any]:
        # The type of an ENUM names all its values, that of a STRUCT all its fields.
        shown_type = self.type if len(self.type) <= 100 else f"{self.type[:99]}…"
        return {"name": self.name, "type": shown_type, "kind": self.kind}


def quoted(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def shown(column: Column, value: str | None = None) -> str:
    """The SQL expression of what Python is to get of a column; `value` is what stands for it, by default its name."""
    value = quoted(column.name) if value is None else value
    kind = column.type
    if column.is_nested:
        # Longer ones cannot become short by being parsed.
        return f"left(CAST(to_json({value}) AS VARCHAR), {MOST_CHARACTERS * 10})"
    if kind.startswith("TIMESTAMP"):
        text = f"replace(CAST({value} AS VARCHAR), ' ', 'T')"
        return f"replace({text}, '+00', 'Z')" if kind.endswith("ZONE") else text
    if kind == "DATE" or kind in _AS_TEXT or kind.startswith(("DECIMAL", "ENUM")):
        return f"left(CAST({value} AS VARCHAR), {MOST_CHARACTERS + 1})"
    if kind == "FLOAT":
        return f"CAST(CAST({value} AS VARCHAR) AS DOUBLE)"  # 0.1, not 0.10000000149
    if kind == "BLOB":
        return f"octet_length({value})"
    if kind in _NUMBERS or kind == "BOOLEAN":
        return value
    return f"left(CAST({value} AS VARCHAR), {MOST_CHARACTERS + 1})"


def plain(column: Column, value: Any) -> tuple[Any, bool]:
    """What came of `shown` as JSON has it, and whether it was cut."""
    if value is None:
        return None, False
    if column.is_nested:
        return _nested(value)
    if column.type == "BLOB":
        return f"{value:,} {'byte' if value == 1 else 'bytes'}", False
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return value[:MOST_CHARACTERS], True
    return _exact(value), False


def rows_of(columns: list[Column], fetched: list[tuple[Any, ...]]) -> tuple[list[list[Any]], list[list[int]]]:
    """Rows as JSON has them, and `[row, column]` of each cell that was cut."""
    cut: list[list[int]] = []
    rows: list[list[Any]] = []
    for number, values in enumerate(fetched):
        row: list[Any] = []
        for position, (column, value) in enumerate(zip(columns, values, strict=True)):
            short, was_cut = plain(column, value)
            row.append(short)
            if was_cut:
                cut.append([number, position])
        rows.append(row)
    return rows, cut


def _nested(text: str) -> tuple[Any, bool]:
    if len(text) > MOST_CHARACTERS:
        return text[:MOST_CHARACTERS], True
    if text.count("[") + text.count("{") > DEEPEST:
        return text, False
    try:
        return _exact(json.loads(text)), False
    except ValueError:
        return text, False


def _exact(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -LARGEST_EXACT <= value <= LARGEST_EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_exact(each) for each in value]
    if isinstance(value, dict):
        return {key: _exact(each) for key, each in value.items()}
    return value
