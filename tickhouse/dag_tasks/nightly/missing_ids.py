"""The table of missing ids beside silver: ids that the lake cannot have, with the reason.

These ids come from the gap ledger and the dead letters. The table is written before the audit, so
that the audit of a commit reads nothing but the commit. Its folder in the lake is `silver/absent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from common.clients.gap_ledger import gap_ids, read_gaps
from common.clients.kafka import TopicLog
from common.clients.lake_files import RefFiles
from common.days import ONE_DAY, Days
from common.event_ids import StreamName, parse_event_id
from common.intervals import IntervalSet
from common.settings import Settings
from common.topics import PRODUCER_DEAD_LETTERS

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol", "stream")),
        *((name, pa.int64()) for name in ("first_id", "last_id")),
        ("reason", pa.string()),
    ]
)
Range = tuple[int, int]
# Inclusive ranges of missing ids by reason and stream.
MissingIds = Mapping[str, Mapping[StreamName, Iterable[Range]]]


def known_missing(settings: Settings) -> MissingIds:
    """Return the ids of unfilled gaps (`gap`) and of rejected events (`rejected`), per stream.

    Raises:
        StoreUnavailable: Kafka does not answer.
    """
    kafka = TopicLog.for_command(settings.kafka_bootstrap_servers)
    try:
        return {"gap": gap_ids(read_gaps(kafka), ("open", "unfillable")), "rejected": _rejected_ids(kafka)}
    finally:
        kafka.close()


def _rejected_ids(kafka: TopicLog) -> dict[StreamName, IntervalSet]:
    """Return the ids that the keys of dead letters name.

    The key of a frame without a readable id is a hash; it names no id.
    """
    ids: dict[StreamName, IntervalSet] = {}
    for record in kafka.records(PRODUCER_DEAD_LETTERS):
        try:
            stream, number = parse_event_id((record.key or b"").decode("utf-8", "replace"))
        except ValueError:
            continue
        ids.setdefault(stream, IntervalSet()).add(number)
    return ids


def missing_within(spans: Mapping[StreamName, Range], reasons: MissingIds) -> pa.Table:
    """Return the missing ids within the span of each stream, each id once (pure).

    Args:
        spans: First and last id of each stream in the lake.
        reasons: Missing ids by reason. An id with two reasons gets the first one.

    Returns:
        A table with the columns of `SCHEMA`, one row per range of ids.
    """
    rows = []
    for key in sorted(spans):
        listed = IntervalSet()
        for reason, by_stream in reasons.items():
            unlisted = IntervalSet(_clipped(by_stream.get(key, ()), spans[key]))
            unlisted.remove(listed)
            rows += [(*key, low, high, reason) for low, high in unlisted]
            listed.update(unlisted)
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def _clipped(ranges: Iterable[Range], span: Range) -> list[Range]:
    low, high = span
    return [(max(low, first), min(high, last)) for first, last in ranges if first <= high and last >= low]


def spans_of(lake: RefFiles, day: date) -> dict[StreamName, Range]:
    """Return the first and last id of each stream in silver of a day.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    spans: dict[StreamName, Range] = {}
    for path in lake.parquet_files(f"silver/trades/date={day}"):
        table = lake.table(path, ["market", "symbol", "stream", "trade_id"])
        if table is None:
            continue
        bounds = table.group_by(["market", "symbol", "stream"]).aggregate([("trade_id", "min"), ("trade_id", "max")])
        for row in bounds.to_pylist():
            key = StreamName(row["market"], row["symbol"], row["stream"])
            low, high = spans.get(key, (row["trade_id_min"], row["trade_id_max"]))
            spans[key] = (min(low, row["trade_id_min"]), max(high, row["trade_id_max"]))
    return spans


def tables_of(lake: RefFiles, days: Days, reasons: MissingIds) -> dict[str, pa.Table]:
    """Return the table of each day by its path in the lake.

    The ids of a day begin after the last id of the day before.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    tables: dict[str, pa.Table] = {}
    earlier = spans_of(lake, days.first - ONE_DAY)
    for day in days:
        spans = spans_of(lake, day)
        whole = {key: (earlier[key][1] + 1 if key in earlier else low, high) for key, (low, high) in spans.items()}
        tables[f"silver/absent/date={day}/part-0.parquet"] = missing_within(whole, reasons)
        earlier = earlier | spans
    return tables


def missing_ids_parquet(table: pa.Table) -> bytes:
    """Return the table as one Parquet file; equal rows give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
