"""Klines and 24 h statistics, computed from columns with integers.

Sentinels and trades that do not fit decimal(28,8) are left out; Binance prints 8 decimals, so it
could not have such trades either. An interval without trades gives a flat kline of volume 0, as at
Binance.
"""

from __future__ import annotations

from typing import NamedTuple

from standins.exchange.trade_columns import TradeColumns, fixed

DAY_US = 86_400_000_000

# The interval names of Binance, without the month, which has no fixed length. A week starts on
# Monday.
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_NAMES = "1s 1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w"
INTERVALS_US = {name: int(name[:-1]) * _UNITS_S[name[-1]] * 1_000_000 for name in _NAMES.split()}
MONDAY_US = 4 * DAY_US  # 1970-01-05 was a Monday


class Kline(NamedTuple):
    """One kline (OHLC bar).

    Prices and base volumes are scaled by 10^8, quote volumes by 10^16. `trades` is the sum of
    l - f + 1.
    """

    open_us: int
    close_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    trades: int
    taker_volume: int
    taker_quote_volume: int
    agg_trades: int
    first_id: int
    last_id: int


class DayStatistics(NamedTuple):
    """Rolling 24 h statistics of one symbol, scaled as in `Kline`."""

    open: int
    high: int
    low: int
    close: int
    last_qty: int
    volume: int
    quote_volume: int
    trades: int
    first_id: int
    last_id: int
    before: int
    open_us: int
    last_row: int


def floor_to(time_us: int, interval_us: int) -> int:
    """Return the open time of the kline that contains a moment."""
    shift = MONDAY_US if interval_us == INTERVALS_US["1w"] else 0
    return (time_us - shift) // interval_us * interval_us + shift


def bar_of(table: TradeColumns, open_us: int, interval_us: int, until_us: int) -> Kline | None:
    """Return one kline from the trades up to `until_us`; None when it has no trade."""
    rows = table.normal
    close_us = open_us + interval_us - 1
    low, high = rows.at_or_after(open_us), rows.until(min(close_us, until_us))
    if low >= high:
        return None
    prices, qtys = rows.price[low:high].tolist(), rows.qty[low:high].tolist()
    taker = [(p, q) for p, q, m in zip(prices, qtys, rows.maker[low:high].tolist(), strict=True) if not m]
    base, quote, count = rows.sums
    return Kline(
        open_us=open_us,
        close_us=close_us,
        open=prices[0],
        high=max(prices),
        low=min(prices),
        close=prices[-1],
        volume=base[high] - base[low],
        quote_volume=quote[high] - quote[low],
        trades=count[high] - count[low],
        taker_volume=sum(q for _, q in taker),
        taker_quote_volume=sum(p * q for p, q in taker),
        agg_trades=high - low,
        first_id=int(rows.first[low]),
        last_id=int(rows.last[high - 1]),
    )


def flat_bar(open_us: int, interval_us: int, close: int) -> Kline:
    """Return the kline that Binance gives for an interval without trades."""
    return Kline(open_us, open_us + interval_us - 1, close, close, close, close, 0, 0, 0, 0, 0, 0, -1, -1)


def bars(table: TradeColumns, interval_us: int, from_us: int, until_us: int, now_us: int) -> list[Kline]:
    """Return the klines that open in [from_us, until_us], including flat ones.

    Only trades up to `now_us` count. The first possible kline has the first trade, the last one
    contains `now_us`.
    """
    rows = table.normal
    if not len(rows) or int(rows.t_us[0]) > now_us:
        return []
    start = max(floor_to(int(rows.t_us[0]), interval_us), floor_to(from_us + interval_us - 1, interval_us))
    found: list[Kline] = []
    for open_us in range(start, min(until_us, floor_to(now_us, interval_us)) + 1, interval_us):
        bar = bar_of(table, open_us, interval_us, now_us)
        found.append(bar or flat_bar(open_us, interval_us, _close_before(rows, open_us)))
    return found


def _close_before(rows: TradeColumns, time_us: int) -> int:
    return int(rows.price[rows.at_or_after(time_us) - 1])


def day_of(table: TradeColumns, now_us: int) -> DayStatistics | None:
    """Return the rolling 24 h statistics at a moment; None before the first trade."""
    rows = table.normal
    low, high = rows.at_or_after(now_us - DAY_US), rows.until(now_us)
    if low >= high:
        return None
    prices = rows.price[low:high]
    base, quote, count = rows.sums
    return DayStatistics(
        open=int(prices[0]),
        high=int(prices.max()),
        low=int(prices.min()),
        close=int(prices[-1]),
        last_qty=int(rows.qty[high - 1]),
        volume=base[high] - base[low],
        quote_volume=quote[high] - quote[low],
        trades=count[high] - count[low],
        first_id=int(rows.first[low]),
        last_id=int(rows.last[high - 1]),
        before=int(rows.price[max(low - 1, 0)]),
        open_us=now_us - DAY_US,
        last_row=high - 1,
    )


class Quote(NamedTuple):
    """Best bid and ask after a trade, scaled by 10^8, with an order book update id."""

    update_id: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


def quote_after(table: TradeColumns, row: int) -> Quote:
    """Return the book after a row of `table.normal`.

    The sides are the trade's price and one tick more or less.
    """
    spec, rows = table.spec, table.normal
    price, trade_id = int(rows.price[row]), int(rows.ids[row])
    bid = price if bool(rows.maker[row]) else price - spec.tick_units
    # The sizes are a hash of the id (Knuth's multiplicative hash), so the book depends on the trade
    # alone.
    noise = trade_id * 2_654_435_761 % 2**32
    sizes = ((noise % 997 + 1) * spec.step_units * 10, (noise // 997 % 991 + 1) * spec.step_units * 10)
    return Quote(trade_id * 7 + 3, bid, sizes[0], bid + spec.tick_units, sizes[1])


def day_fields(table: TradeColumns, day: DayStatistics) -> dict[str, str | int]:
    """Return the 24hrTicker fields without the times, with their WebSocket names."""
    spec, quote = table.spec, quote_after(table, day.last_row)

    def price(units: int) -> str:
        return fixed(units, spec.price_decimals)

    change = day.close - day.open
    percent = abs(change) * 100_000 // day.open * (1 if change >= 0 else -1)
    return {
        "p": price(change),
        "P": fixed(percent, 3, scale=3),
        "w": fixed(day.quote_volume // day.volume, 8),
        "x": price(day.before),
        "c": price(day.close),
        "Q": fixed(day.last_qty, spec.qty_decimals),
        "b": price(quote.bid),
        "B": fixed(quote.bid_qty, spec.qty_decimals),
        "a": price(quote.ask),
        "A": fixed(quote.ask_qty, spec.qty_decimals),
        "o": price(day.open),
        "h": price(day.high),
        "l": price(day.low),
        "v": fixed(day.volume, spec.qty_decimals),
        "q": fixed(day.quote_volume, 8, scale=16),  # 8 decimals, as Binance prints it
        "F": day.first_id,
        "L": day.last_id,
        "n": day.trades,
    }


def quote_text(table: TradeColumns, units_e16: int) -> str:
    """Print a quote amount exactly, with at least 8 decimals."""
    return fixed(units_e16, table.spec.quote_decimals, scale=16)
