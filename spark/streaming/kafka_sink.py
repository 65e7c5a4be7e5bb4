"""Write enriched trades and dead letters to Kafka.

Delivery guarantee: at least once. A repeated batch writes the same bytes under the same keys again,
because enrichment is a pure function of the record. Consumers upsert by event id. The key of a dead
letter is its topic, partition and offset.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import cache, lru_cache

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import to_avro

from common.topics import ENRICHED_TRADES, SPARK_DEAD_LETTERS
from spark.transforms import enrich

_HEADERS_TYPE = "array<struct<key:string,value:binary>>"


def enriched_or_dead(decoded: DataFrame, schema_id: int, schema: str) -> DataFrame:
    """Return one Kafka record per input record: an enriched trade or a dead letter.

    Args:
        decoded: Trades, decoded by `spark.streaming.decode.decode`.
        schema_id: Registry id of `schema`.
        schema: The schema of EnrichedTrade as text.
    """
    trades = enrich(decoded.select("record.*", *_undecoded_fields()))
    fields = tuple(name for name in trades.columns if not name.startswith("dead_"))
    return trades.select(*_kafka_columns(fields, schema_id, schema))


@lru_cache(maxsize=8)
def _kafka_columns(fields: tuple[str, ...], schema_id: int, schema: str) -> tuple[Column, ...]:
    frame = F.lit(struct.pack(">bI", 0, schema_id))
    value = F.concat(frame, to_avro(F.struct(*(F.col(name) for name in fields)), schema))
    key = F.concat_ws(":", "exchange", F.upper("market"), "symbol").cast("binary")
    is_good = F.col("dead_reason").isNull()
    return (
        F.when(is_good, ENRICHED_TRADES).otherwise(SPARK_DEAD_LETTERS).alias("topic"),
        F.when(is_good, key).otherwise(F.col("dead_key")).alias("key"),
        F.when(is_good, value).otherwise(F.col("dead_value")).alias("value"),
        F.when(~is_good, F.col("dead_headers")).alias("headers"),
    )


def dead_letters(decoded: DataFrame) -> DataFrame:
    """Return a Kafka record for each value that did not decode.

    It holds the bytes of the value, where it came from, and the reason.
    """
    bad = decoded.where(F.col("reason").isNotNull()).select(*_undecoded_fields())
    topic = F.lit(SPARK_DEAD_LETTERS).alias("topic")
    return bad.select(topic, *(F.col(f"dead_{name}").alias(name) for name in ("key", "value", "headers")))


def refused_letters(records: DataFrame, topic: str, reasons: Mapping[tuple[int, int], tuple[str, str]]) -> DataFrame:
    """Return a Kafka record for each record of a batch that a store refused.

    Args:
        records: The records of Kafka.
        topic: The topic of the dead letters.
        reasons: Reason and detail by partition and offset.
    """
    rows = [(*place, *why) for place, why in sorted(reasons.items())]
    schema = "partition int, offset long, reason string, detail string"
    refused = records.join(F.broadcast(records.sparkSession.createDataFrame(rows, schema)), ["partition", "offset"])
    letters = refused.select(*_dead_letter_fields(F.col("detail")))
    return letters.select(
        F.lit(topic).alias("topic"), *(F.col(f"dead_{name}").alias(name) for name in ("key", "value", "headers"))
    )


@cache
def _undecoded_fields() -> list[Column]:
    return _dead_letter_fields(F.concat(F.lit("value bytes: "), F.coalesce(F.length("value"), F.lit(0)).cast("string")))


def _dead_letter_fields(detail: Column) -> list[Column]:
    place = {name: F.col(name).cast("string") for name in ("topic", "partition", "offset")}
    texts = {**place, "reason": F.col("reason"), "detail": detail}
    headers = [F.struct(F.lit(name).alias("key"), text.cast("binary").alias("value")) for name, text in texts.items()]
    return [
        F.concat_ws("-", *place.values()).cast("binary").alias("dead_key"),
        F.col("value").alias("dead_value"),
        F.array(*headers).cast(_HEADERS_TYPE).alias("dead_headers"),
        F.col("reason").alias("dead_reason"),
    ]


def send(records: DataFrame, bootstrap_servers: str) -> None:
    """Write Kafka records and return when the broker has all of them (acks=all, idempotent)."""
    (
        records.write.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("kafka.acks", "all")
        .option("kafka.enable.idempotence", "true")
        .option("kafka.compression.type", "lz4")
        # A small batch does not wait, because the end of its task flushes. With 5 ms and 16 KiB the
        # broker got record batches of 65 trades.
        .option("kafka.linger.ms", "20")
        .option("kafka.batch.size", "131072")
        .option("includeHeaders", "true")
        .save()
    )
