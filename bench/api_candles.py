"""GET /v1/candles, 95th percentile, against the same rows by psycopg."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, LiteralString
from urllib.parse import urlencode, urlsplit

import psycopg

from api.candles import ONE_MINUTE
from api.principals import KEY_HEADER
from bench.bench_stack import BenchStack
from bench.harness import Figures, alternate, at_most, compared, percentile, rounded
from common.settings import Settings

BOUND = at_most(3)
SYMBOLS, DAYS, LIMIT, REQUESTS, PAIRS = 20, 10, 500, 300, 5
FIRST = datetime(2024, 8, 1, tzinfo=UTC)
_FILL: Final[LiteralString] = """
INSERT INTO market.candles_1m (market, symbol, stream, open_time, open, high, low, close, volume, quote_volume, vwap,
                               trades, agg_trades, taker_buy_volume, taker_buy_quote_volume, open_trade_id,
                               close_trade_id, checksum)
SELECT 'spot', 'S' || to_char(s, 'FM000') || 'USDT', 'aggTrade', '2024-08-01Z'::timestamptz + make_interval(mins => m),
       60000 + m, 60010.12345678, 59990, 60001 + m, 12.5, 750000.125, 60000.0000000000000001, 40, 20, 6.25, 375000.0625,
       m * 20 + 1, m * 20 + 20, 7
FROM generate_series(0, %(symbols)s - 1) AS s, generate_series(0, %(minutes)s - 1) AS m
"""
_STREAMS: Final[LiteralString] = """
INSERT INTO market.trade_ranges (market, symbol, stream, block, seen)
SELECT 'spot', 'S' || to_char(s, 'FM000') || 'USDT', 'aggTrade', 0, '{[1,100)}'
FROM generate_series(0, %(symbols)s - 1) AS s
"""


def run(bench: BenchStack) -> Figures:
    """Compare the 95th percentiles of both sides; each request is for another page."""
    settings = bench.up("postgres", "redis", "api")
    fill(settings, SYMBOLS, bench.sized(DAYS, 2))
    count = bench.sized(REQUESTS, 20)
    number = iter(range(10**9))
    with psycopg.connect(settings.database_dsn("api"), autocommit=True) as connection:
        client = Client(settings)

        def ours() -> float:
            return p95(count, lambda: client.get(page_of(next(number), bench.sized(DAYS, 2)), cache="miss"))

        def floor() -> float:
            return p95(count, lambda: rows(connection, next(number), bench.sized(DAYS, 2)))

        ours()  # the pool opens its connections
        floor()
        pairs = alternate(bench.sized(PAIRS, 1), ours, floor, name="api_candles")
        hit_ms = p95(count, lambda: client.get(page_of(0, 1)))
    how = f"{LIMIT} one-minute candles per request, one client, {count} requests per side and pair"
    return compared(pairs, "ms", how=how, cached_p95_ms=rounded(hit_ms), cached_ratio=rounded(hit_ms / pairs[-1][1]))


def fill(settings: Settings, symbols: int, days: int) -> None:
    """Write candles of every minute."""
    with psycopg.connect(settings.database_dsn("stream")) as connection:
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute(_FILL, {"symbols": symbols, "minutes": days * 1440})
        connection.execute(_STREAMS, {"symbols": symbols})
    with psycopg.connect(settings.database_dsn("owner"), autocommit=True) as connection:
        connection.execute("ANALYZE market.candles_1m")


def page_of(number: int, days: int) -> str:
    """Return the address of a page; a following number is another symbol and time."""
    symbol, first = place(number, days)
    names = {"market": "spot", "symbol": symbol, "from": f"{first:%Y-%m-%dT%H:%M:%SZ}", "limit": str(LIMIT)}
    return f"/v1/candles?{urlencode(names)}"


def place(number: int, days: int) -> tuple[str, datetime]:
    """Return symbol and first open time of a page."""
    minutes = number * 7 % (days * 1440 - LIMIT - 1)
    return f"S{number % SYMBOLS:03d}USDT", FIRST + timedelta(minutes=minutes)


def rows(connection: psycopg.Connection, number: int, days: int) -> None:
    """Read the rows of a page with the query of the API."""
    symbol, first = place(number, days)
    end = first + timedelta(days=days)
    parameters = {"market": "spot", "symbol": symbol, "first": first, "end": end, "minutes": LIMIT + 1}
    assert len(connection.execute(ONE_MINUTE, parameters).fetchall()) == LIMIT + 1


class Client:
    """One connection to the API that stays open."""

    def __init__(self, settings: Settings) -> None:
        address = urlsplit(settings.api_url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self._headers = {KEY_HEADER: settings.api_read_key.get_secret_value()}

    def get(self, path: str, cache: str = "") -> bytes:
        """Return the body of an answer; when `cache` is given, it must come from there."""
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        assert cache in ("", answer.headers["X-Cache"])
        return body


def p95(count: int, call: Callable[[], object]) -> float:
    """Return the 95th percentile of a call in milliseconds."""
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return percentile(taken, 95)
