"""Latest price and 1-minute average into Redis: one hash a stream, a pure function of the events it has seen.

Delivery guarantee. The hash keeps, beside its figures, the ids of the current minute that are in them. `advance` is
pure and skips what is in; the new hash replaces the old one in one MULTI/EXEC under WATCH. So a batch may be handed
over again, cut differently or late: the hash ends the same. Trades of an earlier minute change nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import redis

from spark.sums import Ranges, StreamKey
from tickhouse.errors import StoreUnavailable

PREFIX = "tickhouse:last:"
_VWAP_STEP = Decimal("1e-16")
# 38 digits of quote volume over 38 of volume: enough to divide without rounding twice.
_EXACT = Context(prec=120)


@dataclass(frozen=True, slots=True)
class Last:
    """Latest trade of a stream, and what its minute has held so far.

    Attributes:
        seen: Ids of the minute that are in the sums, inclusive ranges.
        volume: Base quantity of the minute.
        quote_volume: Price x quantity of the minute.
    """

    event_id: str
    trade_id: int
    price: Decimal
    qty: Decimal
    side: str
    trade_time_us: int
    minute_us: int
    seen: tuple[tuple[int, int], ...]
    trades: int
    volume: Decimal
    quote_volume: Decimal

    @property
    def average(self) -> Decimal:
        """VWAP of the minute, rounded half up to 16 decimals."""
        return _EXACT.divide(self.quote_volume, self.volume).quantize(_VWAP_STEP, ROUND_HALF_UP, _EXACT)

    def to_hash(self) -> dict[str, str]:
        """Return the Redis hash."""
        return {
            "event_id": self.event_id,
            "trade_id": str(self.trade_id),
            "price": f"{self.price:f}",
            "qty": f"{self.qty:f}",
            "side": self.side,
            "trade_time_us": str(self.trade_time_us),
            "minute_us": str(self.minute_us),
            "minute_seen": json.dumps(self.seen, separators=(",", ":")),
            "minute_trades": str(self.trades),
            "minute_volume": f"{self.volume:f}",
            "minute_quote_volume": f"{self.quote_volume:f}",
            "minute_average": f"{self.average:f}",
        }

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> Last:
        """Read what `to_hash` wrote."""
        return cls(
            event_id=fields["event_id"],
            trade_id=int(fields["trade_id"]),
            price=Decimal(fields["price"]),
            qty=Decimal(fields["qty"]),
            side=fields["side"],
            trade_time_us=int(fields["trade_time_us"]),
            minute_us=int(fields["minute_us"]),
            seen=tuple((lo, hi) for lo, hi in json.loads(fields["minute_seen"])),
            trades=int(fields["minute_trades"]),
            volume=Decimal(fields["minute_volume"]),
            quote_volume=Decimal(fields["minute_quote_volume"]),
        )


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return sorted, disjoint, merged inclusive ranges."""
    merged: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if merged and lo <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], hi))
        else:
            merged.append((lo, hi))
    return tuple(merged)


def advance(last: Last | None, partials: Sequence[Mapping[str, Any]]) -> Last | None:
    """Return the state after the fresh partials of one stream (pure).

    Args:
        last: The state before, or None.
        partials: Rows of `spark.sums.PARTIAL_ARROW`, marked fresh against `last.seen`.
    """
    real = [partial for partial in partials if partial["is_fresh"] and partial["events"]]
    newest = max((partial["minute_us"] for partial in real), default=None)
    if newest is None or (last is not None and newest < last.minute_us):
        return last
    state = last if last is not None and last.minute_us == newest else None
    for partial in (partial for partial in real if partial["minute_us"] == newest):
        state = _add(state, partial, newest)
    return state


def _add(state: Last | None, partial: Mapping[str, Any], minute: int) -> Last:
    newest = {
        "event_id": partial["last_event_id"],
        "trade_id": partial["close_trade_id"],
        "price": partial["close"],
        "qty": partial["last_qty"],
        "side": partial["last_side"],
        "trade_time_us": partial["last_trade_time_us"],
    }
    ids = tuple((run["lo"], run["hi"]) for run in partial["event_ids"])
    sums = (partial["events"], partial["volume"], partial["quote_volume"])
    if state is None:
        return Last(**newest, minute_us=minute, seen=ids, trades=sums[0], volume=sums[1], quote_volume=sums[2])
    added = replace(
        state,
        seen=merge_ranges((*state.seen, *ids)),
        trades=state.trades + sums[0],
        volume=state.volume + sums[1],
        quote_volume=state.quote_volume + sums[2],
    )
    return replace(added, **newest) if newest["trade_id"] > state.trade_id else added


def key_of(stream: StreamKey) -> str:
    """Return the Redis key of a stream."""
    return PREFIX + ":".join(stream)


class LastStore:
    """The hashes of all streams."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5)

    def load(self) -> dict[StreamKey, Last]:
        """Return every stream's state.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        with _Translated():
            keys = list(self._client.scan_iter(f"{PREFIX}*", count=1000))
            pipeline = self._client.pipeline(transaction=False)
            for key in keys:
                pipeline.hgetall(key)
            return {
                _stream_of(key): Last.from_hash(fields) for key, fields in zip(keys, pipeline.execute(), strict=True)
            }

    def store(self, before: Mapping[StreamKey, Last], after: Mapping[StreamKey, Last]) -> None:
        """Replace the states that changed, all at once.

        Raises:
            StoreUnavailable: Redis does not answer, or another writer changed a hash; nothing was replaced.
        """
        changed = {stream: last for stream, last in after.items() if before.get(stream) != last}
        if not changed:
            return
        with _Translated(), self._client.pipeline() as pipeline:
            watcher: Any = pipeline  # redis-py leaves watch untyped
            watcher.watch(*map(key_of, changed))
            for stream in changed:
                self._expect(pipeline, stream, before.get(stream))
            pipeline.multi()
            for stream, last in changed.items():
                watcher.hset(key_of(stream), mapping=last.to_hash())
            pipeline.execute()

    @staticmethod
    def _expect(pipeline: Any, stream: StreamKey, before: Last | None) -> None:
        now = pipeline.hget(key_of(stream), "minute_seen")
        if now != (before.to_hash()["minute_seen"] if before is not None else None):
            raise StoreUnavailable(f"Another writer changed {key_of(stream)}; the batch is computed again.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Translated:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (redis.ConnectionError, redis.TimeoutError, redis.WatchError)):
            raise StoreUnavailable(
                f"Redis did not answer: {error}.", safe="The batch waits.", next_command="tickhouse status"
            ) from error


def _stream_of(key: str) -> StreamKey:
    market, symbol, stream = key.removeprefix(PREFIX).split(":")
    return StreamKey(market, symbol, stream)


def seen_ranges(states: Mapping[StreamKey, Last]) -> dict[StreamKey, Ranges]:
    """Return the ids already in the current minute of each stream."""
    return {stream: list(last.seen) for stream, last in states.items()}
