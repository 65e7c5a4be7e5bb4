"""One Spark session for the unit tests of this folder (local, no server)."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from spark.session import local_session
from stack.engine.fetch import jar_dir
from tickhouse.settings import REPO


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    jars: Path = jar_dir(REPO / "spark" / "jars" / "pom.xml")
    warehouse = tmp_path_factory.mktemp("warehouse")
    session = local_session("tests", jars, conf={"spark.sql.warehouse.dir": str(warehouse)})
    yield session
    session.stop()
