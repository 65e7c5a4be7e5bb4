"""1m candles of generated trades by one DuckDB query, or by the batch in a Spark session.

python -m bench.workers.candles duckdb FOLDER RUNS
python -m bench.workers.candles spark FOLDER RUNS
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from bench.harness import tree_cpu_s
from bench.peak_memory import PeakMemory

QUERY = """
SELECT
    market, symbol, stream, "minute" AS open_time, arg_min(price, trade_id) AS open, max(price) AS high,
    min(price) AS low, arg_max(price, trade_id) AS close, sum(qty) AS volume, sum(quote_qty) AS quote_volume,
    sum(last_trade_id - first_trade_id + 1)::BIGINT AS trades, count(*) AS agg_trades,
    coalesce(sum(qty) FILTER (side = 'BUY'), 0) AS taker_buy_volume,
    coalesce(sum(quote_qty) FILTER (side = 'BUY'), 0) AS taker_buy_quote_volume,
    min(trade_id) AS open_trade_id, max(trade_id) AS close_trade_id
FROM '{folder}/silver/trades/*/*/*.parquet' WHERE NOT is_sentinel
GROUP BY ALL ORDER BY ALL
"""


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    """Return wall seconds, CPU seconds with descendants, and a fingerprint of the result."""
    began, spent = time.perf_counter(), tree_cpu_s(os.getpid())
    rows = work()
    return {"seconds": time.perf_counter() - began, "cpu_s": tree_cpu_s(os.getpid()) - spent, **fingerprint(rows)}


def fingerprint(table: Any) -> dict[str, Any]:
    """Return what both sides must agree on: rows, trades and the exact volume."""
    volume, trades = table["volume"].to_pylist(), table["trades"].to_pylist()
    return {"rows": table.num_rows, "trades": sum(trades), "volume": str(sum(volume))}


def by_duckdb(folder: str) -> Callable[[], Any]:
    """Return the floor: one query."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    connection.execute("SET TimeZone = 'UTC'")
    return lambda: connection.sql(QUERY.format(folder=folder)).to_arrow_table()


def by_spark(folder: str) -> Callable[[], Any]:
    """Return our side as a function; the Spark session is up when this returns."""
    from common.settings import REPO
    from spark.batch import candles
    from spark.batch.files import LakeFiles
    from spark.conf import BATCH_CONF
    from spark.local_session import local_session
    from stack.engine.fetch import jar_dir

    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    spark = local_session("bench", jar_dir(REPO / "spark" / "jars" / "pom.xml"), conf=BATCH_CONF)
    files = LakeFiles.local(Path(folder))
    spark.range(1).count()

    def run() -> Any:
        return candles.read_minute_bars(spark, files, files.listing("silver/trades"), 2).toArrow()

    return run


def main(side: str, folder: str, runs: str) -> None:
    """Run one side several times in one process."""
    work = by_duckdb(folder) if side == "duckdb" else by_spark(folder)
    with PeakMemory(psutil.Process()) as peak:
        taken = [timed(work) for _ in range(int(runs))]
    print(json.dumps({"runs": taken, "peak_rss_mib": peak.mib}))


if __name__ == "__main__":
    main(*sys.argv[1:])
