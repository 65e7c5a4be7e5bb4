"""Records that bronze holds already are dropped from a batch that is read again."""

from __future__ import annotations

from pyspark.sql import SparkSession

from spark.streaming.queries import drop_held_offsets


def test_only_held_offsets_of_the_same_partition_are_dropped(spark: SparkSession) -> None:
    records = spark.createDataFrame([(part, at) for part in (0, 1) for at in range(8)], "partition int, offset long")

    left = drop_held_offsets(records, {0: [(0, 2), (5, 7)], 1: []})

    found = sorted((row["partition"], row["offset"]) for row in left.collect())
    assert found == [(0, 2), (0, 3), (0, 4), (0, 7), *((1, at) for at in range(8))]
