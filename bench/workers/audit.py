"""The audit of a generated day, or a DuckDB scan of the columns that the audit reads.

python -m bench.workers.audit lake FOLDER TRADES
python -m bench.workers.audit ours FOLDER RUNS
python -m bench.workers.audit scan FOLDER RUNS
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from pyarrow.fs import LocalFileSystem

from bench.harness import tree_cpu_s, worker
from common.clients.lake_files import RefFiles
from common.days import Days
from common.topics import TRADES

DAY = Days(date(2024, 8, 8), date(2024, 8, 8))
# Bronze has some columns that silver does not have; the columns in common are equal.
BRONZE = """
COPY (
    SELECT
        event_id, exchange, market, stream, symbol, trade_id, first_trade_id, last_trade_id, price, qty, side,
        event_time, trade_time, trade_time AS ingest_time, source, event_id || side AS raw,
        0::INTEGER AS kafka_partition, row_number() OVER () AS kafka_offset
    FROM '{folder}/silver/trades/date=2024-08-08/hour={hour:02d}/*.parquet'
) TO '{folder}/{path}' (FORMAT parquet, COMPRESSION zstd)
"""
# The columns that the laws read.
SCANNED = {
    "bronze/trades": "event_id market stream symbol trade_id first_trade_id last_trade_id price qty side trade_time",
    "silver/trades": "event_id market stream symbol trade_id first_trade_id last_trade_id price qty side trade_time "
    "quote_qty is_sentinel minute",
    "gold/candles_1m": "market symbol stream open_time open high low close volume quote_volume vwap trades agg_trades "
    "taker_buy_volume open_trade_id close_trade_id",
}


def make_lake(folder: Path, trades: str) -> None:
    """Write bronze, silver and gold of one day."""
    worker("generated", str(folder), trades)
    connection, files = duckdb.connect(), []
    for hour in range(24):
        path = f"bronze/trades/date=2024-08-08/hour={hour:02d}/crypto.trades-0-{hour}-{hour + 1}.parquet"
        (folder / path).parent.mkdir(parents=True)
        connection.execute(BRONZE.format(folder=folder, hour=hour, path=path))
        rows = connection.execute(f"SELECT count(*) FROM '{folder}/{path}'").fetchone()
        files.append({"path": path, "rows": rows[0] if rows else 0, "bytes": (folder / path).stat().st_size})
    manifest = folder / "bronze/_manifests/trades/000000000000-bench.json"
    manifest.parent.mkdir(parents=True)
    total = sum(int(file["rows"]) for file in files)
    document = {"topic": TRADES, "ranges": {}, "rows": total, "files": files}
    manifest.write_text(json.dumps(document))
    _gold(folder)


def _gold(folder: Path) -> None:
    from common.settings import REPO
    from spark.batch.bronze import bronze_of
    from spark.batch.files import LakeFiles
    from spark.batch.job import Batch
    from spark.conf import BATCH_CONF
    from spark.local_session import local_session
    from stack.engine.fetch import jar_dir

    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    spark = local_session("bench", jar_dir(REPO / "spark" / "jars" / "pom.xml"), conf=BATCH_CONF)
    files = LakeFiles.local(folder)
    batch = Batch(spark, files)
    batch.gold(bronze_of(files, DAY), DAY)
    batch.months(DAY)
    spark.stop()


def ours(folder: Path) -> Callable[[], object]:
    """Return the whole audit as a function; Great Expectations is imported before."""
    import great_expectations  # noqa: F401 - its seconds of import are reported separately

    from tickhouse.checks.audit.great_expectations_run import run_checkpoint
    from tickhouse.checks.audit.run import lake_laws

    def run() -> object:
        lake = RefFiles(LocalFileSystem(), str(folder))
        with tempfile.TemporaryDirectory() as site:
            broken = run_checkpoint(lake_laws(lake, DAY, lake.bronze("trades"), []), "bench", Path(site) / "site")
        if [law for law in broken if law.suite != "commits"]:
            raise SystemExit(f"the audit found {broken}")
        return broken

    return run


def scan(folder: Path) -> Callable[[], object]:
    """Return the floor as a function: minimum and maximum of every column."""
    connection = duckdb.connect(config={"threads": 2})

    def run() -> object:
        return [
            connection.execute(
                f"SELECT {', '.join(f'min({name}), max({name})' for name in columns.split())} "
                f"FROM read_parquet('{folder}/{table}/**/*.parquet', hive_partitioning = false)"
            ).fetchall()
            for table, columns in SCANNED.items()
        ]

    return run


def main(what: str, folder: str, number: str) -> None:
    """Write the lake, or run one side several times in one process."""
    if what == "lake":
        make_lake(Path(folder), number)
        print("{}")
        return
    began = time.process_time()
    work = ours(Path(folder)) if what == "ours" else scan(Path(folder))
    imported = time.process_time() - began
    taken: list[dict[str, Any]] = []
    for _ in range(int(number)):
        wall, spent = time.perf_counter(), tree_cpu_s(os.getpid())
        work()
        taken.append({"seconds": time.perf_counter() - wall, "cpu_s": tree_cpu_s(os.getpid()) - spent})
    print(json.dumps({"runs": taken, "import_cpu_s": imported}))


if __name__ == "__main__":
    main(*sys.argv[1:])
