"""Decimal text becomes exact integers and Avro bytes."""

from __future__ import annotations

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from producer.parsing.decimals import CACHE_SIZE, from_bytes, plain, scaled, to_bytes, unscaled

DECIMALS = st.decimals(min_value=-(10**20) + 1, max_value=10**20 - 1, places=8, allow_nan=False)


@given(DECIMALS)
def test_decimals_are_exact_in_both_directions(number):
    text = format(number, "f")
    assert scaled(text) == number.scaleb(8)
    assert from_bytes(unscaled(text)) == number
    assert to_bytes(scaled(text)) == fastavro.write.LOGICAL_WRITERS["bytes-decimal"](
        number, {"precision": 28, "scale": 8}
    )


def test_only_the_exponent_of_pandas_floats_is_removed():
    assert [plain(text) for text in ("1e-05", "2619.4", "1.5e3", "nan")] == ["0.00001", "2619.4", "1500", "nan"]


def test_cache_of_numbers_is_bounded():
    for number in range(CACHE_SIZE + 10):
        unscaled(f"{number}.5")
    assert unscaled("7.5") == to_bytes(750_000_000)
