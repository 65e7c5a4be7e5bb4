"""Ask one system about one event; every function returns JSON-ready values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow.compute as pc
from lakefs import Repository
from lakefs.exceptions import NotFoundException

from common.clients import gap_ledger, latest_prices
from common.clients.avro import AvroDecoder, Undecodable
from common.clients.kafka import TopicLog, TopicRecord
from common.clients.lake_files import BronzeFile, BronzeListing, RefFiles
from common.clients.lakefs import lake_errors
from common.clients.lakefs import repository as lake_repository
from common.days import Days
from common.event_ids import StreamName
from common.intervals import IntervalSet
from common.kafka_partitions import partition_of
from common.settings import Settings
from common.topics import PRODUCER_DEAD_LETTERS

Say = Callable[[str], None]
_SLICE = re.compile(r"-(\d+)-(\d+)-(\d+)\.parquet$")


def copies(kafka: TopicLog, decoder: AvroDecoder, topic: str, stream: StreamName, event: str) -> list[dict[str, Any]]:
    """Return every copy of an event in a topic, reading only the partition of its key.

    The id is text inside the Avro bytes, so only records that contain it are decoded.
    """
    bounds = kafka.bounds(topic)
    partition = partition_of(stream.kafka_key, len(bounds))
    _, end = bounds[partition]
    needle = event.encode()
    found = []
    for record in kafka.records(topic, until={partition: end}):
        if needle in (record.value or b""):
            found += list(_copy(record, decoder, event))
    return found


def _copy(record: TopicRecord, decoder: AvroDecoder, event: str) -> Iterator[dict[str, Any]]:
    try:
        fields = decoder.decode(record.value)
    except Undecodable:
        return
    if fields.get("event_id") != event:
        return
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    values: dict[str, Any] = {"source": fields.get("source"), "raw": fields.get("raw")}
    if "price" in fields and "trade_time" in fields:
        values = trade_document(fields) | values
    yield place | {"written_at_ms": record.timestamp_ms} | {name: v for name, v in values.items() if v is not None}


def trade_document(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a decoded trade as JSON-ready values.

    Prices are plain digits; the time is given in µs and as text.
    """
    price, qty, time_us = fields["price"], fields["qty"], fields["trade_time"]
    return {
        "price": _decimal_text(price),
        "qty": _decimal_text(qty),
        "side": fields["side"],
        "trade_time_us": time_us,
        "trade_time": datetime.fromtimestamp(time_us // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "is_sentinel": price <= 0 or qty <= 0,
    }


def _decimal_text(unscaled: int) -> str:
    return format(Decimal(unscaled).scaleb(-8), "f")


def dead_letters(kafka: TopicLog, event: str) -> list[dict[str, Any]]:
    """Return the event's dead letters: reason, detail and source."""
    return [
        {"partition": record.partition, "offset": record.offset, **record.headers}
        for record in kafka.records(PRODUCER_DEAD_LETTERS)
        if record.key == event.encode()
    ]


def ledger_state(kafka: TopicLog, stream: StreamName, number: int) -> dict[str, Any]:
    """Return which writers have seen the id, and the gaps that contain it."""
    ledger = [value for value in gap_ledger.read_ledger(kafka) if gap_ledger.stream_of(value) == stream]
    gaps = [value for value in gap_ledger.read_gaps(kafka) if gap_ledger.stream_of(value) == stream]
    # A writer's snapshot may be in several records: its head and parts.
    writers = {value["writer"] for value in ledger if number in IntervalSet(gap_ledger.ids_of(value, "seen"))}
    return {"seen_by": sorted(writers), "gaps": [gap for gap in gaps if gap["first_id"] <= number <= gap["last_id"]]}


def lake_files(
    lake: RefFiles, table: str, event: str, kafka: list[dict[str, Any]], say: Say, *, day: date | None = None
) -> list[dict[str, Any]]:
    """Return the files of bronze that hold the event, each with the row's Kafka offset.

    The offset in Kafka shows which files may hold it. Without a copy in Kafka every file is read.

    Args:
        lake: The ref.
        table: trades or ticks.
        event: Its id.
        kafka: Its copies in Kafka.
        say: Receives lines of progress.
        day: The event's day, if it is known: then only manifests of that day are read.
    """
    bronze = lake.bronze(table, None if day is None else Days(day, day))
    for line in bronze.notes():
        say(f"lake: {line}")
    candidates = [named for named in bronze.files if may_hold(named.path, kafka)]
    found: list[dict[str, Any]] = []
    for number, named in enumerate(candidates, start=1):
        say(f"lake: file {number} of {len(candidates)}")
        found += _rows(lake, bronze, named, event)
    return found


def may_hold(path: str, kafka: list[dict[str, Any]]) -> bool:
    """Return whether a file named `<topic>-<partition>-<from>-<until>.parquet` may hold a copy."""
    match = _SLICE.search(path)
    if not match or not kafka:
        return True
    partition, start, end = map(int, match.groups())
    return any(copy["partition"] == partition and start <= copy["offset"] < end for copy in kafka)


def _rows(lake: RefFiles, bronze: BronzeListing, named: BronzeFile, event: str) -> Iterator[dict[str, Any]]:
    table = lake.table(named.path, ["event_id", "kafka_partition", "kafka_offset"])
    if table is None:
        return
    rows = table.filter(pc.equal(table["event_id"], event))
    for partition, offset in zip(rows["kafka_partition"].to_pylist(), rows["kafka_offset"].to_pylist(), strict=True):
        place = {"topic": bronze.topic, "partition": partition, "offset": offset}
        yield {"path": named.path, "manifest": named.manifest} | place


def first_commit(settings: Settings, ref: str, path: str, manifest: str = "") -> dict[str, Any] | None:
    """Return the oldest commit of a ref's log that has an object; None if it is not committed yet.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    repository = lake_repository(settings)
    first: dict[str, Any] | None = None
    with lake_errors(settings), suppress(NotFoundException):
        start = _commit_that_names(repository, ref, manifest) if manifest else ref
        for commit in repository.ref(start).log():
            if not repository.ref(commit.id).object(path).exists():
                break
            first = {"commit": commit.id, "message": commit.message, "committed_at_s": commit.creation_date}
    return first


def _commit_that_names(repository: Repository, ref: str, manifest: str) -> str:
    """Return the commit whose metadata names a manifest, in any folder; else the ref.

    The commit that added the manifest is this one or the one before it. The search costs one
    request per 1,000 commits.
    """
    name = manifest.rpartition("/")[2]
    for commit in repository.ref(ref).log(amount=1000):
        if f'{name}"' in (commit.metadata or {}).get("manifests", ""):
            return str(commit.id)
    return ref


def candle(connection: psycopg.Connection[Any], stream: StreamName, number: int, time_us: int | None) -> dict[str, Any]:
    """Return whether the id was applied to the candles, and the bar of its minute if known."""
    applied = connection.execute(
        "SELECT bool_or(seen @> %s::int8) FROM market.trade_ranges WHERE (market, symbol, stream) = (%s, %s, %s)",
        (number, *stream),
    ).fetchone()
    answer: dict[str, Any] = {"is_applied": bool(applied and applied[0])}
    if time_us is not None:
        answer["bar"] = _bar(connection, stream, time_us)
    return answer


def _bar(connection: psycopg.Connection[Any], stream: StreamName, time_us: int) -> dict[str, Any] | None:
    cursor = connection.execute(
        "SELECT open_time, open, high, low, close, volume, trades, agg_trades, open_trade_id, close_trade_id, "
        "updated_at FROM market.candles_1m WHERE (market, symbol, stream) = (%s, %s, %s) "
        "AND open_time = date_trunc('minute', to_timestamp(%s), 'UTC')",
        (*stream, time_us // 10**6),
    )
    row = cursor.fetchone()
    if row is None or cursor.description is None:
        return None
    return {
        column.name: value if isinstance(value, int) else str(value)
        for column, value in zip(cursor.description, row, strict=True)
    }


def redis_state(latest: Mapping[str, str], stream: StreamName, event: str) -> dict[str, Any]:
    """Return whether the event is its stream's latest trade, and which one is."""
    return {
        "key": latest_prices.key_of(stream),
        "is_latest": latest.get("event_id") == event,
        "latest": latest.get("event_id"),
    }
