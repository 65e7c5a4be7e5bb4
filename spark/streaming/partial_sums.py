"""Sum the trades of a batch per stream and minute, inside Spark's tasks.

This is pure Python over scaled integers. The micro-batches of the fast queries are small, and Spark
plans each of them again. With windows, a join and fourteen aggregates, planning a batch took 0.4
CPU seconds and computing it 0.03. So the tasks compute the sums here, and Spark only plans a scan
and one function (docs/adr/0008-sums-in-python.md).

The symbol is the Kafka key, so all trades of a symbol in one batch usually meet in one task. The
store adds up the partial sums of several tasks.
"""

from __future__ import annotations

import hashlib
import io
import struct
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

import fastavro
import pyarrow as pa

from schemas.contracts import quote_quantity

MINUTE_US = 60_000_000
FRAME_BYTES = 5
# Prices and quantities are decimal(28,8).
END_OF_DECIMAL = 10**28

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


class SymbolStream(NamedTuple):
    """One symbol's stream on one market."""

    market: str
    symbol: str
    stream: str


def stream_of(row: Mapping[str, Any]) -> SymbolStream:
    """Return the stream of a row of `PARTIAL_ARROW`."""
    return SymbolStream(row["market"], row["symbol"], row["stream"])


class TradeFacts(NamedTuple):
    """The fields of a trade that the sums need.

    Price and quantity scaled by 10^8, time in microseconds.
    """

    event_id: str
    stream: SymbolStream
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
    def quote(self) -> int | None:
        """The quote quantity, scaled by 10^16; None when it does not fit decimal(38,16)."""
        return quote_quantity(self.stream.market, self.stream.symbol, self.price, self.qty)

    @property
    def digest(self) -> int:
        """The summand of a candle's checksum: 60 bits of an md5 over the fields of the trade."""
        text = f"{self.trade_id}|{fixed8(self.price)}|{fixed8(self.qty)}|{self.side}|{self.time_us}"
        return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def fixed8(units: int) -> str:
    """Return a number scaled by 10^8 as text with exactly 8 decimals."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // 10**8}.{units % 10**8:08d}"


@dataclass(slots=True)
class PartialSum:
    """Sums of one stream, minute and freshness.

    The ids in `sentinels` are void trades, which are not summed.
    """

    numbers: list[int] = field(default_factory=list)
    sentinels: list[int] = field(default_factory=list)
    events: int = 0
    trades: int = 0
    first: TradeFacts | None = None
    last: TradeFacts | None = None
    high: int = 0
    low: int = 0
    volume: int = 0
    quote: int = 0
    buy_volume: int = 0
    buy_quote: int = 0
    checksum: int = 0

    def add(self, trade: TradeFacts) -> None:
        """Add one trade; of a sentinel only the id is kept."""
        if trade.is_sentinel:
            self.sentinels.append(trade.trade_id)
            return
        self.numbers.append(trade.trade_id)
        quote = trade.quote or 0
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

    def row(self, stream: SymbolStream, minute_us: int, is_fresh: bool) -> dict[str, Any]:
        """Return the sums as a row of `PARTIAL_ARROW`."""
        head = {**stream._asdict(), "minute_us": minute_us, "is_fresh": is_fresh}
        event_ids = runs(self.numbers)
        ids = {"ids": runs(self.numbers + self.sentinels) if self.sentinels else event_ids, "event_ids": event_ids}
        sums = {
            "events": self.events,
            "trades": self.trades,
            "volume": scaled_decimal(self.volume, 8),
            "quote_volume": scaled_decimal(self.quote, 16),
            "taker_buy_volume": scaled_decimal(self.buy_volume, 8),
            "taker_buy_quote_volume": scaled_decimal(self.buy_quote, 16),
            "checksum": str(self.checksum),
        }
        return {**head, **ids, **sums, **self._prices()}

    def _prices(self) -> dict[str, Any]:
        if self.first is None or self.last is None:
            return {}
        return {
            "open_trade_id": self.first.trade_id,
            "close_trade_id": self.last.trade_id,
            "open": scaled_decimal(self.first.price, 8),
            "high": scaled_decimal(self.high, 8),
            "low": scaled_decimal(self.low, 8),
            "close": scaled_decimal(self.last.price, 8),
            "last_event_id": self.last.event_id,
            "last_side": self.last.side,
            "last_qty": scaled_decimal(self.last.qty, 8),
            "last_trade_time_us": self.last.time_us,
        }


def scaled_decimal(units: int, scale: int) -> Decimal:
    """Return units x 10^-scale, exact at any size."""
    # Made from digits, because arithmetic would round to the 28 digits of the decimal context.
    sign = 1 if units < 0 else 0
    return Decimal((sign, tuple(map(int, str(abs(units)))), -scale))


def runs(numbers: Iterable[int]) -> list[dict[str, int]]:
    """Return distinct numbers as sorted, inclusive runs of consecutive numbers."""
    ordered = sorted(numbers)
    if not ordered:
        return []
    breaks = [(left, right) for left, right in pairwise(ordered) if right != left + 1]
    starts = [ordered[0], *(right for _, right in breaks)]
    ends = [*(left for left, _ in breaks), ordered[-1]]
    return [{"lo": lo, "hi": hi} for lo, hi in zip(starts, ends, strict=True)]


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return sorted, disjoint, merged inclusive ranges."""
    merged: list[tuple[int, int]] = []
    for lo, hi in sorted(ranges):
        if merged and lo <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], hi))
        else:
            merged.append((lo, hi))
    return tuple(merged)


