"""Compare the rolling 24-hour statistics in Geode with those of the expected trades.

The window of a stream ends with the newest minute in which it traded, and has 1,440 minutes. So the
store holds a part of the events only, and the conservation law does not apply to it.

Geode forgets entries 30 days after their last write (stack/geode/cache.xml). That is longer than
Kafka keeps trades, and what Kafka has removed is not compared here either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from common.clients import geode
from common.settings import Settings
from tickhouse.checks.reconcile.bars import BarKey, MinuteBar, average_price
from tickhouse.checks.reconcile.model import MINUTE_US, CheckedStream, event_id, plain
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import Horizon, minute_text

WINDOW_MINUTES = 1_440
_PERCENT_SCALE = 10**8

Entry = Mapping[str, Any]
Entries = Mapping[str, Entry]


@dataclass(frozen=True)
class StoredStatistics:
    """What Geode holds in both regions.

    Attributes:
        statistics: Entries of region `statistics_24h` by the key that belongs to their content.
        minutes: Entries of region `statistics_minutes`, likewise.
        repeated: Keys to which more than one entry belongs.
        keys: The keys under which the entries really are.
    """

    statistics: Entries
    minutes: Entries
    repeated: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()


def read(settings: Settings) -> StoredStatistics:
    """Read both regions.

    Raises:
        StoreUnavailable: Geode does not answer.
    """
    with geode.connected(settings, "reader") as client:
        keys = frozenset(client.keys(geode.STATISTICS) + client.keys(geode.MINUTES))
        return stored(client.values(geode.STATISTICS), client.values(geode.MINUTES), keys)


def stored(statistics: Iterable[Entry], minutes: Iterable[Entry], keys: frozenset[str]) -> StoredStatistics:
    """Return entries by the keys that belong to their content (pure)."""
    by_key = [(_key_of(entry), entry) for entry in statistics]
    minutes_by_key = [(_minute_key_of(entry), entry) for entry in minutes]
    copies = Counter(key for key, _ in (*by_key, *minutes_by_key))
    repeated = frozenset(key for key, count in copies.items() if count > 1)
    return StoredStatistics(dict(by_key), dict(minutes_by_key), repeated, keys)


def _key_of(entry: Entry) -> str:
    return f"{entry.get('market')}:{entry.get('symbol')}|{entry.get('stream')}"


def _minute_key_of(entry: Entry) -> str:
    minute = str(entry.get("minute_us", ""))
    return f"{_key_of(entry)}:{int(minute) // MINUTE_US if minute.isdigit() else minute}"


@dataclass
class _Expected:
    """The expected window of one stream.

    Attributes:
        bars: Its bars by the key of their entry.
        is_moving: Whether the store holds minutes with trades that are not compared, so that its
            statistics are newer than the expected ones.
    """

    key: CheckedStream
    bars: dict[str, MinuteBar] = field(default_factory=dict)
    is_moving: bool = False


def compare(
    found: StoredStatistics, bars: Mapping[BarKey, MinuteBar], result: StoreResult, *, horizon: Horizon
) -> None:
    """Compare statistics and minutes with those of the expected bars.

    `delivered` counts the events of the minutes that are right.

    Args:
        found: What Geode holds.
        bars: Every expected bar.
        result: Receives counts and faults.
        horizon: Ids that are not compared; a minute that may hold one is only counted.
    """
    result.count = len(found.statistics) + len(found.minutes)
    result.distinct = result.count - len(found.repeated)
    for key in sorted(found.repeated):
        result.add_fault("duplicate", key, "two entries have the same content under different keys")
    ahead = _ahead(found.minutes, bars, horizon)
    result.ahead = len(ahead)
    expected = _windows(bars, ahead, found.minutes)
    wanted_minutes = {key: bar for window in expected.values() for key, bar in window.bars.items()}
    _compare_minutes(found, wanted_minutes, ahead, result)
    for window in expected.values():
        _compare_statistics(found, window, result)
    for key in sorted(found.statistics.keys() - {statistics_key(one) for one in expected}):
        if any(minute.startswith(f"{key}:") for minute in ahead):
            result.ahead += 1
        else:
            result.add_fault("mismatch", key, "the exchange never offered a trade of this stream")


def statistics_key(key: CheckedStream) -> str:
    """Return the key of a stream's statistics."""
    return f"{key.market}:{key.symbol}|{key.stream}"


def minute_key(bar: MinuteBar) -> str:
    """Return the key of the entry of a bar."""
    return f"{statistics_key(bar.key)}:{bar.open_time_us // MINUTE_US}"


def _ahead(minutes: Entries, bars: Mapping[BarKey, MinuteBar], horizon: Horizon) -> set[str]:
    """Return the keys of the minutes that differ and may hold an id that is not compared."""
    wanted = {minute_key(bar): minute_entry(bar) for bar in bars.values()}
    return {key for key, entry in minutes.items() if wanted.get(key) != entry and _is_excluded(entry, horizon)}


def _is_excluded(entry: Entry, horizon: Horizon) -> bool:
    try:
        low, high = int(entry["open_trade_id"]), int(entry["close_trade_id"])
        return horizon.excludes(CheckedStream(entry["market"], entry["symbol"], entry["stream"]), low, high)
    except (KeyError, ValueError, TypeError):
        return False


