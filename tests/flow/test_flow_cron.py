from datetime import datetime

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from flowstead.flow.cron import check_cron
from flowstead.flow.errors import FlowDefinitionError


def field(low: int, high: int, names: list[str]):
    number = (
        st.integers(low - 1, high + 2).map(str) | st.sampled_from(names)
        if names
        else st.integers(low - 1, high + 2).map(str)
    )
    step = st.integers(0, 40).map(lambda n: f"/{n}") | st.just("")
    part = st.builds(lambda a, b: a + b, st.just("*") | number | st.builds("{}-{}".format, number, number), step)
    return st.just("*") | st.lists(part, min_size=1, max_size=2).map(",".join)


EXPRESSIONS = st.tuples(
    field(0, 59, []), field(0, 23, []), field(1, 31, []), field(1, 12, ["JAN", "dec"]), field(0, 7, ["SUN", "Fri"])
).map(" ".join)


@given(EXPRESSIONS)
def test_what_is_accepted_has_a_next_time(expression):
    try:
        checked = check_cron(expression)
    except FlowDefinitionError as error:
        assert error.code == "cron-invalid" and repr(expression) in str(error)
        return
    assert next(CronSim(checked, datetime(2024, 1, 1)))


@pytest.mark.parametrize(
    "expression", ["* * * * *", "*/15 6-20 * * MON-FRI", "0 0 1,15 JAN-MAR *", "5/15 * * * 7", "0  0 29 2 *"]
)
def test_ordinary_expressions_are_accepted(expression):
    assert check_cron(expression) == " ".join(expression.split())


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "0 fields"),
        ("@daily", "1 field"),
        ("* * * * * *", "6 fields"),
        (None, "None"),
        ("60 * * * *", "'60' as its minute, which is 0 to 59"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of month"),
        ("* * * 13 *", "JAN"),
        ("* * * * MOO", "'MOO' as its day of week"),
        ("*/0 * * * *", "step 0"),
        ("5-1 * * * *", "backward range '5-1'"),
        ("1,,2 * * * *", "''"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 31 APR,JUN *", "no chosen month has a day 31"),
    ],
)
def test_a_wrong_expression_says_where(expression, says):
    with pytest.raises(FlowDefinitionError) as caught:
        check_cron(expression)
    assert says in str(caught.value)
