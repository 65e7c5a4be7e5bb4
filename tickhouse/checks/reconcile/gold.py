"""Compute gold candles from the events in integers, and compare them with the lake's.

An interval without trades is a flat bar at the close before it, from a symbol's first bar to the
last minute in which anything traded, as in Binance's klines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from tickhouse.checks.reconcile.bars import MinuteBar, average_price, bars_of
from tickhouse.checks.reconcile.bronze_rows import unscaled
from tickhouse.checks.reconcile.lake_bronze import LakeReader
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, CheckedTrade, event_id
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import minute_text

DAY_US = 1_440 * MINUTE_US
INTERVALS_US = {"1m": MINUTE_US, "5m": 5 * MINUTE_US, "1h": 60 * MINUTE_US, "1d": DAY_US}
_COLUMNS = [
    "market", "symbol", "stream", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap",
    "trades", "agg_trades", "taker_buy_volume", "taker_buy_quote_volume", "open_trade_id", "close_trade_id",
]  # fmt: skip


class GoldCandle(NamedTuple):
    """A candle of gold: scales as in `MinuteBar`; one without trades has no average and no ids."""

    key: CheckedStream
    open_time_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    vwap: int | None
    trades: int
    agg_trades: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    open_trade_id: int | None
    close_trade_id: int | None


Candles = dict[tuple[str, str, int], GoldCandle]


def expected(trades: Iterable[CheckedTrade], interval: str, until_us: int | None = None) -> Candles:
    """Compute every candle of an interval, by market, symbol and open time.

    Args:
        trades: Each event once.
        interval: A name of `INTERVALS_US`.
        until_us: Where intervals without trades end; by default the end of the last minute with
            a trade.
    """
    step = INTERVALS_US[interval]
    minutes = chosen(bars_of(trades).values())
    newest = max((bar.open_time_us for bar in minutes), default=0) + MINUTE_US
    candles: Candles = {}
    for (market, symbol), bars in _by_symbol(minutes).items():
        groups: dict[int, list[MinuteBar]] = defaultdict(list)
        for bar in bars:
            groups[bar.open_time_us - bar.open_time_us % step].append(bar)
        previous: GoldCandle | None = None
        for at in range(min(groups), until_us or newest, step):
            previous = _candle_of(at, groups[at]) if at in groups else flat(at, previous)
            candles[market, symbol, at] = previous
    return candles


def chosen(bars: Iterable[MinuteBar]) -> list[MinuteBar]:
    """Return the bars of the stream with the most trades of each market, symbol and day.

    If two streams have equally many, aggTrade is chosen.
    """
    bars = list(bars)
    totals: dict[tuple[str, str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for bar in bars:
        totals[_day(bar)][bar.key.stream] += bar.trades
    best = {day: min(streams, key=lambda name: (-streams[name], name)) for day, streams in totals.items()}
    return [bar for bar in bars if best[_day(bar)] == bar.key.stream]


def _day(bar: MinuteBar) -> tuple[str, str, int]:
    return bar.key.market, bar.key.symbol, bar.open_time_us // DAY_US


def _by_symbol(bars: Iterable[MinuteBar]) -> dict[tuple[str, str], list[MinuteBar]]:
    found: dict[tuple[str, str], list[MinuteBar]] = defaultdict(list)
    for bar in bars:
        found[bar.key.market, bar.key.symbol].append(bar)
    return found


def _candle_of(at: int, bars: list[MinuteBar]) -> GoldCandle:
    first, last = min(bars, key=lambda bar: bar.open_trade_id), max(bars, key=lambda bar: bar.close_trade_id)
    volume, quote_volume = sum(bar.volume for bar in bars), sum(bar.quote_volume for bar in bars)
    return GoldCandle(
        key=first.key,
        open_time_us=at,
        open=first.open,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
        close=last.close,
        volume=volume,
        quote_volume=quote_volume,
        vwap=average_price(first.key, quote_volume, volume),
        trades=sum(bar.trades for bar in bars),
        agg_trades=sum(bar.agg_trades for bar in bars),
        taker_buy_volume=sum(bar.taker_buy_volume for bar in bars),
        taker_buy_quote_volume=sum(bar.taker_buy_quote_volume for bar in bars),
        open_trade_id=first.open_trade_id,
        close_trade_id=last.close_trade_id,
    )


def flat(at: int, before: GoldCandle | None) -> GoldCandle:
    """Return the candle of an interval without trades: all prices are the close before it."""
    if before is None:
        raise ValueError("Expected a bar before an interval without trades.")
    price = before.close
    return GoldCandle(before.key, at, price, price, price, price, 0, 0, None, 0, 0, 0, 0, None, None)


def read(lake: LakeReader, interval: str) -> Iterator[GoldCandle]:
    """Yield every candle that a ref holds.

    Raises:
        StoreUnavailable: The lake does not answer, has no such ref, or a file cannot be read.
    """
    for path in lake.files(f"gold/candles_{interval}"):
        table = lake.table(path, _COLUMNS)
        if table is not None:
            yield from _candles(table)


def _candles(table: pa.Table) -> Iterator[GoldCandle]:
    columns = [_plain(table.column(name)) for name in _COLUMNS]
    for market, symbol, stream, *values in zip(*columns, strict=True):
        yield GoldCandle(CheckedStream(market, symbol, stream), *values)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values: decimals unscaled, times in microseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if not pa.types.is_decimal(column.type):
        return list(column.to_pylist())
    numbers = unscaled(column)
    is_valid = column.is_valid().to_pylist()
    return [number if valid else None for number, valid in zip(numbers, is_valid, strict=True)]


def compare(
    found: Iterable[GoldCandle], wanted: Mapping[tuple[str, str, int], GoldCandle], result: StoreResult
) -> None:
    """Compare stored candles with the expected ones, column by column."""
    seen: set[tuple[str, str, int]] = set()
    for candle in found:
        key = candle.key.market, candle.key.symbol, candle.open_time_us
        result.count += 1
        if key in seen:
            result.add_fault("duplicate", _subject(candle), "the candle is stored twice")
        seen.add(key)
        truth = wanted.get(key)
        if candle == truth:
            result.delivered += 1
        else:
            result.add_fault("mismatch", _subject(candle), _difference(candle, truth))
    result.distinct = len(seen)
    for key in sorted(wanted.keys() - seen):
        result.add_fault("missing", _subject(wanted[key]), f"no candle at {minute_text(key[2])}")


def _subject(candle: GoldCandle) -> str:
    number = candle.open_trade_id
    return str(candle.key) if number is None else event_id(candle.key, number)


def _difference(candle: GoldCandle, truth: GoldCandle | None) -> str:
    where = f"candle {minute_text(candle.open_time_us)}"
    if truth is None:
        return f"{where}: expected none"
    pairs = zip(GoldCandle._fields, truth, candle, strict=True)
    return f"{where}: " + "; ".join(f"{name}: expected {a}, was {b}" for name, a, b in pairs if a != b)


def check(lake: LakeReader, trades: Iterable[CheckedTrade], limit: int) -> dict[str, StoreResult]:
    """Compare the candles of every interval of a ref with those of the trades.

    The results are by name of the table.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    all_trades = list(trades)
    results = {}
    for interval in INTERVALS_US:
        results[f"gold {interval}"] = result = StoreResult(f"gold {interval}", limit=limit)
        compare(read(lake, interval), expected(all_trades, interval), result)
    return results
