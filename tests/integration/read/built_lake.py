"""A branch of the shared lake whose two days the batch built, for the tests of this folder."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from pyspark.sql import SparkSession

from common.clients.lakefs import repository
from common.days import Days
from common.settings import Settings
from spark.batch.files import LakeFiles
from spark.batch.job import Batch
from tests.lakes import MIDNIGHT_US, THE_8TH, THE_9TH, bronze_files, empty_branch, rows_of, trade
from tests.unit.tickhouse.read.published_lake import busy_market
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.lake.branches import commit

CHINESE = CheckedStream("spot", "币安人生USDT", "aggTrade")


def trades() -> list[CheckedTrade]:
    start = MIDNIGHT_US - 300_000_000
    return [*busy_market(), *(trade(n, start + n * 7_000_000, 10**8 + n, 3 + n, CHINESE) for n in range(90))]


@dataclass(frozen=True)
class Lake:
    settings: Settings
    branch: str
    commit_id: str


def build_lake(settings: Settings, spark: SparkSession) -> Lake:
    """Write the trades to a branch of its own, build both days, and commit."""
    name = f"read-{uuid.uuid4().hex[:8]}"
    empty_branch(settings, name)
    for path, body in bronze_files(rows_of(trades())).items():
        repository(settings).branch(name).object(path).upload(body, mode="wb")
    Batch(spark, LakeFiles.of(settings, name)).run(Days(THE_8TH, THE_9TH))
    return Lake(settings, name, commit(settings, name, "built", {}))
