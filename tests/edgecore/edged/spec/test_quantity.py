"""Quantities: pure, nothing faked."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecore.edged.spec.quantity import in_units, parse_quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", Fraction(1)),
        ("500m", Fraction(1, 2)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("2k", Fraction(2000)),
        ("1e3", Fraction(1000)),
        ("-1Ki", Fraction(-1024)),
        (".5", Fraction(1, 2)),
    ],
)
def test_a_quantity_is_an_exact_number(text: str, number: Fraction) -> None:
    assert parse_quantity(text) == number


@pytest.mark.parametrize("text", ["", "abc", "1x", "1 Gi", "--1", "1e999"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity(text)


def test_units_are_rounded_up() -> None:
    assert in_units("1100m", "1") == 2
    assert in_units("64Mi", "1Mi") == 64
    assert in_units("1", "1m") == 1000


@given(st.integers(min_value=0, max_value=10**12), st.sampled_from(["1", "1m", "1Ki", "1M"]))
def test_rounding_up_never_loses_and_adds_less_than_a_unit(amount: int, divisor: str) -> None:
    units = in_units(str(amount), divisor)
    unit = parse_quantity(divisor)
    assert amount <= units * unit < amount + unit
