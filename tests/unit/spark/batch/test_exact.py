"""Quotients and roots are rounded once, half up."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from math import isqrt

from hypothesis import given
from hypothesis import strategies as st

from spark.batch.exact import quotient, root, squared_return

AMOUNTS = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda number: Decimal(number).scaleb(-16))
PRICES = st.integers(1, 10**28 - 1).map(lambda number: Decimal(number).scaleb(-8))


@given(AMOUNTS, PRICES, st.integers(0, 24))
def test_a_quotient_is_the_nearest_multiple_and_a_tie_goes_away_from_zero(a: Decimal, b: Decimal, places: int) -> None:
    found = quotient(a, b, places)
    assert found is not None
    exact = Fraction(a) / Fraction(b) * 10**places
    away = 1 if exact >= 0 else -1
    nearest = away * ((2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator))
    assert Fraction(found) == Fraction(nearest, 10**places)
    assert -found.as_tuple().exponent == places  # type: ignore[operator]


def test_nothing_divided_is_nothing() -> None:
    assert quotient(None, Decimal(1), 2) is None
    assert quotient(Decimal(1), None, 2) is None
    assert quotient(Decimal(1), Decimal(0), 2) is None
    assert squared_return(Decimal(1), None) is None
    assert root(None, 2) is None


@given(PRICES, PRICES)
def test_the_square_of_a_return_is_exact(close: Decimal, before: Decimal) -> None:
    found = squared_return(close, before)
    change = quotient(Context(prec=60).subtract(close, before), before, 12)
    assert found is not None
    assert change is not None
    assert Fraction(found) == Fraction(change) ** 2


@given(st.integers(0, 10**38 - 1))
def test_a_root_is_the_nearest(number: int) -> None:
    found = root(Decimal(number).scaleb(-24), 12)
    assert found is not None
    units = int(Fraction(found) * 10**12)
    low = isqrt(number)
    assert units in (low, low + 1)
    assert abs(Fraction(units) ** 2 - number) <= abs(Fraction(2 * low + 1 - units) ** 2 - number)
