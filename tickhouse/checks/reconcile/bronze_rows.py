"""Read the rows of bronze: trades and ids of ticks in the files that manifests name.

A Kafka record is identified by topic, partition, offset and event id. A batch that is read again
after its checkpoint was lost writes the same record a second time: `trade_rows` and `tick_ids`
yield it once and count the repeat in `BronzeManifests.reread_rows`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import Any, TypeVar

import pyarrow as pa

from common.days import day_of
from tickhouse.checks.reconcile.kafka_records import stream_of
from tickhouse.checks.reconcile.lake_bronze import BronzeManifests, LakeFile, LakeReader
from tickhouse.checks.reconcile.model import CheckedTrade
from tickhouse.checks.reconcile.trade_comparison import Row

_PARTITIONED = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/")
_SLICE = re.compile(r"(?P<start>.*-\d+)-(?P<first>\d+)-(?P<until>\d+)\.parquet", re.ASCII)
_DECIMALS = {"price", "qty"}
_TIMES = {"trade_time"}
_TRADE_COLUMNS = [
    "event_id", "market", "symbol", "stream", "trade_id", "first_trade_id", "last_trade_id", "price", "qty", "side",
    "trade_time", "kafka_partition", "kafka_offset",
]  # fmt: skip
_HOUR_US = 3_600_000_000


def trade_rows(lake: LakeReader, bronze: BronzeManifests, problems: list[str]) -> Iterator[Row]:
    """Yield every row of the named files, a re-read record once.

    Missing files, and files without the number of rows in their manifest, are added to `problems`.
    """
    yield from _without_rereads(bronze, lambda named: _trades_of(lake, bronze, named, problems), _whole_row)


def _trades_of(lake: LakeReader, bronze: BronzeManifests, named: LakeFile, problems: list[str]) -> Iterator[Row]:
    table = lake.table(named.path, _TRADE_COLUMNS)
    _check_length(named, table, problems, bronze.forgotten)
    if table is not None:
        yield from _rows(named.path, table, bronze.topic)


def _whole_row(row: Row) -> Row:
    return row


T = TypeVar("T")


def _without_rereads(
    bronze: BronzeManifests, read: Callable[[LakeFile], Iterator[T]], key: Callable[[T], Any]
) -> Iterator[T]:
    """Yield the rows of the files, folder by folder, without those that an earlier file of the
    folder holds.

    Only files that share offsets of a partition are compared. A repeat inside one file stays a
    repeat.
    """
    shared = _sharing_offsets([named.path for named in bronze.files])
    folder, before = "", set[Any]()
    for named in sorted(set(bronze.files)):
        if named.path not in shared:
            yield from read(named)
            continue
        if (own := named.path.rpartition("/")[0]) != folder:
            folder, before = own, set()
        held = list(read(named))
        fresh = [row for row in held if key(row) not in before]
        bronze.reread_rows += len(held) - len(fresh)
        before.update(map(key, fresh))
        yield from fresh


def _sharing_offsets(paths: Iterable[str]) -> set[str]:
    """Return the files whose names, `<topic>-<partition>-<from>-<until>.parquet`, share offsets
    within a folder.
    """
    slices: dict[str, list[tuple[int, int, str]]] = {}
    for path in set(paths):
        if found := _SLICE.fullmatch(path):
            slices.setdefault(found["start"], []).append((int(found["first"]), int(found["until"]), path))
    shared: set[str] = set()
    for slices_of_partition in slices.values():
        until, widest = 0, ""
        for first, end, path in sorted(slices_of_partition):
            if first < until:
                shared |= {widest, path}
            if end > until:
                until, widest = end, path
    return shared


def _check_length(named: LakeFile, table: pa.Table | None, problems: list[str], forgotten: set[date]) -> None:
    if table is None:
        if day_of(named.path) in forgotten:
            return
        problems.append(f"{named.path} is named by {named.manifest} and is not there")
    elif table.num_rows != named.rows:
        problems.append(f"{named.path} holds {table.num_rows} rows, its manifest says {named.rows}")


def _rows(path: str, table: pa.Table, topic: str) -> Iterator[Row]:
    columns = {name: _plain_column(name, table.column(name)) for name in _TRADE_COLUMNS}
    hour = _PARTITIONED.search(f"/{path}")
    wanted_hour = f"{hour[1]}T{hour[2]}" if hour else ""
    for event_id, market, symbol, stream, *values, partition, offset in zip(*columns.values(), strict=True):
        trade = CheckedTrade(stream_of(market, symbol, stream), *values)
        yield Row(trade, (topic, partition, offset), _fault(event_id, trade, wanted_hour))


def _fault(event_id: str, trade: CheckedTrade, hour: str) -> str:
    if event_id != trade.event_id:
        return f"its event_id is {event_id}"
    own_hour = _hour(trade.time_us // _HOUR_US)
    return "" if own_hour == hour else f"it is in hour {hour or 'of no partition'}, its trade time is in {own_hour}"


_HOURS: dict[int, str] = {}


def _hour(hours: int) -> str:
    if hours not in _HOURS:
        stamp = pa.scalar(hours * 3600, pa.timestamp("s")).as_py()
        _HOURS[hours] = stamp.strftime("%Y-%m-%dT%H")
    return _HOURS[hours]


def _plain_column(name: str, column: pa.ChunkedArray) -> list[Any]:
    """Return a column as Python values: decimals unscaled, times in microseconds."""
    if name in _DECIMALS:
        return unscaled(column.cast(pa.decimal128(28, 8)))
    if name in _TIMES:
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def unscaled(column: pa.ChunkedArray) -> list[int]:
    """Return decimals in units of their last place, read from Arrow's 16 little-endian bytes
    without a Decimal.
    """
    numbers: list[int] = []
    for chunk in column.chunks:
        raw = chunk.buffers()[1].to_pybytes() if len(chunk) else b""
        first = chunk.offset
        numbers += [
            int.from_bytes(raw[at : at + 16], "little", signed=True)
            for at in range(first * 16, (first + len(chunk)) * 16, 16)
        ]
    return numbers


def tick_ids(
    lake: LakeReader, bronze: BronzeManifests, problems: list[str]
) -> Iterator[tuple[str, tuple[str, int, int]]]:
    """Yield (event id, place) of every tick in the named files, a re-read record once.

    Otherwise like `trade_rows`.
    """

    def read(named: LakeFile) -> Iterator[tuple[str, tuple[str, int, int]]]:
        table = lake.table(named.path, ["event_id", "kafka_partition", "kafka_offset"])
        _check_length(named, table, problems, bronze.forgotten)
        if table is not None:
            rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
            yield from ((event, (bronze.topic, partition, offset)) for event, partition, offset in rows)

    yield from _without_rereads(bronze, read, lambda row: row)
