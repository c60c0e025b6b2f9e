"""When a flow runs: the checked arguments of `Flow.watch`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from flowstead.flow.cron import check_cron
from flowstead.flow.durations import parse_duration
from flowstead.flow.errors import FlowDefinitionError

MODES = ("manual", "poll", "schedule")
RUN_AS = ("individual", "batch")
MISSED = ("latest", "skip", "all")
_TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Trigger:
    """When and on what a flow runs. `interval` and `settle_seconds` are in seconds; `source` is as it was written.

    A file is taken once it kept its signature for `settle_looks` looks, or for `settle_seconds` where that is given.
    """

    mode: str = "manual"
    run_as: str = "individual"
    max_parallel: int = 1
    source: str | None = None
    interval: float | None = None
    time: tuple[str, ...] = ()
    cron: str | None = None
    timezone: str | None = None
    missed: str = "latest"
    extensions: tuple[str, ...] = ()
    settle_looks: int = 1
    settle_seconds: float | None = None


def make_trigger(
    *,
    mode: object,
    run_as: object,
    max_parallel: object,
    source: object,
    interval: object,
    time: object,
    cron: object,
    timezone: object,
    missed: object,
    extensions: object,
    settle: object,
) -> Trigger:
    """The trigger of these arguments of `watch`. Raises FlowDefinitionError for what is wrong or in conflict."""
    mode = one_of("watch(mode=...)", mode, MODES)
    given = {
        "interval": interval is not None,
        "time": time is not None,
        "cron": cron is not None,
        "timezone": timezone is not None,
        "missed": missed != "latest",
        "settle": type(settle) is not int or settle != 1,
    }
    if mode == "manual":
        _refuse(given, mode, ("interval", "time", "cron", "timezone", "missed", "settle"))
    elif mode == "poll":
        if source is None or interval is None:
            missing = " and ".join(
                f"{name}=" for name, value in (("source", source), ("interval", interval)) if value is None
            )
            raise FlowDefinitionError(
                f'watch(mode="poll") was given no {missing}.',
                code="trigger-incomplete",
                hint='Poll needs both, such as watch(mode="poll", source="../incoming", interval="30s").',
            )
        _refuse(given, mode, ("time", "cron", "timezone", "missed"))
    else:
        _refuse(given, mode, ("settle",))
        clocks = [f"{name}=" for name in ("interval", "time", "cron") if given[name]]
        if len(clocks) != 1:
            raise FlowDefinitionError(
                f'watch(mode="schedule") was given {" and ".join(clocks) or "no interval=, time= or cron="}.',
                code="trigger-conflict" if clocks else "trigger-incomplete",
                hint='Give exactly one: interval="15m", time="08:30" or cron="30 8 * * MON-FRI".',
            )
    looks, seconds = _settle(settle)
    return Trigger(
        mode=mode,
        run_as=one_of("watch(run_as=...)", run_as, RUN_AS),
        max_parallel=whole_number("watch(max_parallel=...)", max_parallel, at_least=1),
        source=None if source is None else path_text("watch(source=...)", source),
        interval=None if interval is None else parse_duration(interval, "watch(interval=...)"),
        time=() if time is None else _times(time),
        cron=None if cron is None else check_cron(cron),
        timezone=None if timezone is None else _timezone(timezone),
        missed=one_of("watch(missed=...)", missed, MISSED),
        extensions=() if extensions is None else normalize_extensions("watch(extensions=...)", extensions),
        settle_looks=looks,
        settle_seconds=seconds,
    )


def one_of(argument: str, value: object, choices: tuple[str, ...]) -> str:
    """`value`, which must be one of `choices` (letter case aside)."""
    chosen = value.strip().lower() if isinstance(value, str) else None
    if chosen not in choices:
        listed = ", ".join(f'"{choice}"' for choice in choices)
        raise FlowDefinitionError(f"{argument} is {value!r}.", code="argument-invalid", hint=f"Give one of {listed}.")
    return chosen


def whole_number(argument: str, value: object, *, at_least: int) -> int:
    """`value`, which must be an int (no bool) of `at_least` or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < at_least:
        raise FlowDefinitionError(
            f"{argument} is {value!r}.", code="argument-invalid", hint=f"Give a whole number, {at_least} or more."
        )
    return value


