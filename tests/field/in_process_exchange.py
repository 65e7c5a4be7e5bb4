"""An exchange in the test's own process, and a live producer on it without Kafka.

It serves the part of Binance's protocol that the live producer uses. A test can replace its
response to any request, and so play each response that people reported to a running producer.
"""

from __future__ import annotations

import asyncio
import json
from bisect import insort
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from aiohttp import WSMsgType, web

from common.topics import TRADES
from producer.encoding.events import decode
from producer.exchange.rest import RestClient
from producer.live import Live, LiveOptions
from producer.writer.open_writer import Writer
from tests.unit.producer.fakes import FakeOutbox, intake_on

START_MS = 1_723_161_255_000
PREFIX = {"spot": "/api/v3", "usdm": "/fapi/v1"}

# Takes the path and the query of a REST request; returns None for the usual response.
Override = Callable[[str, dict[str, str]], Awaitable[web.StreamResponse | None]]


async def no_override(path: str, query: dict[str, str]) -> web.StreamResponse | None:
    return None


@dataclass
class InProcessExchange:
    """Symbols whose aggregate trades have rising ids; each frame goes to all that subscribed.

    Attributes:
        market: spot or usdm.
        ids: Newest id by symbol; -1 where there is no trade.
        first_ids: Oldest id that REST serves, by symbol.
        times: Time of each trade in milliseconds, by symbol and id.
        now_ms: The exchange's clock.
        is_silent: Whether a stream sends nothing.
        refused: Streams whose subscription is refused.
        subscribe_answer: Returns the response to a SUBSCRIBE; None for the usual one.
        override: Replaces responses of REST.
        routed: Whether trades come only over the route `/market`.
        weight_limit: Request weight per minute that exchangeInfo tells.
        requests: Requests by path of REST, and SUBSCRIBE.
        connections: WebSocket connections that were opened, by route.
        sockets: Route and streams of each open connection.
        address: Host and port while it is served.
    """

    market: str = "spot"
    ids: dict[str, int] = field(default_factory=dict)
    first_ids: dict[str, int] = field(default_factory=dict)
    times: dict[str, dict[int, int]] = field(default_factory=dict)
    now_ms: int = START_MS
    is_silent: Callable[[str], bool] = lambda name: False
    refused: set[str] = field(default_factory=set)
    subscribe_answer: Callable[[list[str], int], str | None] = lambda names, number: None
    override: Override = no_override
    routed: bool = False
    weight_limit: int = 6000
    requests: Counter = field(default_factory=Counter)
    connections: Counter = field(default_factory=Counter)
    sockets: dict[web.WebSocketResponse, tuple[str, set[str]]] = field(default_factory=dict)
    address: str = ""

    def add(self, *symbols: str, newest: int = -1) -> InProcessExchange:
        for symbol in symbols:
            self.ids[symbol], self.times[symbol] = newest, {}
        return self

    async def trade(self, symbol: str, count: int = 1) -> None:
        for _ in range(count):
            self.now_ms += 1
            self.ids[symbol] += 1
            self.times[symbol][self.ids[symbol]] = self.now_ms
            await self._send(f"{symbol.lower()}@aggTrade", self._frame(symbol, self.ids[symbol]))

    async def tick(self, symbol: str) -> None:
        """Send a ticker, which shows that the connection lives."""
        self.now_ms += 1
        values = {name: "1" for name in ("c", "o", "h", "l", "v", "q")}
        await self._send(f"{symbol.lower()}@ticker", {"e": "24hrTicker", "E": self.now_ms, "s": symbol, **values})

    async def _send(self, name: str, data: dict[str, Any]) -> None:
        for socket, (route, names) in list(self.sockets.items()):
            is_served = not self.routed or route == "/market"
            if name in names and is_served and not self.is_silent(name) and not socket.closed:
                with suppress(ConnectionError):
                    await socket.send_str(json.dumps({"stream": name, "data": data}, ensure_ascii=False))

    def _frame(self, symbol: str, number: int) -> dict[str, Any]:
        at = self._time(symbol, number)
        return {"e": "aggTrade", "E": at, "s": symbol, **self._row(symbol, number)}

    def _time(self, symbol: str, number: int) -> int:
        return self.times[symbol].get(number, START_MS - 1000)  # traded before the test began

    def _row(self, symbol: str, number: int) -> dict[str, Any]:
        at = self._time(symbol, number)
        return {"a": number, "p": "1.5", "q": "2", "f": number, "l": number, "T": at, "m": True}

    # -- servers

    def app(self) -> web.Application:
        app = web.Application()
        for route in ("",) if self.market == "spot" else ("", "/public", "/market"):
            app.router.add_get(f"{route}/stream", self._stream)
        app.router.add_get(PREFIX[self.market] + "/{path:.*}", self._rest)
        return app

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        route = request.path.removesuffix("/stream")
        self.connections[route] += 1
        names: set[str] = set()
        self.sockets[socket] = (route, names)
        try:
            async for message in socket:
                if message.type == WSMsgType.TEXT:
                    await socket.send_str(self._subscribed(json.loads(message.data), names))
        finally:
            del self.sockets[socket]
        return socket

    def _subscribed(self, request: dict[str, Any], names: set[str]) -> str:
        wanted, number = request["params"], request["id"]
        self.requests["SUBSCRIBE"] += 1
        if (answer := self.subscribe_answer(wanted, number)) is not None:
            return answer
        if self.refused & set(wanted):
            return json.dumps({"code": 2, "msg": "Invalid request: invalid stream", "id": number})
        names.update(wanted)
        return json.dumps({"result": None, "id": number})

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        path, query = request.match_info["path"], dict(request.query)
        self.requests[path] += 1
        found = await self.override(path, query)
        return self._answer(path, query) if found is None else found

    def _answer(self, path: str, query: dict[str, str]) -> web.Response:
        if path == "time":
            return web.json_response({"serverTime": self.now_ms})
        if path == "exchangeInfo":
            limit = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1}
            limit["limit"] = self.weight_limit
            symbols = [{"symbol": name, "status": "TRADING"} for name in self.ids]
            return web.json_response({"rateLimits": [limit], "symbols": symbols})
        if path == "ticker/24hr":
            return web.json_response([{"symbol": s, "lastId": last} for s, last in self.ids.items()])
        symbol = query["symbol"]
        if path != "aggTrades" or symbol not in self.ids:
            return refusal(-1121, "Invalid symbol.")
        return web.json_response(self._page(symbol, query))

    def _page(self, symbol: str, query: dict[str, str]) -> list[dict[str, Any]]:
        newest, limit = self.ids[symbol], int(query.get("limit", 500))
        first = self.first_ids.get(symbol, 0)
        if "fromId" in query:
            low = max(first, int(query["fromId"]))
            numbers = range(low, min(newest + 1, low + limit))
        elif "startTime" in query:
            since = int(query["startTime"])
            numbers = [n for n in range(first, newest + 1) if self._time(symbol, n) >= since][:limit]
        else:
            numbers = range(max(first, newest + 1 - limit), newest + 1)
        return [self._row(symbol, number) for number in numbers]


