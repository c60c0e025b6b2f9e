"""The demo's folder, and what its flows make of the real data."""

from __future__ import annotations

import csv
import gzip
import re
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import flowstead
from flowstead import demo
from flowstead.demo import DemoLayout, answer, create_demo
from flowstead.flow.files import scan
from flowstead.model.errors import StorageError

NEW_YORK = ZoneInfo("America/New_York")
Ran = tuple[DemoLayout, dict[str, list[flowstead.FlowContext]]]


def as_written() -> list[dict[str, str]]:
    """January as the packaged file has it: the text of every field."""
    packaged = Path(demo.__file__).parent / "data" / "flights-2013-01.csv.gz"
    return list(csv.DictReader(gzip.decompress(packaged.read_bytes()).decode().splitlines()))


def run(layout: DemoLayout, name: str, **params: object) -> list[flowstead.FlowContext]:
    return flowstead.load_flow(name, layout.workspace).run_once(params=params)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A demo whose flows have run once, and the contexts they ended with."""
    layout = create_demo(tmp_path_factory.mktemp("demo") / "demo")
    return layout, {name: run(layout, name) for name in layout.flows}


@pytest.fixture(scope="module")
def flights(ran: Ran) -> pl.DataFrame:
    return pl.read_parquet(ran[0].lake / "flights" / "*.parquet")


class TestFolder:
    def test_one_file_a_day_with_every_row_as_it_was(self, tmp_path: Path) -> None:
        layout = create_demo(tmp_path / "demo")
        files = sorted(layout.inbox.iterdir())
        assert [path.name for path in files] == [f"flights-2013-01-{day:02}.csv" for day in range(1, 32)]
        rows = [row for path in files for row in csv.DictReader(path.read_text().splitlines())]
        assert rows == as_written()
        assert len(rows) == 27_004
        for path in files:
            assert {row["day"] for row in csv.DictReader(path.read_text().splitlines())} == {str(int(path.stem[-2:]))}

    def test_two_demos_are_alike_to_the_time_stamps(self, tmp_path: Path) -> None:
        first, second = (create_demo(tmp_path / name) for name in ("first", "second"))
        assert scan(first.inbox, (".csv",)) == scan(second.inbox, (".csv",))

    def test_what_exists_is_kept_and_what_is_missing_comes_back_as_it_was(self, tmp_path: Path) -> None:
        layout = create_demo(tmp_path / "demo")
        signatures = scan(layout.inbox, (".csv",))
        (layout.inbox / "flights-2013-01-05.csv").unlink()
        flow = layout.workspace / "flow_modules" / "ingest_flights.py"
        flow.write_text("# mine now\n")
        create_demo(layout.root)
        assert scan(layout.inbox, (".csv",)) == signatures
        assert flow.read_text() == "# mine now\n"

    def test_without_restoring_a_demo_stays_as_it_is(self, tmp_path: Path) -> None:
        layout = create_demo(tmp_path / "demo", restore=False)
        (layout.inbox / "flights-2013-01-05.csv").unlink()
        (layout.workspace / "flow_modules" / "delay_report.py").unlink()
        before = sorted(layout.root.rglob("*"))
        assert create_demo(layout.root, restore=False) == layout
        assert sorted(layout.root.rglob("*")) == before

    def test_an_unwritable_place_is_a_coded_error(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError) as caught:
            create_demo(tmp_path / "file" / "demo")
        assert caught.value.code in ("demo-unwritable", "workspace-unwritable")

    def test_the_layout_names_the_flows_that_are_there(self, tmp_path: Path) -> None:
        layout = create_demo(tmp_path / "demo")
        flows = {flow.name: flow for flow in flowstead.discover_flows(layout.workspace)}
        assert set(flows) == {*layout.flows, "route_lookup"}
        assert flows["ingest_flights"].resolve(flows["ingest_flights"].trigger.source or "") == layout.inbox


class TestIngest:
    def test_one_parquet_file_for_each_day(self, ran: Ran) -> None:
        layout, contexts = ran
        made = sorted(path.name for path in (layout.lake / "flights").iterdir())
        assert made == [f"flights-2013-01-{day:02}.parquet" for day in range(1, 32)]
        assert sum(context.metadata["rows"] for context in contexts["ingest_flights"]) == 27_004
        assert sum(context.metadata["cancelled"] for context in contexts["ingest_flights"]) == 521
        assert contexts["ingest_flights"][30].summary == "928 flights, 85 cancelled"

    def test_missing_values_are_null_and_nothing_else_is(self, flights: pl.DataFrame) -> None:
        raw = as_written()
        expected = {
            "tailnum": "tailnum",
            "departure": "dep_time",
            "departure_delay": "dep_delay",
            "arrival": "arr_time",
            "arrival_delay": "arr_delay",
            "air_time": "air_time",
        }
        counts = {name: sum(row[column] in ("NA", "") for row in raw) for name, column in expected.items()}
        assert counts == {
            "tailnum": 155,
            "departure": 521,
            "departure_delay": 521,
            "arrival": 536,
            "arrival_delay": 606,
            "air_time": 606,
        }
        assert {name: count for name, count in flights.null_count().row(0, named=True).items() if count} == counts
        assert flights["cancelled"].sum() == 521

    def test_every_clock_shows_what_was_written(self, flights: pl.DataFrame) -> None:
        for made, column in (("scheduled_departure", "sched_dep_time"), ("departure", "dep_time")):
            written = [None if row[column] == "NA" else int(row[column]) % 2400 for row in as_written()]
            shown = pl.col(made).dt.hour().cast(pl.Int64) * 100 + pl.col(made).dt.minute()
            assert flights.select(shown).to_series().to_list() == written

    def test_delays_computed_from_the_moments_are_those_stated(self, flights: pl.DataFrame) -> None:
        """The stated delays play no part in the arrivals, so 26,398 equal ones prove days and time zones right."""
        late = flights.select(
            departure=(pl.col("departure") - pl.col("scheduled_departure")).dt.total_minutes(),
            arrival=(pl.col("arrival") - pl.col("scheduled_arrival")).dt.total_minutes(),
            stated_departure="departure_delay",
            stated_arrival="arrival_delay",
        )
        assert late["stated_arrival"].count() == 26_398
        assert late.filter(pl.col("departure") != pl.col("stated_departure")).is_empty()
        assert late.filter(pl.col("arrival") != pl.col("stated_arrival")).is_empty()

    def test_no_flight_lands_before_its_time_in_the_air_is_over(self, flights: pl.DataFrame) -> None:
        on_the_ground = (pl.col("arrival") - pl.col("departure")).dt.total_minutes() - pl.col("air_time")
        assert flights.select(on_the_ground.min()).item() == 7

    def test_a_departure_after_midnight_is_on_the_next_day(self, flights: pl.DataFrame) -> None:
        flight = flights.row(
            by_predicate=(pl.col("date") == date(2013, 1, 2))
            & (pl.col("departure_delay") == 43)
            & (pl.col("scheduled_departure").dt.hour() == 23),
            named=True,
        )
        assert flight["scheduled_departure"] == datetime(2013, 1, 2, 23, 59, tzinfo=NEW_YORK)
        assert flight["departure"] == datetime(2013, 1, 3, 0, 42, tzinfo=NEW_YORK)
        moved = flights.filter(pl.col("departure").dt.date() > pl.col("date"))
        assert moved.height == 52
        assert moved["departure"].dt.date().to_list() == [day + timedelta(days=1) for day in moved["date"]]

    def test_an_arrival_at_2400_is_midnight(self, ran: Ran, flights: pl.DataFrame) -> None:
        written = [row for row in as_written() if row["arr_time"] == "2400"]
        assert len(written) == 11
        for row in written:
            flight = flights.row(
                by_predicate=(pl.col("date").dt.day() == int(row["day"]))
                & (pl.col("carrier") == row["carrier"])
                & (pl.col("flight") == int(row["flight"]))
                & pl.col("arrival").is_not_null(),
                named=True,
            )
            airports = pl.read_csv(ran[0].reference / "airports.csv").filter(pl.col("faa") == flight["dest"])
            zone = airports["tzone"].item() if airports.height else "America/Puerto_Rico"
            assert flight["arrival"].astimezone(ZoneInfo(zone)).strftime("%H:%M") == "00:00"

    @pytest.mark.parametrize(
        ("change", "complaint"),
        [
            (lambda text: text.replace(",IAH,", ",XXX,"), "No time zone for XXX"),
            (lambda text: text.replace("2013-01-05T10:00:00Z", "2013-01-05T11:00:00Z"), "not in the hour"),
        ],
    )
    def test_a_file_that_contradicts_itself_fails(self, tmp_path: Path, change, complaint: str) -> None:  # type: ignore[no-untyped-def]
        layout = create_demo(tmp_path / "demo")
        for path in layout.inbox.iterdir():
            if path.name != "flights-2013-01-05.csv":
                path.unlink()
        path = layout.inbox / "flights-2013-01-05.csv"
        path.write_text(change(path.read_text()))
        with pytest.raises(ValueError, match=complaint):
            run(layout, "ingest_flights")
        assert not (layout.lake / "flights" / "flights-2013-01-05.parquet").exists()


class TestMart:
    def test_every_flight_has_its_weather(self, ran: Ran) -> None:
        layout, contexts = ran
        (context,) = contexts["join_weather"]
        assert context.metadata["rows"] == 27_004
        assert context.summary == "27,004 flights of 31 days, 52 without weather"
        weather = {
            (row["origin"], row["time_hour"]): row["temp"]
            for row in csv.DictReader((layout.reference / "weather.csv").read_text().splitlines())
        }
        joined = pl.read_parquet(layout.lake / "delays" / "flights.parquet").sort("date", maintain_order=True)
        expected = [weather.get((row["origin"], row["time_hour"])) for row in as_written()]
        assert joined["temp"].to_list() == [None if value in (None, "NA") else float(value) for value in expected]

    def test_the_star_holds_every_flight_once(self, ran: Ran) -> None:
        from flowstead.helpers.duckdb import read_sql

        found = read_sql(
            ran[0].mart,
            sql="""
                SELECT count(*), count(DISTINCT carrier), count(DISTINCT origin.airport), count(DISTINCT dest.airport)
                FROM flight JOIN carrier USING (carrier_key)
                JOIN airport AS origin ON origin_key = origin.airport_key
                JOIN airport AS dest ON dest_key = dest.airport_key
            """,
        )
        assert found.row(0) == (27_004, 16, 3, 94)

    def test_building_it_again_changes_no_key(self, ran: Ran) -> None:
        from flowstead.helpers.duckdb import read_table

        tables = ("carrier", "airport", "flight")
        before = {table: read_table(ran[0].mart, table) for table in tables}
        run(ran[0], "join_weather")
        for table in tables:
            assert read_table(ran[0].mart, table).equals(before[table])

    def test_the_answer_is_that_of_the_raw_data(self, ran: Ran) -> None:
        columns, rows = answer(ran[0])
        united = [row for row in as_written() if row["carrier"] == "UA"]
        delays = [int(row["dep_delay"]) for row in united if row["dep_delay"] != "NA"]
        arrivals = [int(row["arr_delay"]) for row in united if row["arr_delay"] != "NA"]
        assert columns == ("carrier", "flights", "cancelled", "mean delay", "late %")
        assert rows[0] == (
            "United Air Lines Inc.",
            len(united),
            len(united) - len(delays),
            round(sum(delays) / len(delays), 1),
            round(100 * sum(delay >= 15 for delay in arrivals) / len(arrivals), 1),
        )
        assert len(rows) == 5

    def test_no_mart_no_answer(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no mart"):
            answer(DemoLayout(tmp_path))


class TestReport:
    def test_the_workbook_has_its_sheets_and_numbers(self, ran: Ran) -> None:
        layout, contexts = ran
        assert contexts["delay_report"][0].summary == "27,004 flights, 16 carriers"
        with zipfile.ZipFile(layout.workbook) as workbook:
            names = re.findall(r'<sheet name="([^"]+)"', workbook.read("xl/workbook.xml").decode())
            assert names == ["Summary", "Carriers", "Airports", "Days", "Hours", "Wind (mph)", "Routes"]
            cover = workbook.read("xl/worksheets/sheet1.xml").decode()
            assert re.findall(r"<v>([^<]+)</v>", cover)[2:5:2] == ["27004", "521"]
            assert sum(name.startswith("xl/tables/") for name in workbook.namelist()) == 6
            assert "xl/charts/chart1.xml" in workbook.namelist()

    def test_the_picture_is_one(self, ran: Ran) -> None:
        from matplotlib.image import imread

        pixels = imread(ran[0].picture)
        assert pixels.shape[0] > 400 and pixels.shape[1] > 1000
        assert pixels[..., :3].std() > 0.05


class TestLookup:
    def test_answers_what_is_asked(self, ran: Ran) -> None:
        (context,) = run(ran[0], "route_lookup", origin="LGA", day=date(2013, 1, 16), min_delay=90)
        late = [
            int(row["dep_delay"])
            for row in as_written()
            if row["origin"] == "LGA"
            and row["day"] == "16"
            and row["dep_delay"] != "NA"
            and int(row["dep_delay"]) >= 90
        ]
        assert context.current["minutes_late"].to_list() == sorted(late, reverse=True)
        assert context.summary == f"{len(late)} flights left LGA on 2013-01-16 at least 90 minutes late"

    def test_the_hour_shown_is_that_of_the_airport(self, ran: Ran) -> None:
        (context,) = run(ran[0], "route_lookup")
        assert context.current.row(0) == ("10 Jan 06:41", "Hawaiian Airlines Inc.", 51, "HNL", 1301)


def test_one_changed_day_reaches_the_report(tmp_path: Path) -> None:
    layout = create_demo(tmp_path / "demo")
    for path in sorted(layout.inbox.iterdir())[2:]:
        path.unlink()
    for name in layout.flows:
        (*_, context) = run(layout, name)
    before = [len(path.read_text().splitlines()) - 1 for path in sorted(layout.inbox.iterdir())]
    assert context.summary and context.summary.startswith(f"{sum(before):,} flights")
    day = layout.inbox / "flights-2013-01-02.csv"
    day.write_text("".join(day.read_text().splitlines(keepends=True)[:-10]))
    for name in layout.flows:
        (*_, context) = run(layout, name)
    assert context.summary.startswith(f"{sum(before) - 10:,} flights")
