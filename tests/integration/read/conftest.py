"""The lake that the tests of this folder read."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from tests.conftest import Stack
from tests.integration.read.built_lake import Lake, build_lake


@pytest.fixture(scope="package")
def lake(stack: Stack, spark: SparkSession) -> Lake:
    """Return a branch whose two days the batch built, committed."""
    return build_lake(stack.up("lakefs"), spark)
