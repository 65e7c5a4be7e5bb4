"""Pages of candles of the lake: every interval of its days once, in any page size."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from api.candles import CandlePage
from api.lake import combined, lake_span

DAYS = st.lists(st.dates(date(2024, 1, 1), date(2024, 1, 20)), min_size=1, max_size=6, unique=True).map(sorted)


def at(day: date, hour: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


@given(DAYS, st.integers(1, 40), st.integers(0, 600), st.integers(0, 600))
def test_pages_cover_every_hour_of_the_days_once(days: list[date], limit: int, first: int, length: int) -> None:
    start = at(date(2023, 12, 28)) + first * timedelta(hours=1)
    end = start + length * timedelta(hours=1)
    wanted = CandlePage("spot", "BTCUSDT", "1h", start, end, limit)
    have = {at(day, hour) for day in days for hour in range(24)}
    seen: list[datetime] = []
    following: datetime | None = start
    while following is not None:
        found = lake_span(wanted, following, days)
        if found is None:
            break
        hours = (found.span.end - found.span.start) // timedelta(hours=1)
        assert hours <= limit
        seen += [one for one in (found.span.start + n * timedelta(hours=1) for n in range(hours)) if one in have]
        assert found.following is None or found.following >= found.span.end
        following = found.following
    assert seen == sorted(hour for hour in have if start <= hour < end)


def test_a_silent_part_gives_no_price() -> None:
    wanted = CandlePage("spot", "BTCUSDT", "15m", None, None, 1)
    silent = part(0, price="9", trades=0, volume="0")
    (row,) = combined(
        [silent, part(5, price="3", trades=2, volume="2"), part(10, price="4", trades=1, volume="1")], wanted
    )
    assert (row["open"], row["high"], row["low"], row["close"]) == tuple(map(Decimal, ("3", "4", "3", "4")))
    assert (row["volume"], row["trades"]) == (Decimal(3), 3)
    (nothing,) = combined([silent, part(5, price="9", trades=0, volume="0")], wanted)
    assert (nothing["close"], nothing["vwap"], nothing["trades"]) == (Decimal(9), None, 0)


def part(minute: int, *, price: str, trades: int, volume: str) -> dict[str, object]:
    amount = Decimal(volume)
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(price))
    sums = {"volume": amount, "quote_volume": amount * Decimal(price), "taker_buy_volume": amount}
    return {"open_time": datetime(2024, 1, 1, 0, minute, tzinfo=UTC), **prices, **sums, "trades": trades}
