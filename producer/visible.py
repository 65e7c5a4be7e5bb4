"""Wait until what a replay sent can be seen in the stores, and say which store lags when it cannot."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from producer.intervals import IntervalSet
from producer.outbox import TICKS, TRADES
from producer.replay import Ranges
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

DEFAULT_TIMEOUT_S: Final = 300.0
POLL_S: Final = 1.0
INGEST: Final = "ingest"
_MANIFESTS: Final = {TRADES: "bronze/_manifests/trades/", TICKS: "bronze/_manifests/ticks/"}
_RANGE: Final = re.compile(r"\[(\d+),(\d+)\)")


class Expected(msgspec.Struct, frozen=True):
    """What must become visible: ids by (stream, symbol), and the Kafka offsets [from, until) by topic and partition."""

    market: str
    delivered: dict[tuple[str, str], Ranges]
    offsets: dict[str, dict[int, tuple[int, int]]]


# Returns what a store still lacks, "" when it has all.
Probe = Callable[[], str]


def wait_visible(
    probes: dict[str, Probe],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[dict[str, str]], None] = lambda lagging: None,
) -> dict[str, float]:
    """Ask every store until each has all; returns the seconds each took.

    Raises:
        StoreUnavailable: The time is over; names every store that lags and what it lacks.
    """
    started, took = clock(), dict[str, float]()
    while True:
        lagging = {name: lack for name, probe in probes.items() if name not in took and (lack := _ask(probe))}
        took |= {name: round(clock() - started, 3) for name in probes if name not in lagging and name not in took}
        progress(lagging)
        if not lagging:
            return took
        if clock() - started >= timeout_s:
            detail = "; ".join(f"{name}: {lack}" for name, lack in lagging.items())
            raise StoreUnavailable(
                f"Not visible in every store within {timeout_s:g} s ({detail}).",
                safe="Everything is in Kafka; the stores catch up by themselves.",
                next_command="tickhouse status",
            )
        pause(POLL_S)


def _ask(probe: Probe) -> str:
    try:
        return probe()
    except StoreUnavailable as error:
        return error.message


def multirange(text: str) -> IntervalSet:
    """Return PostgreSQL's int8multirange (`{[1,5),[7,9)}`, upper ends excluded) as a set."""
    return IntervalSet((int(low), int(high) - 1) for low, high in _RANGE.findall(text))


def lacking(seen: IntervalSet, wanted: Ranges) -> int:
    """Return how many of the wanted ids are not in `seen`."""
    return sum(high - low + 1 for first, last in wanted for low, high in seen.missing(first, last))


class Database:
    """The candles' side: `market.trade_ranges` and the last trade in Redis."""

    def __init__(self, settings: Settings, expected: Expected) -> None:
        import psycopg
        import redis

        self._dsn, self._expected, self._errors = settings.database_dsn("reader"), expected, (psycopg.Error, OSError)
        self._connect = psycopg.connect
        self._redis = redis.Redis.from_url(settings.redis_dsn(), socket_timeout=5, decode_responses=True)
        self._redis_error = redis.RedisError

    def _query(self, query: str, stream: str, symbol: str) -> str | None:
        try:
            with self._connect(self._dsn, connect_timeout=5) as connection:
                row = connection.execute(query, (self._expected.market, symbol, stream)).fetchone()
        except self._errors as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error
        return None if row is None or row[0] is None else str(row[0])

    def candles(self) -> str:
        """Return what `market.trade_ranges` lacks."""
        query = "SELECT seen::text FROM market.trade_ranges WHERE market = %s AND symbol = %s AND stream = %s"
        for (stream, symbol), wanted in self._expected.delivered.items():
            missing = lacking(multirange(self._query(query, stream, symbol) or ""), wanted)
            if missing:
                return f"{missing} ids of {symbol} {stream} are not in the candles yet"
        return ""

    def latest(self) -> str:
        """Return which last trade in Redis is behind the last candle's (candles leave sentinels out, as Redis does)."""
        query = (
            "SELECT max(close_trade_id)::text FROM market.candles_1m WHERE market = %s AND symbol = %s AND stream = %s"
        )
        for stream, symbol in self._expected.delivered:
            wanted = int(self._query(query, stream, symbol) or -1)
            name = f"tickhouse:last:{self._expected.market}:{symbol}:{stream}"
            try:
                found: Any = self._redis.hget(name, "trade_id")
            except self._redis_error as error:
                raise StoreUnavailable(f"Redis: {error}") from error
            if int(found or -1) < wanted:
                return f"{name} is at {found}, expected {wanted}"
        return ""


class Lake:
    """The manifests of bronze on branch `ingest`."""

    def __init__(self, settings: Settings, expected: Expected) -> None:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        self._errors = (BotoCoreError, ClientError)
        self._bucket, self._expected = settings.lake_repository, expected
        self._read: dict[str, IntervalSetByPart] = {}
        self._client: Any = boto3.client(
            "s3",
            endpoint_url=settings.lakefs_endpoint,
            region_name="us-east-1",
            aws_access_key_id=settings.lakefs_access_key_id,
            aws_secret_access_key=settings.lakefs_secret_access_key.get_secret_value(),
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=5),
        )

    def bronze(self) -> str:
        """Return what the manifests lack of the offsets that were written."""
        for topic, parts in self._expected.offsets.items():
            covered = self._covered(topic) if parts else {}
            for part, (start, end) in parts.items():
                missing = lacking(covered.get(part, IntervalSet()), [(start, end - 1)])
                if missing:
                    return f"{missing} offsets of {topic}-{part} are in no manifest yet"
        return ""

    def _covered(self, topic: str) -> IntervalSetByPart:
        covered: IntervalSetByPart = {}
        try:
            for key in self._keys(f"{INGEST}/{_MANIFESTS[topic]}"):
                if key not in self._read:  # a manifest never changes
                    self._read[key] = self._ranges(key)
        except self._errors as error:
            raise StoreUnavailable(f"lakeFS: {error}") from error
        for key, parts in self._read.items():
            if key.startswith(f"{INGEST}/{_MANIFESTS[topic]}"):
                for part, ranges in parts.items():
                    covered.setdefault(part, IntervalSet()).update(ranges)
        return covered

    def _keys(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def _ranges(self, key: str) -> IntervalSetByPart:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        ranges = json.loads(body)["ranges"]
        return {int(part): IntervalSet([(low, high - 1)]) for part, (low, high) in ranges.items()}


IntervalSetByPart = dict[int, IntervalSet]


def store_probes(settings: Settings, expected: Expected) -> dict[str, Probe]:
    """Return the probe of every store that a replay waits for."""
    database, lake = Database(settings, expected), Lake(settings, expected)
    return {"postgres": database.candles, "redis": database.latest, "lake": lake.bronze}
