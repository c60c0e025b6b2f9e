import math
from datetime import date, datetime
from pathlib import Path

import pytest

from flowstead import Choice, Flow
from flowstead.flow.errors import ParameterRefused
from flowstead.flow.params import REQUIRED, Ask, resolve_params

NORTH = Choice("north", "south")


def asked(kind, **more):
    return Flow("g").ask("x", kind, **more).params[0]


@pytest.mark.parametrize(
    ("kind", "value", "typed"),
    [
        (str, " kept as is ", " kept as is "),
        (int, "7", 7),
        (int, -7, -7),
        (float, "2.5", 2.5),
        (float, 2, 2.0),
        (bool, "Yes", True),
        (bool, "off", False),
        (bool, True, True),
        (date, "2024-03-31", date(2024, 3, 31)),
        (date, date(2024, 3, 31), date(2024, 3, 31)),
        (Path, "in/a.csv", Path("in/a.csv")),
        (Path, Path("in"), Path("in")),
        (NORTH, "south", "south"),
        (Choice(1, 2), "2", 2),
        (Choice([1.5, 2.5]), 2.5, 2.5),
    ],
)
def test_a_text_or_a_value_becomes_the_asked_type(kind, value, typed):
    accepted = asked(kind).accept(value)
    assert accepted == typed and type(accepted) is type(typed)


@pytest.mark.parametrize(
    ("kind", "value", "hint"),
    [
        (str, 7, "a text"),
        (int, "7.5", "a whole number"),
        (int, True, "a whole number"),
        (int, 7.0, "a whole number"),
        (float, "nan", "a number"),
        (float, math.inf, "a number"),
        (float, True, "a number"),
        (bool, "perhaps", "true or false"),
        (bool, 1, "true or false"),
        (date, "31.03.2024", "a date"),
        (date, datetime(2024, 3, 31), "a date"),
        (Path, "", "a path"),
        (NORTH, "east", "one of north, south"),
        (Choice(1, 2), True, "one of 1, 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(kind, value, hint):
    with pytest.raises(ParameterRefused) as caught:
        asked(kind).accept(value)
    assert caught.value.code == "parameter-invalid"
    assert hint in caught.value.hint and repr(value) in str(caught.value) and "'x'" in str(caught.value)


def test_a_secret_is_never_shown():
    with pytest.raises(ParameterRefused) as caught:
        asked(int, secret=True).accept("hunter2")
    assert "hunter2" not in str(caught.value)


def test_values_and_defaults_are_resolved_together():
    flow = Flow("g").ask("month", date, default="2024-01-01").ask("count", int).ask("note", default=None)
    assert resolve_params(flow.params, {"count": "3"}) == {"month": date(2024, 1, 1), "count": 3, "note": None}
    assert resolve_params(flow.params, {"count": 1, "note": "x", "month": "2024-02-01"})["month"] == date(2024, 2, 1)


def test_unknown_and_missing_values_are_named():
    flow = Flow("g").ask("month", date).ask("count", int, default=1)
    with pytest.raises(ParameterRefused, match=r"no parameter 'moth'\. It asks for: month, count\.") as unknown:
        resolve_params(flow.params, {"moth": "2024-01-01"})
    assert unknown.value.code == "parameter-unknown"
    with pytest.raises(ParameterRefused, match="'month' has no value") as missing:
        resolve_params(flow.params, {})
    assert missing.value.code == "parameter-missing"
    with pytest.raises(ParameterRefused, match="asks for none"):
        resolve_params((), {"a": 1})


def test_an_ask_made_from_its_description_accepts_the_same():
    described = Ask("since", "date", (), "Since", "2024-03-31", False)
    assert resolve_params([described], {}) == {"since": date(2024, 3, 31)}
    assert Ask("n", "int", (), "N", REQUIRED).required
