from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.checks.reconcile.exact_values import (
    Invalid,
    exchange_id,
    scaled,
    span,
    symbol,
    time_us,
    without_exponent,
)
from tickhouse.checks.reconcile.model import plain


@given(st.integers(-(10**28) + 1, 10**28 - 1), st.integers(0, 4))
def test_scaled_reads_back_every_number_that_fits(number, zeros):
    assert scaled(plain(number) + "0" * zeros) == number


@given(st.decimals(min_value=-(10**19), max_value=10**19, places=8))
def test_scaled_equals_decimal_arithmetic(number):
    assert scaled(f"{number:f}") == int(number.scaleb(8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.123456789", "decimal_out_of_range"),
        ("123456789012345678901", "decimal_out_of_range"),
        ("", "bad_number"),
        ("1,5", "bad_number"),
        ("NaN", "bad_number"),
        ("+1", "bad_number"),
        ("1e5", "bad_number"),
        ("\u0661", "bad_number"),
        (1.5, "wrong_type"),
        (None, "wrong_type"),
    ],
)
def test_scaled_names_what_is_wrong(text, reason):
    with pytest.raises(Invalid) as caught:
        scaled(text)
    assert caught.value.reason == reason


def test_twenty_integer_digits_and_padded_zeros_fit():
    assert scaled("99999999999999999999.99999999") == 10**28 - 1
    assert scaled("0000000000000000000000000.1000000000000") == 10**7


@given(st.floats(min_value=1e-8, max_value=1e-5).map(lambda x: float(f"{x:.2e}")))
def test_pandas_small_floats_are_read_as_printed(number):
    assert Decimal(without_exponent(repr(number))) == Decimal(repr(number))


@pytest.mark.parametrize(
    ("value", "expected"), [(1723161255342, 1723161255342000), (1723161255342001, 1723161255342001)]
)
def test_the_unit_of_a_time_follows_from_its_magnitude(value, expected):
    assert time_us(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [(123456789, "bad_time"), (0, "bad_time"), (-1, "bad_time"), (10**16, "bad_time"), (10**13, "bad_time"),
     ("1723161255342", "wrong_type"), (True, "wrong_type"), (1723161255342.5, "wrong_type")],
)  # fmt: skip
def test_time_names_what_is_wrong(value, reason):
    with pytest.raises(Invalid) as caught:
        time_us(value)
    assert caught.value.reason == reason


def test_ids_fill_64_bits_and_no_more():
    assert exchange_id((1 << 63) - 1) == (1 << 63) - 1
    for value in (-1, 1 << 63):
        with pytest.raises(Invalid, match="bad_id"):
            exchange_id(value)
    assert span(-1, -1) == (-1, -1)
    with pytest.raises(Invalid, match="bad_id"):
        span(5, 4)


@pytest.mark.parametrize("name", ["BTCUSDT", "1000SATSUSDT", "BTCUSD_PERP", "币安人生USDT", "A.B-C"])
def test_symbols_that_binance_uses(name):
    assert symbol(name) == name


@pytest.mark.parametrize("name", ["", "btcusdt", "BTC USDT", "BTC:USDT", "A/B", "X" * 51])
def test_symbols_that_it_does_not(name):
    with pytest.raises(Invalid, match="bad_symbol"):
        symbol(name)