class KnownIds:
    """The ids that a store holds, by stream. A look-up bisects, because there is one per trade.

    Args:
        seen: Sorted, disjoint, inclusive ranges by stream.
    """

    def __init__(self, seen: Mapping[SymbolStream, Ranges]) -> None:
        self._starts = {stream: [lo for lo, _ in ranges] for stream, ranges in seen.items()}
        self._ends = {stream: [hi for _, hi in ranges] for stream, ranges in seen.items()}

    def holds(self, stream: SymbolStream, number: int) -> bool:
        """Return whether the store holds an id."""
        starts = self._starts.get(stream)
        if not starts:
            return False
        at = bisect_right(starts, number) - 1
        return at >= 0 and number <= self._ends[stream][at]

    def count(self, stream: SymbolStream, lo: int, hi: int) -> int:
        """Return how many ids of [lo, hi] the store holds."""
        starts, ends = self._starts.get(stream, []), self._ends.get(stream, [])
        first, last = bisect_left(ends, lo), bisect_right(starts, hi)
        return sum(min(hi, ends[at]) - max(lo, starts[at]) + 1 for at in range(first, last))


def mark_fresh(rows: Sequence[dict[str, Any]], seen: Mapping[SymbolStream, Ranges]) -> list[dict[str, Any]] | None:
    """Return the rows with `is_fresh` set.

    It is true when the store holds none of the ids of a row, and false when it holds all of them.

    Args:
        rows: Rows of `PARTIAL_ARROW` that were summed without querying the store.
        seen: Ids that the store holds, as for `partials`.

    Returns:
        The rows, or None when the store holds some ids of a row but not all.
    """
    held = KnownIds(seen)
    result = []
    for row in rows:
        stream = stream_of(row)
        count = sum(held.count(stream, run["lo"], run["hi"]) for run in row["ids"])
        if 0 < count < sum(run["hi"] - run["lo"] + 1 for run in row["ids"]):
            return None
        result.append(row | {"is_fresh": not count})
    return result


def partials(trades: Iterable[TradeFacts], seen: Mapping[SymbolStream, Ranges]) -> list[dict[str, Any]]:
    """Return the partial sums by stream, minute and freshness; each id counts once.

    Args:
        trades: Trades in the order of their offsets; of two with the same id the first counts.
        seen: Ids that the store holds: sorted, disjoint, inclusive ranges by stream.
    """
    held = KnownIds(seen)
    # Sets of plain integers: with a tuple per trade the garbage collector would visit one more
    # object.
    known: defaultdict[SymbolStream, set[int]] = defaultdict(set)
    sums: dict[tuple[SymbolStream, int, bool], PartialSum] = {}
    for trade in trades:
        ids = known[trade.stream]
        if trade.trade_id in ids:
            continue
        ids.add(trade.trade_id)
        is_fresh = not held.holds(trade.stream, trade.trade_id)
        key = (trade.stream, trade.time_us // MINUTE_US * MINUTE_US, is_fresh)
        if key not in sums:
            sums[key] = PartialSum()
        sums[key].add(trade)
    return [total.row(*key) for key, total in sums.items()]


class TradeReader:
    """Decodes Trade records in Confluent framing; it is pickled into Spark's tasks.

    Args:
        schemas: Writer schemas by registry id, as JSON documents without logical types.

    Attributes:
        schemas: These schemas.
    """

    def __init__(self, schemas: Mapping[int, Any]) -> None:
        self.schemas = dict(schemas)

    def records(self, values: Iterable[bytes | None]) -> Iterator[dict[str, Any] | None]:
        """Yield each value's record without logical types, or None where a value does not decode.

        Query `enriched` sends those to the dead letters (kafka_sink.py).
        """
        parsed = {number: fastavro.parse_schema(document) for number, document in self.schemas.items()}
        for value in values:
            yield self._read(value, parsed)

    def facts(self, values: Iterable[bytes | None]) -> Iterator[TradeFacts]:
        """Yield the trades that decode and whose quote quantity the stores can hold."""
        streams: dict[tuple[str, str, str], SymbolStream] = {}
        for record in self.records(values):
            trade = None if record is None else _facts_of(record, streams)
            if trade is not None and trade.quote is not None:
                yield trade

    @staticmethod
    def _read(value: bytes | None, parsed: Mapping[int, Any]) -> dict[str, Any] | None:
        if value is None or len(value) <= FRAME_BYTES or value[0] != 0:
            return None
        (number,) = struct.unpack_from(">I", value, 1)
        if number not in parsed:
            return None
        try:
            # The errors of damaged Avro: an index past the end, a negative length, bytes that are
            # no text.
            record: Any = fastavro.schemaless_reader(io.BytesIO(value[FRAME_BYTES:]), parsed[number], None)
        except (EOFError, IndexError, ValueError, OverflowError, MemoryError):
            return None
        found: dict[str, Any] = record
        return found if _is_decimal(found["price"]) and _is_decimal(found["qty"]) else None


def _is_decimal(units: bytes) -> bool:
    """Return whether the bytes of a decimal(28,8) are a number of at most 28 digits."""
    # A number of 11 bytes has fewer digits. Query `enriched` cannot read an empty number either.
    return 0 < len(units) < 12 or (len(units) > 0 and abs(int.from_bytes(units, signed=True)) < END_OF_DECIMAL)


def _facts_of(record: Mapping[str, Any], streams: dict[tuple[str, str, str], SymbolStream]) -> TradeFacts:
    names = record["market"], record["symbol"], record["stream"]
    return TradeFacts(
        record["event_id"],
        streams.get(names) or streams.setdefault(names, SymbolStream(*names)),
        record["trade_id"],
        record["last_trade_id"] - record["first_trade_id"] + 1,
        int.from_bytes(record["price"], signed=True),
        int.from_bytes(record["qty"], signed=True),
        record["side"],
        record["trade_time"],
    )
