import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowstead.flow.durations import SECONDS, parse_duration
from flowstead.flow.errors import FlowDefinitionError


@given(st.floats(min_value=0.01, max_value=1e6), st.sampled_from(sorted(SECONDS)), st.sampled_from(["", " ", "  "]))
def test_a_number_and_a_unit_are_seconds(number, unit, gap):
    text = f"{number:.6f}{gap}{unit}"
    assert parse_duration(text) == pytest.approx(float(f"{number:.6f}") * SECONDS[unit])
    assert parse_duration(f" {text.upper()} ") == parse_duration(text)


@given(st.text(max_size=12))
def test_any_text_is_a_positive_finite_number_or_refused(text):
    try:
        seconds = parse_duration(text, "watch(interval=...)")
    except FlowDefinitionError as error:
        assert error.code == "duration-invalid"
        assert repr(text) in str(error) and "watch(interval=...)" in str(error)
    else:
        assert seconds > 0 and math.isfinite(seconds)


@pytest.mark.parametrize(
    "given",
    ["", "s", "5", "nan", "inf", "nans", "infs", "-1s", "0s", "0ms", "5 parsecs", "1h30m", "1,5s", "1e3s", "+1s",
     "\u0665s", "9" * 400 + "w", "0." + "0" * 400 + "1ms", None, True, 5, 1.5, math.nan, b"5s"],
)  # fmt: skip
def test_anything_else_is_refused(given):
    with pytest.raises(FlowDefinitionError):
        parse_duration(given)


def test_a_bare_number_is_told_to_bring_its_unit():
    with pytest.raises(FlowDefinitionError, match='"5s" for seconds'):
        parse_duration(5)
