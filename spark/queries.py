"""The streaming queries: what each reads, how often, and what it does with a micro-batch.

Each concern is a query of its own with its own checkpoint, so a store that is down stalls its own query alone.

No query has a watermark. A watermark is one clock for all symbols: a replay of 2019 beside live trades would be late
as a whole and be dropped. Each store keeps the ids it holds instead (docs/adr/0004-no-watermark.md).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pyspark.sql import DataFrame

from schemas.loading import canonical_text, load, strip_logical_types
from spark.candle_sink import CandleStore, touched
from spark.candle_topic import CandleTopic
from spark.decode import Registry, decode, reject_out_of_range
from spark.kafka_sink import ENRICHED_TOPIC, dead_letters, enriched_or_dead, send
from spark.lake_sink import LakeTarget, write_batch
from spark.redis_sink import Last, LastStore, advance, seen_ranges
from spark.retry import until_up
from spark.sums import PARTIAL_SQL, Ranges, Reader, StreamKey, summing
from tickhouse.settings import Settings

log = structlog.get_logger("spark.queries")

TRADES, TICKS = "crypto.trades", "crypto.ticks"

Batch = Callable[[DataFrame, int], None]


@dataclass(frozen=True, slots=True)
class Query:
    """One streaming query.

    Attributes:
        every: Trigger interval.
        most_records: Largest micro-batch; bounds memory when a query catches up.
        is_parallel: Whether a batch is spread over the cores. The batches of the others are small: one task without a
            shuffle costs half of what six do, and still decodes more than 50,000 records/s.
        run: Does the work of one micro-batch of Kafka records; may be called again with the same batch.
    """

    name: str
    topic: str
    every: str
    most_records: int
    is_parallel: bool
    run: Batch


class Decoder:
    """Decode one topic's records with the schemas registered when the batch starts.

    Args:
        settings: Where the registry is.
        topic: The topic; its subject is `<topic>-value`.
        reader: The schema to read into.
        is_trade: Whether the records are trades.
    """

    def __init__(self, settings: Settings, topic: str, reader: dict[str, Any], *, is_trade: bool) -> None:
        self._registry = Registry(settings.schema_registry_url, f"{topic}-value", json.dumps(reader))
        self._is_trade = is_trade

    def __call__(self, records: DataFrame) -> DataFrame:
        """Return `spark.decode.decode` of the batch.

        Raises:
            ServiceNotReady: The registry does not answer.
        """
        decoded = decode(records, self._registry.schemas())
        return reject_out_of_range(decoded) if self._is_trade else decoded


def streaming_queries(settings: Settings, stop: threading.Event) -> list[Query]:
    """Return every query of the application."""

    def query(name: str, topic: str, every: str, most_records: int, work: Batch, *, is_parallel: bool = False) -> Query:
        def run(batch: DataFrame, batch_id: int) -> None:
            records = batch if is_parallel else batch.coalesce(1)
            until_up(lambda: work(records, batch_id), query=name, stop=stop)

        return Query(name, topic, every, most_records, is_parallel, run)

    return [
        query("candles", TRADES, "300 milliseconds", 100_000, candles(settings)),
        query("last", TRADES, "300 milliseconds", 100_000, last(settings)),
        query("enriched", TRADES, "1 second", 100_000, enriched(settings)),
        query("lake_trades", TRADES, "10 seconds", 400_000, lake(settings, "trades"), is_parallel=True),
        query("lake_ticks", TICKS, "10 seconds", 400_000, lake(settings, "ticks")),
    ]


class Summer:
    """Partial sums of a batch of trades, by a function in its tasks (`spark.sums`)."""

    def __init__(self, settings: Settings) -> None:
        self._registry = Registry(settings.schema_registry_url, f"{TRADES}-value", canonical_text("trade"))

    def __call__(self, batch: DataFrame, seen: Mapping[StreamKey, Ranges]) -> list[dict[str, Any]]:
        """Return rows of `spark.sums.PARTIAL_ARROW`.

        Raises:
            ServiceNotReady: The registry does not answer.
        """
        texts = self._registry.schemas().by_id
        reader = Reader({number: strip_logical_types(json.loads(text)) for number, text in texts.items()})
        rows: list[dict[str, Any]] = (
            batch.select("value").mapInArrow(summing(reader, seen), PARTIAL_SQL).toArrow().to_pylist()
        )
        return rows


def candles(settings: Settings) -> Batch:
    """Merge trades into 1-minute candles in PostgreSQL and send the touched bars to `crypto.candles`."""
    sums = Summer(settings)
    store = CandleStore(settings.database_dsn("stream"))
    topic = CandleTopic(settings)

    def work(batch: DataFrame, _: int) -> None:
        rows = sums(batch, store.seen())
        store.apply([row for row in rows if row["is_fresh"]])
        topic.send(store.bars(touched(rows)))

    return work


def last(settings: Settings) -> Batch:
    """Keep the latest price and the minute's average of each stream in Redis."""
    sums = Summer(settings)
    store = LastStore(settings.redis_dsn())

    def work(batch: DataFrame, _: int) -> None:
        before = store.load()
        store.store(before, advance_all(before, sums(batch, seen_ranges(before))))

    return work


def advance_all(before: Mapping[StreamKey, Last], rows: list[dict[str, object]]) -> dict[StreamKey, Last]:
    """Return every stream's state after a batch of partials (pure)."""
    by_stream: dict[StreamKey, list[dict[str, object]]] = {}
    for row in rows:
        by_stream.setdefault(StreamKey(str(row["market"]), str(row["symbol"]), str(row["stream"])), []).append(row)
    after = dict(before)
    for stream, of_stream in by_stream.items():
        state = advance(before.get(stream), of_stream)
        if state is not None:
            after[stream] = state
    return after


def enriched(settings: Settings) -> Batch:
    """Enrich trades into `crypto.trades.enriched`; what does not decode goes to `dlq.spark`."""
    decoder = Decoder(settings, TRADES, load("trade"), is_trade=True)
    schema = canonical_text("enriched_trade")
    registry = Registry(settings.schema_registry_url, f"{ENRICHED_TOPIC}-value", schema)

    def work(batch: DataFrame, _: int) -> None:
        send(enriched_or_dead(decoder(batch), registry.writer_id(), schema), settings.kafka_bootstrap_servers)

    return work


def lake(settings: Settings, table: str) -> Batch:
    """Write decoded records to bronze; ticks that do not decode go to `dlq.spark` (trades: see `enriched`)."""
    is_trade = table == "trades"
    topic = TRADES if is_trade else TICKS
    decoder = Decoder(settings, topic, load("trade" if is_trade else "tick"), is_trade=is_trade)
    target = LakeTarget(
        endpoint=settings.lakefs_endpoint,
        access_key_id=settings.lakefs_access_key_id,
        secret_access_key=settings.lakefs_secret_access_key.get_secret_value(),
        repository=settings.lake_repository,
        branch="ingest",
        table=table,
        topic=topic,
        time_columns=("trade_time",) if is_trade else ("event_time", "ingest_time"),
    )

    def work(batch: DataFrame, batch_id: int) -> None:
        decoded = decoder(batch)
        written = write_batch(decoded, batch_id, target)
        if written.bad_rows and not is_trade:
            send(dead_letters(decoded), settings.kafka_bootstrap_servers)
        log.info("lake_batch", table=table, batch=batch_id, rows=written.rows, bad_rows=written.bad_rows)

    return work
