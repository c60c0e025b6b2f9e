"""A table's columns: looking them up, and making a table and a frame agree on types without losing a value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from flowstead.helpers.duckdb.database import Database, DatabaseError, TableName, fold, no_column, quote


def relation_kind(db: Database, table: TableName) -> str | None:
    """`table`, `view`, or None when there is nothing of that name."""
    rows = db.run(
        "SELECT 'table' FROM duckdb_tables() WHERE database_name = ? AND lower(schema_name) = lower(?)"
        " AND lower(table_name) = lower(?) UNION ALL "
        "SELECT 'view' FROM duckdb_views() WHERE database_name = ? AND lower(schema_name) = lower(?)"
        " AND lower(view_name) = lower(?)",
        [db.catalog, *table, db.catalog, *table],
    )
    return rows[0][0] if rows else None


def require_relation(db: Database, table: TableName) -> str:
    """The kind of an existing table or view; raises `table-missing` with the names that exist."""
    kind = relation_kind(db, table)
    if kind is None:
        names = db.run(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT internal ORDER BY ALL",
            [db.catalog],
        )
        known = ", ".join(str(TableName(*row)) for row in names[:20])
        raise DatabaseError(
            f"There is no table {table} in {db.path}.",
            code="table-missing",
            hint=f"Its tables are: {known}." if known else "The database has no tables yet: write one first.",
        )
    return kind


def writable_table(db: Database, table: TableName) -> bool:
    """Whether the table exists; raises `table-is-view` for a view."""
    kind = relation_kind(db, table)
    if kind == "view":
        raise DatabaseError(
            f"{table} in {db.path} is a view.", code="table-is-view", hint="Choose another name, or drop the view."
        )
    return kind is not None


def create_table(db: Database, table: TableName, columns: str) -> None:
    """Create `table` (and its schema) from a SELECT without its rows."""
    schema = f"{quote(db.catalog)}.{quote(table.schema)}"
    db.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    db.run(f"CREATE TABLE {db.sql_name(table)} AS SELECT * FROM ({columns}) LIMIT 0")


def actual_name(columns: Sequence[str], wanted: str, where: str) -> str:
    """The column as the table spells it; raises `column-missing`."""
    for name in columns:
        if fold(name) == fold(wanted):
            return name
    return no_column(wanted, where, columns)


def reconcile(db: Database, *, view: str, column: str, given: str, stored: str, label: str) -> str:
    """The type that holds both what is stored and what column `column` of `view` brings, losing nothing.

    Raises `column-type-mismatch`, naming both types, when there is none or a value cannot be cast to `stored`.
    """
    if given in (stored, '"NULL"'):
        return stored
    if {given, stored} <= _INTEGERS and _misfit(db, view, column, given, stored) is None:
        # A frame's whole numbers are 64 bits wide by habit; the table's width is a choice.
        return stored
    zones = {kind.endswith("WITH TIME ZONE") for kind in (given, stored)}
    truths = {kind == "BOOLEAN" for kind in (given, stored)}
    nothing_stored = stored == '"NULL"'
    misfit = ""
    if (len(zones) == 1 and len(truths) == 1) or nothing_stored:
        try:
            # Asked as a relation, which is bound and refused without failing the transaction.
            asked = db.connection.sql(f"SELECT typeof(CASE WHEN true THEN NULL::{stored} ELSE NULL::{given} END)")
            common = asked.fetchall()[0][0]
        except duckdb.BinderException:
            common = "VARCHAR"
        if common == "FLOAT":
            # DuckDB's common type of integers and FLOAT keeps 24 bits of them.
            common = "DOUBLE"
        if common != "VARCHAR" or nothing_stored:
            return common
        misfit = _misfit(db, view, column, given, stored)
        if misfit is None:
            return stored
    example = f", for example {misfit!r}" if misfit else ""
    raise DatabaseError(
        f"Column {label} is {stored}; the values given are {given} and cannot be cast to it{example}.",
        code="column-type-mismatch",
        hint=f"Cast them to {stored} first, or replace the whole table.",
    )


_INTEGERS = {f"{sign}{size}" for sign in ("", "U") for size in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")}


def _misfit(db: Database, view: str, column: str, given: str, stored: str) -> str | None:
    """A value of `column` that `stored` cannot hold, `""` when it holds none of that type, None when all fit."""
    value = quote(column)
    lost = f"TRY_CAST({value} AS {stored}) IS NULL"
    if given == "VARCHAR" and (stored in _INTEGERS or stored.startswith("DECIMAL")):
        # Casting the text '1.5' to a whole number rounds it.
        lost += f" OR TRY_CAST({value} AS DOUBLE) <> TRY_CAST(TRY_CAST({value} AS {stored}) AS DOUBLE)"
    query = f"SELECT {value}::VARCHAR FROM {view} WHERE {value} IS NOT NULL AND ({lost}) LIMIT 1"
    try:
        rows = db.connection.sql(query).fetchall()
    except duckdb.BinderException:
        return ""
    return rows[0][0] if rows else None


def extend(db: Database, table: TableName, view: str) -> dict[str, str]:
    """Give `table` the columns and the width that `view` needs; returns frame column -> cast table column."""
    given = db.types(view)
    stored = db.types(db.sql_name(table))
    spelled = {fold(name): name for name in stored}
    retyped: dict[str, str] = {}
    casts: dict[str, str] = {}
    for column, kind in given.items():
        name = spelled.get(fold(column))
        if name is None:
            db.run(f"ALTER TABLE {db.sql_name(table)} ADD COLUMN {quote(column)} {kind}")
            casts[column] = kind
            continue
        wanted = reconcile(db, view=view, column=column, given=kind, stored=stored[name], label=f"{table}.{name}")
        if wanted != stored[name]:
            retyped[name] = wanted
        casts[column] = wanted
    if retyped:
        change_columns(db, table, retype=retyped)
    return casts


def insert(db: Database, table: TableName, view: str, casts: dict[str, str]) -> None:
    columns = ", ".join(quote(column) for column in casts)
    values = ", ".join(f"CAST({quote(column)} AS {kind})" for column, kind in casts.items())
    db.run(f"INSERT INTO {db.sql_name(table)} ({columns}) SELECT {values} FROM {view}")


@dataclass(frozen=True)
class Index:
    name: str
    unique: bool
    target: str
    """What is between the parentheses of its definition."""

    @property
    def columns(self) -> list[str] | None:
        """The indexed columns, or None for an index on expressions."""
        parts = re.fullmatch(rf"{_IDENTIFIER}(?:\s*,\s*{_IDENTIFIER})*", self.target, re.DOTALL)
        return [unquote(part) for part in re.findall(_IDENTIFIER, self.target, re.DOTALL)] if parts else None

    def create(self, db: Database, table: TableName) -> None:
        unique = "UNIQUE " if self.unique else ""
        db.run(f"CREATE {unique}INDEX {quote(self.name)} ON {db.sql_name(table)} ({self.target})")


_IDENTIFIER = r'(?:"(?:[^"]|"")*"|[^\s".,()]+)'
_DEFINITION = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX {_IDENTIFIER} ON {_IDENTIFIER}(?:\.{_IDENTIFIER})*\s*\((.*)\);?", re.DOTALL
)


def unquote(part: str) -> str:
    return part[1:-1].replace('""', '"') if part.startswith('"') else part


def indexes(db: Database, table: TableName) -> list[Index]:
    """The table's own indexes, without those that stand behind a constraint."""
    found: list[Index] = []
    rows = db.run(
        "SELECT index_name, is_unique, sql FROM duckdb_indexes() WHERE database_name = ?"
        " AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) ORDER BY index_name",
        [db.catalog, *table],
    )
    for name, unique, sql in rows:
        definition = _DEFINITION.fullmatch(sql.strip())
        if definition is None:
            raise DatabaseError(
                f"The index {name!r} of {table} cannot be rebuilt from its definition: {sql}",
                code="index-unsupported",
                hint="Drop that index, run again, and create it anew.",
            )
        found.append(Index(name, bool(unique), definition[1]))
    return found


