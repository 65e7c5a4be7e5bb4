"""Bronze to silver: each event once, enriched, sorted. Pure DataFrame functions."""

from __future__ import annotations

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from spark.transforms import enrich

# Types in Spark's words. What silver is made of; `raw` and the time received stay in bronze.
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
    """Return each event once, enriched, one hour never in two partitions, sorted by market, symbol, stream, trade id.

    Of an event that came more than once the delivery with the lowest Kafka position stays, so the result depends on
    the rows alone. Deliveries differ in source and at most in the microseconds of a time, never in the hour.

    Args:
        bronze: Columns of `BRONZE`.
        files: How many hours at most: the number of partitions.

    Returns:
        Columns of `SILVER`; sentinels are kept and flagged.
    """
    # One shuffle and one sort serve the window and the file: the hour comes first in both.
    hour = F.date_trunc("hour", "trade_time")
    first = Window.partitionBy("bucket", *KEY).orderBy("kafka_partition", "kafka_offset")
    ordered = bronze.withColumn("bucket", hour).repartition(files, "bucket")
    once = ordered.withColumn("copy", F.row_number().over(first)).where("copy = 1")
    kept = once.withColumnsRenamed({"event_time": "frame_time", "source": "came_by"})
    rows = enrich(kept).withColumnsRenamed({"frame_time": "event_time", "came_by": "source"})
    return rows.select(*SILVER).sortWithinPartitions("bucket", *KEY)
