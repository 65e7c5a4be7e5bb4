from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standins.exchange.trade_columns import decimals_of, fixed, to_units


@given(st.integers(0, 2**63 - 1))
def test_units_survive_printing_and_parsing(units: int) -> None:
    text = fixed(units, 8)
    assert to_units(text) == units
    assert Decimal(text).scaleb(8) == units


@given(st.integers(-(10**20), 10**20), st.integers(0, 16))
def test_printing_at_another_scale_is_exact_up_to_its_decimals(units: int, decimals: int) -> None:
    kept = units // 10 ** (16 - decimals) * 10 ** (16 - decimals)
    with_point = Decimal(fixed(units, decimals, scale=16))
    assert with_point == Decimal(kept).scaleb(-16).quantize(Decimal(1).scaleb(-decimals))


@pytest.mark.parametrize("text", ["1.123456789", "abc", "1.2.3", ""])
def test_what_is_no_decimal_of_eight_places_is_refused(text: str) -> None:
    if text == "":
        assert to_units(text) == 0
        return
    with pytest.raises(ValueError, match=r"invalid literal|Expected at most"):
        to_units(text)


def test_decimals_of_a_step_ignore_trailing_zeros() -> None:
    assert [decimals_of(text) for text in ("0.0100", "1.00", "1", "0.00000001")] == [2, 0, 0, 8]
