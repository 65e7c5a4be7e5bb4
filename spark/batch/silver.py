"""Bronze to silver: each event once, enriched, sorted. Pure DataFrame functions."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark.transforms import enrich

# The columns of bronze that silver needs, with Spark's type names. `raw` and the receive time stay
# in bronze.
BRONZE = {
    **dict.fromkeys(("event_id", "exchange", "market", "stream", "symbol"), "string"),
    **dict.fromkeys(("trade_id", "first_trade_id", "last_trade_id"), "bigint"),
    **dict.fromkeys(("price", "qty"), "decimal(28,8)"),
    **{"side": "string", "event_time": "timestamp", "trade_time": "timestamp", "source": "string"},
    **{"kafka_partition": "int", "kafka_offset": "bigint"},
}
# The columns of EnrichedTrade, then what may differ between two deliveries of one event.
SILVER = {
    **dict.fromkeys(("event_id", "exchange", "market", "stream", "symbol"), "string"),
    **dict.fromkeys(("trade_id", "first_trade_id", "last_trade_id"), "bigint"),
    **dict.fromkeys(("price", "qty"), "decimal(28,8)"),
    **{"side": "string", "trade_time": "timestamp", "base": "string", "quote": "string", "pair": "string"},
    **{"quote_qty": "decimal(38,16)", "is_sentinel": "boolean", "minute": "timestamp", "bucket": "timestamp"},
    **{"event_time": "timestamp", "source": "string"},
}
KEY = ("market", "symbol", "stream", "trade_id")


def silver_of(bronze: DataFrame, files: int) -> DataFrame:
    """Return each event once, enriched.

    When an event came more than once, the delivery with the lowest Kafka position is kept, so the
    result depends only on the rows. Deliveries of one event may differ in `source`, and in the
    microseconds of a time, but never in the hour.

    Args:
        bronze: Columns of `BRONZE`.
        files: The number of partitions: one per hour, so one per file.

    Returns:
        Columns of `SILVER`. All rows of an hour are in one partition, sorted by market, symbol,
        stream and trade id. Sentinels are kept and flagged.
    """
    # The hour comes first in the window and in the file, so one shuffle and one sort serve both.
    hour = F.date_trunc("hour", "trade_time")
    first = Window.partitionBy("bucket", *KEY).orderBy("kafka_partition", "kafka_offset")
    ordered = bronze.withColumn("bucket", hour).repartition(files, "bucket")
    once = ordered.withColumn("copy", F.row_number().over(first)).where("copy = 1")
    kept = once.withColumn("frame_time", F.col("event_time")).withColumn("delivered_by", F.col("source"))
    rows = enrich(kept).drop("source").withColumnsRenamed({"frame_time": "event_time", "delivered_by": "source"})
    return rows.select(*SILVER).sortWithinPartitions("bucket", *KEY)
