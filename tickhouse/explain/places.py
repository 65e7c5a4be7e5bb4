"""Where one event is in each system. Every function asks one system and returns JSON-ready values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import psycopg
import pyarrow.compute as pc
from lakefs.exceptions import NotFoundException

from tickhouse.lake.client import lake_errors
from tickhouse.lake.client import repository as lake_repository
from tickhouse.reconcile import latest, ledger, ranges
from tickhouse.reconcile.avro import Decoder, Undecodable
from tickhouse.reconcile.kafka import Record, Topics, partition_of
from tickhouse.reconcile.lake import Bronze, Lake, LakeFile
from tickhouse.reconcile.model import StreamKey, Trade, kafka_key, plain
from tickhouse.reconcile.records import trade_of
from tickhouse.reconcile.trades import minute_text
from tickhouse.settings import Settings

Say = Callable[[str], None]
_SLICE = re.compile(r"-(\d+)-(\d+)-(\d+)\.parquet$")


def copies(topics: Topics, decoder: Decoder, topic: str, key: StreamKey, event: str) -> list[dict[str, Any]]:
    """Return every copy of an event in a topic, reading only the partition of its key.

    The id is text inside the Avro bytes, so only records that contain these bytes are decoded.
    """
    ends = topics.ends(topic)
    partition = partition_of(kafka_key(key).encode(), len(ends))
    needle = event.encode()
    found = []
    for record in topics.scan(topic, {partition: ends[partition]}):
        if needle in (record.value or b""):
            found += list(_copy(record, decoder, event))
    return found


def _copy(record: Record, decoder: Decoder, event: str) -> Iterator[dict[str, Any]]:
    try:
        fields = decoder.decode(record.value)
    except Undecodable:
        return
    if fields.get("event_id") != event:
        return
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    values: dict[str, Any] = {"source": fields.get("source"), "raw": fields.get("raw")}
    if "price" in fields and "trade_time" in fields:
        values = trade_document(trade_of(fields)) | values
    yield place | {"written_at_ms": record.timestamp_ms} | {name: v for name, v in values.items() if v is not None}


def trade_document(trade: Trade) -> dict[str, Any]:
    """Return a trade's figures for people and for JSON."""
    return {
        "price": plain(trade.price),
        "qty": plain(trade.qty),
        "side": trade.side,
        "trade_time_us": trade.time_us,
        "trade_time": minute_text(trade.time_us),
        "is_sentinel": trade.is_sentinel,
    }


def dead_letters(topics: Topics, event: str) -> list[dict[str, Any]]:
    """Return the event's rejections: reason, detail and where it came from."""
    return [
        {"partition": record.partition, "offset": record.offset, **record.headers}
        for record in topics.scan("dlq.producer")
        if record.key == event.encode()
    ]


def ledger_state(topics: Topics, key: StreamKey, number: int) -> dict[str, Any]:
    """Return which writers say they saw the id, and the gaps it lies in."""
    book = ledger.read(topics.scan("crypto.ledger"), topics.scan("crypto.gaps"))
    writers = [
        value["writer"]
        for value in book.writers
        if ledger.stream_of(value) == key and ranges.contains(ranges.merged(map(tuple, value["seen"])), number)
    ]
    gaps = [gap for gap in book.gaps if ledger.stream_of(gap) == key and gap["first_id"] <= number <= gap["last_id"]]
    return {"seen_by": writers, "gaps": gaps}


def lake_files(store: Lake, table: str, event: str, kafka: list[dict[str, Any]], say: Say) -> list[dict[str, Any]]:
    """Return the manifested files that hold the event, each with the row's Kafka offset.

    Kafka's offset says which files can hold it; without a copy in Kafka every file is read.
    """
    bronze = store.bronze(table)
    candidates = [named for named in bronze.files if may_hold(named.path, kafka)]
    found: list[dict[str, Any]] = []
    for number, named in enumerate(candidates, start=1):
        say(f"lake: file {number} of {len(candidates)}")
        found += _rows(store, bronze, named, event)
    return found


def may_hold(path: str, kafka: list[dict[str, Any]]) -> bool:
    """Return whether a file's name, `<topic>-<partition>-<from>-<until>.parquet`, covers one of the copies."""
    match = _SLICE.search(path)
    if not match or not kafka:
        return True
    partition, start, end = map(int, match.groups())
    return any(copy["partition"] == partition and start <= copy["offset"] < end for copy in kafka)


def _rows(store: Lake, bronze: Bronze, named: LakeFile, event: str) -> Iterator[dict[str, Any]]:
    table = store.table(named.path, ["event_id", "kafka_partition", "kafka_offset"])
    if table is None:
        return
    rows = table.filter(pc.equal(table["event_id"], event))
    for partition, offset in zip(rows["kafka_partition"].to_pylist(), rows["kafka_offset"].to_pylist(), strict=True):
        place = {"topic": bronze.topic, "partition": partition, "offset": offset}
        yield {"path": named.path, "manifest": named.manifest} | place


def first_commit(settings: Settings, ref: str, path: str) -> dict[str, Any] | None:
    """Return the oldest commit of a ref's log that has an object; None when it is not committed yet.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    repository = lake_repository(settings)
    first: dict[str, Any] | None = None
    with lake_errors(settings), suppress(NotFoundException):
        for commit in repository.ref(ref).log():
            if not repository.ref(commit.id).object(path).exists():
                break
            first = {"commit": commit.id, "message": commit.message, "committed_at_s": commit.creation_date}
    return first


def candle(connection: psycopg.Connection[Any], key: StreamKey, number: int, time_us: int | None) -> dict[str, Any]:
    """Return whether the id was applied to the candles, and the bar of its minute when that is known."""
    applied = connection.execute(
        "SELECT seen @> %s::int8 FROM market.trade_ranges WHERE (market, symbol, stream) = (%s, %s, %s)", (number, *key)
    ).fetchone()
    answer: dict[str, Any] = {"is_applied": bool(applied and applied[0])}
    if time_us is not None:
        answer["bar"] = _bar(connection, key, time_us)
    return answer


def _bar(connection: psycopg.Connection[Any], key: StreamKey, time_us: int) -> dict[str, Any] | None:
    cursor = connection.execute(
        "SELECT open_time, open, high, low, close, volume, trades, agg_trades, open_trade_id, close_trade_id, "
        "updated_at FROM market.candles_1m WHERE (market, symbol, stream) = (%s, %s, %s) "
        "AND open_time = date_trunc('minute', to_timestamp(%s), 'UTC')",
        (*key, time_us // 10**6),
    )
    row = cursor.fetchone()
    if row is None or cursor.description is None:
        return None
    return {
        column.name: value if isinstance(value, int) else str(value)
        for column, value in zip(cursor.description, row, strict=True)
    }


def redis_state(hashes: Mapping[StreamKey, Mapping[str, str]], key: StreamKey, event: str) -> dict[str, Any]:
    """Return whether the event is its stream's latest, and which one is."""
    found = hashes.get(key, {})
    return {"key": latest.key_of(key), "is_latest": found.get("event_id") == event, "latest": found.get("event_id")}
