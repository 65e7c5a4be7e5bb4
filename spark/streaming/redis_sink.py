"""Keep latest price and 1-minute average of each stream in Redis, one hash per stream.

Delivery guarantee: exactly once per minute. The hash is a pure function of the events that it
includes. It holds the ids of the current minute whose trades it includes, and `advance` skips these
ids. The new hash replaces the old one in one MULTI/EXEC under WATCH. So a batch may come again,
with other limits or late, and the final hash is the same. Trades of an earlier minute change
nothing.

In the same transaction each new latest trade is added to the live stream
(`common/clients/live_stream.py`). A repeated batch advances no trade, so it adds no entry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import redis

from common.clients.live_stream import TRADE, add, entry, utc_text
from common.errors import StoreUnavailable
from schemas.contracts import size_of, vwap
from spark.streaming.partial_sums import Ranges, SymbolStream, merge_ranges

PREFIX = "tickhouse:last:"


@dataclass(frozen=True, slots=True)
class LatestTrade:
    """The latest trade of a stream, and the sums of its minute so far.

    Attributes:
        seen: Ids of the minute that the sums include, as sorted inclusive ranges; at most one per
            trade of this minute.
        volume: Quantity of the minute: base asset, or contracts on COIN-M.
        quote_volume: Quote quantity of the minute: quote asset, or base coin on COIN-M.
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
        # The event id names the market and the symbol: binance:<market>:<SYMBOL>:<stream>:<id>.
        _, market, symbol = [*self.event_id.split(":"), "", ""][:3]
        return vwap(self.volume, self.quote_volume, size_of(market, symbol)) or Decimal(0)

    def to_hash(self) -> dict[str, str]:
        """Return the fields of the Redis hash."""
        return {
            "event_id": self.event_id,
            "trade_id": str(self.trade_id),
            "price": f"{self.price:f}",
            "qty": f"{self.qty:f}",
            "side": self.side,
            "trade_time_us": str(self.trade_time_us),
            "minute_us": str(self.minute_us),
            "minute_seen": _text_of(self.seen),
            "minute_trades": str(self.trades),
            "minute_volume": f"{self.volume:f}",
            "minute_quote_volume": f"{self.quote_volume:f}",
            "minute_average": f"{self.average:f}",
        }

    def live_document(self) -> dict[str, str]:
        """Return the trade as clients of the live stream get it."""
        return {
            "price": f"{self.price:f}",
            "qty": f"{self.qty:f}",
            "side": self.side,
            "trade_time": utc_text(self.trade_time_us),
            "average_1m": f"{self.average:f}",
            "event_id": self.event_id,
        }

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> LatestTrade:
        """Read the fields that `to_hash` returned."""
        return cls(
            event_id=fields["event_id"],
            trade_id=int(fields["trade_id"]),
            price=Decimal(fields["price"]),
            qty=Decimal(fields["qty"]),
            side=fields["side"],
            trade_time_us=int(fields["trade_time_us"]),
            minute_us=int(fields["minute_us"]),
            seen=_ranges_of(fields["minute_seen"]),
            trades=int(fields["minute_trades"]),
            volume=Decimal(fields["minute_volume"]),
            quote_volume=Decimal(fields["minute_quote_volume"]),
        )


def _text_of(seen: Sequence[tuple[int, int]]) -> str:
    """Encode sorted ranges as JSON numbers.

    Each range is two numbers: its distance from the end of the range before, and its length. A
    minute in which no two ids are neighbours has one range per trade. A range takes about 4 bytes
    this way, and 25 with the ids themselves.
    """
    at, steps = 0, list[int]()
    for lo, hi in seen:
        steps += (lo - at, hi - lo + 1)
        at = hi
    return json.dumps(steps, separators=(",", ":"))


def _ranges_of(text: str) -> tuple[tuple[int, int], ...]:
    """Decode what `_text_of` returned, or the pairs that an earlier version wrote."""
    steps = json.loads(text)
    if steps and isinstance(steps[0], list):
        return tuple((lo, hi) for lo, hi in steps)
    ranges, at = [], 0
    for step, length in zip(steps[::2], steps[1::2], strict=True):
        ranges.append((at + step, at + step + length - 1))
        at = ranges[-1][1]
    return tuple(ranges)


