"""Export of a commit to HDFS, and the MapReduce job over it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hdfs_native import WriteOptions

from mapreduce.monthly_volume import ROOT, Volume, monthly_volume
from stack.engine.fetch import jar_dir
from tests.conftest import Stack
from tests.homes import own_home
from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.lake.branches import commit, ensure_branch
from tickhouse.lake.client import INGEST, repository
from tickhouse.lake.export import export, hdfs
from tickhouse.settings import REPO, Settings

pytestmark = pytest.mark.integration

SILVER = pa.schema(
    [
        *((name, pa.string()) for name in ("event_id", "market", "symbol", "stream")),
        ("trade_time", pa.timestamp("us", "UTC")),
        ("qty", pa.decimal128(28, 8)),
        ("is_sentinel", pa.bool_()),
    ]
)
MONTHS_END = datetime(2024, 2, 29, 23, 59, 59, 999_999, UTC)


def trades(symbol: str) -> pa.Table:
    """A hundred trades on both sides of a month's end, with quantities that a float would lose, and a sentinel."""
    rows = [
        {
            "event_id": f"{symbol}-{number}",
            "market": "spot",
            "symbol": symbol,
            "stream": "aggTrade",
            "trade_time": MONTHS_END + timedelta(microseconds=number % 2),
            "qty": Decimal(10) ** 12 + Decimal(number + 1).scaleb(-8),
            "is_sentinel": False,
        }
        for number in range(100)
    ]
    rows.append({**rows[0], "event_id": f"{symbol}-sentinel", "qty": Decimal(0), "is_sentinel": True})
    return pa.Table.from_pylist(rows, SILVER)


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with own_home() as home:
        yield Stack(home).up("lakefs", "hdfs")


@pytest.fixture(scope="module")
def built(settings: Settings) -> str:
    """A branch with silver and gold; returns its commit."""
    ensure_branch(settings, "etl-test", INGEST)
    branch = repository(settings).branch("etl-test")
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT")):
        body = BytesIO()
        pq.write_table(trades(symbol), body)
        path = f"silver/trades/date=2024-02-29/hour=23/part-{number}.parquet"
        branch.object(path).upload(body.getvalue(), mode="wb")
    branch.object("gold/monthly/month=2024-02/x.parquet").upload(b"gold", mode="wb")
    branch.object("bronze/trades/x.parquet").upload(b"bronze stays in the lake", mode="wb")
    return commit(settings, "etl-test", "silver and gold", {})


def test_export_is_whole_of_one_commit_and_done_once(settings: Settings, built: str) -> None:
    made = export(settings, "etl-test")
    assert (made.commit_id, made.path, made.files) == (built, f"/lake/{built}", 3)
    client = hdfs(settings)
    for entry in repository(settings).ref(built).objects():
        if not entry.path.startswith("bronze/"):
            with repository(settings).ref(built).object(entry.path).reader(mode="rb") as reader:
                assert client.read(f"{made.path}/{entry.path}").read() == reader.read()
    written = client.get_file_info(made.path).modification_time
    assert export(settings, built) == made
    assert client.get_file_info(made.path).modification_time == written
    assert [one.path for one in client.list_status("/lake")] == [made.path]


def test_only_the_newest_exports_are_kept(settings: Settings, built: str) -> None:
    branch = repository(settings).branch("etl-test")
    for number in range(2):
        branch.object("gold/more.parquet").upload(f"more {number}", mode="w")
        newest = commit(settings, "etl-test", "more", {})
        export(settings, "etl-test", keep=2)
    kept = {one.path for one in hdfs(settings).list_status("/lake")}
    assert len(kept) == 2
    assert f"/lake/{newest}" in kept
    assert f"/lake/{built}" not in kept


def test_errors_say_what_to_do(settings: Settings) -> None:
    with pytest.raises(ConfigurationError):
        export(settings, "nowhere")
    with pytest.raises(StoreUnavailable, match="HDFS"):
        export(settings.model_copy(update={"hdfs_url": "hdfs://127.0.0.1:9"}), "etl-test")


def test_mapreduce_gives_the_sums_of_spark_and_duckdb(settings: Settings, built: str, tmp_path: Path) -> None:
    leftover = WriteOptions(replication=1, create_parent=True)  # of a run that was killed: nothing of it may count
    hdfs(settings).create(f"{ROOT}/{built}/input/other.tsv", leftover).close()
    hdfs(settings).create(f"{ROOT}/{built}/output/part-00009", leftover).close()

    answer = monthly_volume(settings, built)

    assert answer == in_duckdb(tmp_path)
    assert answer == in_spark(f"{settings.hdfs_url}/lake/{built}/silver/trades")
    assert {one.month for one in answer} == {"2024-02", "2024-03"}


def in_duckdb(folder: Path) -> list[Volume]:
    for symbol in ("BTCUSDT", "ETHUSDT"):
        pq.write_table(trades(symbol), folder / f"{symbol}.parquet")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    rows = connection.execute(
        f"SELECT market, symbol, stream, strftime(trade_time, '%Y-%m'), sum(qty) FROM '{folder}/*.parquet' "  # noqa: S608
        "WHERE NOT is_sentinel GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return [Volume(*row) for row in rows]


def in_spark(url: str) -> list[Volume]:
    from pyspark.sql import SparkSession

    from spark.session import local_session

    is_mine = SparkSession.getActiveSession() is None
    session = local_session("monthly-volume", jar_dir(REPO / "spark" / "jars" / "pom.xml"))
    try:
        rows = session.read.parquet(url).where("NOT is_sentinel")
        by = ["market", "symbol", "stream", "date_format(trade_time, 'yyyy-MM') AS month"]
        summed = rows.selectExpr(*by, "qty").groupBy("market", "symbol", "stream", "month").agg({"qty": "sum"})
        return sorted(Volume(*row) for row in summed.collect())
    finally:
        if is_mine:
            session.stop()
