"""A Spark session in this process, for tests, bench and notebooks; a submitted job gets its own from spark-submit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from spark.conf import submit_conf


def local_session(
    app: str, jars: Path, *, master: str = "local[2]", conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Return a session with Tickhouse's configuration and the jars of `spark/jars/pom.xml`."""
    builder = SparkSession.builder.appName(app).master(master)
    for key, value in {**submit_conf(jars, 0), "spark.ui.enabled": "false", **(conf or {})}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
