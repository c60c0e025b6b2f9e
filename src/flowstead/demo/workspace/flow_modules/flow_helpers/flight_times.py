"""Clock times of flights, as the airlines report them, made into moments.

An `HHMM` number says what a clock at the airport showed: 5 is 00:05, 517 is 05:17, 2400 is midnight. It does not say
on which day, and an arrival is on the clock of another time zone. All moments come out in New York's time zone.
"""

import polars as pl

NEW_YORK = "America/New_York"
MINUTES_A_DAY = 24 * 60


def minute_of_day(clock: str) -> pl.Expr:
    """Minutes after midnight of the `HHMM` column `clock`; 0 for 2400 as for 0."""
    return (pl.col(clock) // 100 * 60 + pl.col(clock) % 100) % MINUTES_A_DAY


def scheduled_departure() -> pl.Expr:
    """The moment of `sched_dep_time` on the flight's own date."""
    return _moment(days=pl.lit(0), minute=minute_of_day("sched_dep_time"))


def departure() -> pl.Expr:
    """The moment of `dep_time`; null for a cancelled flight.

    The delay tells the day: 23:59 with 43 minutes of delay is 00:42 on the day after the flight's date.
    """
    days = (minute_of_day("sched_dep_time") + pl.col("dep_delay")).floordiv(MINUTES_A_DAY)
    return _moment(days, minute_of_day("dep_time"))


def arrival(clock: str, *, after: str, time_zones: dict[str, str]) -> pl.Expr:
    """The first moment after the column `after` at which the destination's clock shows the `HHMM` column `clock`.

    `time_zones` maps airport codes to time zones. Null where either column is null or the airport is not in it.
    """
    local_minute = pl.coalesce(
        pl.when(pl.col("dest").is_in([code for code, its_zone in time_zones.items() if its_zone == zone])).then(
            _minute_on_clock(pl.col(after).dt.convert_time_zone(zone))
        )
        for zone in sorted(set(time_zones.values()))
    )
    return pl.col(after) + pl.duration(minutes=(minute_of_day(clock) - local_minute) % MINUTES_A_DAY)


def _moment(days: pl.Expr, minute: pl.Expr) -> pl.Expr:
    midnight = pl.datetime("year", "month", "day")
    return (midnight + pl.duration(days=days, minutes=minute)).dt.replace_time_zone(
        NEW_YORK, ambiguous="earliest", non_existent="null"
    )


def _minute_on_clock(moment: pl.Expr) -> pl.Expr:
    return moment.dt.hour().cast(pl.Int32) * 60 + moment.dt.minute()
