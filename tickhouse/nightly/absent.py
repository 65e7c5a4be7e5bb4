"""Ids that the lake cannot have, by the gap ledger and the dead letters, as a table beside silver.

Written before the audit, so that the audit of a commit needs nothing but the commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq

from tickhouse.days import ONE_DAY, Days
from tickhouse.reconcile import ledger, letters, ranges
from tickhouse.reconcile.base import rejected_ids
from tickhouse.reconcile.kafka import Topics
from tickhouse.reconcile.lake import Lake
from tickhouse.reconcile.model import StreamKey
from tickhouse.reconcile.ranges import Range
from tickhouse.settings import Settings

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("market", "symbol", "stream")),
        *((name, pa.int64()) for name in ("first_id", "last_id")),
        ("reason", pa.string()),
    ]
)
# Ids by reason and stream.
Absent = Mapping[str, Mapping[StreamKey, list[Range]]]


def known_absent(settings: Settings) -> Absent:
    """Return the ids of gaps that are not filled (`gap`) and of rejected events (`rejected`), by reason and stream.

    Raises:
        StoreUnavailable: Kafka does not answer.
    """
    topics = Topics(settings.kafka_bootstrap_servers)
    try:
        gaps = ledger.read([], topics.scan("crypto.gaps")).gap_ranges("open", "unfillable")
        rejected = rejected_ids(letters.read(topics.scan("dlq.producer")).reasons)
    finally:
        topics.close()
    return {"gap": gaps, "rejected": {key: ranges.of_ids(ids) for key, ids in rejected.items()}}


def absent_of(spans: Mapping[StreamKey, Range], reasons: Absent) -> pa.Table:
    """Return the absent ids within each stream's span, no id twice (pure).

    Args:
        spans: First and last id of each stream in the lake.
        reasons: Absent ids by reason; the first reason of an id counts.
    """
    rows = []
    for key in sorted(spans):
        told: list[Range] = []
        for reason, by_stream in reasons.items():
            fresh = ranges.subtract(_within(by_stream.get(key, []), spans[key]), told)
            rows += [(*key, low, high, reason) for low, high in fresh]
            told = ranges.merged([*told, *fresh])
    return pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA)


def _within(found: Iterable[Range], span: Range) -> list[Range]:
    low, high = span
    return [(max(low, first), min(high, last)) for first, last in found if first <= high and last >= low]


def spans_of(lake: Lake, day: date) -> dict[StreamKey, Range]:
    """Return the first and last id of each stream in silver of a day.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    spans: dict[StreamKey, Range] = {}
    for path in lake.files(f"silver/trades/date={day}"):
        table = lake.table(path, ["market", "symbol", "stream", "trade_id"])
        bounds = [] if table is None else table.group_by(["market", "symbol", "stream"]).aggregate(
            [("trade_id", "min"), ("trade_id", "max")]
        ).to_pylist()  # fmt: skip
        for row in bounds:
            key = StreamKey(row["market"], row["symbol"], row["stream"])
            low, high = spans.get(key, (row["trade_id_min"], row["trade_id_max"]))
            spans[key] = (min(low, row["trade_id_min"]), max(high, row["trade_id_max"]))
    return spans


def tables_of(lake: Lake, days: Days, reasons: Absent) -> dict[str, pa.Table]:
    """Return the absent ids of each day by path; a day begins after the last id of the day before.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    found: dict[str, pa.Table] = {}
    before = spans_of(lake, days.first - ONE_DAY)
    for day in days:
        spans = spans_of(lake, day)
        whole = {key: (before[key][1] + 1 if key in before else low, high) for key, (low, high) in spans.items()}
        found[f"silver/absent/date={day}/part-0.parquet"] = absent_of(whole, reasons)
        before = before | spans
    return found


def to_parquet(table: pa.Table) -> bytes:
    """Return the table as Parquet: the same bytes for the same rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