def _windows(
    bars: Mapping[BarKey, MinuteBar], ahead: Iterable[str], minutes: Entries
) -> dict[CheckedStream, _Expected]:
    """Return the expected window of each stream; its end moves on with the minutes ahead."""
    newest: dict[CheckedStream, int] = {}
    for key, minute in bars:
        newest[key] = max(newest.get(key, 0), minute)
    windows = {key: _Expected(key) for key in sorted(newest)}
    for entry in (minutes[key] for key in ahead):
        stream = CheckedStream(entry["market"], entry["symbol"], entry["stream"])
        if stream in windows:
            windows[stream].is_moving = True
            newest[stream] = max(newest[stream], int(entry["minute_us"]))
    for (key, minute), bar in bars.items():
        if minute > newest[key] - WINDOW_MINUTES * MINUTE_US:
            windows[key].bars[minute_key(bar)] = bar
    return windows


def _compare_minutes(
    found: StoredStatistics, wanted: Mapping[str, MinuteBar], ahead: set[str], result: StoreResult
) -> None:
    for key, bar in sorted(wanted.items(), key=lambda item: item[1].open_time_us):
        entry = found.minutes.get(key)
        if key in ahead:
            continue
        if entry is None:
            result.add_fault("missing", _subject(bar), f"no minute {minute_text(bar.open_time_us)}, entry {key}")
        elif key not in found.keys:
            result.add_fault("mismatch", _subject(bar), f"the entry of {key} is under another key")
        elif wrong := _difference(entry, minute_entry(bar)):
            result.add_fault("mismatch", _subject(bar), f"minute {minute_text(bar.open_time_us)}: {wrong}")
        else:
            result.delivered += bar.agg_trades
    for key in sorted(found.minutes.keys() - wanted.keys() - ahead):
        result.add_fault("mismatch", key, "this minute had no offered trade, or has left the window")


def _compare_statistics(found: StoredStatistics, window: _Expected, result: StoreResult) -> None:
    key, wanted = statistics_key(window.key), statistics_entry([*window.bars.values()])
    entry = found.statistics.get(key)
    subject = event_id(window.key, int(wanted["last_trade_id"]))
    if window.is_moving:
        result.ahead += 1
    elif entry is None:
        result.add_fault("missing", subject, f"no statistics {key}")
    elif key not in found.keys:
        result.add_fault("mismatch", subject, f"the statistics {key} are under another key")
    elif wrong := _difference(entry, wanted):
        result.add_fault("mismatch", subject, f"statistics {key}: {wrong}")


def minute_entry(bar: MinuteBar) -> dict[str, str]:
    """Return the expected entry of a minute: scaled integers as text."""
    names = (
        *("open", "high", "low", "close", "volume", "quote_volume", "trades", "agg_trades"),
        *("open_trade_id", "close_trade_id"),
    )
    return bar.key._asdict() | {"minute_us": str(bar.open_time_us)} | {name: str(getattr(bar, name)) for name in names}


def statistics_entry(bars: list[MinuteBar]) -> dict[str, str]:
    """Return the expected statistics of a window's bars (at least one)."""
    first = min(bars, key=lambda bar: bar.open_time_us)
    last = max(bars, key=lambda bar: bar.open_time_us)
    volume, quote_volume = sum(bar.volume for bar in bars), sum(bar.quote_volume for bar in bars)
    start = last.open_time_us - (WINDOW_MINUTES - 1) * MINUTE_US
    return first.key._asdict() | {
        "from": _iso(start),
        "until": _iso(last.open_time_us + MINUTE_US),
        "open": plain(first.open),
        "high": plain(max(bar.high for bar in bars)),
        "low": plain(min(bar.low for bar in bars)),
        "close": plain(last.close),
        "change": plain(last.close - first.open),
        "change_percent": plain(_change_percent(first.open, last.close)),
        "volume": plain(volume),
        "quote_volume": plain(quote_volume, 16),
        "vwap": plain(average_price(first.key, quote_volume, volume), 16),
        "trades": str(sum(bar.trades for bar in bars)),
        "agg_trades": str(sum(bar.agg_trades for bar in bars)),
        "first_trade_id": str(min(bar.open_trade_id for bar in bars)),
        "last_trade_id": str(max(bar.close_trade_id for bar in bars)),
        "minutes": str(len(bars)),
        "newest_minute_us": str(last.open_time_us),
    }


def _change_percent(before: int, after: int) -> int:
    """Return the change in 10^-8 percent, the next digit rounded half up (away from zero)."""
    moved = 2 * 100 * _PERCENT_SCALE * abs(after - before) + before
    return (moved // (2 * before)) * (1 if after >= before else -1)


def _difference(entry: Entry, wanted: Mapping[str, str]) -> str:
    """Return how an entry differs from the expected one; empty when it does not."""
    wrong = [name for name, value in wanted.items() if not _is_equal(entry.get(name), value)]
    extra = sorted(entry.keys() - wanted.keys())
    parts = [f"{name}: expected {wanted[name]}, was {entry.get(name)}" for name in wrong]
    return "; ".join(parts + [f"{name}: not expected" for name in extra])


def _is_equal(found: object, wanted: str) -> bool:
    if found == wanted:
        return True
    try:
        return isinstance(found, str) and Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return False


def _subject(bar: MinuteBar) -> str:
    return event_id(bar.key, bar.open_trade_id)


def _iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
