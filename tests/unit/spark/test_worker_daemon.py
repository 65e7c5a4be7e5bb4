"""The import path of Spark's Python workers."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from spark.worker_daemon import drop_archives


@pytest.fixture(autouse=True)
def _same_path_afterwards() -> Iterator[None]:
    before = list(sys.path)
    yield
    sys.path[:] = before
    sys.path_importer_cache.clear()


def test_archives_are_removed_and_folders_stay() -> None:
    folders = [entry for entry in sys.path if not entry.endswith(".zip")]
    sys.path[:0] = ["/spark/python/lib/pyspark.zip", "/spark/jars/spark-core.jar"]
    drop_archives()
    assert sys.path == folders


def test_a_worker_without_an_installed_pyspark_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spark.worker_daemon.find_spec", lambda name: None)
    sys.path[:] = archives = ["/spark/python/lib/pyspark.zip"]
    drop_archives()
    assert sys.path == archives


def test_tasks_run_without_archives(spark: SparkSession) -> None:
    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pylist([{"path": os.pathsep.join(sys.path)}])

    (row,) = spark.range(1).repartition(1).mapInArrow(task, "path string").collect()
    assert not [entry for entry in row["path"].split(os.pathsep) if entry.endswith((".zip", ".jar"))]


def test_modules_are_imported_before_the_workers_and_are_no_garbage(spark: SparkSession) -> None:
    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for _ in batches:
            yield pa.RecordBatch.from_pylist([{"frozen": gc.get_freeze_count(), "others": len(gc.get_objects())}])

    rows = [spark.range(1).repartition(1).mapInArrow(task, "frozen long, others long").collect()[0] for _ in range(3)]
    assert all(row["frozen"] > 10 * row["others"] for row in rows), rows


def test_a_worker_computes_with_one_thread_of_polars(spark: SparkSession) -> None:
    def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import polars as pl

        for _ in batches:
            total = (
                pl.DataFrame({"n": range(1000), "of": [1, 2] * 500}).group_by("of").agg(pl.col("n").sum()).sort("of")
            )
            yield pa.RecordBatch.from_pylist([{"threads": pl.thread_pool_size(), "sums": str(total["n"].to_list())}])

    (row,) = spark.range(1).repartition(1).mapInArrow(task, "threads long, sums string").collect()
    assert (row["threads"], row["sums"]) == (1, "[249500, 250000]")
