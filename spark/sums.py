"""Partial sums of a batch of trades: pure Python over scaled integers, run inside Spark's tasks.

A micro-batch of a low-latency query is small, and Catalyst plans it anew each time: windows, join and fourteen
aggregates took 0.4 CPU seconds of planning for a batch that holds 0.03 s of work. So the tasks do that work here,
and Spark plans nothing but a scan and one function (docs/adr/0008-sums-in-python.md).

A symbol is a Kafka key, so its trades of one batch meet in one task; partials of several tasks add up in the store.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import fastavro
import pyarrow as pa

MINUTE_US = 60_000_000
FRAME_BYTES = 5
# price x quantity fits decimal(38,16)
LARGEST_PRODUCT = 10**38

_PRICE, _QTY, _QUOTE = pa.decimal128(28, 8), pa.decimal128(38, 8), pa.decimal128(38, 16)
_RANGES = pa.list_(pa.struct([("lo", pa.int64()), ("hi", pa.int64())]))
PARTIAL_ARROW = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol", "stream")),
        ("minute_us", pa.int64()),
        ("is_fresh", pa.bool_()),
        ("ids", _RANGES),
        ("event_ids", _RANGES),
        *((name, pa.int64()) for name in ("events", "trades", "open_trade_id", "close_trade_id")),
        *((name, _PRICE) for name in ("open", "high", "low", "close")),
        *((name, kind) for name, kind in (("volume", _QTY), ("quote_volume", _QUOTE))),
        *((name, kind) for name, kind in (("taker_buy_volume", _QTY), ("taker_buy_quote_volume", _QUOTE))),
        ("checksum", pa.string()),
        *((name, pa.string()) for name in ("last_event_id", "last_side")),
        ("last_qty", _PRICE),
        ("last_trade_time_us", pa.int64()),
    ]
)
PARTIAL_SQL = (
    "market string, symbol string, stream string, minute_us long, is_fresh boolean, "
    "ids array<struct<lo: long, hi: long>>, event_ids array<struct<lo: long, hi: long>>, "
    "events long, trades long, open_trade_id long, close_trade_id long, "
    "open decimal(28,8), high decimal(28,8), low decimal(28,8), close decimal(28,8), volume decimal(38,8), "
    "quote_volume decimal(38,16), taker_buy_volume decimal(38,8), taker_buy_quote_volume decimal(38,16), "
    "checksum string, last_event_id string, last_side string, last_qty decimal(28,8), last_trade_time_us long"
)

Ranges = list[tuple[int, int]]


class StreamKey(NamedTuple):
    """One symbol's stream on one market."""

    market: str
    symbol: str
    stream: str


