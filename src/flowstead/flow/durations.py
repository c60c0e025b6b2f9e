"""Durations as people write them: a positive number and a unit."""

from __future__ import annotations

import math
import re

from flowstead.flow.errors import FlowDefinitionError

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h|d|w)", re.ASCII)


def parse_duration(text: object, argument: str = "interval") -> float:
    """Seconds in `text`, such as "500ms", "30s", "1.5h" or "2 d".

    `argument` is how the error names what was given. Raises FlowDefinitionError (`duration-invalid`) for anything
    but a positive, finite number with one of the units ms, s, m, h, d, w.
    """
    match = _PATTERN.fullmatch(text.strip().lower()) if isinstance(text, str) else None
    seconds = float(match[1]) * SECONDS[match[2]] if match else math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        hint = 'Write a positive number and a unit (ms, s, m, h, d, w), such as "30s" or "15m".'
        if isinstance(text, int | float) and not isinstance(text, bool) and math.isfinite(text) and text > 0:
            hint = f'Write the unit too: "{text:g}s" for seconds, "{text:g}m" for minutes.'
        raise FlowDefinitionError(f"{argument} is {text!r}, not a duration.", code="duration-invalid", hint=hint)
    return seconds
