"""When a clock-driven flow is due next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import time as time_of_day
from typing import TYPE_CHECKING, Protocol

from flowstead.flow.errors import StepFailure

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


class Times(Protocol):
    """When a trigger with times of day, or a cron expression, is due; see Trigger."""

    @property
    def time(self) -> tuple[str, ...]: ...

    @property
    def cron(self) -> str | None: ...

    @property
    def timezone(self) -> str | None: ...


def next_slot(trigger: Times, after: datetime) -> datetime:
    """The first moment after `after` at which a trigger with times of day, or a cron expression, is due; both in UTC.

    A time that the clock skips in spring comes due once, right after the gap by as much; one that comes twice in
    autumn is due the first time. Without a time zone, times are those of this machine's. Raises StepFailure
    (`cronsim-missing`) when a cron expression needs a library that is not there.
    """
    zone = None
    if trigger.timezone is not None:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(trigger.timezone)
    return _next_time(trigger.time, zone, after) if trigger.time else _next_cron(trigger.cron or "", zone, after)


def slots_between(trigger: Times, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The newest `limit` slots later than `after` and not later than `until`, oldest first; see next_slot.

    The cost follows `limit`, however long ago `after` is.
    """
    window = timedelta(hours=1)
    while True:
        begin = max(after, until - window)
        slots: list[datetime] = []
        slot = next_slot(trigger, begin)
        while slot <= until:
            slots.append(slot)
            slot = next_slot(trigger, slot)
        if len(slots) >= limit or begin == after:
            return slots[-limit:]
        window *= 4


def _next_time(times: tuple[str, ...], zone: ZoneInfo | None, after: datetime) -> datetime:
    today = after.astimezone(zone).date()
    moments = (
        _moment(datetime.combine(today + timedelta(days=day), time_of_day.fromisoformat(text)), zone)
        for day in (-1, 0, 1, 2)
        for text in times
    )
    return min(moment for moment in moments if moment > after)


def _next_cron(expression: str, zone: ZoneInfo | None, after: datetime) -> datetime:
    try:
        from cronsim import CronSim
    except ImportError:
        raise StepFailure(
            f"The schedule {expression!r} needs the package cronsim, which is not installed here.",
            code="cronsim-missing",
            hint='Install it (pip install cronsim), or schedule with time="08:30" or interval="15m".',
        ) from None
    start = after.astimezone(zone)
    if zone is None:
        start = start.replace(tzinfo=None)
    moments = (_moment(due, zone) if due.tzinfo is None else due.astimezone(UTC) for due in CronSim(expression, start))
    return next(moment for moment in moments if moment > after)


def _moment(local: datetime, zone: ZoneInfo | None) -> datetime:
    return (local.astimezone() if zone is None else local.replace(tzinfo=zone)).astimezone(UTC)
