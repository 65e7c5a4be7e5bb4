"""Export of a commit to HDFS, and the MapReduce job over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import pytest
from hdfs_native import WriteOptions
from pyspark.sql import SparkSession

from common.clients.lakefs import INGEST, repository
from common.days import Days
from common.errors import ConfigurationError, StoreUnavailable
from common.settings import Settings
from mapreduce.monthly_volume import ROOT, Volume, monthly_volume
from spark.batch.files import LakeFiles
from spark.batch.job import Batch
from tests.conftest import Stack
from tests.homes import own_home
from tests.lakes import BTC, bronze_files, rows_of, trade
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade
from tickhouse.lake.branches import commit, ensure_branch
from tickhouse.lake.hdfs_export import export, hdfs
from tickhouse.lake.table_query import TableQuery, query

pytestmark = pytest.mark.integration

MARCH_US = 1_709_251_200_000_000  # 2024-03-01T00:00Z
DAYS = Days(date(2024, 2, 29), date(2024, 3, 1))
STREAMS = (BTC, CheckedStream("spot", "ETHUSDT", "aggTrade"), CheckedStream("usdm", "BTCUSDT", "trade"))


def trades(key: CheckedStream) -> list[CheckedTrade]:
    """Return 100 trades around a month's end, with quantities beyond a float, and a sentinel."""
    real = [trade(n, MARCH_US - 1 + n % 2 * 2, qty=10**20 + n + 1, key=key) for n in range(100)]
    return [*real, trade(100, MARCH_US, price=0, qty=0, key=key)]


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with own_home() as home:
        yield Stack(home).up("lakefs", "hdfs")


@pytest.fixture(scope="module")
def built(settings: Settings, spark: SparkSession) -> str:
    """A branch with bronze, and silver and gold as the batch makes them; returns its commit."""
    ensure_branch(settings, "etl-test", INGEST)
    branch = repository(settings).branch("etl-test")
    for path, body in bronze_files(rows_of(one for key in STREAMS for one in trades(key))).items():
        branch.object(path).upload(body, mode="wb")
    Batch(spark, LakeFiles.of(settings, "etl-test")).run(DAYS)
    return commit(settings, "etl-test", "silver and gold", {})


def test_export_is_whole_of_one_commit_and_done_once(settings: Settings, built: str) -> None:
    made = export(settings, "etl-test")
    assert (made.commit_id, made.path) == (built, f"/lake/{built}")
    client, lake = hdfs(settings), repository(settings).ref(built)
    paths = [entry.path for entry in lake.objects() if entry.path.startswith(("silver/", "gold/"))]
    assert len(paths) == made.files
    for path in paths:
        with lake.object(path).reader(mode="rb") as reader:
            assert client.read(f"{made.path}/{path}").read() == reader.read()
    written = client.get_file_info(made.path).modification_time
    assert export(settings, built) == made
    assert client.get_file_info(made.path).modification_time == written
    assert [one.path for one in client.list_status("/lake")] == [made.path]


def test_errors_say_what_to_do(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        export(settings, "nowhere")
    with pytest.raises(StoreUnavailable, match="HDFS"):
        export(settings.model_copy(update={"hdfs_url": "hdfs://127.0.0.1:9"}), "etl-test")


def test_mapreduce_gives_the_volumes_of_gold(settings: Settings, built: str) -> None:
    leftover = WriteOptions(replication=1, create_parent=True)  # of a run that was killed: nothing of it may count
    hdfs(settings).create(f"{ROOT}/{built}/input/other.tsv", leftover).close()
    hdfs(settings).create(f"{ROOT}/{built}/output/part-00009", leftover).close()

    answer = monthly_volume(settings, built)

    assert answer == expected()
    by_month = {(one.market, one.symbol, one.month): one.volume for one in answer}
    assert by_month == in_gold(settings, built)


def expected() -> list[Volume]:
    sums: dict[tuple[str, str, str, str], int] = defaultdict(int)
    for key in STREAMS:
        for one in trades(key):
            sums[key.market, key.symbol, key.stream, "2024-02" if one.time_us < MARCH_US else "2024-03"] += one.qty
    return sorted(Volume(*names, Decimal(qty).scaleb(-8)) for names, qty in sums.items())


def in_gold(settings: Settings, ref: str) -> dict[tuple[str, str, str], Decimal]:
    answer = query(
        settings, ref, TableQuery("gold/monthly", columns=("market", "symbol", "month", "volume"), limit=100)
    )
    rows = answer.rows.to_pylist()
    return {(row["market"], row["symbol"], row["month"]): row["volume"] for row in rows}


def test_only_the_newest_exports_are_kept(settings: Settings, built: str) -> None:
    export(settings, built)
    ensure_branch(settings, "small", INGEST)
    for number in range(2):
        repository(settings).branch("small").object("gold/one.parquet").upload(f"{number}", mode="w")
        newest = commit(settings, "small", "more", {})
        export(settings, "small", keep=2)
    kept = {one.path for one in hdfs(settings).list_status("/lake")}
    assert len(kept) == 2
    assert f"/lake/{newest}" in kept
    assert f"/lake/{built}" not in kept
