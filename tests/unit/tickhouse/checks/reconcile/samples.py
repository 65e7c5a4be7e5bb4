"""Generated trades and the five ways in which a row can go wrong."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, CheckedTrade

BTC = CheckedStream("spot", "BTCUSDT", "aggTrade")
ETH = CheckedStream("spot", "ETHUSDT", "aggTrade")
START_US = 1_723_161_240_000_000


def trade(number: int = 1, **changes: object) -> CheckedTrade:
    base = CheckedTrade(
        BTC, number, number * 2, number * 2 + 1, 61_685_99000000, 150000, "BUY", START_US + number * 1000
    )
    return base._replace(**changes)


@st.composite
def markets(draw: st.DrawFn, sentinels: bool = True) -> list[CheckedTrade]:
    """Draw trades of two streams over a few minutes: each id once, in the order of time."""
    found = []
    for key in (BTC, ETH):
        count, time_us, last = draw(st.integers(1, 12)), START_US, draw(st.integers(0, 1000))
        for number in range(count):
            time_us += draw(st.sampled_from((0, 1000, 17_000_000, MINUTE_US)))
            size = draw(st.integers(1, 4))
            price = draw(st.integers(0 if sentinels else 1, 10**14))
            qty = draw(st.integers(1, 10**14))
            side = draw(st.sampled_from(("BUY", "SELL")))
            found.append(CheckedTrade(key, 5_000_000_000 + number, last + 1, last + size, price, qty, side, time_us))
            last += size
    return found


def deleted(trades: list[CheckedTrade], at: int) -> list[CheckedTrade]:
    return trades[:at] + trades[at + 1 :]


def doubled(trades: list[CheckedTrade], at: int) -> list[CheckedTrade]:
    return [*trades, trades[at]]


def altered(trades: list[CheckedTrade], at: int) -> list[CheckedTrade]:
    return _changed(trades, at, price=trades[at].price + 1)


def moved(trades: list[CheckedTrade], at: int) -> list[CheckedTrade]:
    other = CheckedStream("spot", "XRPETH", "aggTrade")
    return _changed(trades, at, key=other)


def shifted(trades: list[CheckedTrade], at: int) -> list[CheckedTrade]:
    return _changed(trades, at, time_us=trades[at].time_us + MINUTE_US)


def _changed(trades: list[CheckedTrade], at: int, **changes: object) -> list[CheckedTrade]:
    return [*trades[:at], trades[at]._replace(**changes), *trades[at + 1 :]]


CORRUPTIONS: dict[str, Callable[[list[CheckedTrade], int], list[CheckedTrade]]] = {
    "deleted": deleted,
    "doubled": doubled,
    "altered": altered,
    "moved": moved,
    "shifted": shifted,
}
