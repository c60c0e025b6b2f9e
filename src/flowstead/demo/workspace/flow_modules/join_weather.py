"""Joins every day's flights with the weather at departure, and builds the DuckDB mart of them."""

from pathlib import Path

import polars as pl

from flowstead import Batch, FileRef, Flow, FlowContext
from flowstead.helpers.duckdb import attach_dimension, build_dimension, ensure_index, replace_table

DESCRIPTION = "All days joined with the hourly weather: a DuckDB mart, and one Parquet file for reports."

MART = "flights.duckdb"
WEATHER = ("temp", "wind_speed", "wind_gust", "precip", "visib")


def build() -> Flow:
    return (
        Flow("Flights", label="Join weather")
        .watch(mode="poll", run_as="batch", source="../../lake/flights", interval="30s", extensions=[".parquet"])
        .mirror(root="../../lake/delays")
        .step(read_weather, save_as="weather")
        .collect([".parquet"], save_as="days", label="Collect days")
        .map(join_day, use="days", workers=2)
        .step(combine, save_as="flights")
        .step(build_mart)
        .step(export, use="flights")
    )


def read_weather(context: FlowContext) -> pl.DataFrame:
    weather = pl.read_csv(
        context.database("reference/weather.csv"),
        columns=["origin", "time_hour", *WEATHER],
        schema_overrides=dict.fromkeys(WEATHER, pl.Float64),
        null_values="NA",
    )
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")
    return weather.select("origin", hour.alias("weather_hour"), *WEATHER)


def join_day(context: FlowContext, day: FileRef) -> pl.DataFrame:
    return pl.read_parquet(day.path).join(
        context.objects["weather"], on=["origin", "weather_hour"], how="left", validate="m:1", maintain_order="left"
    )


def combine(context: FlowContext) -> pl.DataFrame:
    days: Batch[pl.DataFrame] = context.current
    flights = pl.concat(days)
    without_weather = flights["temp"].null_count()
    context.metadata.update(days=len(days), rows=flights.height, without_weather=without_weather)
    context.summary = f"{flights.height:,} flights of {len(days)} days, {without_weather:,} without weather"
    return flights


def build_mart(context: FlowContext) -> Path:
    """A star: one row a flight in `flight`, which points to `carrier` and, twice, to `airport`."""
    mart = context.database(MART)
    flights = context.current

    names = pl.read_csv(context.database("reference/airlines.csv")).rename({"name": "carrier_name"})
    carriers = flights.select("carrier").unique().join(names, on="carrier", how="left")
    build_dimension(mart, "carrier", df=carriers, key_column="carrier_key", return_df=False)
    flights = attach_dimension(mart, "carrier", df=flights, on="carrier", key_column="carrier_key", drop_key=True)

    names = pl.read_csv(context.database("reference/airports.csv"), columns=["faa", "name"])
    airports = pl.concat([flights["origin"], flights["dest"]]).unique().alias("airport").to_frame()
    airports = airports.join(names.rename({"faa": "airport", "name": "airport_name"}), on="airport", how="left")
    build_dimension(mart, "airport", df=airports, key_column="airport_key", return_df=False)
    for place in ("origin", "dest"):
        flights = flights.rename({place: "airport"})
        flights = attach_dimension(
            mart, "airport", df=flights, on="airport", key_column="airport_key", drop_key=True
        ).rename({"airport_key": f"{place}_key"})

    replace_table(mart, "flight", df=flights, return_df=False)
    ensure_index(mart, "flight", columns="date")
    return mart


def export(context: FlowContext) -> Path:
    path = context.mirror.root_file("flights.parquet")
    context.current.write_parquet(path)
    return path
