from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from standins.exchange.klines import INTERVALS_US, Kline, bars, day_of, floor_to
from standins.exchange.synthetic_market import MINUTE, AggTrade, iterate
from standins.exchange.trade_columns import NORMAL
from tests.unit.standins.exchange.markets import SMALL, small


def brute_force(trades: Iterable[AggTrade], symbol: str, width: int) -> dict[int, dict[str, Decimal | int]]:
    """Compute klines with Decimal from the text of the trades."""
    found: dict[int, list[AggTrade]] = {}
    for trade in trades:
        if trade.symbol == symbol and trade.flag == NORMAL:
            found.setdefault(trade.time_us - trade.time_us % width, []).append(trade)
    answer: dict[int, dict[str, Decimal | int]] = {}
    for open_us, rows in found.items():
        prices = [Decimal(r.price) for r in sorted(rows, key=lambda r: r.agg_id)]
        taken = [r for r in rows if not r.is_buyer_maker]
        answer[open_us] = {
            "open": prices[0],
            "high": max(prices),
            "low": min(prices),
            "close": prices[-1],
            "volume": sum(Decimal(r.qty) for r in rows),
            "quote": sum(Decimal(r.price) * Decimal(r.qty) for r in rows),
            "trades": sum(r.last_id - r.first_id + 1 for r in rows),
            "taker": sum((Decimal(r.qty) for r in taken), Decimal(0)),
            "taker_quote": sum((Decimal(r.price) * Decimal(r.qty) for r in taken), Decimal(0)),
        }
    return answer


def as_decimals(bar: Kline) -> dict[str, Decimal | int]:
    prices = {name: Decimal(getattr(bar, name)).scaleb(-8) for name in ("open", "high", "low", "close", "volume")}
    quotes = {"quote": bar.quote_volume, "taker_quote": bar.taker_quote_volume}
    quotes = {name: Decimal(units).scaleb(-16) for name, units in quotes.items()}
    return prices | quotes | {"trades": bar.trades, "taker": Decimal(bar.taker_volume).scaleb(-8)}


@pytest.mark.parametrize("symbol", list(small().tables))
@pytest.mark.parametrize("interval", ["1m", "3m", "1s"])
def test_klines_equal_brute_force_and_the_rest_are_flat(symbol: str, interval: str) -> None:
    width = INTERVALS_US[interval]
    expected = brute_force(iterate(small()), symbol, width)
    found = bars(small().tables[symbol], width, 0, 2**62, SMALL.end_us)
    assert {bar.open_us: as_decimals(bar) for bar in found if bar.trades} == expected
    opens = [bar.open_us for bar in found]
    assert opens == list(range(opens[0], opens[-1] + 1, width))
    assert opens[0] == min(expected)


def test_a_silent_minute_is_a_flat_kline_at_the_previous_close() -> None:
    found = {bar.open_us: bar for bar in bars(small().tables["XRPETH"], MINUTE, 0, 2**62, SMALL.end_us)}
    before, silent = found[SMALL.start_us], found[SMALL.start_us + MINUTE]
    assert (silent.open, silent.high, silent.low, silent.close) == (before.close,) * 4
    assert (silent.volume, silent.quote_volume, silent.trades) == (0, 0, 0)


def test_the_current_kline_has_only_played_trades() -> None:
    now_us = SMALL.start_us + MINUTE // 2
    played = [trade for trade in iterate(small(), now_us)]
    found = bars(small().tables["BTCUSDT"], MINUTE, 0, 2**62, now_us)
    assert [as_decimals(bar) for bar in found] == list(brute_force(played, "BTCUSDT", MINUTE).values())


def test_24h_statistics_equal_brute_force() -> None:
    now_us = SMALL.start_us + 200 * 1_000_000
    day = day_of(small().tables["BTCUSDT"], now_us)
    rows = [t for t in iterate(small(), now_us) if t.symbol == "BTCUSDT" and t.flag == NORMAL]
    assert day is not None
    assert Decimal(day.volume).scaleb(-8) == sum(Decimal(r.qty) for r in rows)
    assert Decimal(day.quote_volume).scaleb(-16) == sum(Decimal(r.price) * Decimal(r.qty) for r in rows)
    assert Decimal(day.high).scaleb(-8) == max(Decimal(r.price) for r in rows)
    assert (day.first_id, day.last_id) == (rows[0].first_id, rows[-1].last_id)


def test_a_week_starts_on_monday() -> None:
    thursday = 1_723_161_240_000_000
    assert floor_to(thursday, INTERVALS_US["1w"]) == 1_722_816_000_000_000
