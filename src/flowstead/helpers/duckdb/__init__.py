"""DuckDB tables from inside a step. Each function opens the database, does its work in one transaction, closes.

`db_path` is a path (`context.database("marts/flights.duckdb")`); writers create the file and its folder. `table` is a
name, `"fact"` or `"mart.fact"`; put a part that holds a dot or a quote in double quotes: `'"2024.01"."fact"'`. Frames
are Polars DataFrames or LazyFrames, pandas frames or Arrow tables; what comes back is a Polars DataFrame. Everything
that goes wrong is a `DatabaseError` with a `code` and a `hint`.
"""

from flowstead.helpers.duckdb.compaction import compact_database
from flowstead.helpers.duckdb.database import DatabaseError
from flowstead.helpers.duckdb.dimensions import (
    attach_dimension,
    build_dimension,
    denormalize_columns,
    normalize_columns,
)
from flowstead.helpers.duckdb.reading import read_rows_by_values, read_sql, read_table
from flowstead.helpers.duckdb.writing import (
    ensure_index,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)

__all__ = [
    "DatabaseError",
    "attach_dimension",
    "build_dimension",
    "compact_database",
    "denormalize_columns",
    "ensure_index",
    "normalize_columns",
    "read_rows_by_values",
    "read_sql",
    "read_table",
    "replace_rows_by_file",
    "replace_rows_by_values",
    "replace_table",
]
