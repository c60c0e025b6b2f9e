"""Writing whole tables and the rows of one file or one set of values; indexes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from flowstead.helpers.duckdb.columns import (
    Index,
    actual_name,
    create_table,
    extend,
    indexes,
    insert,
    refuse_bound,
    require_relation,
    writable_table,
)
from flowstead.helpers.duckdb.database import (
    Database,
    DatabaseError,
    DatabasePath,
    Frame,
    TableName,
    as_frame,
    as_names,
    fold,
    no_column,
    parse_table,
    quote,
    require_columns,
    transaction,
)

_VIEW = "flowstead_frame"


def replace_rows_by_file(
    db_path: DatabasePath,
    table: str,
    *,
    df: Frame,
    file_hash: str | int,
    file_hash_column: str = "file_key",
    return_df: bool = True,
) -> pl.DataFrame | None:
    """Put one file's rows into a table in place of those it had there, so that running again changes nothing.

    The frame gets the constant column `file_hash_column`. The table is created when missing; columns new to it are
    added, columns the frame lacks become NULL, and a number column grows when the frame's values need it.
    Returns the frame with its new column, or None. Raises DatabaseError `column-type-mismatch`, `column-conflict`.

        database = context.database("mart.duckdb")
        replace_rows_by_file(database, "mart.flights", df=frame, file_hash=context.source.path.name)
    """
    frame, name = as_frame(df), parse_table(table)
    if isinstance(file_hash, bool) or not isinstance(file_hash, str | int) or file_hash == "":
        raise DatabaseError(
            f"file_hash is {file_hash!r}.",
            code="file-hash-invalid",
            hint="Give the text or number that names the file.",
        )
    quote(file_hash_column)
    present = [column for column in frame.columns if fold(column) == fold(file_hash_column)]
    if present and not (frame.get_column(present[0]) == file_hash).fill_null(False).all():
        raise DatabaseError(
            f"The frame's own column {present[0]!r} holds other values than file_hash.",
            code="column-conflict",
            hint="Drop or rename it, or choose another file_hash_column.",
        )
    if not present:
        frame = frame.with_columns(pl.lit(file_hash).alias(file_hash_column))
    key = pl.DataFrame({"value": [file_hash]})
    with transaction(db_path) as db:
        _replace_rows(db, name, frame, present[0] if present else file_hash_column, key)
    return frame if return_df else None


def replace_rows_by_values(
    db_path: DatabasePath, table: str, *, df: Frame, column: str, return_df: bool = True
) -> pl.DataFrame | None:
    """Replace every row whose `column` has one of the frame's values by the frame's rows; NULL matches NULL.

    The table is created or extended as in `replace_rows_by_file`. Returns the frame, or None.

        replace_rows_by_values(context.database("mart.duckdb"), "daily", df=frame, column="day")
    """
    frame, name = as_frame(df), parse_table(table)
    require_columns(frame, [column])
    with transaction(db_path) as db:
        _replace_rows(db, name, frame, column, frame.get_column(column).alias("value").to_frame())
    return frame if return_df else None


def _replace_rows(db: Database, table: TableName, frame: pl.DataFrame, column: str, values: pl.DataFrame) -> None:
    view = db.stage(_VIEW, frame)
    if not writable_table(db, table):
        create_table(db, table, f"SELECT * FROM {view}")
    casts = extend(db, table, view)
    matched = db.stage("flowstead_values", values)
    target = db.sql_name(table)
    db.run(
        f"DELETE FROM {target} AS stored USING (SELECT DISTINCT CAST(value AS {casts[column]}) AS value FROM {matched})"
        f" AS given WHERE stored.{quote(column)} IS NOT DISTINCT FROM given.value"
    )
    insert(db, table, view, casts)


def replace_table(db_path: DatabasePath, table: str, *, df: Frame, return_df: bool = True) -> pl.DataFrame | None:
    """Make the table hold exactly the frame: columns, types and rows. Its indexes are kept.

    Returns the frame, or None. Raises DatabaseError `table-constrained` when other columns would cost the table its
    constraints, and `column-missing` when one of its indexes needs a column that the frame lacks.

        replace_table(context.database("mart.duckdb"), "mart.airports", df=frame)
    """
    frame, name = as_frame(df), parse_table(table)
    if not frame.columns:
        raise DatabaseError("df has no columns.", code="frame-empty", hint="Give it at least one column.")
    with transaction(db_path) as db:
        view = db.stage(_VIEW, frame)
        given, target = db.types(view), db.sql_name(name)
        exists = writable_table(db, name)
        if exists and db.types(target) == given:
            db.run(f"DELETE FROM {target}")
            insert(db, name, view, given)
        else:
            own = indexes(db, name) if exists else []
            if exists:
                refuse_bound(db, name)
                db.run(f"DROP TABLE {target}")
            create_table(db, name, f"SELECT * FROM {view}")
            insert(db, name, view, given)
            for index in own:
                for column in index.columns or ():
                    if fold(column) not in map(fold, given):
                        no_column(column, f"the frame, which the index {index.name!r} needs", list(given))
                index.create(db, name)
    return frame if return_df else None


def ensure_index(
    db_path: DatabasePath,
    table: str,
    *,
    columns: str | Sequence[str],
    unique: bool = False,
    name: str | None = None,
) -> str:
    """Create an index unless the table has it already; returns its name.

    `name` defaults to `<table>_<columns>_idx` (`_key` when unique). Raises DatabaseError `constraint-violated` when
    the rows are not unique, and `index-conflict` when another index has that name.

        ensure_index(context.database("mart.duckdb"), "mart.flights", columns=["carrier", "flight"])
    """
    where, wanted = parse_table(table), as_names(columns, "columns")
    with transaction(db_path) as db:
        require_relation(db, where)
        writable_table(db, where)
        available = list(db.types(db.sql_name(where)))
        wanted = [actual_name(available, column, f"table {where}") for column in wanted]
        chosen = name or f"{where.name}_{'_'.join(wanted)}_{'key' if unique else 'idx'}"
        own = indexes(db, where)
        for index in own:
            same = index.unique == unique and [fold(column) for column in index.columns or ()] == [
                fold(column) for column in wanted
            ]
            if same and (name is None or fold(index.name) == fold(name)):
                return index.name
        taken = db.run(
            "SELECT table_name, sql FROM duckdb_indexes() WHERE database_name = ? AND lower(schema_name) = lower(?)"
            " AND lower(index_name) = lower(?)",
            [db.catalog, where.schema, chosen],
        )
        if taken:
            raise DatabaseError(
                f"An index named {chosen!r} exists already on {taken[0][0]}: {taken[0][1]}",
                code="index-conflict",
                hint="Choose another name, or drop that index.",
            )
        Index(chosen, unique, ", ".join(quote(column) for column in wanted)).create(db, where)
    return chosen