def advance(last: LatestTrade | None, partials: Sequence[Mapping[str, Any]]) -> LatestTrade | None:
    """Return the state of a stream after the fresh partial sums of a batch (pure).

    Args:
        last: The state before; None for a new stream.
        partials: Rows of `spark.streaming.partial_sums.PARTIAL_ARROW` whose `is_fresh` was computed
            with `last.seen`.
    """
    fresh = [partial for partial in partials if partial["is_fresh"] and partial["events"]]
    newest = max((partial["minute_us"] for partial in fresh), default=None)
    if newest is None or (last is not None and newest < last.minute_us):
        return last
    state = last if last is not None and last.minute_us == newest else None
    for partial in (partial for partial in fresh if partial["minute_us"] == newest):
        state = _add_partial(state, partial, newest)
    return state


def _add_partial(state: LatestTrade | None, partial: Mapping[str, Any], minute: int) -> LatestTrade:
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
        return LatestTrade(**newest, minute_us=minute, seen=ids, trades=sums[0], volume=sums[1], quote_volume=sums[2])
    added = replace(
        state,
        seen=merge_ranges((*state.seen, *ids)),
        trades=state.trades + sums[0],
        volume=state.volume + sums[1],
        quote_volume=state.quote_volume + sums[2],
    )
    return replace(added, **newest) if newest["trade_id"] > state.trade_id else added


def live_entries(
    before: Mapping[SymbolStream, LatestTrade], after: Mapping[SymbolStream, LatestTrade]
) -> list[dict[str, str]]:
    """Return the entries of the live stream: each trade that became the latest, by time (pure)."""
    advanced = [
        (stream, last)
        for stream, last in after.items()
        if stream not in before or before[stream].event_id != last.event_id
    ]
    advanced.sort(key=lambda one: (one[1].trade_time_us, one[1].event_id))
    return [entry(TRADE, stream.market, stream.symbol, last.live_document()) for stream, last in advanced]


def key_of(stream: SymbolStream) -> str:
    """Return the Redis key of a stream."""
    return PREFIX + ":".join(stream)


class LatestTradeStore:
    """Loads and replaces the hashes of all streams."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=5, socket_connect_timeout=5)

    def load(self, streams: Iterable[SymbolStream]) -> dict[SymbolStream, LatestTrade]:
        """Return the state of each of these streams that has one.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        wanted = list(streams)
        with _redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for stream in wanted:
                pipeline.hgetall(key_of(stream))
            found = zip(wanted, pipeline.execute(), strict=True)
            return {stream: LatestTrade.from_hash(fields) for stream, fields in found if fields}

    def store(self, before: Mapping[SymbolStream, LatestTrade], after: Mapping[SymbolStream, LatestTrade]) -> None:
        """Replace all states that changed, in one transaction.

        Raises:
            StoreUnavailable: Redis does not answer, or another writer changed a hash; nothing was
                replaced.
        """
        changed = {stream: last for stream, last in after.items() if before.get(stream) != last}
        if not changed:
            return
        with _redis_errors(), self._client.pipeline() as pipeline:
            watcher: Any = pipeline  # redis-py leaves watch untyped
            watcher.watch(*map(key_of, changed))
            for stream in changed:
                self._require_unchanged(pipeline, stream, before.get(stream))
            pipeline.multi()
            for stream, last in changed.items():
                watcher.hset(key_of(stream), mapping=last.to_hash())
            for fields in live_entries(before, changed):
                add(pipeline, fields)
            pipeline.execute()

    @staticmethod
    def _require_unchanged(pipeline: Any, stream: SymbolStream, before: LatestTrade | None) -> None:
        text = pipeline.hget(key_of(stream), "minute_seen")
        seen_now = None if text is None else _ranges_of(text)
        if seen_now != (None if before is None else before.seen):
            raise StoreUnavailable(f"Another writer changed {key_of(stream)}; the batch is computed again.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


@contextmanager
def _redis_errors() -> Iterator[None]:
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, redis.WatchError) as error:
        raise StoreUnavailable(
            f"Redis did not answer: {error}.", safe="The batch waits.", next_command="tickhouse status"
        ) from error


def seen_ranges(states: Mapping[SymbolStream, LatestTrade]) -> dict[SymbolStream, Ranges]:
    """Return the ids that the current minute of each stream includes already."""
    return {stream: list(last.seen) for stream, last in states.items()}
