"""The streaming queries: what each reads, how often, and what it does with a micro-batch.

Each query has its own checkpoint, so a store that is down stalls only its own query.

No query has a watermark. A watermark is one clock for all symbols, so a replay of 2019 beside live
trades would count as late and be dropped. Instead, each store keeps the ids that it holds
(docs/adr/0004-no-watermark.md).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx
import structlog
from pyspark.sql import DataFrame

from common.clients.avro import AvroDecoder, registry_lookup
from common.clients.geode import Geode
from common.logs import correlated
from common.settings import Settings
from common.topics import CANDLES, ENRICHED_TRADES, SERIES_DEAD_LETTERS, TICKS, TRADES
from schemas.loading import canonical_text, load, strip_logical_types
from spark.checkpoints.driver_lease import stream_folder
from spark.checkpoints.folder import OffsetRanges, records_of
from spark.checkpoints.recovery import checkpoint_folder
from spark.checkpoints.start_offsets import read_note
from spark.lake_target import lake_target
from spark.streaming.candle_sink import CandleStore, touched_bars
from spark.streaming.candle_topic import CandleTopic
from spark.streaming.column_sums import partial_sums_task
from spark.streaming.decode import SubjectSchemas, decode, reject_out_of_range
from spark.streaming.kafka_sink import dead_letters, enriched_or_dead, refused_letters, send
from spark.streaming.lake_sink import good_or_null, write_batch, write_files
from spark.streaming.lake_trades import write_trades
from spark.streaming.live_candles import LiveCandles
from spark.streaming.new_ids import FreshPartials
from spark.streaming.partial_sums import PARTIAL_SQL, Ranges, SymbolStream, TradeReader, mark_fresh, stream_of
from spark.streaming.redis_sink import LatestTrade, LatestTradeStore, advance, seen_ranges
from spark.streaming.series_points import POINT_SQL, points_task
from spark.streaming.series_sink import SeriesStore, points_of, written_text
from spark.streaming.statistics_sink import StatisticsStore, newest_bars
from spark.streaming.store_retry import retry_until_up

log = structlog.get_logger("spark.streaming.queries")

# A batch of the lake, the largest one, takes 1 to 5 s.
SLOW_BATCH_S = 10.0
# From this size on a batch is read by one task per topic partition. A live batch is far smaller,
# and one task costs it a third of what three do.
FEWEST_IN_PARALLEL = 20_000

BatchWork = Callable[[DataFrame, int], None]


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """One streaming query.

    Attributes:
        name: Name of the query, of its checkpoint and of its scheduler pool.
        topic: The topic that it reads.
        every: Trigger interval.
        most_records: Records of the largest micro-batch; this bounds memory while a query catches
            up.
        run: Does the work of one micro-batch of Kafka records. It may be called again with the same
            batch.
    """

    name: str
    topic: str
    every: str
    most_records: int
    run: BatchWork


class RecordDecoder:
    """Decodes records of one topic with the schemas that are registered when a batch starts.

    Args:
        settings: Address of the registry.
        topic: The topic; its subject is `<topic>-value`.
        reader: The reader schema.
        is_trade: Whether the records are trades.
    """

    def __init__(self, settings: Settings, topic: str, reader: dict[str, Any], *, is_trade: bool) -> None:
        self._registry = SubjectSchemas(settings.schema_registry_url, f"{topic}-value", json.dumps(reader))
        self._is_trade = is_trade

    def __call__(self, records: DataFrame) -> DataFrame:
        """Return the decoded batch, with the columns of `spark.streaming.decode.decode`.

        Raises:
            ServiceNotReady: The registry does not answer.
        """
        decoded = decode(records, self._registry.schemas())
        return reject_out_of_range(decoded) if self._is_trade else decoded


def streaming_queries(settings: Settings, stop: threading.Event) -> list[StreamQuery]:
    """Return all queries of the application; those of an optional store run only where it is.

    Args:
        settings: Addresses.
        stop: Set when the driver is asked to stop; ends the retries of a store that is down.
    """

    def query(name: str, topic: str, every: str, most_records: int, work: BatchWork) -> StreamQuery:
        checkpoint = checkpoint_folder(stream_folder(settings), name)

        def run(batch: DataFrame, batch_id: int) -> None:
            is_large = records_of(checkpoint, topic, batch_id) >= FEWEST_IN_PARALLEL
            records = batch if is_large else batch.coalesce(1)
            with correlated(f"{name}:{batch_id}", stream__query=name, stream__batch_id=batch_id):
                started = time.monotonic()
                retry_until_up(lambda: work(records, batch_id), query=name, stop=stop)
                _log_duration(time.monotonic() - started, is_lake=name.startswith("lake_"))

        return StreamQuery(name, topic, every, most_records, run)

    return [
        query("candles", TRADES, "300 milliseconds", 100_000, candles(settings)),
        query("last", TRADES, "300 milliseconds", 100_000, last(settings)),
        query("enriched", TRADES, "1 second", 100_000, enriched(settings)),
        query("lake_trades", TRADES, "10 seconds", 400_000, lake(settings, "trades")),
        query("lake_ticks", TICKS, "10 seconds", 400_000, lake(settings, "ticks")),
        query("statistics", CANDLES, "1 second", 50_000, statistics(settings)),
        query("series", TRADES, "500 milliseconds", 100_000, series(settings)),
    ]


def _log_duration(seconds: float, *, is_lake: bool) -> None:
    """Log how long a batch took: each batch of the lake, of the other queries the slow ones.

    The other queries have up to three batches per second, and their batches are small.
    """
    took = {"event.duration": int(seconds * 1e9)}
    if seconds > SLOW_BATCH_S:
        log.warning("slow_batch", **took)
    elif is_lake:
        log.info("batch", **took)


class TradeReaders:
    """Makes readers of trades with the schemas that are registered when a batch starts."""

    def __init__(self, settings: Settings) -> None:
        self._registry = SubjectSchemas(settings.schema_registry_url, f"{TRADES}-value", canonical_text("trade"))

    def __call__(self) -> TradeReader:
        """Return a reader.

        Raises:
            ServiceNotReady: The registry does not answer.
        """
        texts = self._registry.schemas().by_id
        return TradeReader({number: strip_logical_types(json.loads(text)) for number, text in texts.items()})


class PartialSums:
    """Computes the partial sums of a batch of trades in Spark's tasks (`column_sums.py`).

    Args:
        settings: Address of the registry.
        is_newest_only: Whether the newest minute of each stream is enough, without checksums.
    """

    def __init__(self, settings: Settings, *, is_newest_only: bool = False) -> None:
        self._readers, self._is_newest_only = TradeReaders(settings), is_newest_only

    def __call__(self, batch: DataFrame, seen: Mapping[SymbolStream, Ranges]) -> list[dict[str, Any]]:
        """Return rows of `spark.streaming.partial_sums.PARTIAL_ARROW`.

        Raises:
            ServiceNotReady: The registry does not answer.
        """
        task = partial_sums_task(self._readers(), seen, is_newest_only=self._is_newest_only)
        rows: list[dict[str, Any]] = batch.select("value").mapInArrow(task, PARTIAL_SQL).toArrow().to_pylist()
        return rows


def candles(settings: Settings) -> BatchWork:
    """Return the function that query `candles` runs per batch.

    It merges trades into PostgreSQL and sends the touched bars to `crypto.candles` and to charts.
    """
    sums = PartialSums(settings)
    store = CandleStore(settings.database_dsn("stream"))
    topic, fresh = CandleTopic(settings), FreshPartials(sums, store.applied)
    live = LiveCandles(settings.redis_dsn())

    def work(batch: DataFrame, _: int) -> None:
        rows = fresh(batch)
        store.apply([row for row in rows if row["is_fresh"]])
        bars = store.bars(touched_bars(rows))
        topic.send(bars)
        live.send(bars)

    return work


def last(settings: Settings) -> BatchWork:
    """Return the function that query `last` runs per batch.

    It keeps the latest price and the 1-minute average of each stream in Redis.
    """
    sums = PartialSums(settings, is_newest_only=True)
    store = LatestTradeStore(settings.redis_dsn())

    def work(batch: DataFrame, _: int) -> None:
        rows = sums(batch, {})
        before = store.load({stream_of(row) for row in rows})
        # Nearly all batches are new, or come again as a whole. Only one of which Redis has some
        # trades but not all is summed a second time.
        fresh = mark_fresh(rows, seen_ranges(before))
        store.store(before, advance_all(before, sums(batch, seen_ranges(before)) if fresh is None else fresh))

    return work


def advance_all(
    before: Mapping[SymbolStream, LatestTrade], rows: list[dict[str, Any]]
) -> dict[SymbolStream, LatestTrade]:
    """Return the state of each stream after a batch of partial sums (pure)."""
    by_stream: dict[SymbolStream, list[dict[str, Any]]] = {}
    for row in rows:
        by_stream.setdefault(stream_of(row), []).append(row)
    after = dict(before)
    for stream, of_stream in by_stream.items():
        state = advance(before.get(stream), of_stream)
        if state is not None:
            after[stream] = state
    return after


def statistics(settings: Settings) -> BatchWork:
    """Return the function that query `statistics` runs per batch.

    It keeps the rolling 24-hour statistics in Geode. A batch has few and small records, so the
    driver decodes them.
    """
    decoder = AvroDecoder(registry_lookup(settings.schema_registry_url, httpx.Client(timeout=5.0, trust_env=False)))
    store = StatisticsStore(Geode.of(settings, "writer"))

    def work(batch: DataFrame, _: int) -> None:
        values: list[bytes | None] = batch.select("value").toArrow()["value"].to_pylist()
        store.apply(newest_bars(values, decoder))

    return work


def enriched(settings: Settings) -> BatchWork:
    """Return the function that query `enriched` runs per batch.

    It sends enriched trades to `crypto.trades.enriched`, and undecodable values to `dlq.spark`.
    """
    decoder = RecordDecoder(settings, TRADES, load("trade"), is_trade=True)
    schema = canonical_text("enriched_trade")
    registry = SubjectSchemas(settings.schema_registry_url, f"{ENRICHED_TRADES}-value", schema)

    def work(batch: DataFrame, _: int) -> None:
        send(enriched_or_dead(decoder(batch), registry.writer_id(), schema), settings.kafka_bootstrap_servers)

    return work


def series(settings: Settings) -> BatchWork:
    """Return the function that query `series` runs per batch.

    It writes one point per trade to InfluxDB, and sends the trades that InfluxDB cannot hold to
    `dlq.series`.
    """
    readers, store = TradeReaders(settings), SeriesStore(settings)

    def work(batch: DataFrame, batch_id: int) -> None:
        places = batch.select("value", "partition", "offset")
        written = store.write(points_of(places.mapInArrow(points_task(readers()), POINT_SQL).toArrow()))
        if written.refused:
            reasons = {(one.point.partition, one.point.offset): (one.reason, one.detail) for one in written.refused}
            send(refused_letters(batch, SERIES_DEAD_LETTERS, reasons), settings.kafka_bootstrap_servers)
        if written.refused or written.clashes:
            log.warning("series_batch", batch=batch_id, **written_text(written))

    return work


def lake(settings: Settings, table: str) -> BatchWork:
    """Return the function that queries `lake_trades` and `lake_ticks` run per batch.

    It writes decoded records to bronze, and ticks that do not decode to `dlq.spark`. Trades that do
    not decode are sent there by query `enriched`.
    """
    is_trade = table == "trades"
    topic = TRADES if is_trade else TICKS
    readers, decoder = TradeReaders(settings), RecordDecoder(settings, topic, load("tick"), is_trade=False)
    checkpoint = checkpoint_folder(stream_folder(settings), f"lake_{table}")
    target = lake_target(settings, table)

    def work(batch: DataFrame, batch_id: int) -> None:
        note = read_note(checkpoint)
        records, of_topic = batch, target
        if note is not None:
            records = drop_held_offsets(batch, note.skip)
            of_topic = replace(target, topic_id=note.topic_id, generation=note.generation)
        if is_trade:
            places = records.select("value", "partition", "offset")
            written = write_batch(places, write_trades(of_topic, readers()), batch_id, of_topic)
        else:
            decoded = decoder(records)
            written = write_batch(good_or_null(decoded), write_files(of_topic), batch_id, of_topic)
            if written.bad_rows:
                send(dead_letters(decoded), settings.kafka_bootstrap_servers)
        if written.bad_rows:
            log.warning("dead_letters", table=table, records=written.bad_rows)
        log.info("lake_batch", table=table, batch=batch_id, rows=written.rows, bad_rows=written.bad_rows)

    return work


def drop_held_offsets(records: DataFrame, held: Mapping[int, OffsetRanges]) -> DataFrame:
    """Return the records whose offsets bronze does not hold already.

    Args:
        records: Records of Kafka.
        held: Ranges [first, next) of offsets in bronze, by partition.
    """
    for part, spans in held.items():
        for first, until in spans:
            records = records.where(f"NOT (partition = {part} AND offset >= {first} AND offset < {until})")
    return records
