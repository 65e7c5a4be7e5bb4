"""A small server with the page and answers of the API that a test chooses; it records the requests.

Its documents have the form that `api/models.py` declares. So the page is tested in states that a
running lakehouse is seldom in: no data, errors, a lost connection, a thousand trades per second.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from aiohttp import web

from common.settings import REPO
from stack.engine.npm_packages import npm_folder

PAGE = REPO / "api" / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
Json = dict[str, Any]


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def candle(time: datetime, prices: tuple[str, str, str, str], volume: str, quote_volume: str, **changes: Any) -> Json:
    vwap = Decimal(quote_volume) / Decimal(volume) if Decimal(volume) else None
    return {
        "open_time": iso(time),
        **dict(zip(("open", "high", "low", "close"), prices, strict=True)),
        "volume": volume,
        "quote_volume": quote_volume,
        "vwap": None if vwap is None else f"{vwap:.16f}",
        "trades": 37,
        "taker_buy_volume": volume,
        "is_closed": True,
        **changes,
    }


def random_candles(newest: datetime, count: int, seconds: int = 60, seed: int = 7) -> list[Json]:
    """A market that wanders, with the last candle at `newest`."""
    wander = random.Random(seed)
    rows, price = [], Decimal("60000.00")
    for back in range(count - 1, -1, -1):
        close = price + Decimal(wander.randint(-9000, 9200)) / 100
        high = max(price, close) + Decimal(wander.randint(0, 4000)) / 100
        low = min(price, close) - Decimal(wander.randint(0, 4000)) / 100
        volume = Decimal(wander.randint(10_000_000, 900_000_000)) / 10**8
        prices = tuple(f"{one:.8f}" for one in (price, high, low, close))
        time = newest - timedelta(seconds=seconds * back)
        quote_volume = f"{volume * (high + low) / 2:.16f}"
        rows.append(candle(time, prices, f"{volume:.8f}", quote_volume, is_closed=back > 0))  # type: ignore[arg-type]
        price = close
    return rows


@dataclass
class RecordedApi:
    """What the server answers; a test changes it while the page is open."""

    symbols: list[Json] = field(default_factory=list)
    candles: dict[tuple[str, str], list[Json]] = field(default_factory=dict)
    movers: list[Json] = field(default_factory=list)
    gaps: list[Json] = field(default_factory=list)
    alerts: list[Json] = field(default_factory=list)
    commits: list[Json] = field(default_factory=list)
    audits: list[Json] = field(default_factory=list)
    status: Json = field(default_factory=dict)
    boards: dict[str, Json] = field(default_factory=dict)
    """Boards of the operations page by name."""
    firing: list[Json] = field(default_factory=list)
    failures: dict[str, tuple[int, Json]] = field(default_factory=dict)
    """Problem documents by the beginning of a path."""
    needs_session: bool = False
    """Whether requests without the cookie that `/` sets are refused, as the API does."""
    without_chart: bool = False
    requests: list[tuple[str, dict[str, str], dict[str, str]]] = field(default_factory=list)
    """Path, query and headers of each request, oldest first."""
    url: str = ""

    def __post_init__(self) -> None:
        self._events: list[tuple[int, str, Json]] = []
        self._clients: set[asyncio.Queue[bytes | None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: dict[str, asyncio.Event] = {}
        self._session = 1
        self.is_refusing = False

    # -- what a test does ------------------------------------------------------------------------

    def send(self, kind: str, document: Json) -> None:
        """Send an event to every client, and keep it for those that resume."""
        self._call(self._send_all, [(kind, document)])

    def send_all(self, events: list[tuple[str, Json]]) -> None:
        self._call(self._send_all, events)

    def cut(self, *, refuse: bool = False) -> None:
        """End every live connection; with `refuse`, new ones are refused until `accept`."""
        self.is_refusing = refuse
        self._call(self._cut)

    def accept(self) -> None:
        self.is_refusing = False

    def hold(self, path: str) -> None:
        """Answer nothing under a path until `release`."""
        self._held[path] = asyncio.Event()

    def release(self, path: str) -> None:
        self._call(self._held.pop(path).set)

    def end_sessions(self) -> None:
        """Refuse every cookie that was set so far."""
        self._session += 1

    def live_requests(self) -> list[tuple[dict[str, str], dict[str, str]]]:
        return [(query, headers) for path, query, headers in self.requests if path == "/v1/live"]

    # -- the server ------------------------------------------------------------------------------

    def _call(self, function: Any, *arguments: Any) -> None:
        assert self._loop is not None
        done = threading.Event()

        def run() -> None:
            function(*arguments)
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(30)

    def _send_all(self, events: list[tuple[str, Json]]) -> None:
        for kind, document in events:
            self._events.append((len(self._events) + 1, kind, document))
            for client in self._clients:
                client.put_nowait(_frame(*self._events[-1]))

    def _cut(self) -> None:
        for client in self._clients:
            client.put_nowait(None)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if self.is_refusing:
            problem = {"title": "Redis does not answer", "detail": "", "next": "tickhouse status"}
            return web.json_response(problem, status=503)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        seen = int(request.headers.get("Last-Event-ID", f"{len(self._events)}-0").partition("-")[0])
        for event in self._events[seen:]:
            queue.put_nowait(_frame(*event))
        self._clients.add(queue)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **_HEADERS})
        try:
            await response.prepare(request)
            await response.write(b": hello\n\n")
            async for frame in _until_none(queue):
                await response.write(frame)
        except ConnectionError:
            pass  # the page went away
        finally:
            self._clients.discard(queue)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        self.requests.append((path, dict(request.query), dict(request.headers)))
        if path in self._held:
            await self._held[path].wait()
        if self.needs_session and request.cookies.get("session") != str(self._session):
            return web.json_response({"title": "A key is missing"}, status=401, headers=_HEADERS)
        for start, (status, problem) in self.failures.items():
            if path.startswith(start):
                return web.json_response(problem, status=status, headers=_HEADERS)
        if path == "/v1/live":
            return await self._live(request)
        if path == "/v1/status":
            return web.json_response(self.status, headers=_HEADERS)
        if path.startswith("/v1/ops/boards/"):
            return web.json_response(self.boards[path.rpartition("/")[2]], headers=_HEADERS)
        rows = self._rows(path, dict(request.query))
        return web.json_response({"data": rows, "next": None}, headers=_HEADERS)

    def _rows(self, path: str, query: dict[str, str]) -> list[Json]:
        if path == "/v1/candles":
            limit = int(query.get("limit", "500"))
            return self.candles.get((query["symbol"], query["interval"]), [])[-limit:]
        rows = {
            "/v1/symbols": self.symbols,
            "/v1/movers": [one for one in self.movers if one["market"] == query.get("market")],
            "/v1/gaps": [one for one in self.gaps if one["symbol"] == query.get("symbol")],
            "/v1/alerts": self.alerts,
            "/v1/ops/boards": [{name: one[name] for name in _BOARD_NAME} for one in self.boards.values()],
            "/v1/ops/alerts": self.firing,
            "/v1/lake/commits": self.commits,
            "/v1/lake/audits": self.audits,
        }
        return rows[path]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.path, {}, dict(request.headers)))
        cookie = f"session={self._session}; Path=/; HttpOnly; SameSite=Strict"
        name = "ops.html" if request.path == "/ops" else "index.html"
        return web.FileResponse(PAGE / name, headers={**_HEADERS, "Set-Cookie": cookie})

    async def _asset(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name == "lightweight-charts.js":
            if self.without_chart:
                raise web.HTTPNotFound
            file = npm_folder("lightweight-charts") / "dist/lightweight-charts.standalone.production.mjs"
            return web.FileResponse(file, headers={**_HEADERS, "Content-Type": "text/javascript"})
        file = PAGE / "assets" / name
        if not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file, headers=_HEADERS)

    @contextmanager
    def serving(self) -> Iterator[RecordedApi]:
        """Serve in a thread until the end of the block."""
        started = threading.Event()
        stop = asyncio.Event()

        async def main() -> None:
            app = web.Application()
            app.router.add_get("/", self._page)
            app.router.add_get("/ops", self._page)
            app.router.add_get("/assets/{name}", self._asset)
            app.router.add_get("/v1/{rest:.*}", self._answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._loop = asyncio.get_running_loop()
            started.set()
            await stop.wait()
            self._cut()
            await runner.cleanup()

        thread = threading.Thread(target=asyncio.run, args=(main(),))
        thread.start()
        assert started.wait(30)
        try:
            yield self
        finally:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(stop.set)
            thread.join()


_BOARD_NAME = ("board", "title", "description")
_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


def _frame(number: int, kind: str, document: Json) -> bytes:
    return f"id: {number}-0\nevent: {kind}\ndata: {json.dumps(document)}\n\n".encode()


async def _until_none(queue: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    while (frame := await queue.get()) is not None:
        yield frame


def a_market(now: datetime) -> RecordedApi:
    """A market of three symbols in the state of an ordinary day."""
    minute = now.replace(second=0, microsecond=0)
    made = RecordedApi()
    for symbol, last in (
        ("BTCUSDT", now),
        ("ETHUSDT", now - timedelta(seconds=40)),
        ("币安人生USDT", now - timedelta(minutes=9)),
    ):
        made.symbols.append(
            {"market": "spot", "symbol": symbol, "base": symbol[:-4], "quote": "USDT", "last_trade_time": iso(last)}
        )
    made.symbols.append(
        {
            "market": "coinm",
            "symbol": "BTCUSD_PERP",
            "base": "BTC",
            "quote": "USD",
            "last_trade_time": iso(now - timedelta(hours=2)),
        }
    )
    for interval, seconds in (("1m", 60), ("5m", 300), ("1h", 3600), ("1d", 86_400)):
        newest = datetime.fromtimestamp(minute.timestamp() // seconds * seconds, UTC)
        for seed, row in enumerate(made.symbols):
            made.candles[row["symbol"], interval] = random_candles(newest, 300, seconds, seed)
    made.movers = [
        {
            "market": "spot",
            "symbol": "币安人生USDT",
            "open": "0.1000",
            "close": "0.1324",
            "change_percent": "32.4000",
            "quote_volume": "184523.33120000",
        },
        {
            "market": "spot",
            "symbol": "ETHUSDT",
            "open": "3000.00",
            "close": "3012.90",
            "change_percent": "0.4300",
            "quote_volume": "812345678.10000001",
        },
        {
            "market": "spot",
            "symbol": "BTCUSDT",
            "open": "61000.00",
            "close": "60000.10",
            "change_percent": "-1.6391",
            "quote_volume": "1234567890.12345678",
        },
    ]
    made.gaps = [
        gap("BTCUSDT", 100, 104, minute - timedelta(days=3), "filled"),
        gap("BTCUSDT", 200, 352, minute - timedelta(days=3), "open"),
        gap("BTCUSDT", 900, 900, minute - timedelta(days=9), "unfillable"),
        gap("BTCUSDT", 10, 19, minute - timedelta(days=20), "filled"),
    ]
    made.alerts = [
        alert("a1", "warning", now - timedelta(minutes=12), "ETHUSDT moved by 2.1 % within 5 minutes"),
        alert("a2", "critical", now - timedelta(hours=3), "The store elasticsearch is 340 s behind crypto.trades"),
    ]
    commit = "7f3a9c1be2d44f0c8a5f"
    made.commits = [{"commit": commit, "created_at": iso(now - timedelta(hours=5)), "message": "daily 2026-11-28"}]
    audit = {"of": "c0ffee00aa11", "at": iso(now - timedelta(hours=6)), "ok": True, "report": "", "warnings": ["late"]}
    made.audits = [audit]
    made.status = {
        "is_synthetic": True,
        "exchange": "binance",
        "gaps_open": 1,
        "dead_letters": 12,
        "unavailable": {},
        "freshness": [
            {**{key: row[key] for key in ("market", "symbol", "last_trade_time")}, "age_s": age}
            for row, age in zip(made.symbols, (0.8, 41.2, 545.0, 7204.0), strict=True)
        ],
        "lag": [
            {"query": "candles", "records": 12, "age_s": 0.6},
            {"query": "last", "records": 0, "age_s": 0.0},
            {"query": "enriched", "records": 5120, "age_s": 33.0},
            {"query": "lake_trades", "records": None, "age_s": None},
        ],
    }
    return made


def gap(symbol: str, first: int, last: int, noticed: datetime, state: str) -> Json:
    return {
        "market": "spot",
        "symbol": symbol,
        "stream": "aggTrade",
        "first_id": first,
        "last_id": last,
        "detected_at": iso(noticed),
        "state": state,
    }


def alert(alert_id: str, severity: str, raised: datetime, summary: str) -> Json:
    return {
        "alert_id": alert_id,
        "rule": "price_move",
        "kind": "price_move",
        "severity": severity,
        "market": "spot",
        "symbol": "ETHUSDT",
        "raised_at": iso(raised),
        "summary": summary,
        "values": {},
    }


def trade(symbol: str, number: int, price: str, time: datetime) -> Json:
    return {
        "market": "spot",
        "symbol": symbol,
        "price": price,
        "qty": "0.5",
        "side": "BUY",
        "trade_time": iso(time),
        "event_id": f"binance:spot:{symbol}:aggTrade:{number}",
    }
