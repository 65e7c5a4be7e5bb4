"""Spark's daemon of Python workers, without archives on their import path.

It is the setting `spark.python.daemon.module`. Spark puts pyspark.zip, py4j's zip and one of its
jars first on the path of its workers. Each task calls `importlib.invalidate_caches()`, after which
Python 3.11 reads the directories of all these archives again. That takes 0.11 CPU seconds per task,
even for one row. The same pyspark is installed in our environment, so the archives are not needed.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def drop_archives() -> None:
    """Remove the archives from `sys.path`, unless pyspark is only in one of them."""
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if not entry.endswith((".zip", ".jar", ".egg"))]
    sys.path_importer_cache.clear()
    if find_spec("pyspark") is None:
        sys.path[:] = before


if __name__ == "__main__":
    drop_archives()
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
