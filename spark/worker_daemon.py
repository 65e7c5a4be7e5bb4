"""Spark's daemon of Python workers, made for tasks of a few milliseconds.

It is the setting `spark.python.daemon.module`, and does two things that Spark's own does not:

1. No archives on the import path. Spark puts pyspark.zip, py4j's zip and one of its jars first on
   the path of its workers. Each task calls `importlib.invalidate_caches()`, after which Python 3.11
   reads the directories of all these archives again: 0.11 CPU seconds per task, even for one row.
   The same pyspark is installed in our environment, so the archives are not needed.
2. Modules are imported once, before workers are forked, and the garbage collector never looks at
   them again. A worker collects garbage after each task, which walks every object of every module:
   0.1 to 0.3 CPU seconds per task. The workers also share the memory of the modules.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib import import_module
from importlib.util import find_spec

# What the tasks of the streaming job and of the batch import.
TASK_MODULES = (
    *("pandas", "pyarrow.parquet"),
    *("spark.batch.files", "spark.streaming.column_sums", "spark.streaming.lake_trades"),
    "spark.streaming.series_points",
)


def drop_archives() -> None:
    """Remove the archives from `sys.path`, unless pyspark is only in one of them."""
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if not entry.endswith((".zip", ".jar", ".egg"))]
    sys.path_importer_cache.clear()
    if find_spec("pyspark") is None:
        sys.path[:] = before


def import_once() -> None:
    """Import what the tasks need, and keep it away from the garbage collector.

    Importing polars starts no pool of threads: each worker starts its own after the fork, of one
    thread, because Spark already runs one task per core.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    for name in TASK_MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()


if __name__ == "__main__":
    drop_archives()
    from pyspark.daemon import manager

    import_once()
    manager()  # type: ignore[no-untyped-call]
