from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.clients.avro import AvroDecoder
from common.clients.geode import Value
from common.clients.statistics import MINUTE_US, WINDOW_MINUTES, minute_key, parse_minute_key
from common.event_ids import StreamName
from spark.streaming.statistics import StatisticsBar, Window, change_percent, statistics
from spark.streaming.statistics_sink import newest_bars

BTC = StreamName("spot", "BTCUSDT", "aggTrade")
PERPETUAL = StreamName("coinm", "BTCUSD_PERP", "aggTrade")
ONE = 10**8

# The bars of a stream as they grow: minute, number of events, price.
growing_bars = st.lists(
    st.tuples(st.integers(0, 3 * WINDOW_MINUTES), st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=40
)


def bar(minute: int, price: int = 2, events: int = 1, **other: int) -> StatisticsBar:
    """Return a bar in which each event is a trade of one coin at a price."""
    of_bar = {
        **dict.fromkeys(("open", "high", "low", "close"), price * ONE),
        "volume": events * ONE,
        "quote_volume": events * price * ONE * ONE,
        "trades": 2 * events,
        "agg_trades": events,
        "open_trade_id": 10 * minute,
        "close_trade_id": 10 * minute + events - 1,
    }
    return StatisticsBar(minute_us=minute * MINUTE_US, **(of_bar | other))


def play(batches: list[list[StatisticsBar]]) -> Value:
    window = Window()
    for batch in batches:
        window.merge(batch)
    return statistics(BTC, window.bars.values())


def test_statistics_are_those_of_the_last_1440_minutes() -> None:
    bars = [bar(0, price=90), bar(1, price=4, high=7 * ONE, low=3 * ONE), bar(1440, price=5, events=3)]

    found = play([bars])

    assert found == {
        "market": "spot",
        "symbol": "BTCUSDT",
        "stream": "aggTrade",
        "from": "1970-01-01T00:01:00Z",
        "until": "1970-01-02T00:01:00Z",
        "open": "4.00000000",
        "high": "7.00000000",
        "low": "3.00000000",
        "close": "5.00000000",
        "change": "1.00000000",
        "change_percent": "25.00000000",
        "volume": "4.00000000",
        "quote_volume": "19.0000000000000000",
        "vwap": "4.7500000000000000",
        "trades": "8",
        "agg_trades": "4",
        "first_trade_id": "10",
        "last_trade_id": "14402",
        "minutes": "2",
        "newest_minute_us": str(1440 * MINUTE_US),
    }


@given(growing_bars, st.randoms(use_true_random=False), st.data())
def test_any_split_and_repeat_ends_the_same(given_bars: list[tuple[int, int, int]], random: Any, data: Any) -> None:
    bars = [bar(minute, price, events) for minute, events, price in given_bars]
    last = {one.minute_us: one for one in bars}
    newest = max(last)
    expected = statistics(BTC, [one for at, one in last.items() if at > newest - WINDOW_MINUTES * MINUTE_US])
    # Batches keep the order of the records, and one may come again with those after it.
    again = data.draw(st.integers(0, len(bars) - 1))
    size = data.draw(st.integers(1, len(bars)))
    records = [*bars, *bars[again:]]
    batches = [records[at : at + size] for at in range(0, len(records), size)]

    assert play(batches) == expected


def test_a_late_bar_before_the_window_changes_nothing() -> None:
    window = Window([bar(5000)])

    assert window.merge([bar(5000 - WINDOW_MINUTES, price=9)]) == ([], [])
    assert [*window.bars] == [5000 * MINUTE_US]


def test_a_late_trade_in_the_window_counts() -> None:
    window = Window([bar(100, events=1), bar(200)])

    changed, left = window.merge([bar(100, price=8, events=2)])

    assert (changed, left) == ([bar(100, price=8, events=2)], [])
    assert statistics(BTC, window.bars.values())["high"] == "8.00000000"


def test_minutes_that_leave_the_window_are_returned() -> None:
    window = Window([bar(10), bar(20), bar(30)])

    changed, left = window.merge([bar(20 + WINDOW_MINUTES)])

    assert changed == [bar(20 + WINDOW_MINUTES)]
    assert left == [10 * MINUTE_US, 20 * MINUTE_US]


def test_a_repeated_bar_is_not_written_again() -> None:
    assert Window([bar(10)]).merge([bar(10)]) == ([], [])


def test_entries_are_read_back() -> None:
    one = bar(10, price=3, volume=12345678901234567890123)

    assert StatisticsBar.from_entry(one.to_entry(BTC)) == one
    assert all(isinstance(value, str) for value in one.to_entry(BTC).values())


@given(st.sampled_from(["BTCUSDT", "BTCUSD_PERP", "币安人生USDT"]), st.integers(0, 10**8))
def test_a_key_names_its_stream_and_minute(symbol: str, minute: int) -> None:
    stream = StreamName("spot", symbol, "aggTrade")

    assert parse_minute_key(minute_key(stream, minute * MINUTE_US)) == (stream, minute * MINUTE_US)
    assert parse_minute_key(f"{symbol}|aggTrade:{minute}") is None
    assert parse_minute_key(f"spot:{symbol}|aggTrade:x") is None


def test_contracts_are_worth_dollars() -> None:
    # Three contracts of 100 dollars, at 50,000 dollars per coin.
    found = statistics(PERPETUAL, [bar(0, price=50_000, volume=3 * ONE, quote_volume=6 * 10**13)])

    assert (found["vwap"], found["quote_volume"]) == ("50000.0000000000000000", "0.0060000000000000")


def test_the_change_is_rounded_half_up() -> None:
    assert change_percent(3 * ONE, 4 * ONE) == Decimal("33.33333333")
    assert change_percent(8 * ONE, 8 * ONE + 1) == Decimal("0.00000013")  # 0.000000125
    assert change_percent(3 * ONE, 2 * ONE) == Decimal("-33.33333333")


def test_undecodable_records_are_left_out() -> None:
    assert newest_bars([None, b"", b"\1abcdef"], AvroDecoder(lambda _: None)) == {}
