"""The lakehouse as a user sees it: the CLI in a process of its own, the stores by their clients."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pyarrow.parquet as pq
import redis
from lakefs import Client, Repository
from pyarrow import BufferReader

from common.clients.kafka import TopicLog
from common.settings import Settings
from common.topics import TRADES
from tests.eventually import eventually
from tickhouse.demo.run import stream_is_active

TICKHOUSE = str(Path(sys.prefix) / "bin" / "tickhouse")
T = TypeVar("T")
STREAM_START_S = 300.0
MANIFESTS = "bronze/_manifests/trades/"


def tickhouse(*arguments: str | Path, timeout_s: float = 120.0, exit_code: int = 0) -> Any:
    """Run a command with --json and return its document; standard output must hold nothing else."""
    command = [TICKHOUSE, *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == exit_code, f"{command} ended with {done.returncode}:\n{done.stderr[-4000:]}"
    return json.loads(done.stdout)


def until(what: str, look: Callable[[], T], timeout_s: float, *, holds: Callable[[T], bool] = bool) -> T:
    """Call `look` until `holds` is true of its result, and return that result.

    Raises:
        AssertionError: It was not within `timeout_s`; names `what` and the last result.
    """
    last: list[T] = []

    def probe() -> bool:
        last[:] = [look()]
        return holds(last[0])

    try:
        eventually(probe, timeout_s, 0.25)
    except AssertionError as error:
        raise AssertionError(f"Expected {what} within {timeout_s:g} s, the last result was {last}") from error
    return last[0]


def await_stream(settings: Settings) -> None:
    """Wait until the streaming job that Airflow started runs all of its queries."""
    until("a streaming job with all its queries active", lambda: stream_is_active(settings.home), STREAM_START_S)


@contextmanager
def topic_log(settings: Settings) -> Iterator[TopicLog]:
    """Open a reader of topics and close it at the end."""
    reader = TopicLog(settings.kafka_bootstrap_servers)
    try:
        yield reader
    finally:
        reader.close()


def record_count(settings: Settings, topic: str = TRADES) -> int:
    """Return how many records a topic holds."""
    with topic_log(settings) as reader:
        return sum(end - begin for begin, end in reader.bounds(topic).values())


def await_more_records(settings: Settings, before: int, topic: str = TRADES) -> None:
    """Return within milliseconds of the moment at which a topic holds more than `before` records.

    The connection stays open between two looks, so that a look takes about a millisecond. A caller
    can kill a sender that takes only tenths of a second.
    """
    with topic_log(settings) as reader:
        eventually(lambda: sum(end - begin for begin, end in reader.bounds(topic).values()) > before, 60.0, 0.005)


@dataclass(frozen=True)
class Row:
    """One trade of bronze, and the day in the path of its file."""

    event_id: str
    market: str
    symbol: str
    stream: str
    date: str


def bronze(settings: Settings) -> list[Row]:
    """Return every trade of the files that a manifest on branch `ingest` names."""
    rows: list[Row] = []
    for path, table in _tables(settings):
        date = path.split("date=")[1].split("/")[0]
        columns = [table[name].to_pylist() for name in ("event_id", "market", "symbol", "stream")]
        rows += [Row(*values, date) for values in zip(*columns, strict=True)]
    return rows


def manifests(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the manifests of bronze trades on branch `ingest`, by path."""
    branch = _lake(settings).branch("ingest")
    listed = (item.path for item in branch.objects(prefix=MANIFESTS))
    paths = [path for path in listed if not path.endswith(".pointer.json")]
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
    """Return all columns of all candles, except the time at which they were written."""
    query = """
        SELECT market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap, trades,
            agg_trades, taker_buy_volume, taker_buy_quote_volume, open_trade_id, close_trade_id, checksum
        FROM market.candles_1m ORDER BY 1, 2, 3, 4
    """
    with psycopg.connect(settings.database_dsn("reader"), connect_timeout=5) as connection:
        return connection.execute(query).fetchall()


def latest_hashes(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the hashes of the latest prices in Redis, by key."""
    with redis.Redis.from_url(settings.redis_dsn(), decode_responses=True, socket_timeout=5) as client:
        return {key: client.hgetall(key) for key in sorted(client.scan_iter("tickhouse:last:*", count=1000))}


def assert_conserved(report: dict[str, Any]) -> None:
    """Assert that every store holds each offered event once, and nothing else."""
    counts = {
        name: {kind: verdict[kind] for kind in ("missing", "duplicate", "mismatch")}
        for name, verdict in {**report["stores"], **report["checks"]}.items()
    }
    faults = {name: kinds for name, kinds in counts.items() if any(kinds.values())}
    assert not faults
    assert report["ok"]
    assert {"kafka", "enriched", "lake", "postgres", "redis"} <= set(report["stores"])
    for name in ("kafka", "enriched", "lake", "postgres"):
        delivered = report["stores"][name]["delivered"]
        assert delivered + report["rejected"] + report["known_duplicates"] == report["offered"]


def most_common(ids: list[str]) -> tuple[str, int]:
    """Return the id that occurs most often, and how often."""
    return Counter(ids).most_common(1)[0]
