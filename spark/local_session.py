"""A Spark session in this process, for tests, benchmarks and notebooks.

A submitted job does not use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import SparkSession

from spark.conf import jar_list, stream_submit_conf


def local_session(
    app: str, jars: Path, *, master: str = "local[2]", conf: Mapping[str, str] | None = None
) -> SparkSession:
    """Return a session with Tickhouse's configuration.

    Args:
        app: Name of the application.
        jars: Folder with the jars of `spark/jars/pom.xml`.
        master: Where Spark runs.
        conf: Settings that replace those of the streaming job.
    """
    builder = SparkSession.builder.appName(app).master(master)
    own = {"spark.ui.enabled": "false", "spark.driver.memory": "1g"}
    for key, value in {**stream_submit_conf(jar_list(jars), "0"), **own, **(conf or {})}.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
