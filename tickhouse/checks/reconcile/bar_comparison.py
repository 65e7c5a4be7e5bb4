"""Compare stored one-minute bars with those of the expected trades, column by column."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tickhouse.checks.reconcile import ranges
from tickhouse.checks.reconcile.bars import BarKey, MinuteBar
from tickhouse.checks.reconcile.model import HASH_MODULUS, CheckedStream, event_id, plain
from tickhouse.checks.reconcile.ranges import Range
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import COMPARE_ALL, ExpectedTrades, Horizon, minute_text

_SIXTEEN_DECIMALS = {"quote_volume", "vwap", "taker_buy_quote_volume"}
_EIGHT_DECIMALS = {"open", "high", "low", "close", "volume", "taker_buy_volume"}


def compare(
    found: Iterable[MinuteBar],
    expected: Mapping[BarKey, MinuteBar],
    result: StoreResult,
    *,
    horizon: Horizon,
    is_expired: Callable[[int], bool] = lambda minute_us: False,
    removed: Horizon = COMPARE_ALL,
) -> None:
    """Compare stored bars with the expected ones.

    `delivered` counts the events of the bars that are right. `hash` is the sum of all checksums:
    the order-free hash of the events, equal to that of a store of trades without sentinels.

    Args:
        found: Stored bars.
        expected: Bars by stream and minute.
        result: Receives counts and faults.
        horizon: Ids that are not compared; a wrong bar that may hold one is only counted.
        is_expired: Returns whether retention removed bars of a minute (µs). A missing bar of such a
            minute has expired; a stored bar of it was made by events that arrived later.
        removed: The part of the horizon that Kafka has removed. A bar with such ids and others has
            still delivered the others.
    """
    seen: set[BarKey] = set()
    result.hash = 0
    for bar in found:
        key = (bar.key, bar.open_time_us)
        result.count += 1
        result.hash = (result.hash + bar.checksum) % HASH_MODULUS
        if bar != expected.get(key) and horizon.excludes(bar.key, bar.open_trade_id, bar.close_trade_id):
            result.ahead += 1
            if key in expected and removed.excludes(bar.key, bar.open_trade_id, bar.close_trade_id):
                result.delivered += expected[key].agg_trades
            seen.add(key)
            continue
        if bar != expected.get(key) and key in expected and is_expired(bar.open_time_us):
            result.delivered += bar.agg_trades
            result.expired += expected[key].agg_trades - bar.agg_trades
            seen.add(key)
            continue
        if key in seen:
            result.add_fault("duplicate", subject(bar), "the bar is stored twice")
        seen.add(key)
        _compare_bar(bar, expected.get(key), result)
    result.distinct = len(seen)
    missing = sorted(expected.keys() - seen, key=lambda key: (key[1], key[0]))
    for key in missing:
        if is_expired(key[1]):
            result.expired += expected[key].agg_trades
            continue
        result.add_fault("missing", subject(expected[key]), f"no bar of {expected[key].agg_trades} events")


def _compare_bar(bar: MinuteBar, wanted: MinuteBar | None, result: StoreResult) -> None:
    if bar == wanted:
        result.delivered += bar.agg_trades
        return
    result.add_fault("mismatch", subject(wanted or bar), difference(bar, wanted))
    if len(result.minutes_differing) < result.limit:
        result.minutes_differing.append(f"{bar.key} {minute_text(bar.open_time_us)}")


def subject(bar: MinuteBar) -> str:
    """Return the event id of the bar's first trade, which `tickhouse explain` takes."""
    return event_id(bar.key, bar.open_trade_id)


def difference(bar: MinuteBar, wanted: MinuteBar | None) -> str:
    """Return as text how a bar differs from the expected one."""
    where = f"bar {minute_text(bar.open_time_us)}"
    if wanted is None:
        return f"{where}: the exchange offered no trade in this minute"
    columns = zip(MinuteBar._fields, wanted, bar, strict=True)
    faults = [f"{name}: expected {_text(name, a)}, was {_text(name, b)}" for name, a, b in columns if a != b]
    return f"{where}: {'; '.join(faults)}"


def _text(name: str, value: object) -> str:
    if isinstance(value, int) and name in _EIGHT_DECIMALS | _SIXTEEN_DECIMALS:
        return plain(value, 16 if name in _SIXTEEN_DECIMALS else 8)
    return str(value)


def compare_applied(
    found: Mapping[CheckedStream, list[Range]], expected: ExpectedTrades, result: StoreResult, *, horizon: Horizon
) -> None:
    """Compare the ids that the candle writer has applied with those that it should have applied."""
    for key in sorted(found.keys() | expected.trades.keys()):
        wanted = ranges.of_ids(expected.trades.get(key, {}))
        stored = ranges.merged(found.get(key, []))
        _add_faults(
            key, ranges.subtract(wanted, stored), "not in market.trade_ranges: never applied to a candle", result
        )
        extra = horizon.compared(key, ranges.subtract(stored, wanted))
        _add_faults(key, extra, "in market.trade_ranges, but never offered", result)


def _add_faults(key: CheckedStream, spans: list[Range], detail: str, result: StoreResult) -> None:
    for low, high in spans:
        until = "" if low == high else f" (up to {high})"
        result.add_fault("mismatch", event_id(key, low), f"{detail}{until}", high - low + 1)