class Facts(NamedTuple):
    """What the sums need of a trade; price and quantity scaled by 10^8, time in microseconds."""

    event_id: str
    stream: StreamKey
    trade_id: int
    singles: int
    price: int
    qty: int
    side: str
    time_us: int

    @property
    def is_sentinel(self) -> bool:
        """Whether the exchange marked the trade as void."""
        return self.price <= 0 or self.qty <= 0

    @property
    def digest(self) -> int:
        """60 bits of the md5 over id, price, quantity, side and time: the summand of a candle's checksum."""
        text = f"{self.trade_id}|{fixed8(self.price)}|{fixed8(self.qty)}|{self.side}|{self.time_us}"
        return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def fixed8(units: int) -> str:
    """Return a number scaled by 10^8 as text with exactly 8 decimals."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // 10**8}.{units % 10**8:08d}"


@dataclass(slots=True)
class Sum:
    """Running sums of one stream, minute and freshness; `sentinels` are ids that count for continuity only."""

    numbers: list[int] = field(default_factory=list)
    sentinels: list[int] = field(default_factory=list)
    events: int = 0
    trades: int = 0
    first: Facts | None = None
    last: Facts | None = None
    high: int = 0
    low: int = 0
    volume: int = 0
    quote: int = 0
    buy_volume: int = 0
    buy_quote: int = 0
    checksum: int = 0

    def add(self, trade: Facts) -> None:
        """Add one trade; a sentinel counts for its id only."""
        if trade.is_sentinel:
            self.sentinels.append(trade.trade_id)
            return
        self.numbers.append(trade.trade_id)
        quote = trade.price * trade.qty
        self.high = max(self.high, trade.price)
        self.low = min(self.low, trade.price) if self.events else trade.price
        self.events += 1
        self.trades += trade.singles
        self.volume += trade.qty
        self.quote += quote
        self.checksum += trade.digest
        if trade.side == "BUY":
            self.buy_volume += trade.qty
            self.buy_quote += quote
        if self.first is None or trade.trade_id < self.first.trade_id:
            self.first = trade
        if self.last is None or trade.trade_id > self.last.trade_id:
            self.last = trade

    def row(self, stream: StreamKey, minute_us: int, is_fresh: bool) -> dict[str, Any]:
        """Return the partial as a row of `PARTIAL_ARROW`."""
        head = {**stream._asdict(), "minute_us": minute_us, "is_fresh": is_fresh}
        ids = {"ids": runs(self.numbers + self.sentinels), "event_ids": runs(self.numbers)}
        sums = {
            "events": self.events,
            "trades": self.trades,
            "volume": _decimal(self.volume, 8),
            "quote_volume": _decimal(self.quote, 16),
            "taker_buy_volume": _decimal(self.buy_volume, 8),
            "taker_buy_quote_volume": _decimal(self.buy_quote, 16),
            "checksum": str(self.checksum),
        }
        return {**head, **ids, **sums, **self._prices()}

    def _prices(self) -> dict[str, Any]:
        if self.first is None or self.last is None:
            return {}
        return {
            "open_trade_id": self.first.trade_id,
            "close_trade_id": self.last.trade_id,
            "open": _decimal(self.first.price, 8),
            "high": _decimal(self.high, 8),
            "low": _decimal(self.low, 8),
            "close": _decimal(self.last.price, 8),
            "last_event_id": self.last.event_id,
            "last_side": self.last.side,
            "last_qty": _decimal(self.last.qty, 8),
            "last_trade_time_us": self.last.time_us,
        }


def _decimal(units: int, scale: int) -> Decimal:
    # From digits, not by arithmetic: a context of 28 digits would round.
    sign = 1 if units < 0 else 0
    return Decimal((sign, tuple(map(int, str(abs(units)))), -scale))


def runs(numbers: Iterable[int]) -> list[dict[str, int]]:
    """Return distinct numbers as sorted inclusive runs of consecutive ones."""
    ordered = sorted(numbers)
    if not ordered:
        return []
    breaks = [(left, right) for left, right in pairwise(ordered) if right != left + 1]
    starts = [ordered[0], *(right for _, right in breaks)]
    ends = [*(left for left, _ in breaks), ordered[-1]]
    return [{"lo": lo, "hi": hi} for lo, hi in zip(starts, ends, strict=True)]


def partials(trades: Iterable[Facts], seen: Mapping[StreamKey, Ranges]) -> list[dict[str, Any]]:
    """Return partial sums by stream, minute and freshness; each id counts once.

    Args:
        trades: In the order of their offsets: of two with one id the first counts.
        seen: Ids that the store holds, inclusive ranges by stream.
    """
    known: set[tuple[StreamKey, int]] = set()
    sums: dict[tuple[StreamKey, int, bool], Sum] = {}
    for trade in trades:
        identity = (trade.stream, trade.trade_id)
        if identity in known:
            continue
        known.add(identity)
        is_fresh = not any(lo <= trade.trade_id <= hi for lo, hi in seen.get(trade.stream, ()))
        key = (trade.stream, trade.time_us // MINUTE_US * MINUTE_US, is_fresh)
        if key not in sums:
            sums[key] = Sum()
        sums[key].add(trade)
    return [total.row(*key) for key, total in sums.items()]


Task = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


class Reader:
    """Reads framed Trade records; pickled into the tasks.

    Args:
        schemas: Writer schemas (JSON documents with logical types left out) by registry id.
    """

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        self._schemas = dict(schemas)

    def facts(self, values: Iterable[bytes | None]) -> Iterator[Facts]:
        """Yield what decodes; what does not is the dead-letter query's to report (spark/kafka_sink.py)."""
        parsed = {number: fastavro.parse_schema(document) for number, document in self._schemas.items()}
        for value in values:
            trade = self._read(value, parsed)
            if trade is not None and trade.price * trade.qty < LARGEST_PRODUCT:
                yield trade

    @staticmethod
    def _read(value: bytes | None, parsed: Mapping[int, Any]) -> Facts | None:
        if value is None or len(value) <= FRAME_BYTES or value[0] != 0:
            return None
        (number,) = struct.unpack_from(">I", value, 1)
        if number not in parsed:
            return None
        try:
            # An index past the end, a negative length, bytes that are no text: the ways in which Avro is broken.
            record: Any = fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), parsed[number], None)
        except (EOFError, IndexError, ValueError, OverflowError, MemoryError):
            return None
        return Facts(
            record["event_id"],
            StreamKey(record["market"], record["symbol"], record["stream"]),
            record["trade_id"],
            record["last_trade_id"] - record["first_trade_id"] + 1,
            int.from_bytes(record["price"], signed=True),
            int.from_bytes(record["qty"], signed=True),
            record["side"],
            record["trade_time"],
        )


def summing(
    reader: Reader, seen: Mapping[StreamKey, Ranges]
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """Return the task body: Kafka values in (one binary column), rows of `PARTIAL_ARROW` out."""

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        values = (value for batch in batches for value in batch.column(0).to_pylist())
        rows = partials(reader.facts(values), seen)
        if rows:
            yield pa.RecordBatch.from_pylist(rows, PARTIAL_ARROW)

    return task
