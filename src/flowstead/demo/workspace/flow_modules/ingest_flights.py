"""Cleans each day's CSV file of flights into a Parquet file of the same name."""

from pathlib import Path

import polars as pl
from flow_helpers.flight_times import arrival, departure, scheduled_departure

from flowstead import Flow, FlowContext

DESCRIPTION = "Daily flight files, cleaned: missing values, types, and clock times made into moments."

TYPES = {
    "year": pl.Int32,
    "month": pl.Int8,
    "day": pl.Int8,
    "dep_time": pl.Int32,
    "sched_dep_time": pl.Int32,
    "dep_delay": pl.Int32,
    "arr_time": pl.Int32,
    "sched_arr_time": pl.Int32,
    "arr_delay": pl.Int32,
    "carrier": pl.String,
    "flight": pl.Int32,
    "tailnum": pl.String,
    "origin": pl.String,
    "dest": pl.String,
    "air_time": pl.Int32,
    "distance": pl.Int32,
    "hour": pl.Int32,
    "minute": pl.Int32,
    "time_hour": pl.String,
}


def build() -> Flow:
    return (
        Flow("Flights", label="Ingest flights")
        .watch(
            mode="poll",
            run_as="individual",
            max_parallel=2,
            source="../../inbox/flights",
            interval="30s",
            extensions=[".csv"],
        )
        .mirror(root="../../lake/flights")
        .step(read_day, save_as="raw")
        .step(clean, save_as="clean")
        .step(check)
        .step(write_parquet)
    )


def read_day(context: FlowContext) -> pl.DataFrame:
    return pl.read_csv(context.source.path, schema=TYPES, null_values=["NA", ""])


def clean(context: FlowContext) -> pl.DataFrame:
    zones = time_zones(context)
    unknown = sorted(set(context.current["dest"]) - zones.keys())
    if unknown:
        raise ValueError(f"No time zone for {', '.join(unknown)}: add it to config/airports.toml.")
    return (
        context.current.with_columns(scheduled_departure=scheduled_departure(), departure=departure())
        .with_columns(
            scheduled_arrival=arrival("sched_arr_time", after="scheduled_departure", time_zones=zones),
            arrival=arrival("arr_time", after="departure", time_zones=zones),
            weather_hour=pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"),
        )
        .select(
            pl.date("year", "month", "day").alias("date"),
            *("carrier", "flight", "tailnum", "origin", "dest", "distance"),
            *("scheduled_departure", "departure", pl.col("dep_delay").alias("departure_delay")),
            *("scheduled_arrival", "arrival", pl.col("arr_delay").alias("arrival_delay")),
            *("air_time", "weather_hour", pl.col("dep_time").is_null().alias("cancelled")),
        )
    )


def check(context: FlowContext) -> pl.DataFrame:
    """The file states each departure's hour a second time, in UTC: both ways must agree."""
    flights = context.current
    wrong = flights.filter(
        pl.col("scheduled_departure").dt.truncate("1h").dt.convert_time_zone("UTC") != pl.col("weather_hour")
    )
    if wrong.height:
        raise ValueError(f"{wrong.height} flights whose scheduled departure is not in the hour the file states")
    return flights


def write_parquet(context: FlowContext) -> Path:
    flights = context.current
    path = context.mirror.with_extension(".parquet")
    flights.write_parquet(path)
    cancelled = int(flights["cancelled"].sum())
    context.metadata.update(rows=flights.height, cancelled=cancelled)
    context.summary = f"{flights.height:,} flights, {cancelled:,} cancelled"
    return path


def time_zones(context: FlowContext) -> dict[str, str]:
    airports = pl.read_csv(
        context.database("reference/airports.csv"), columns=["faa", "tzone"], null_values="NA"
    ).drop_nulls()
    return dict(airports.iter_rows()) | context.config.require("airports")["time_zones"]
