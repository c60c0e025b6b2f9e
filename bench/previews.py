"""Rows about looking at files: a table too large for memory, read by a warm child."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import polars as pl

from bench.large import write_table
from bench.rows import Measurement, Reach, Row, Sample, Samples, Setting
from bench.workspaces import Workspace
from flowstead.client import Client
from flowstead.daemon.embedded import embedded


def large_table(setting: Setting) -> Samples:
    workspace = Workspace(setting.folder)
    path = workspace.root / "large.parquet"
    rows = setting.size(12_000_000, 300_000)
    write_table(path, rows)
    with Client(embedded(workspace.root, command="bench")) as client:
        while True:
            page, page_took = _timed(lambda: client.table_page("large.parquet", limit=100))
            found, found_took = _timed(lambda: client.table_statistics("large.parquet"))
            if page["total"] != rows or len(page["rows"]) != 100 or found["rows"] != rows:
                raise RuntimeError("The page or the statistics are not those of the table.")
            head, head_took = _timed(lambda: pl.scan_parquet(path).head(100).collect())
            _, whole_took = _timed(lambda: pl.scan_parquet(path).select(pl.all().null_count()).collect())
            if head.height != 100:
                raise RuntimeError("Polars gave another page.")
            yield Sample(page_took, head_took), Sample(found_took, whole_took)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    answer = call()
    return answer, (time.perf_counter() - begun) * 1e3


MEASUREMENTS = (
    Measurement(
        (
            Row("parquet-page", "the first 100 rows of a 1 GB Parquet file", "ms", "Polars, 100 rows", Reach(300)),
            Row("parquet-statistics", "what is in its columns", "ms", "Polars, nulls counted", Reach(2000)),
        ),
        large_table,
    ),
)
