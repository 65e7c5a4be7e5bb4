"""The batch application that builds silver and gold of days on a branch.

    spark-submit spark/batch/job.py --ref BRANCH --date DAY
    spark-submit spark/batch/job.py --ref BRANCH --from DAY --to DAY

It reads and writes one branch, and commits nothing:

1. Silver of the days is made from the bronze files that manifests name, one file per hour.
2. Gold of the days is made from the stored silver, and the months of these days from the gold of
   the branch.
3. Files of the same partitions that the run did not write are removed.

A second run writes the same bytes under the same names, so the branch does not change.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import structlog
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from common.clients.lake_manifests import report_problems
from common.days import ONE_DAY, Days, day_of, midnight
from common.errors import ConfigurationError, TickhouseError
from common.logs import configure_logging
from common.settings import load_settings
from spark.batch import candles, gold
from spark.batch.bronze import BronzeFiles, bronze_of
from spark.batch.candles import CANDLE, INTERVALS_S
from spark.batch.files import LakeFiles, batch_parquet, read, write_hours
from spark.batch.silver import BRONZE, silver_of

log = structlog.get_logger("spark.batch")

SILVER_TRADES = "silver/trades"
VOLATILITY = {
    **{"market": "string", "symbol": "string", "open_time": "timestamp", "returns": "bigint"},
    **{"variance": "decimal(38,24)", "volatility": "decimal(38,12)", "span": "decimal(38,8)"},
}
# One pass builds gold of at most this many days. 30 days of 1,440 minutes and 25 symbols are a
# million 1m candles.
DAYS_PER_PASS = 30


class Batch:
    """Builds silver and gold on one branch.

    Args:
        spark: The session.
        files: The files of the branch.
    """

    def __init__(self, spark: SparkSession, files: LakeFiles) -> None:
        self._spark = spark
        self._files = files
        self._tasks = max(2, spark.sparkContext.defaultParallelism)

    def run(self, days: Days) -> dict[str, int]:
        """Build silver and gold of the days; return the number of rows per table.

        Raises:
            ConfigurationError: Bronze has no trade of these days.
            StoreUnavailable: The lake does not answer.
        """
        bronze = bronze_of(self._files, days)
        report_problems(bronze.problems, lambda line: log.warning("manifest_problem", problem=line))
        if not bronze.files:
            raise ConfigurationError(
                f"Bronze of {self._files.root} has no trade from {days.first} to {days.last}.",
                safe="Nothing was written.",
                next_command="tickhouse status",
            )
        counts: dict[str, int] = {}
        for part in days.passes(DAYS_PER_PASS):
            for table, rows in {**self.silver(bronze, part), **self.gold(bronze, part)}.items():
                counts[table] = counts.get(table, 0) + rows
        return counts | self.months(days)

    def silver(self, bronze: BronzeFiles, days: Days) -> dict[str, int]:
        """Write silver of the days; return its number of rows."""
        paths = bronze.of_days(days)
        hours = len({path.rpartition("/")[0] for path in paths})
        written: list[dict[str, Any]] = []
        if paths:
            rows = read(self._spark, self._files, paths, BRONZE, self._tasks)
            written = write_hours(silver_of(rows, max(hours, 1)), self._files, SILVER_TRADES, "bucket")
        self._remove_stale(SILVER_TRADES, days, {file["path"] for file in written})
        return {SILVER_TRADES: sum(file["rows"] for file in written)}

    def gold(self, bronze: BronzeFiles, days: Days) -> dict[str, int]:
        """Write gold of the days; return the number of rows per table."""
        stored = [path for day in days for path in self._files.listing(f"{SILVER_TRADES}/date={day}")]
        # The checkpoint stores the rows. Without it, each table would compute all its inputs again.
        traded = candles.read_minute_bars(self._spark, self._files, stored, self._tasks).localCheckpoint()
        tables = self._tables(traded, days, _end_of_candles(traded, bronze, days))
        counts = {}
        for table, frame in tables.items():
            rows = frame.toArrow()
            counts[f"gold/{table}"] = self._write_days(f"gold/{table}", rows, days)
        return counts

    def _tables(self, traded: DataFrame, days: Days, until: datetime) -> dict[str, DataFrame]:
        since = midnight(days.first)
        before = bars_before(self._spark, self._files, days.first)
        by_interval: dict[str, DataFrame] = {}
        for interval, seconds in INTERVALS_S.items():
            bars = traded if interval == "1m" else candles.roll_up(traded, seconds)
            opened = bars if before is None else bars.unionByName(before.select(bars.columns))
            by_interval[f"candles_{interval}"] = candles.with_vwap(
                candles.with_silent(opened, seconds, since, until)
            ).localCheckpoint()
        return {
            **by_interval,
            "top_movers": gold.top_movers(by_interval["candles_1d"]),
            "volatility": gold.volatility(by_interval["candles_1m"]),
            "vwap": gold.vwap(by_interval["candles_1h"]),
        }

    def months(self, days: Days) -> dict[str, int]:
        """Write the months that contain the days, from all their days in gold; return the rows."""
        total = 0
        for month in days.months():
            prefix = f"date={month:%Y-%m}-"
            paths = {
                table: [path for path in self._files.listing(f"gold/{table}") if prefix in path]
                for table in ("candles_1d", "volatility")
            }
            daily = read(self._spark, self._files, paths["candles_1d"], CANDLE, 1)
            variances = read(self._spark, self._files, paths["volatility"], VOLATILITY, 1)
            rows = gold.monthly(daily, variances).toArrow().sort_by([("market", "ascending"), ("symbol", "ascending")])
            self._files.put(f"gold/monthly/month={month:%Y-%m}/part-0.parquet", batch_parquet(rows))
            total += len(rows)
        return {"gold/monthly": total}

    def _write_days(self, table: str, rows: pa.Table, days: Days) -> int:
        rows = rows.sort_by([(name, "ascending") for name in ("market", "symbol", "open_time")])
        dates = rows["open_time"].cast(pa.date32())
        written = set()
        for day in pc.unique(dates).to_pylist():
            path = f"{table}/date={day}/part-0.parquet"
            self._files.put(path, batch_parquet(rows.filter(pc.equal(dates, pa.scalar(day, pa.date32())))))
            written.add(path)
        self._remove_stale(table, days, written)
        return len(rows)

    def _remove_stale(self, table: str, days: Days, written: set[str]) -> None:
        for day in days:
            for path in self._files.listing(f"{table}/date={day}"):
                if path not in written:
                    self._files.remove(path)


def bars_before(spark: SparkSession, files: LakeFiles, first: date) -> DataFrame | None:
    """Return the daily bars of the newest day before `first`; None when there is none.

    Their closes are the prices of a day that begins without trades.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    paths = {day_of(path): path for path in files.listing("gold/candles_1d")}
    newest = max((day for day in paths if day is not None and day < first), default=None)
    return None if newest is None else read(spark, files, [paths[newest]], CANDLE, 1)


