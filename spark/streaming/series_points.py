"""Trades as points of InfluxDB, encoded inside Spark's tasks (pure).

A point is identified by measurement, tags and time; a second one with the same identity replaces
the first without a word. So the time carries the last three digits of the trade's id as its
nanoseconds: two trades of one microsecond are two points. `SeriesClashes` separates the trades that
are still alike (docs/adr/0029-series.md). No id is a tag: each value of a tag is a series of its
own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.contracts import quote_quantity
from spark.streaming.partial_sums import SymbolStream, TradeReader, fixed8

MEASUREMENT = "trade"
ID_DIGITS = 1000
INT64 = 1 << 63
SCALE, QUOTE_SCALE = 10**8, 10**16
# The last nanosecond that InfluxDB can hold: 2262-04-11. One second is spared for its own use.
LAST_NS = INT64 - 10**9
TIME_OUT_OF_RANGE = "time_out_of_range"
TOO_MANY_ALIKE = "too_many_alike"
# Trades of one nanosecond that are kept apart. The order book of one symbol makes a few trades in a
# microsecond; this bound is there for broken input.
MOST_ALIKE = 100

POINT_ARROW = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol", "stream")),
        *((name, pa.string()) for name in ("tags", "fields")),
        *((name, pa.int64()) for name in ("trade_id", "time_us")),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)
POINT_SQL = (
    "market string, symbol string, stream string, tags string, fields string, trade_id long, time_us long, "
    "partition int, offset long"
)


class Point(NamedTuple):
    """One trade; the order of `POINT_ARROW`.

    Attributes:
        tags: Measurement and tags in line protocol; a series, when it has no `clash`.
        fields: The fields in line protocol.
        partition: Where the record is in `crypto.trades`, together with `offset`.
    """

    market: str
    symbol: str
    stream: str
    tags: str
    fields: str
    trade_id: int
    time_us: int
    partition: int
    offset: int

    @property
    def key(self) -> SymbolStream:
        """Return the stream of the trade."""
        return SymbolStream(self.market, self.symbol, self.stream)

    @property
    def time_ns(self) -> int:
        """Return the time of the point."""
        return self.time_us * 1000 + self.trade_id % ID_DIGITS

    def line(self, clash: int) -> str:
        """Return the point in line protocol.

        Args:
            clash: How many other trades came before it with the same series and time.
        """
        return f"{self.tags}{f',clash={clash}' if clash else ''} {self.fields} {self.time_ns}"


def escape_tag(value: str) -> str:
    """Return a tag's value in line protocol."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def tags_of(record: Mapping[str, Any]) -> str:
    """Return measurement and tags of a trade, sorted by tag as the server stores them."""
    names = ("exchange", "market", "side", "stream", "symbol")
    return ",".join((MEASUREMENT, *(f"{name}={escape_tag(record[name])}" for name in names)))


def fields_of(record: Mapping[str, Any]) -> str | None:
    """Return the fields of a trade; None when its quote quantity does not fit the stores.

    Price and quantity are exact as integers in 10^-8, or as text where they do not fit 64 bits. The
    floats are for charts and roll-ups; a void trade (a sentinel) has none, so it is in no roll-up.
    """
    price, qty = int.from_bytes(record["price"], signed=True), int.from_bytes(record["qty"], signed=True)
    quote = quote_quantity(record["market"], record["symbol"], price, qty)
    if quote is None:  # query `enriched` sends it to the dead letters
        return None
    parts = [f"{name}={record[name]}i" for name in ("trade_id", "first_trade_id", "last_trade_id")]
    parts += (_exact("price", price), _exact("qty", qty))
    if price > 0 and qty > 0:
        # Integers are divided: that rounds once.
        parts += (f"price={price / SCALE!r}", f"qty={qty / SCALE!r}", f"quote_qty={quote / QUOTE_SCALE!r}")
    return ",".join(parts)


def _exact(name: str, units: int) -> str:
    return f"{name}_e8={units}i" if -INT64 <= units < INT64 else f'{name}_text="{fixed8(units)}"'


def point_of(record: Mapping[str, Any] | None, partition: int, offset: int) -> Point | None:
    """Return the point of a decoded trade (without logical types); None when there is none."""
    fields = None if record is None else fields_of(record)
    if record is None or fields is None:
        return None
    names = record["market"], record["symbol"], record["stream"]
    return Point(*names, tags_of(record), fields, record["trade_id"], record["trade_time"], partition, offset)


def points_task(reader: TradeReader) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """Return the body of a Spark task.

    Value, partition and offset of Kafka records go in, and rows of `POINT_ARROW` come out.
    """

    def task(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            values, partitions, offsets = (column.to_pylist() for column in batch.columns)
            records = reader.records(values)
            found = map(point_of, records, partitions, offsets)
            rows = [point for point in found if point is not None]
            if rows:
                columns = [
                    pa.array(column, kind.type)
                    for column, kind in zip(zip(*rows, strict=True), POINT_ARROW, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(columns, schema=POINT_ARROW)

    return task


class PointIdentity(NamedTuple):
    """What two points must share for the second to replace the first, without the tag `clash`."""

    tags: str
    time_ns: int


class SeriesClashes:
    """Numbers the trades of a batch that share series and time.

    The first trade that arrived has no tag `clash`, the second has `clash=1`, and so on. A trade
    that the store holds keeps its number, so a repeat writes the same points.

    Args:
        held: Number by trade id, by identity, of the points that the store holds.
    """

    def __init__(self, held: Mapping[PointIdentity, Mapping[int, int]] | None = None) -> None:
        self._numbers: dict[PointIdentity, dict[int, int]] = {key: dict(of) for key, of in (held or {}).items()}
        self.count = 0

    def number(self, point: Point) -> int:
        """Return the number of a point: how many others of its identity came before it.

        It is `MOST_ALIKE` or more when there are too many.
        """
        numbers = self._numbers.setdefault(PointIdentity(point.tags, point.time_ns), {})
        if point.trade_id not in numbers:
            if len(numbers) >= MOST_ALIKE:
                return MOST_ALIKE  # refused, so it is not remembered
            numbers[point.trade_id] = max(numbers.values(), default=-1) + 1
            self.count += numbers[point.trade_id] > 0
        return numbers[point.trade_id]


def clusters(times: Iterable[int], most_gap: int, most: int) -> list[tuple[int, int]]:
    """Return the times as inclusive ranges without large gaps.

    Args:
        times: Times, in any order.
        most_gap: A larger distance between two times begins another range.
        most: The most ranges, two or more; beyond that the closest ones are joined.
    """
    ordered = sorted(set(times))
    if not ordered:
        return []
    gaps = [(after - before, at) for at, (before, after) in enumerate(pairwise(ordered))]
    cuts = sorted(gap for gap in gaps if gap[0] > most_gap)[1 - most :]
    ends = sorted(at for _, at in cuts)
    starts = [0, *(at + 1 for at in ends)]
    return [(ordered[start], ordered[end]) for start, end in zip(starts, [*ends, len(ordered) - 1], strict=True)]
