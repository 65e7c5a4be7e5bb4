"""The Spark application of test_spark_s3a.py, which prints its results as JSON.

python -m tests.contract.spark_s3a ENDPOINT REPOSITORY; keys in LAKEFS_ACCESS_KEY_ID and
LAKEFS_SECRET_ACCESS_KEY.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from common.settings import REPO
from stack.engine.fetch import jar_dir


def session(endpoint: str) -> SparkSession:
    """Return a session whose s3a:// is the gateway."""
    jars = ",".join(str(jar) for jar in sorted(jar_dir(REPO / "spark" / "s3a" / "pom.xml").glob("*.jar")))
    s3a = {
        "endpoint": endpoint,
        "endpoint.region": "us-east-1",
        "path.style.access": "true",
        "connection.ssl.enabled": "false",
        "access.key": os.environ["LAKEFS_ACCESS_KEY_ID"],
        "secret.key": os.environ["LAKEFS_SECRET_ACCESS_KEY"],
        "aws.credentials.provider": "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider",
        # Do not retry errors for minutes.
        "attempts.maximum": "2",
        "retry.limit": "2",
    }
    builder = SparkSession.builder.master("local[2]").appName("contract").config("spark.jars", jars)
    for name, value in s3a.items():
        builder = builder.config(f"spark.hadoop.fs.s3a.{name}", value)
    for name, value in {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.sources.partitionOverwriteMode": "dynamic",
    }.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def trades(spark: SparkSession, hours: str, times: int) -> DataFrame:
    """Return `times` rows in each hour."""
    rows = [(hour, f"{hour}-{number}", number) for hour in hours for number in range(times)]
    return spark.createDataFrame(rows, "hour string, id string, n long").coalesce(1)


def counts(frame: DataFrame) -> dict[str, int]:
    """Return rows by hour."""
    return {row["hour"]: row["count"] for row in frame.groupBy("hour").count().collect()}


def refused(call: Callable[[], Any]) -> str:
    """Return the start of the error of a call; empty when it succeeded."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whatever Spark makes of it is the result
        return str(error)[:2000]
    return ""


def main(endpoint: str, repository: str) -> None:
    """Run all cases and print their results."""
    spark, root = session(endpoint), f"s3a://{repository}/main"
    table = f"{root}/silver/trades"
    results: dict[str, Any] = {}

    trades(spark, "ab", 3).write.partitionBy("hour").parquet(table)
    results["written"] = counts(spark.read.parquet(table))
    trades(spark, "b", 5).write.mode("overwrite").partitionBy("hour").parquet(table)
    results["overwritten"] = counts(spark.read.parquet(table))
    trades(spark, "c", 2).write.mode("append").partitionBy("hour").parquet(table)
    results["appended"] = counts(spark.read.parquet(table))
    results["again"] = refused(lambda: trades(spark, "a", 1).write.parquet(table))

    def stream() -> int:
        source = spark.readStream.schema("id string, n long, hour string").parquet(table)
        sink = source.writeStream.format("parquet").option("path", f"{root}/streamed")
        query = sink.option("checkpointLocation", f"{root}/checkpoint").trigger(availableNow=True).start()
        query.awaitTermination()
        return spark.read.parquet(f"{root}/streamed").count()

    results["streamed"] = [stream(), stream()]
    results["no_branch"] = refused(lambda: trades(spark, "a", 1).write.parquet(f"s3a://{repository}/nope/x"))
    results["no_table"] = refused(lambda: spark.read.parquet(f"{root}/nothing").count())
    results["at_commit"] = counts(spark.read.parquet(f"s3a://{repository}/before/silver/trades"))
    print(json.dumps(results))  # noqa: T201 - that is what it is for
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
