"""Spark's daemon of Python workers, without archives on their path (`spark.python.daemon.module`).

Spark puts pyspark.zip, py4j's zip and a jar of its own first on the path of its workers, and each task calls
`importlib.invalidate_caches()`, for which Python 3.11 reads the directories of all of them again: 0.11 CPU seconds a
task, be it of one row. The same pyspark is installed beside us, so the archives can go.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def drop_archives() -> None:
    """Take archives from the path, unless pyspark is only in one of them."""
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if not entry.endswith((".zip", ".jar", ".egg"))]
    sys.path_importer_cache.clear()
    if find_spec("pyspark") is None:
        sys.path[:] = before


if __name__ == "__main__":
    drop_archives()
    from pyspark.daemon import manager

    manager()  # type: ignore[no-untyped-call]
