"""CPU of the streaming queries while they read crypto.trades from its beginning.

python -m bench.workers.pipeline QUERIES ROUNDS

QUERIES are names separated by commas. Each round empties the stores, then lets one query after the
other read the whole topic in its largest batches, as after an outage.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from typing import Any

import psycopg
import redis
from pyspark.sql import SparkSession

from bench.harness import load_1m, say, tree_cpu_s
from common.settings import REPO, Settings, load_settings
from spark.checkpoints.driver_lease import stream_folder
from spark.checkpoints.recovery import checkpoint_folder
from spark.local_session import local_session
from spark.streaming.queries import StreamQuery, streaming_queries
from stack.engine.fetch import jar_dir


def main(names: str, rounds: str) -> None:
    """Print the CPU seconds of each query in each round."""
    os.environ |= {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    settings = load_settings()
    spark = local_session("bench", jar_dir(REPO / "spark" / "jars" / "pom.xml"))
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in names.split(",")}
    for number in range(int(rounds)):
        for name, of_query in taken.items():
            remove_results(settings, name)
            query = next(each for each in streaming_queries(settings, threading.Event()) if each.name == name)
            of_query.append(drained(spark, settings, query))
            say(f"    round {number + 1} {name}: {of_query[-1]}, load {load_1m()}")
    spark.stop()
    print(json.dumps(taken))


def remove_results(settings: Settings, name: str) -> None:
    """Remove the checkpoint of a query, and what it wrote to PostgreSQL or Redis."""
    shutil.rmtree(checkpoint_folder(stream_folder(settings), name), ignore_errors=True)
    if name == "candles":
        with psycopg.connect(settings.database_dsn("owner")) as connection:
            connection.execute("TRUNCATE market.candles_1m, market.trade_ranges")
    if name == "last":
        with redis.Redis.from_url(settings.redis_dsn()) as client:
            client.flushdb()


def drained(spark: SparkSession, settings: Settings, query: StreamQuery) -> dict[str, Any]:
    """Let a query read all records that are there; return how many, and what it took."""
    began, spent = time.perf_counter(), tree_cpu_s(os.getpid())
    source = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", settings.kafka_bootstrap_servers)
        .option("subscribe", query.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", query.most_records)
        .load()
    )
    writer = source.writeStream.queryName(query.name).foreachBatch(query.run)
    checkpoint = checkpoint_folder(stream_folder(settings), query.name)
    handle = writer.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    handle.awaitTermination()
    return {
        "records": sum(progress["numInputRows"] for progress in handle.recentProgress),
        "batches": len(handle.recentProgress),
        "seconds": round(time.perf_counter() - began, 3),
        "cpu_s": round(tree_cpu_s(os.getpid()) - spent, 3),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