def refusal(code: int, message: str, status: int = 400) -> web.Response:
    return web.json_response({"code": code, "msg": message}, status=status)


class NoStore:
    """A ledger store that remembers nothing."""

    def known(self) -> list[tuple[str, str]]:
        return []

    def save(self, ledgers: object, gaps: object, *, is_closed: bool = False) -> None: ...


class NoReader:
    """A reader of topics that has none."""

    def close(self) -> None: ...


@dataclass
class RunningLive:
    """A live producer in this process, and the records that it sent."""

    live: Live
    outbox: FakeOutbox
    _read: int = 0
    _ids: dict[str, list[int]] = field(default_factory=dict)
    sources: Counter = field(default_factory=Counter)

    def is_connected(self) -> bool:
        """Return whether every stream is subscribed."""
        return 0 < len(self.live.shards.shards) == self.live.shards.connected

    def ids(self, symbol: str) -> list[int]:
        """Return the ids that were sent of a symbol, sorted; each record is decoded only once."""
        new, self._read = self.outbox.records[self._read :], len(self.outbox.records)
        for record in [decode("trade", value) for topic, _, value, _ in new if topic == TRADES]:
            insort(self._ids.setdefault(record["symbol"], []), record["trade_id"])
            self.sources[record["source"]] += 1
        return list(self._ids.get(symbol, []))

    def gaps(self) -> list[tuple[int, int, str, str]]:
        gaps = [*self.live.writer.gaps.changed.values()]
        return sorted((gap.first_id, gap.last_id, gap.state, gap.reason) for gap in gaps)


@asynccontextmanager
async def served(exchange: InProcessExchange) -> AsyncIterator[InProcessExchange]:
    """Serve an exchange on a free port."""
    runner = web.AppRunner(exchange.app(), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    exchange.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield exchange
    finally:
        await runner.cleanup()


@asynccontextmanager
async def producing(exchange: InProcessExchange, *symbols: str, **options: Any) -> AsyncIterator[RunningLive]:
    """Run a live producer on a served exchange; without symbols it takes all that trade."""
    outbox = FakeOutbox()
    intake = intake_on(outbox, market=exchange.market)
    writer = Writer(intake, NoStore(), outbox, intake.gaps, NoReader())
    stop = asyncio.Event()
    wanted = {"streams": ("aggTrade", "ticker"), "ws_url": f"ws://{exchange.address}", "compare_every_s": 0.5} | options
    async with httpx.AsyncClient() as http:
        clock = FastClock()
        rest = RestClient(http, f"http://{exchange.address}", exchange.market, clock=clock, sleep=clock.sleep)
        live = Live(writer, rest, LiveOptions(symbols=symbols, **wanted))
        task = asyncio.create_task(live.run(stop))
        try:
            yield RunningLive(live, outbox)
        finally:
            stop.set()
            await task


class FastClock:
    """A clock that moves only by sleeping, and sleeps a thousandth of the time."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 1000)
        self.now_s += seconds


@asynccontextmanager
async def trading(exchange: InProcessExchange, *symbols: str, every_s: float = 0.02) -> AsyncIterator[None]:
    """Send trades and tickers of the symbols until the block ends."""

    async def loop() -> None:
        while True:
            for symbol in symbols:
                await exchange.trade(symbol)
                await exchange.tick(symbol)
            await asyncio.sleep(every_s)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()


async def until(probe: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """Wait until `probe` returns something true and return that.

    Raises:
        AssertionError: It did not within `timeout_s`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not (value := probe()):
        if loop.time() > deadline:
            raise AssertionError(f"Expected {probe!r} to hold within {timeout_s} s, last value was {value!r}")
        await asyncio.sleep(0.02)
    return value
