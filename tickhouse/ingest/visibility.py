"""Wait until what a run wrote to Kafka is visible in PostgreSQL, Redis and the lake."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import psycopg
import redis

from common.errors import StoreUnavailable
from common.intervals import IntervalSet, Ranges
from common.polling import poll_until
from common.settings import Settings
from common.topics import TICKS, TRADES
from tickhouse.lake.offset_coverage import OffsetCoverage

DEFAULT_TIMEOUT_S: Final = 300.0
POLL_EVERY_S: Final = 1.0
_TABLES: Final = {TRADES: "trades", TICKS: "ticks"}
# How many of the given ids are in the candles; reads only the id blocks that they are in.
_APPLIED: Final = """
SELECT sum(upper(x) - lower(x))::text
FROM market.id_blocks(%s::int8multirange) AS b JOIN market.trade_ranges r USING (block),
    unnest(r.seen * b.block_ids) AS x
WHERE (r.market, r.symbol, r.stream) = (%s, %s, %s)
"""


# Offsets [from, until) by partition.
OffsetRanges = dict[int, tuple[int, int]]


class ExpectedRecords(msgspec.Struct, frozen=True):
    """What must become visible: trade ids by (stream, symbol), and Kafka offsets by topic."""

    market: str
    delivered: dict[tuple[str, str], Ranges]
    offsets: dict[str, OffsetRanges]


# Returns what a store still lacks; an empty string when it has everything.
Probe = Callable[[], str]


def wait_for_stores(
    settings: Settings,
    expected: Sequence[ExpectedRecords],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    progress: Callable[[dict[str, str]], None] = lambda lagging: None,
) -> dict[str, float]:
    """Wait until all expected records are visible; return the seconds that each store took.

    Args:
        settings: Addresses of the stores.
        expected: What must become visible; the entries are waited for one after the other.
        timeout_s: How long to wait for each entry.
        progress: Called about once per second with what each store that lags still lacks.

    Raises:
        StoreUnavailable: The timeout passed; names the stores that lag.
    """
    took: dict[str, float] = {}
    for records in expected:
        took = wait_visible(store_probes(settings, records), timeout_s=timeout_s, progress=progress)
    return took


def wait_visible(
    probes: dict[str, Probe],
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[dict[str, str]], None] = lambda lagging: None,
) -> dict[str, float]:
    """Ask every store until each has everything; return the seconds that each took.

    Raises:
        StoreUnavailable: The timeout passed; names every store that lags and what it lacks.
    """
    started = clock()
    took: dict[str, float] = {}
    lagging: dict[str, str] = {}

    def are_all_visible() -> bool:
        for name, probe in probes.items():
            if name in took:
                continue
            if lack := _ask(probe):
                lagging[name] = lack
            else:
                lagging.pop(name, None)
                took[name] = round(clock() - started, 3)
        progress(dict(lagging))
        return not lagging

    if poll_until(are_all_visible, timeout_s, every_s=POLL_EVERY_S, clock=clock, sleep=pause):
        return took
    detail = "; ".join(f"{name}: {lack}" for name, lack in lagging.items())
    raise StoreUnavailable(
        f"Not visible in every store within {timeout_s:g} s ({detail}).",
        safe="Everything is in Kafka; the stores will catch up.",
        next_command="tickhouse status",
    )


def _ask(probe: Probe) -> str:
    try:
        return probe()
    except StoreUnavailable as error:
        return error.message


def lacking(seen: IntervalSet, wanted: Ranges) -> int:
    """Return how many of the wanted ids are not in `seen`."""
    return sum(high - low + 1 for first, last in wanted for low, high in seen.missing(first, last))


class CandleProbes:
    """Compare ids with `market.trade_ranges` in PostgreSQL and the last trade in Redis."""

    def __init__(self, settings: Settings, expected: ExpectedRecords) -> None:
        self._dsn, self._expected = settings.database_dsn("reader"), expected
        self._redis = redis.Redis.from_url(settings.redis_dsn(), socket_timeout=5, decode_responses=True)

    def _query(self, query: str, stream: str, symbol: str, *more: str) -> str | None:
        try:
            with psycopg.connect(self._dsn, connect_timeout=5) as connection:
                row = connection.execute(query, (*more, self._expected.market, symbol, stream)).fetchone()
        except (psycopg.Error, OSError) as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error
        return None if row is None or row[0] is None else str(row[0])

    def lacking_ids(self) -> str:
        """Return how many ids `market.trade_ranges` lacks."""
        for (stream, symbol), wanted in self._expected.delivered.items():
            ids = "{" + ",".join(f"[{low},{high}]" for low, high in wanted) + "}"
            applied = int(self._query(_APPLIED, stream, symbol, ids) or 0)
            missing = sum(high - low + 1 for low, high in wanted) - applied
            if missing:
                return f"{missing} ids of {symbol} {stream} are not in the candles yet"
        return ""

    def lacking_last_trade(self) -> str:
        """Return which last trade in Redis is older than that of the last candle.

        Sentinel trades are in neither of the two stores.
        """
        query = (
            "SELECT max(close_trade_id)::text FROM market.candles_1m WHERE market = %s AND symbol = %s AND stream = %s"
        )
        for stream, symbol in self._expected.delivered:
            wanted = int(self._query(query, stream, symbol) or -1)
            name = f"tickhouse:last:{self._expected.market}:{symbol}:{stream}"
            try:
                present: Any = self._redis.hget(name, "trade_id")
            except redis.RedisError as error:
                raise StoreUnavailable(f"Redis: {error}") from error
            if int(present or -1) < wanted:
                return f"{name} is at {present}, expected {wanted}"
        return ""


class BronzeProbe:
    """Compare the offsets with the manifests of bronze on branch `ingest`."""

    def __init__(self, settings: Settings, expected: ExpectedRecords) -> None:
        self._expected = expected
        self._coverage = {
            topic: OffsetCoverage(settings, _TABLES[topic], topic, parts)
            for topic, parts in expected.offsets.items()
            if parts
        }

    def lacking_offsets(self) -> str:
        """Return how many of the written offsets are in no manifest."""
        for topic, coverage in self._coverage.items():
            spans = coverage.spans()
            for part, (start, end) in self._expected.offsets[topic].items():
                covered = IntervalSet((low, high - 1) for low, high in spans.get(part, []) if low < high)
                missing = lacking(covered, [(start, end - 1)])
                if missing:
                    return f"{missing} offsets of {topic}-{part} are in no manifest yet"
        return ""


def store_probes(settings: Settings, expected: ExpectedRecords) -> dict[str, Probe]:
    """Return one probe per store that a replay waits for."""
    candles = CandleProbes(settings, expected)
    return {
        "postgres": candles.lacking_ids,
        "redis": candles.lacking_last_trade,
        "lake": BronzeProbe(settings, expected).lacking_offsets,
    }
