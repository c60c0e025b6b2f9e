"""Asks for an airport and a day, and lists the flights that left late. Try:

flowstead run route_lookup --param origin=LGA --param day=2013-01-16 --param min_delay=90
"""

from datetime import date

import polars as pl

from flowstead import Choice, Flow, FlowContext
from flowstead.helpers.duckdb import read_sql

DESCRIPTION = "Late departures from one airport on one day."

QUERY = """
    SELECT
        strftime(departure AT TIME ZONE 'America/New_York', '%d %b %H:%M') AS left_at,
        carrier_name, flight, destination.airport AS destination, departure_delay AS minutes_late
    FROM flight
    JOIN carrier USING (carrier_key)
    JOIN airport AS origin ON origin_key = origin.airport_key
    JOIN airport AS destination ON dest_key = destination.airport_key
    WHERE origin.airport = $origin AND date = $day AND departure_delay >= $min_delay
    ORDER BY departure_delay DESC, flight
"""


def build() -> Flow:
    return (
        Flow("Reports", label="Route lookup")
        .ask("origin", Choice("EWR", "JFK", "LGA"), label="Leaving from", default="JFK")
        .ask("day", date, label="On the day", default=date(2013, 1, 9))
        .ask("min_delay", int, label="At least so many minutes late", default=60)
        .step(look_up, save_as="flights")
    )


def look_up(context: FlowContext) -> pl.DataFrame:
    flights = read_sql(context.database("flights.duckdb"), sql=QUERY, parameters=dict(context.params))
    asked = context.params
    context.show(flights, "flights")
    context.summary = (
        f"{flights.height} flights left {asked['origin']} on {asked['day']} at least {asked['min_delay']} minutes late"
    )
    return flights