def _end_of_candles(traded: DataFrame, bronze: BronzeFiles, days: Days) -> datetime:
    """Return the time until which intervals without trades get a candle.

    That is the end of the days when the lake has later days, else the end of the newest minute.
    """
    end = midnight(days.last + ONE_DAY)
    if bronze.has_later(days.last):
        return end
    newest = traded.agg(F.unix_seconds(F.max("open_time")).alias("at")).collect()[0]["at"]
    return end if newest is None else datetime.fromtimestamp(newest + INTERVALS_S["1m"], UTC)


def parse(arguments: Sequence[str]) -> tuple[str, Days]:
    """Return the ref and the days of a command line.

    Raises:
        ConfigurationError: `--date` is missing and so is `--from` or `--to`, or `--to` is before
            `--from`.
    """
    parser = argparse.ArgumentParser(prog="spark-submit spark/batch/job.py", description="Build silver and gold.")
    parser.add_argument("--ref", required=True, help="branch to read from and write to")
    parser.add_argument("--date", type=date.fromisoformat, help="one UTC day")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first UTC day")
    parser.add_argument("--to", dest="last", type=date.fromisoformat, help="last UTC day, included")
    given = parser.parse_args(arguments)
    first, last = (given.date, given.date) if given.date else (given.first, given.last)
    if first is None or last is None or first > last:
        raise ConfigurationError(f"Expected --date, or --from and a --to that is not before it; was {first}, {last}.")
    return given.ref, Days(first, last)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application; return the exit code."""
    configure_logging("spark-batch")
    started = time.monotonic()
    try:
        ref, days = parse(sys.argv[1:] if arguments is None else arguments)
        spark = SparkSession.builder.appName("tickhouse-batch").getOrCreate()
        counts = Batch(spark, LakeFiles.of(load_settings(), ref)).run(days)
        took_ns = int((time.monotonic() - started) * 1e9)
        log.info(
            "built", ref=ref, first=str(days.first), last=str(days.last), rows=counts, **{"event.duration": took_ns}
        )
        spark.stop()
    except TickhouseError as error:
        log.error("failed", exc_info=error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
