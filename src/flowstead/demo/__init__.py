"""The demo: a collection of January 2013's flights out of New York, and the flows that make a report of them."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from flowstead.model.errors import StorageError
from flowstead.workspace.provision import provision, write_new

_PACKAGED = Path(__file__).parent
_FLIGHTS = "flights-2013-01.csv"
_REFERENCES = ("airlines.csv", "airports.csv", "weather.csv")


@dataclass(frozen=True, slots=True)
class DemoLayout:
    """Where the demo's things are. `root` is the collection root; the rest lies below it."""

    root: Path

    @property
    def workspace(self) -> Path:
        return self.root / "flights"

    @property
    def inbox(self) -> Path:
        """The daily CSV files that arrive: the source of the first flow."""
        return self.root / "inbox" / "flights"

    @property
    def reference(self) -> Path:
        """The tables that flights are looked up in: airports, airlines and the hourly weather."""
        return self.workspace / "databases" / "reference"

    @property
    def lake(self) -> Path:
        """What flows hand to each other: `lake/flights` one Parquet file a day, `lake/delays` all days joined."""
        return self.root / "lake"

    @property
    def mart(self) -> Path:
        return self.workspace / "databases" / "flights.duckdb"

    @property
    def workbook(self) -> Path:
        return self.root / "reports" / "delays.xlsx"

    @property
    def picture(self) -> Path:
        return self.root / "reports" / "delays.png"

    @property
    def flows(self) -> tuple[str, ...]:
        """The flows that react to files, each after those whose output it reads."""
        return ("ingest_flights", "join_weather", "delay_report")


def create_demo(root: Path, *, restore: bool = True) -> DemoLayout:
    """Lay out the demo at the collection root `root`, and return where things are.

    Files that exist are never overwritten. Missing ones are written again, with the content and the time stamp they
    had, so nothing becomes stale by it. With `restore=False` a demo that is already there is left as it is.

    Raises StorageError when the folder cannot be written.
    """
    layout = DemoLayout(root.expanduser().absolute())
    if not restore and (layout.workspace / "flow_modules").is_dir():
        return layout
    try:
        for name, content in _workspace_files():
            write_new(layout.workspace / name, content)
        provision(layout.workspace)
        for name in _REFERENCES:
            write_new(layout.reference / name, _unpacked(name))
        for day, content in _daily_files(_unpacked(_FLIGHTS)):
            path = layout.inbox / f"{day:flights-%Y-%m-%d.csv}"
            if write_new(path, content):
                # As if delivered at six the next morning; a file that is restored looks as it did before.
                delivered = datetime.combine(day + timedelta(days=1), time(6), UTC).timestamp()
                os.utime(path, (delivered, delivered))
    except OSError as error:
        raise StorageError(
            f"Cannot lay out the demo at {layout.root}: {error.strerror or error} ({error.filename}).",
            code="demo-unwritable",
            hint="Name a folder you can write to: flowstead demo PATH",
            path=str(layout.root),
        ) from error
    return layout


def answer(layout: DemoLayout, carriers: int = 5) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """What the demo found out, from its mart: column names, and a row for each of the busiest carriers.

    Delays are in minutes, shares in percent; an arrival counts as late from 15 minutes on. Raises StorageError when
    the mart is not there yet.
    """
    if not layout.mart.exists():
        raise StorageError(
            f"There is no mart at {layout.mart}.", code="mart-missing", hint="Build it with: flowstead run join_weather"
        )
    import duckdb

    with duckdb.connect(str(layout.mart), read_only=True) as connection:
        found = connection.execute(
            """
            SELECT
                carrier_name AS carrier, count(*) AS flights, count(*) FILTER (cancelled) AS cancelled,
                round(avg(departure_delay), 1) AS "mean delay",
                round(100 * avg((arrival_delay >= 15)::INTEGER), 1) AS "late %"
            FROM flight JOIN carrier USING (carrier_key)
            GROUP BY ALL ORDER BY flights DESC, carrier LIMIT ?
            """,
            [carriers],
        )
        return tuple(column[0] for column in found.description or ()), found.fetchall()


def _workspace_files() -> Iterator[tuple[Path, bytes]]:
    packaged = _PACKAGED / "workspace"
    for path in sorted(packaged.rglob("*")):
        if path.suffix in (".py", ".toml"):
            yield path.relative_to(packaged), path.read_bytes()


def _unpacked(name: str) -> bytes:
    return gzip.decompress((_PACKAGED / "data" / f"{name}.gz").read_bytes())


def _daily_files(content: bytes) -> Iterator[tuple[date, bytes]]:
    """Split a CSV file that begins with the columns year, month, day, and is sorted by them, by day."""
    header, *rows = content.splitlines(keepends=True)
    days: dict[bytes, list[bytes]] = {}
    for row in rows:
        days.setdefault(row[: row.index(b",", row.index(b",", 5) + 1)], []).append(row)
    for day, rows in days.items():
        yield date(*map(int, day.split(b","))), header + b"".join(rows)