def bindings(db: Database, table: TableName) -> list[str]:
    """The constraints, defaults and generated columns of `table`, and the foreign keys of others that point at it."""
    rows = db.run(
        "SELECT constraint_text FROM duckdb_constraints() WHERE database_name = ? AND lower(schema_name) = lower(?)"
        " AND (lower(table_name) = lower(?) OR lower(referenced_table) = lower(?)) UNION ALL "
        "SELECT 'DEFAULT of ' || column_name FROM duckdb_columns() WHERE database_name = ?"
        " AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) AND column_default IS NOT NULL",
        [db.catalog, *table, table.name, db.catalog, *table],
    )
    return [row[0] for row in rows]


def refuse_bound(db: Database, table: TableName) -> None:
    """Raise `table-constrained` when rebuilding `table` would lose something."""
    for binding in bindings(db, table):
        raise _constrained(table, binding)


def _constrained(table: TableName, why: str) -> DatabaseError:
    return DatabaseError(
        f"The columns of {table} cannot be changed: {why}",
        code="table-constrained",
        hint="Make the frame fit the table's columns, or change the table by hand.",
    )


def change_columns(
    db: Database, table: TableName, *, retype: dict[str, str] | None = None, drop: Sequence[str] = ()
) -> None:
    """Change column types and drop columns, keeping rows, their order and the indexes."""
    retype = retype or {}
    target = db.sql_name(table)
    own = indexes(db, table)
    if not own:
        try:
            for name, kind in retype.items():
                db.run(f"ALTER TABLE {target} ALTER COLUMN {quote(name)} SET DATA TYPE {kind}")
            for name in drop:
                db.run(f"ALTER TABLE {target} DROP COLUMN {quote(name)}")
        except (duckdb.BinderException, duckdb.CatalogException, duckdb.DependencyException) as error:
            raise _constrained(table, str(error)) from error
        return
    # DuckDB alters no column of a table that has indexes, not even one dropped in the same transaction.
    refuse_bound(db, table)
    values = ", ".join(
        f"CAST({quote(name)} AS {retype[name]}) AS {quote(name)}" if name in retype else quote(name)
        for name in db.types(target)
        if name not in drop
    )
    beside = TableName(table.schema, f"{table.name} (rebuilt)")
    db.run(f"CREATE TABLE {db.sql_name(beside)} AS SELECT {values} FROM {target}")
    db.run(f"DROP TABLE {target}")
    db.run(f"ALTER TABLE {db.sql_name(beside)} RENAME TO {quote(table.name)}")
    for index in own:
        index.create(db, table)