def text(argument: str, value: object, example: str) -> str:
    """`value` without surrounding blanks, which must be a non-empty str."""
    if not isinstance(value, str) or not value.strip():
        raise FlowDefinitionError(
            f"{argument} is {value!r}.", code="argument-invalid", hint=f"Give a non-empty text, such as {example}."
        )
    return value.strip()


def path_text(argument: str, value: object) -> str:
    """`value`, a str or path, as text; it must name something."""
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise FlowDefinitionError(
            f"{argument} is {value!r}, not a path.",
            code="argument-invalid",
            hint='Give a path, absolute or relative to the module\'s folder, such as "../incoming".',
        )
    return path


def normalize_extensions(argument: str, value: object) -> tuple[str, ...]:
    """File extensions in lower case with their dot, without repeats, in the order given."""
    given = (value,) if isinstance(value, str) else value
    hint = 'Give one or more, such as [".csv", ".xlsx"].'
    if not isinstance(given, Iterable) or isinstance(given, bytes | dict):
        raise FlowDefinitionError(f"{argument} is {value!r}.", code="argument-invalid", hint=hint)
    normalized: list[str] = []
    for extension in sorted(given, key=str) if isinstance(given, set | frozenset) else given:
        ending = extension.strip().lower().removeprefix("*").removeprefix(".") if isinstance(extension, str) else ""
        if not re.fullmatch(r"[^./\\*?\0\s](?:[^/\\*?\0]*[^./\\*?\0\s])?", ending):
            raise FlowDefinitionError(
                f"{argument} holds {extension!r}, not a file extension.", code="argument-invalid", hint=hint
            )
        normalized.append(f".{ending}")
    if not normalized:
        raise FlowDefinitionError(f"{argument} is empty.", code="argument-invalid", hint=hint)
    return tuple(dict.fromkeys(normalized))


def _refuse(given: dict[str, bool], mode: str, names: tuple[str, ...]) -> None:
    for name in names:
        if given[name]:
            raise FlowDefinitionError(
                f'watch(mode="{mode}") was given {name}=, which it does not take.',
                code="trigger-conflict",
                hint=f"Leave {name}= out, or choose {_TAKERS[name]}.",
            )


_TAKERS = {
    "interval": 'mode="poll" or mode="schedule"',
    "time": 'mode="schedule"',
    "cron": 'mode="schedule"',
    "timezone": 'mode="schedule"',
    "missed": 'mode="schedule"',
    "settle": 'mode="poll"',
}


def _times(value: object) -> tuple[str, ...]:
    given = (value,) if isinstance(value, str) else value
    hint = 'Write hours and minutes with two digits each, "08:30", or a list of such times.'
    if not isinstance(given, list | tuple | set | frozenset) or not given:
        raise FlowDefinitionError(f"watch(time=...) is {value!r}.", code="time-invalid", hint=hint)
    times: list[str] = []
    for time in given:
        moment = time.strip() if isinstance(time, str) else ""
        if not _TIME.fullmatch(moment):
            where = "is" if isinstance(value, str) else "holds"
            raise FlowDefinitionError(
                f"watch(time=...) {where} {time!r}, not a time of day.", code="time-invalid", hint=hint
            )
        if moment in times:
            raise FlowDefinitionError(
                f"watch(time=...) holds {moment!r} twice.", code="time-invalid", hint="Name each time once."
            )
        times.append(moment)
    return tuple(sorted(times))


def _timezone(value: object) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(value).key  # type: ignore[arg-type]
    except (ZoneInfoNotFoundError, ValueError, TypeError, AttributeError, OSError):
        raise FlowDefinitionError(
            f"watch(timezone=...) is {value!r}, not a known time zone.",
            code="timezone-invalid",
            hint='Give a name of the IANA database, such as "Europe/Berlin" or "UTC".',
        ) from None


def _settle(value: object) -> tuple[int, float | None]:
    if isinstance(value, str):
        return 1, parse_duration(value, "watch(settle=...)")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value, None
    raise FlowDefinitionError(
        f"watch(settle=...) is {value!r}.",
        code="argument-invalid",
        hint='Give a count of unchanged looks, 0 or more, or a duration such as "10s".',
    )
