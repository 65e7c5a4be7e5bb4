"""One Spark session that writes crypto.trades to the lake and to nothing, in turns.

python -m bench.workers.parquet PAIRS WARMUP
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable

from pyspark.sql import DataFrame

from bench.harness import alternate, tree_cpu_s
from common.settings import REPO, load_settings
from schemas import load
from spark.local_session import local_session
from spark.streaming.queries import TRADES, RecordDecoder, lake
from stack.engine.fetch import jar_dir


def timed(work: Callable[[], object]) -> dict[str, float]:
    """Return wall seconds and CPU seconds of this process and its descendants."""
    began, spent = time.perf_counter(), tree_cpu_s(os.getpid())
    work()
    return {"seconds": time.perf_counter() - began, "cpu_s": tree_cpu_s(os.getpid()) - spent}


def main(pairs: str, warmup: str) -> None:
    """Run both sides."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    settings = load_settings()
    spark = local_session("bench", jar_dir(REPO / "spark" / "jars" / "pom.xml"))
    to_lake, decoder = lake(settings, "trades"), RecordDecoder(settings, TRADES, load("trade"), is_trade=True)
    batches = iter(range(10_000))

    def records() -> DataFrame:
        source = spark.read.format("kafka").option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        return source.option("subscribe", TRADES).option("startingOffsets", "earliest").load()

    def ours() -> dict[str, float]:
        return timed(lambda: to_lake(records(), next(batches)))

    def floor() -> dict[str, float]:
        return timed(lambda: decoder(records()).write.format("noop").mode("overwrite").save())

    alternate(int(warmup), ours, floor, name="warm-up")
    taken = alternate(int(pairs), ours, floor, name="spark_parquet")
    spark.stop()
    print(json.dumps({"pairs": taken}))


if __name__ == "__main__":
    main(*sys.argv[1:])
