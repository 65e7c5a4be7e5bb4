"""The latest trade and its minute's average, as Redis holds them and as they should be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

import redis

from tickhouse.errors import StoreUnavailable
from tickhouse.reconcile.bars import bar_of, by_minute
from tickhouse.reconcile.model import StreamKey, Trade, event_id, plain
from tickhouse.reconcile.trades import Horizon
from tickhouse.reconcile.verdict import Verdict

PREFIX = "tickhouse:last:"
_NUMBERS = {
    "price", "qty", "trade_id", "trade_time_us", "minute_us", "minute_trades", "minute_volume", "minute_quote_volume",
    "minute_average",
}  # fmt: skip

Hashes = Mapping[StreamKey, Mapping[str, str]]


def key_of(key: StreamKey) -> str:
    """Return the Redis key of a stream's hash."""
    return f"{PREFIX}{key}"


def read(dsn: str) -> dict[StreamKey, dict[str, str]]:
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


def _stream(name: str) -> StreamKey:
    market, symbol, stream = [*name.removeprefix(PREFIX).split(":"), "", "", ""][:3]
    return StreamKey(market, symbol, stream)


def expected_hashes(trades: Iterable[Trade]) -> dict[StreamKey, dict[str, str]]:
    """Return what each stream's hash should say: its highest id above zero price, and the newest minute's sums."""
    newest: dict[StreamKey, list[Trade]] = {}
    for (key, minute), group in by_minute(trades).items():
        if key not in newest or minute > newest[key][0].minute_us:
            newest[key] = group
    return {key: _hash_of(key, group) for key, group in newest.items()}


def _hash_of(key: StreamKey, group: list[Trade]) -> dict[str, str]:
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


def compare(found: Hashes, expected: Hashes, verdict: Verdict, *, horizon: Horizon) -> None:
    """Hold the hashes against the expected ones; one that is later than what is judged is only counted."""
    verdict.count = verdict.distinct = len(found)
    for key in sorted(expected):
        _compare_one(key, found.get(key), expected[key], verdict, horizon)
    for key in sorted(found.keys() - expected.keys()):
        if horizon.hides(key, _claimed(found[key])):
            verdict.ahead += 1
        else:
            verdict.blame("mismatch", key_of(key), "the exchange never offered a trade of this stream")


def _compare_one(
    key: StreamKey, found: Mapping[str, str] | None, wanted: Mapping[str, str], verdict: Verdict, horizon: Horizon
) -> None:
    if not found:
        verdict.blame("missing", wanted["event_id"], f"no hash {key_of(key)}")
        return
    if found.get("trade_id") != wanted["trade_id"] and horizon.hides(key, _claimed(found)):
        verdict.ahead += 1
        return
    wrong = [name for name, value in wanted.items() if not _same(name, found.get(name), value)]
    detail = "; ".join(f"{name}: expected {wanted[name]}, was {found.get(name)}" for name in wrong)
    if wrong:
        verdict.blame("mismatch", wanted["event_id"], f"{key_of(key)}: {detail}")
    else:
        verdict.delivered += 1


def _same(name: str, found: str | None, wanted: str) -> bool:
    if found is None or name not in _NUMBERS:
        return found == wanted
    try:
        return Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return False


def _claimed(found: Mapping[str, str]) -> int:
    """Return the trade id that a hash claims, -1 when it is none."""
    text = found.get("trade_id", "")
    return int(text) if text.isascii() and text.isdigit() else -1
