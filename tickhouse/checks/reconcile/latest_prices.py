"""Compare each stream's latest trade and its minute's average in Redis with the expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

import redis

from common.errors import StoreUnavailable
from tickhouse.checks.reconcile.bars import bar_of, by_minute
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, event_id, plain
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.trade_comparison import Horizon

PREFIX = "tickhouse:last:"
_NUMBERS = {
    "price", "qty", "trade_id", "trade_time_us", "minute_us", "minute_trades", "minute_volume", "minute_quote_volume",
    "minute_average",
}  # fmt: skip

Hashes = Mapping[CheckedStream, Mapping[str, str]]


def key_of(key: CheckedStream) -> str:
    """Return the Redis key of a stream's hash."""
    return f"{PREFIX}{key}"


def read(dsn: str) -> dict[CheckedStream, dict[str, str]]:
    """Return every hash of latest trades.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    try:
        with redis.Redis.from_url(dsn, decode_responses=True, socket_timeout=10, socket_connect_timeout=5) as client:
            return {_stream(name): client.hgetall(name) for name in client.scan_iter(f"{PREFIX}*", count=1000)}
    except redis.RedisError as error:
        raise StoreUnavailable(
            f"Redis cannot be read: {error}.", safe="The stores are untouched.", next_command="tickhouse status"
        ) from error


def _stream(name: str) -> CheckedStream:
    market, symbol, stream = [*name.removeprefix(PREFIX).split(":"), "", "", ""][:3]
    return CheckedStream(market, symbol, stream)


def expected_hashes(trades: Iterable[CheckedTrade]) -> dict[CheckedStream, dict[str, str]]:
    """Return the expected hash of each stream.

    It holds the latest trade that is not a sentinel, and the sums of that trade's minute.
    """
    newest: dict[CheckedStream, list[CheckedTrade]] = {}
    for (key, minute), group in by_minute(trades).items():
        if key not in newest or minute > newest[key][0].minute_us:
            newest[key] = group
    return {key: _hash_of(key, group) for key, group in newest.items()}


def _hash_of(key: CheckedStream, group: list[CheckedTrade]) -> dict[str, str]:
    last = max(group, key=lambda trade: trade.trade_id)
    bar = bar_of(group)
    return {
        "event_id": event_id(key, last.trade_id),
        "trade_id": str(last.trade_id),
        "price": plain(last.price),
        "qty": plain(last.qty),
        "side": last.side,
        "trade_time_us": str(last.time_us),
        "minute_us": str(bar.open_time_us),
        "minute_trades": str(bar.agg_trades),
        "minute_volume": plain(bar.volume),
        "minute_quote_volume": plain(bar.quote_volume, 16),
        "minute_average": plain(bar.vwap, 16),
    }


def compare(found: Hashes, expected: Hashes, result: StoreResult, *, horizon: Horizon) -> None:
    """Compare the hashes with the expected ones.

    A hash that is later than the checked moment is only counted.
    """
    result.count = result.distinct = len(found)
    for key in sorted(expected):
        _compare_hash(key, found.get(key), expected[key], result, horizon)
    for key in sorted(found.keys() - expected.keys()):
        if horizon.excludes(key, _trade_id_in(found[key])):
            result.ahead += 1
        else:
            result.add_fault("mismatch", key_of(key), "the exchange never offered a trade of this stream")


def _compare_hash(
    key: CheckedStream,
    found: Mapping[str, str] | None,
    wanted: Mapping[str, str],
    result: StoreResult,
    horizon: Horizon,
) -> None:
    if not found:
        result.add_fault("missing", wanted["event_id"], f"no hash {key_of(key)}")
        return
    if found.get("trade_id") != wanted["trade_id"] and horizon.excludes(key, _trade_id_in(found)):
        result.ahead += 1
        return
    wrong = [name for name, value in wanted.items() if not _is_equal(name, found.get(name), value)]
    detail = "; ".join(f"{name}: expected {wanted[name]}, was {found.get(name)}" for name in wrong)
    if wrong:
        result.add_fault("mismatch", wanted["event_id"], f"{key_of(key)}: {detail}")
    else:
        result.delivered += 1


def _is_equal(name: str, found: str | None, wanted: str) -> bool:
    if found is None or name not in _NUMBERS:
        return found == wanted
    try:
        return Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return False


def _trade_id_in(found: Mapping[str, str]) -> int:
    """Return the trade id in a hash; -1 when it is not a number."""
    text = found.get("trade_id", "")
    return int(text) if text.isascii() and text.isdigit() else -1
