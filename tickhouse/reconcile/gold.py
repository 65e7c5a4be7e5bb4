"""Gold candles computed again from the events, in integers, and held against the lake's.

Silent intervals are flat bars at the close before them, from a symbol's first bar to the last minute in which anything
traded: what Binance's klines show of the same events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from tickhouse.reconcile.bars import Bar, bars_of, vwap
from tickhouse.reconcile.lake import Lake, unscaled
from tickhouse.reconcile.model import MINUTE_US, StreamKey, Trade, event_id
from tickhouse.reconcile.trades import minute_text
from tickhouse.reconcile.verdict import Verdict

DAY_US = 1_440 * MINUTE_US
INTERVALS_US = {"1m": MINUTE_US, "5m": 5 * MINUTE_US, "1h": 60 * MINUTE_US, "1d": DAY_US}
_COLUMNS = [
    "market", "symbol", "stream", "open_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap",
    "trades", "agg_trades", "taker_buy_volume", "taker_buy_quote_volume", "open_trade_id", "close_trade_id",
]  # fmt: skip


class Candle(NamedTuple):
    """A bar of gold: scales as in `Bar`; a silent one has no average and no ids."""

    key: StreamKey
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


Candles = dict[tuple[str, str, int], Candle]


def expected(trades: Iterable[Trade], interval: str, until_us: int | None = None) -> Candles:
    """Compute every candle of an interval, by market, symbol and open time.

    Args:
        trades: Each event once.
        interval: A name of `INTERVALS_US`.
        until_us: Where silent intervals end; the end of the last minute with a trade by default.
    """
    step = INTERVALS_US[interval]
    minutes = chosen(bars_of(trades).values())
    newest = max((bar.open_time_us for bar in minutes), default=0) + MINUTE_US
    found: Candles = {}
    for (market, symbol), bars in _by_symbol(minutes).items():
        groups: dict[int, list[Bar]] = defaultdict(list)
        for bar in bars:
            groups[bar.open_time_us - bar.open_time_us % step].append(bar)
        before: Candle | None = None
        for at in range(min(groups), until_us or newest, step):
            before = _sum(at, groups[at]) if at in groups else flat(at, before)
            found[market, symbol, at] = before
    return found


def chosen(bars: Iterable[Bar]) -> list[Bar]:
    """Return the bars of the stream with the most trades of each market, symbol and day; a draw goes to aggTrade."""
    bars = list(bars)
    totals: dict[tuple[str, str, int], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for bar in bars:
        totals[_day(bar)][bar.key.stream] += bar.trades
    best = {day: min(streams, key=lambda name: (-streams[name], name)) for day, streams in totals.items()}
    return [bar for bar in bars if best[_day(bar)] == bar.key.stream]


def _day(bar: Bar) -> tuple[str, str, int]:
    return bar.key.market, bar.key.symbol, bar.open_time_us // DAY_US


def _by_symbol(bars: Iterable[Bar]) -> dict[tuple[str, str], list[Bar]]:
    found: dict[tuple[str, str], list[Bar]] = defaultdict(list)
    for bar in bars:
        found[bar.key.market, bar.key.symbol].append(bar)
    return found


def _sum(at: int, bars: list[Bar]) -> Candle:
    first, last = min(bars, key=lambda one: one.open_trade_id), max(bars, key=lambda one: one.close_trade_id)
    volume, quote_volume = sum(one.volume for one in bars), sum(one.quote_volume for one in bars)
    return Candle(
        key=first.key,
        open_time_us=at,
        open=first.open,
        high=max(one.high for one in bars),
        low=min(one.low for one in bars),
        close=last.close,
        volume=volume,
        quote_volume=quote_volume,
        vwap=vwap(quote_volume, volume),
        trades=sum(one.trades for one in bars),
        agg_trades=sum(one.agg_trades for one in bars),
        taker_buy_volume=sum(one.taker_buy_volume for one in bars),
        taker_buy_quote_volume=sum(one.taker_buy_quote_volume for one in bars),
        open_trade_id=first.open_trade_id,
        close_trade_id=last.close_trade_id,
    )


def flat(at: int, before: Candle | None) -> Candle:
    """Return the bar of a silent interval: the close before it, and nothing else."""
    if before is None:
        raise ValueError("Expected a bar before a silent interval.")
    price = before.close
    return Candle(before.key, at, price, price, price, price, 0, 0, None, 0, 0, 0, 0, None, None)


def read(lake: Lake, interval: str) -> Iterator[Candle]:
    """Yield every candle that a ref holds.

    Raises:
        StoreUnavailable: The lake does not answer, has no such ref, or a file cannot be read.
    """
    for path in lake.files(f"gold/candles_{interval}"):
        table = lake.table(path, _COLUMNS)
        if table is not None:
            yield from _candles(table)


def _candles(table: pa.Table) -> Iterator[Candle]:
    columns = [_plain(table.column(name)) for name in _COLUMNS]
    for market, symbol, stream, *values in zip(*columns, strict=True):
        yield Candle(StreamKey(market, symbol, stream), *values)


def _plain(column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values: decimals unscaled, times in microseconds."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if not pa.types.is_decimal(column.type):
        return list(column.to_pylist())
    numbers = unscaled(column)
    return [number if there else None for number, there in zip(numbers, column.is_valid().to_pylist(), strict=True)]


def compare(found: Iterable[Candle], wanted: Mapping[tuple[str, str, int], Candle], verdict: Verdict) -> None:
    """Hold stored candles against the expected ones, column by column."""
    seen: set[tuple[str, str, int]] = set()
    for candle in found:
        key = candle.key.market, candle.key.symbol, candle.open_time_us
        verdict.count += 1
        if key in seen:
            verdict.blame("duplicate", _subject(candle), "the candle is stored twice")
        seen.add(key)
        truth = wanted.get(key)
        if candle == truth:
            verdict.delivered += 1
        else:
            verdict.blame("mismatch", _subject(candle), _difference(candle, truth))
    verdict.distinct = len(seen)
    for key in sorted(wanted.keys() - seen):
        verdict.blame("missing", _subject(wanted[key]), f"no candle at {minute_text(key[2])}")


def _subject(candle: Candle) -> str:
    number = candle.open_trade_id
    return str(candle.key) if number is None else event_id(candle.key, number)


def _difference(candle: Candle, truth: Candle | None) -> str:
    where = f"candle {minute_text(candle.open_time_us)}"
    if truth is None:
        return f"{where}: the exchange shows none"
    pairs = zip(Candle._fields, truth, candle, strict=True)
    return f"{where}: " + "; ".join(f"{name}: expected {a}, was {b}" for name, a, b in pairs if a != b)


def check(lake: Lake, trades: Iterable[Trade], limit: int) -> dict[str, Verdict]:
    """Hold the candles of every interval of a ref against those of the trades, by name of the table.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    each = list(trades)
    verdicts = {}
    for interval in INTERVALS_US:
        verdicts[f"gold {interval}"] = verdict = Verdict(f"gold {interval}", limit=limit)
        compare(read(lake, interval), expected(each, interval), verdict)
    return verdicts
