"""One-minute bars computed from the events in integers, to compare with what Spark stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tickhouse.checks.reconcile.contract_turnover import COIN_M, QUOTE_SCALE, dollars_per_contract, quote_quantity
from tickhouse.checks.reconcile.model import HASH_MODULUS, SCALE, CheckedStream, CheckedTrade, checksum


class MinuteBar(NamedTuple):
    """A one-minute bar: prices and volumes in 10^-8, quote volumes and vwap in 10^-16,
    `open_time_us` the minute's start.
    """

    key: CheckedStream
    open_time_us: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    quote_volume: int
    vwap: int
    trades: int
    agg_trades: int
    taker_buy_volume: int
    taker_buy_quote_volume: int
    open_trade_id: int
    close_trade_id: int
    checksum: int


BarKey = tuple[CheckedStream, int]


def by_minute(trades: Iterable[CheckedTrade]) -> dict[BarKey, list[CheckedTrade]]:
    """Group trades by stream and minute, sentinels left out."""
    minutes: dict[BarKey, list[CheckedTrade]] = defaultdict(list)
    for trade in trades:
        if not trade.is_sentinel:
            minutes[trade.key, trade.minute_us].append(trade)
    return minutes


def bar_of(trades: list[CheckedTrade]) -> MinuteBar:
    """Compute the bar of one minute's trades (at least one, no id twice, no sentinel).

    Open and close are the prices of the lowest and the highest id. `trades` is the sum of
    (last - first + 1), as Binance counts.
    """
    first, last = min(trades, key=_id), max(trades, key=_id)
    buys = [trade for trade in trades if trade.side == "BUY"]
    volume, quote_volume = _volumes(trades)
    buy_volume, buy_quote_volume = _volumes(buys)
    return MinuteBar(
        key=first.key,
        open_time_us=first.minute_us,
        open=first.price,
        high=max(trade.price for trade in trades),
        low=min(trade.price for trade in trades),
        close=last.price,
        volume=volume,
        quote_volume=quote_volume,
        vwap=average_price(first.key, quote_volume, volume),
        trades=sum(trade.last_id - trade.first_id + 1 for trade in trades),
        agg_trades=len(trades),
        taker_buy_volume=buy_volume,
        taker_buy_quote_volume=buy_quote_volume,
        open_trade_id=first.trade_id,
        close_trade_id=last.trade_id,
        checksum=sum(map(checksum, trades)) % HASH_MODULUS,
    )


def bars_of(trades: Iterable[CheckedTrade]) -> dict[BarKey, MinuteBar]:
    """Compute every bar; a minute without trades has none."""
    return {key: bar_of(group) for key, group in by_minute(trades).items()}


def average_price(key: CheckedStream, quote_volume: int, volume: int) -> int:
    """Return the VWAP in 10^-16, the seventeenth decimal rounded half up.

    It is dollars (or the quote asset) over coins.

    Args:
        key: The stream.
        quote_volume: In 10^-16.
        volume: In 10^-8.
    """
    if key.market != COIN_M:
        return vwap(quote_volume, volume)
    # volume / 10^8 x size over quote_volume / 10^16, in 10^-16.
    dollars = volume * dollars_per_contract(key.symbol) * SCALE * QUOTE_SCALE
    return (2 * dollars + quote_volume) // (2 * quote_volume)


def vwap(quote_volume: int, volume: int) -> int:
    """Return quote volume (10^-16) over volume (10^-8) in 10^-16, the seventeenth decimal rounded
    half up.
    """
    return (2 * quote_volume * SCALE + volume) // (2 * volume)


def _volumes(trades: list[CheckedTrade]) -> tuple[int, int]:
    return sum(trade.qty for trade in trades), sum(map(quote_quantity, trades))


def _id(trade: CheckedTrade) -> int:
    return trade.trade_id
