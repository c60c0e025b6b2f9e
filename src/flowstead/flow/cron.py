"""Whether a cron expression is one: five fields, each with its own range. When it comes due is cronsim's to say."""

from __future__ import annotations

import re

from flowstead.flow.errors import FlowDefinitionError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)


def check_cron(expression: object) -> str:
    """`expression` with single spaces, once it is proven to be five valid fields: minute hour day month weekday.

    A field is `*`, a number, a name (MON, JAN), a range `a-b` or a list of these, each with an optional step `/n`.
    Raises FlowDefinitionError (`cron-invalid`) that names the field, also for a date that never comes (31 February).
    """
    fields = expression.split() if isinstance(expression, str) else []
    if len(fields) != len(_FIELDS):
        given = f" ({len(fields)} field{'' if len(fields) == 1 else 's'})" if isinstance(expression, str) else ""
        raise _invalid(expression, f"is not a cron expression{given}")
    values = [
        _field(expression, text, name, low, high, names)
        for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True)
    ]
    days, months = values[2], values[3]
    if fields[4] == "*" and min(days) > max(_LONGEST.get(month, 31) for month in months):
        raise _invalid(expression, f"never comes: no chosen month has a day {min(days)}")
    return " ".join(fields)


def _field(expression: object, text: str, name: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    chosen: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _invalid(expression, f"has {part!r} as its {name}")
        star, first, last, step = match.groups()
        start = low if star else _number(expression, first, name, low, high, names)
        # "5/15" means: from 5 on, every 15th.
        end = (
            _number(expression, last, name, low, high, names) if last else (high if star or step is not None else start)
        )
        if start > end:
            raise _invalid(expression, f"has the backward range {part!r} as its {name}")
        if step is not None and int(step) == 0:
            raise _invalid(expression, f"has the step 0 in its {name}")
        chosen.update(range(start, end + 1, int(step or 1)))
    return chosen


def _number(expression: object, text: str, name: str, low: int, high: int, names: dict[str, int]) -> int:
    number = names.get(text.upper(), int(text) if text.isdigit() else -1)
    if not low <= number <= high:
        named = f" or {', '.join(names)}" if names else ""
        raise _invalid(expression, f"has {text!r} as its {name}, which is {low} to {high}{named}")
    return number


def _invalid(expression: object, why: str) -> FlowDefinitionError:
    return FlowDefinitionError(
        f"watch(cron=...) is {expression!r}, which {why}.".replace("which is not", "not"),
        code="cron-invalid",
        hint='Write five fields, minute hour day month weekday, such as "15 6 * * MON-FRI".',
    )
