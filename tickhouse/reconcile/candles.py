"""Compare stored one-minute bars, every column, with bars computed again from the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tickhouse.reconcile import ranges
from tickhouse.reconcile.bars import Bar, BarKey
from tickhouse.reconcile.model import HASH_MODULUS, StreamKey, event_id, plain
from tickhouse.reconcile.ranges import Range
from tickhouse.reconcile.trades import Expected, Horizon, minute_text
from tickhouse.reconcile.verdict import Verdict

_SIXTEEN = {"quote_volume", "vwap", "taker_buy_quote_volume"}
_EIGHT = {"open", "high", "low", "close", "volume", "taker_buy_volume"}


def compare(found: Iterable[Bar], expected: Mapping[BarKey, Bar], verdict: Verdict, *, horizon: Horizon) -> None:
    """Hold bars against the expected ones.

    `delivered` counts the events of right bars, `hash` adds the checksums of all: the order-free hash of the store's
    events, which a trade store has too when sentinels are left out.

    Args:
        found: Stored bars, each (stream, minute) once: the table's key sees to that.
        expected: Bars by stream and minute.
        verdict: Receives counts and faults.
        horizon: Ids that are not judged; a wrong bar that may hold one is only counted.
    """
    seen: set[BarKey] = set()
    verdict.hash = 0
    for bar in found:
        key = (bar.key, bar.open_time_us)
        verdict.count += 1
        verdict.hash = (verdict.hash + bar.checksum) % HASH_MODULUS
        if bar != expected.get(key) and horizon.hides(bar.key, bar.open_trade_id, bar.close_trade_id):
            verdict.ahead += 1
            seen.add(key)
            continue
        if key in seen:
            verdict.blame("duplicate", subject(bar), "the bar is stored twice")
        seen.add(key)
        _judge(bar, expected.get(key), verdict)
    verdict.distinct = len(seen)
    missing = sorted(expected.keys() - seen, key=lambda key: (key[1], key[0]))
    for key in missing:
        verdict.blame("missing", subject(expected[key]), f"no bar of {expected[key].agg_trades} events")


def _judge(bar: Bar, wanted: Bar | None, verdict: Verdict) -> None:
    if bar == wanted:
        verdict.delivered += bar.agg_trades
        return
    verdict.blame("mismatch", subject(wanted or bar), difference(bar, wanted))
    if len(verdict.minutes_differing) < verdict.limit:
        verdict.minutes_differing.append(f"{bar.key} {minute_text(bar.open_time_us)}")


def subject(bar: Bar) -> str:
    """Return the event id of the bar's first trade, which `tickhouse explain` takes."""
    return event_id(bar.key, bar.open_trade_id)


def difference(bar: Bar, wanted: Bar | None) -> str:
    """Return in words how a bar differs."""
    where = f"bar {minute_text(bar.open_time_us)}"
    if wanted is None:
        return f"{where}: the exchange offered no trade in this minute"
    wrong = [(name, a, b) for name, a, b in zip(Bar._fields, wanted, bar, strict=True) if a != b]
    return f"{where}: " + "; ".join(f"{name}: expected {_text(name, a)}, was {_text(name, b)}" for name, a, b in wrong)


def _text(name: str, value: object) -> str:
    if isinstance(value, int) and name in _EIGHT | _SIXTEEN:
        return plain(value, 16 if name in _SIXTEEN else 8)
    return str(value)


def compare_applied(
    found: Mapping[StreamKey, list[Range]], expected: Expected, verdict: Verdict, *, horizon: Horizon
) -> None:
    """Hold the ids that the candle writer says it applied against the ids it should have applied."""
    for key in sorted(found.keys() | expected.trades.keys()):
        wanted = ranges.of_ids(expected.trades.get(key, {}))
        stored = ranges.merged(found.get(key, []))
        _blame(key, ranges.subtract(wanted, stored), "not in market.trade_ranges: never applied to a candle", verdict)
        extra = horizon.judged(key, ranges.subtract(stored, wanted))
        _blame(key, extra, "in market.trade_ranges, yet never offered", verdict)


def _blame(key: StreamKey, spans: list[Range], detail: str, verdict: Verdict) -> None:
    for low, high in spans:
        until = "" if low == high else f" (and on to {high})"
        verdict.blame("mismatch", event_id(key, low), f"{detail}{until}", high - low + 1)
