"""Enriched trades and dead letters back to Kafka.

Delivery guarantee. At least once: a replayed batch writes the same bytes under the same key again (enrichment is a
pure function of the record), and consumers upsert by event id. A dead letter's key is topic, partition and offset.
"""

from __future__ import annotations

import struct

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import to_avro

from spark.transforms import enrich

ENRICHED_TOPIC = "crypto.trades.enriched"
DEAD_LETTER_TOPIC = "dlq.spark"
_HEADERS_TYPE = "array<struct<key:string,value:binary>>"


def enriched_or_dead(decoded: DataFrame, schema_id: int, schema: str) -> DataFrame:
    """Return one Kafka record (topic, key, value, headers) an input record, in one pass over the batch.

    Args:
        decoded: `spark.decode.decode` of trades.
        schema_id: Registry id of `schema`.
        schema: The text of EnrichedTrade.
    """
    trades = enrich(decoded.select("record.*", *_dead_letter_fields()))
    fields = [name for name in trades.columns if not name.startswith("dead_")]
    frame = F.lit(struct.pack(">bI", 0, schema_id))
    value = F.concat(frame, to_avro(F.struct(*(F.col(name) for name in fields)), schema))
    key = F.concat_ws(":", "exchange", F.upper("market"), "symbol").cast("binary")
    is_good = F.col("dead_reason").isNull()
    return trades.select(
        F.when(is_good, ENRICHED_TOPIC).otherwise(DEAD_LETTER_TOPIC).alias("topic"),
        F.when(is_good, key).otherwise(F.col("dead_key")).alias("key"),
        F.when(is_good, value).otherwise(F.col("dead_value")).alias("value"),
        F.when(~is_good, F.col("dead_headers")).alias("headers"),
    )


def dead_letters(decoded: DataFrame) -> DataFrame:
    """Return Kafka records of what did not decode: the original bytes, where they came from, and why."""
    bad = decoded.where(F.col("reason").isNotNull()).select(*_dead_letter_fields())
    topic = F.lit(DEAD_LETTER_TOPIC).alias("topic")
    return bad.select(topic, *(F.col(f"dead_{name}").alias(name) for name in ("key", "value", "headers")))


def _dead_letter_fields() -> list[Column]:
    place = {name: F.col(name).cast("string") for name in ("topic", "partition", "offset")}
    detail = F.concat(F.lit("value bytes: "), F.coalesce(F.length("value"), F.lit(0)).cast("string"))
    texts = {**place, "reason": F.col("reason"), "detail": detail}
    headers = [F.struct(F.lit(name).alias("key"), text.cast("binary").alias("value")) for name, text in texts.items()]
    return [
        F.concat_ws("-", *place.values()).cast("binary").alias("dead_key"),
        F.col("value").alias("dead_value"),
        F.array(*headers).cast(_HEADERS_TYPE).alias("dead_headers"),
        F.col("reason").alias("dead_reason"),
    ]


def send(records: DataFrame, bootstrap_servers: str) -> None:
    """Write Kafka records; returns when the broker has them all (acks=all, idempotent)."""
    (
        records.write.format("kafka")
        .option("kafka.bootstrap.servers", bootstrap_servers)
        .option("kafka.acks", "all")
        .option("kafka.enable.idempotence", "true")
        .option("kafka.compression.type", "lz4")
        .option("kafka.linger.ms", "5")
        .option("includeHeaders", "true")
        .save()
    )
