"""Compare the repeats of a replay with the values that earlier runs delivered.

The first repeat of a stream reads the part of `crypto.trades` in which the writers of that stream
wrote, at most `MOST_RECORDS` records. It keeps 24 bytes per trade: id, digest of the payload,
offset. Each repeat is then one bisection. Trades beyond the limit, or past Kafka's retention, are
not compared; `repeats` and `compared` count both.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import islice
from operator import lt
from typing import Any, Final, cast

import fastavro
import msgspec
from confluent_kafka import Message

from producer.encoding.events import HEADER_BYTES
from producer.events import Trade
from producer.ledger.stream_ledger import StreamLedger
from schemas import without_logical_types

# At most 20 s of reading and 48 MB; a day of a busy symbol has fewer trades.
MOST_RECORDS: Final = 2_000_000
# At most this many bytes of the known payload are copied into the dead letter of a conflict.
MOST_RAW_BYTES: Final = 2_000
_SCALE: Final = 10**8
_TRADE: Final = fastavro.parse_schema(without_logical_types("trade"))
# The fields up to the trade time. The rest, above all the raw frame, is not needed to compare.
_FIELDS: Final[list[dict[str, Any]]] = cast("dict[str, Any]", without_logical_types("trade"))["fields"]
_LAST: Final = next(at for at, field in enumerate(_FIELDS) if field["name"] == "trade_time")
_VALUES: Final = fastavro.parse_schema({"type": "record", "name": "Values", "fields": _FIELDS[: _LAST + 1]})

# Offsets [from, until) of crypto.trades by partition.
Span = dict[int, tuple[int, int]]


class DeliveredTrade(msgspec.Struct, frozen=True):
    """A trade in the log: its values, its place (topic:partition:offset), and its raw frame."""

    trade: Trade
    place: str
    raw: str

    def headers(self) -> dict[str, str]:
        """Return the headers about this trade in the dead letter of a conflicting one."""
        return {"known_at": self.place, "known_payload": self.raw[:MOST_RAW_BYTES]}


class _Index:
    """Payload digests of one stream by id; of two copies, `find` returns the first."""

    __slots__ = ("digests", "ids", "places")

    def __init__(self) -> None:
        self.ids, self.digests, self.places = array("q"), array("q"), array("q")

    def add(self, number: int, place: tuple[int, int], digest: int) -> None:
        """Append the trade at (partition, offset); call `sort` before the first `find`."""
        self.ids.append(number)
        self.digests.append(digest)
        self.places.append(place[1] << 8 | place[0])

    def sort(self) -> None:
        """Sort by id; a file that was written once is sorted already."""
        if all(map(lt, self.ids, islice(self.ids, 1, None))):
            return
        order = sorted(range(len(self.ids)), key=lambda at: (self.ids[at], self.places[at]))
        for name in self.__slots__:
            column = getattr(self, name)
            setattr(self, name, array("q", map(column.__getitem__, order)))

    def find(self, number: int) -> int | None:
        at = bisect_left(self.ids, number)
        return at if at < len(self.ids) and self.ids[at] == number else None


class DeliveredPayloads:
    """Compares repeats with the trades of the log.

    Args:
        read: Yields the messages of crypto.trades in a span.
        span_of: Returns where the trades of a stream may be, the most likely place first.
        most_records: Records to read per stream.
    """

    def __init__(
        self,
        read: Callable[[Span], Iterator[Message]],
        span_of: Callable[[StreamLedger, Trade], list[Span]],
        most_records: int = MOST_RECORDS,
    ) -> None:
        self._read, self._span_of, self._most = read, span_of, most_records
        self._indexes: dict[str, _Index] = {}
        self.repeats = self.compared = 0

    def find_conflict(self, ledger: StreamLedger, trade: Trade) -> DeliveredTrade | None:
        """Return the delivered trade with the id of a repeat, when its values differ.

        None when they are equal, or when the trade is not in the part of the log that was read.

        Raises:
            StoreUnavailable: Kafka does not answer.
        """
        self.repeats += 1
        index = self._indexes.get(ledger.prefix)
        if index is None:
            index = self._indexes[ledger.prefix] = self._load(ledger, trade)
        at = index.find(trade.trade_id)
        if at is None:
            return None
        self.compared += 1
        if index.digests[at] == digest(trade):
            return None
        offset, partition = index.places[at] >> 8, index.places[at] & 0xFF
        delivered = (_delivered(message) for message in self._read({partition: (offset, offset + 1)}))
        return next((copy for copy in delivered if not copy.trade.same_payload(trade)), None)

    def _load(self, ledger: StreamLedger, trade: Trade) -> _Index:
        left, index = self._most, _Index()
        for span in self._span_of(ledger, trade):
            for message in self._read(_cut(span, left)):
                left -= 1
                record = _record(message, _VALUES) if message.key() == ledger.key else None
                if record is not None and record["stream"] == ledger.stream:
                    place = (message.partition() or 0, message.offset() or 0)
                    index.add(record["trade_id"], place, _digest_of(record))
            if left <= 0:
                break
        index.sort()
        return index


def _cut(span: Span, records: int) -> Span:
    """Cut a span to this many records, an equal share of each partition."""
    if sum(until - start for start, until in span.values()) <= records:
        return span
    share = records // len(span)
    return {part: (start, min(until, start + share)) for part, (start, until) in span.items()}


def digest(trade: Trade) -> int:
    """Return a 64-bit hash of what `Trade.same_payload` compares; valid in this process only."""
    ids = trade.first_trade_id, trade.last_trade_id
    return hash((trade.price, trade.qty, trade.side, *ids, trade.trade_us // 1000))


def _digest_of(record: dict[str, Any]) -> int:
    ids = record["first_trade_id"], record["last_trade_id"]
    return hash((record["price"], record["qty"], record["side"], *ids, record["trade_time"] // 1000))


def describe_trade(trade: Trade) -> str:
    """Return the values of a trade as text for an error message."""
    price, qty = (int.from_bytes(units, signed=True) for units in (trade.price, trade.qty))
    return (
        f"price {_decimal_text(price)} qty {_decimal_text(qty)} {trade.side} "
        f"of {trade.first_trade_id}..{trade.last_trade_id} at {trade.trade_us} µs"
    )


def _decimal_text(units: int) -> str:
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // _SCALE}.{units % _SCALE:08d}"


def _record(message: Message, schema: Any = _TRADE) -> dict[str, Any] | None:
    try:
        record: Any = fastavro.schemaless_reader(BytesIO((message.value() or b"")[HEADER_BYTES:]), schema, None)
    except (EOFError, IndexError, ValueError, OverflowError):
        return None  # not a trade that we wrote, so there is nothing to compare with
    return cast("dict[str, Any]", record)


def _trade(record: dict[str, Any]) -> Trade:
    names = ("stream", "symbol", "trade_id", "first_trade_id", "last_trade_id", "price", "qty", "side")
    values = {name: record[name] for name in names}
    return Trade(**values, event_us=record["event_time"], trade_us=record["trade_time"])


def _delivered(message: Message) -> DeliveredTrade:
    record = _record(message) or {}
    place = f"{message.topic()}:{message.partition()}:{message.offset()}"
    return DeliveredTrade(_trade(record), place, str(record.get("raw") or ""))
