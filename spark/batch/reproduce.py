"""Compute a month again from silver of one commit, for the notebook; a hash shows the result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from common.days import midnight
from common.errors import ConfigurationError
from spark.batch import candles, gold
from spark.batch.files import LakeFiles
from spark.batch.job import bars_before


@dataclass(frozen=True, slots=True)
class RecomputedMonth:
    """Tables of one month: 1m and 1d candles, realised variance per day, aggregates."""

    minutes: DataFrame
    days: DataFrame
    variances: DataFrame
    aggregates: pa.Table

    @property
    def hash(self) -> str:
        """Return the sha256 of the aggregates; the same commit always gives the same one."""
        return table_hash(self.aggregates)


def recompute_month(spark: SparkSession, files: LakeFiles, first: date) -> RecomputedMonth:
    """Compute the tables of a month from its trades in silver.

    Args:
        spark: The session.
        files: The files of a commit.
        first: First day of the month.

    Raises:
        ConfigurationError: The commit has no candles of the month.
        StoreUnavailable: The lake does not answer.
    """
    prefix = f"date={first:%Y-%m}-"
    paths = [path for path in files.listing("silver/trades") if prefix in path]
    traded = candles.read_minute_bars(spark, files, paths, 2).localCheckpoint()
    since, until = midnight(first), _end_of_gold(files, prefix)
    before = bars_before(spark, files, first)
    bars_of = {}
    for interval in ("1m", "1d"):
        seconds = candles.INTERVALS_S[interval]
        bars = traded if interval == "1m" else candles.roll_up(traded, seconds)
        opened = bars if before is None else bars.unionByName(before.select(bars.columns))
        bars_of[interval] = candles.with_vwap(candles.with_silent(opened, seconds, since, until)).localCheckpoint()
    variances = gold.volatility(bars_of["1m"]).localCheckpoint()
    aggregates = gold.monthly(bars_of["1d"], variances).toArrow()
    order = [("market", "ascending"), ("symbol", "ascending")]
    return RecomputedMonth(bars_of["1m"], bars_of["1d"], variances, aggregates.sort_by(order))


def _end_of_gold(files: LakeFiles, prefix: str) -> datetime:
    paths = [path for path in files.listing("gold/candles_1m") if prefix in path]
    if not paths:
        raise ConfigurationError(
            f"{files.root} has no candles of {prefix[5:-1]}.", next_command="tickhouse lake log main"
        )
    newest = pq.read_table(pa.BufferReader(files.read_bytes(paths[-1])), columns=["open_time"])
    last_open: datetime = pc.max(newest["open_time"]).as_py()
    return last_open + timedelta(seconds=60)


def published(files: LakeFiles, first: date) -> pa.Table:
    """Return the published aggregates of a month.

    Raises:
        StoreUnavailable: The lake does not answer, or has none.
    """
    return pq.read_table(pa.BufferReader(files.read_bytes(f"gold/monthly/month={first:%Y-%m}/part-0.parquet")))


def table_hash(table: pa.Table) -> str:
    """Return the sha256 of the rows as text, in their order: exact decimals, times in UTC."""
    lines = ("|".join(map(str, row.values())) for row in table.to_pylist())
    return hashlib.sha256("\n".join([",".join(table.column_names), *lines]).encode()).hexdigest()
