"""The lakehouse as its user sees it: the CLI in a process of its own, and the stores by their official clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pyarrow.parquet as pq
import redis
from confluent_kafka import Consumer, TopicPartition
from lakefs import Client, Repository
from pyarrow import BufferReader

from tests.eventually import eventually
from tickhouse.demo.run import stream_is_active
from tickhouse.settings import Settings

TICKHOUSE = str(Path(sys.prefix) / "bin" / "tickhouse")
T = TypeVar("T")
STREAM_START_S = 180.0
MANIFESTS = "bronze/_manifests/trades/"


def tickhouse(*arguments: str | Path, timeout_s: float = 120.0, exit_code: int = 0) -> Any:
    """Run a command with --json and return its document; standard output must hold nothing else."""
    command = [TICKHOUSE, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == exit_code, f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


def until(what: str, look: Callable[[], T], timeout_s: float, *, holds: Callable[[T], bool] = bool) -> T:
    """Poll until what `look` sees `holds`, and return it.

    Raises:
        AssertionError: It does not within `timeout_s`; says what was expected and what was seen last.
    """
    seen: list[T] = []

    def probe() -> bool:
        seen[:] = [look()]
        return holds(seen[0])

    try:
        eventually(probe, timeout_s, 0.25)
    except AssertionError as error:
        raise AssertionError(f"Expected {what} within {timeout_s:g} s, last seen was {seen}") from error
    return seen[0]


def await_stream(settings: Settings) -> None:
    """Wait until the job that Airflow started runs all of its queries."""
    until("a streaming job with all its queries active", lambda: stream_is_active(settings.home), STREAM_START_S)


def offered_offsets(settings: Settings, topic: str = "crypto.trades") -> int:
    """Return how many records a topic has."""
    reader = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": "tests"})
    try:
        partitions = reader.list_topics(topic, timeout=10).topics[topic].partitions
        bounds = [reader.get_watermark_offsets(TopicPartition(topic, number), timeout=10) for number in partitions]
        return sum(end - begin for begin, end in bounds)
    finally:
        reader.close()


@dataclass(frozen=True)
class Row:
    """One trade of bronze, and the folder of its file."""

    event_id: str
    market: str
    symbol: str
    stream: str
    date: str


def bronze(settings: Settings) -> list[Row]:
    """Return every trade of the files that a manifest names."""
    found: list[Row] = []
    for path, table in _tables(settings):
        date = path.split("date=")[1].split("/")[0]
        columns = [table[name].to_pylist() for name in ("event_id", "market", "symbol", "stream")]
        found += [Row(*values, date) for values in zip(*columns, strict=True)]
    return found


def manifests(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the manifests of bronze trades on branch `ingest`, by path."""
    branch = _lake(settings).branch("ingest")
    paths = [item.path for item in branch.objects(prefix=MANIFESTS)]
    return {path: json.loads(_read(branch, path)) for path in paths}


def _tables(settings: Settings) -> Iterator[tuple[str, Any]]:
    branch = _lake(settings).branch("ingest")
    for manifest in manifests(settings).values():
        for file in manifest["files"]:
            yield file["path"], pq.read_table(BufferReader(_read(branch, file["path"])))


def _lake(settings: Settings) -> Repository:
    secret = settings.lakefs_secret_access_key.get_secret_value()
    client = Client(host=settings.lakefs_endpoint, username=settings.lakefs_access_key_id, password=secret)
    return Repository(settings.lake_repository, client)


def _read(branch: Any, path: str) -> bytes:
    with branch.object(path).reader(mode="rb") as stream:
        content: bytes = stream.read()
    return content


def candle_rows(settings: Settings) -> list[tuple[Any, ...]]:
    """Return all of the candles' figures, except when they were written."""
    query = """
        SELECT market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades,
            agg_trades, taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum
        FROM market.candles_1m ORDER BY 1, 2, 3, 4
    """
    with psycopg.connect(settings.database_dsn("reader"), connect_timeout=5) as connection:
        return connection.execute(query).fetchall()


def latest_hashes(settings: Settings) -> dict[str, dict[str, str]]:
    """Return every hash of latest prices."""
    with redis.Redis.from_url(settings.redis_dsn(), decode_responses=True, socket_timeout=5) as client:
        return {key: client.hgetall(key) for key in sorted(client.scan_iter("tickhouse:last:*", count=1000))}


def assert_conserved(report: dict[str, Any]) -> None:
    """Hold a reconciliation against its promise: every store whole, nothing twice, nothing else."""
    faults = {
        name: {fault: verdict[fault] for fault in ("missing", "duplicate", "mismatch")}
        for name, verdict in {**report["stores"], **report["checks"]}.items()
    }
    wrong = {name: counts for name, counts in faults.items() if any(counts.values())}
    assert not wrong
    assert report["ok"]
    assert set(report["stores"]) == {"kafka", "enriched", "lake", "postgres", "redis"}
    for name in ("kafka", "enriched", "lake", "postgres"):
        delivered = report["stores"][name]["delivered"]
        assert delivered + report["rejected"] + report["known_duplicates"] == report["offered"]


def most_common(ids: list[str]) -> tuple[str, int]:
    """Return the id that occurs most often, and how often."""
    return Counter(ids).most_common(1)[0]
