from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.alerts.candle_rules import fixed, price_move, volume_spike
from tickhouse.alerts.rules import PriceMove, VolumeSpike
from tickhouse.alerts.state import MINUTE_US
from tickhouse.alerts.windows import UNITS, PriceBar

JUMP = PriceMove(id="jump", kind="price_move", severity="warning", percent=Decimal(5), window_minutes=5)
SPIKE = VolumeSpike(
    id="spike", kind="volume_spike", severity="info", factor=Decimal(10), history_minutes=60, least_history=3
)


def bar(minute: int, *, low: str = "100", high: str = "100", start: str = "100", volume: str = "1") -> PriceBar:
    units = [int(Decimal(text) * UNITS) for text in (start, high, low, high, volume)]
    return PriceBar(minute * MINUTE_US, *units)


@pytest.mark.parametrize(
    ("before", "last", "is_over", "change"),
    [
        ([], bar(1, high="105"), True, "5.00"),
        ([], bar(1, high="104.99999999"), False, "5.00"),
        ([bar(0, low="99")], bar(1, high="103.95"), True, "5.00"),
        ([bar(0, high="110")], bar(1, low="104.5", start="104.5", high="104.5"), True, "-5.00"),
        ([bar(0, high="110", low="105")], bar(1, low="104.50000001", start="105", high="105"), False, "-5.00"),
        ([bar(0, low="50", high="50", start="50")], bar(1), True, "100.00"),
    ],
)
def test_a_move_counts_from_the_lowest_or_highest_price_of_the_window(
    before: Sequence[PriceBar], last: PriceBar, is_over: bool, change: str
) -> None:
    found = price_move(JUMP, last, before)

    assert found is not None
    assert (found.is_over, found.values["change_percent"]) == (is_over, change)


def test_within_the_last_bar_only_its_open_comes_first() -> None:
    # From 97 to 103 would be over 5 %, but the low may be later than the high.
    found = price_move(JUMP, bar(1, low="97", high="103"), [])

    assert found is not None
    assert not found.is_over
    assert found.values["change_percent"] == "3.00"


def test_it_is_calm_below_half_of_the_threshold() -> None:
    calm = [price_move(JUMP, bar(1, high=high), []) for high in ("102.49", "102.5", "104")]

    assert [found.is_calm for found in calm if found] == [True, False, False]


PRICES = st.integers(1, 10**27)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[PriceBar], PriceBar]:
    def one(minute: int) -> PriceBar:
        prices = sorted(draw(st.tuples(PRICES, PRICES, PRICES, PRICES)))
        return PriceBar(minute, prices[1], prices[3], prices[0], prices[2], draw(st.integers(1, 10**37)))

    bars = [one(minute) for minute in range(draw(st.integers(1, 6)))]
    return bars[:-1], bars[-1]


@given(windows())
def test_the_threshold_is_compared_exactly(window: tuple[list[PriceBar], PriceBar]) -> None:
    before, last = window
    low = min([last.open, *(one.low for one in before)])
    high = max([last.open, *(one.high for one in before)])

    found = price_move(JUMP, last, before)

    move = max(Fraction(last.high - low, low), Fraction(high - last.low, high))
    assert found is not None
    assert found.is_over == (move >= Fraction(5, 100))


@given(windows(), st.integers(0, 10**27), st.integers(0, 10**27), st.integers(0, 10**37))
def test_an_alert_never_ends_while_a_bar_fills(
    window: tuple[list[PriceBar], PriceBar], higher: int, lower: int, more: int
) -> None:
    before, early = window
    late = early._replace(high=early.high + higher, low=max(1, early.low - lower), volume=early.volume + more)

    for judge, rule in ((price_move, JUMP), (volume_spike, SPIKE)):
        first, second = judge(rule, early, before), judge(rule, late, before)  # type: ignore[operator]
        assert not (first and first.is_over) or (second and second.is_over)


def test_a_spike_is_a_multiple_of_the_mean_of_traded_minutes() -> None:
    before = [bar(minute, volume="2") for minute in range(3)]

    over, under = volume_spike(SPIKE, bar(3, volume="20"), before), volume_spike(SPIKE, bar(3, volume="19.9"), before)

    assert over is not None
    assert under is not None
    assert (over.is_over, under.is_over) == (True, False)
    assert (over.values["times"], over.values["mean_volume"], over.values["history_minutes"]) == ("10.00", "2", "3")


def test_a_symbol_without_enough_history_has_no_spike() -> None:
    assert volume_spike(SPIKE, bar(3, volume="2000"), [bar(1), bar(2)]) is None


@pytest.mark.parametrize(
    ("units", "text"), [(0, "0"), (1, "0.00000001"), (10**8, "1"), (120_000_000, "1.2"), (10**36, "1" + "0" * 28)]
)
def test_numbers_are_plain(units: int, text: str) -> None:
    assert fixed(units) == text
