"""Pure DataFrame functions from decoded trades to enriched trades. No I/O."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from spark.pairs import base_of, quote_of

# A decimal(28,8) product has 16 decimals. Spark keeps them only with
# spark.sql.decimalOperations.allowPrecisionLoss=false (spark/session.py); the default would round to 6.
QUOTE_TYPE = "decimal(38,16)"


def quote_qty() -> Column:
    """Return price x qty, exact to 16 decimals; null where it passes 22 integer digits."""
    return F.try_multiply(F.col("price"), F.col("qty")).cast(QUOTE_TYPE)


def is_sentinel() -> Column:
    """Return whether the exchange marked the trade as void (price or quantity not positive)."""
    return (F.col("price") <= 0) | (F.col("qty") <= 0)


def enrich(trades: DataFrame) -> DataFrame:
    """Return `EnrichedTrade` rows: what follows from the trade alone, so that every delivery is identical.

    Receive time, source and the raw frame are left out: a second delivery of the same trade may differ in them.
    """
    facts = trades.drop("event_time", "ingest_time", "source", "raw")
    base, quote = base_of(F.col("symbol")), quote_of(F.col("symbol"))
    return (
        facts.withColumn("base", base)
        .withColumn("quote", quote)
        .withColumn("pair", F.concat_ws("-", base, F.when(quote != "", quote)))
        .withColumn("quote_qty", quote_qty())
        .withColumn("is_sentinel", is_sentinel())
        .withColumn("minute", F.date_trunc("minute", "trade_time"))
        .withColumn("bucket", F.date_trunc("hour", "trade_time"))
    )
