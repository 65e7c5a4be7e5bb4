"""The REST edge: paths, weights and headers around the pure answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from stack.exchange import answers
from stack.exchange.answers import Ask
from stack.exchange.frames import compact
from stack.exchange.limits import Verdict, WeightLimiter
from stack.exchange.playback import Playback
from stack.exchange.query import Query, RestError


class Route(NamedTuple):
    """One path: its answer, and its weight for one symbol and for many (Binance spot and USD-M docs)."""

    answer: Callable[[Ask], str]
    weight: int
    weight_for_all: int = 0


SPOT = {
    "aggTrades": Route(answers.agg_trades, 4),
    "trades": Route(answers.recent_trades, 25),
    "historicalTrades": Route(answers.recent_trades, 25),
    "klines": Route(answers.klines, 2),
    "uiKlines": Route(answers.klines, 2),
    "exchangeInfo": Route(answers.exchange_info, 20, 20),
    "ticker/24hr": Route(answers.ticker_24hr, 2, 80),
    "ticker/price": Route(answers.ticker_price, 2, 4),
    "ticker/bookTicker": Route(answers.ticker_book, 2, 4),
    "time": Route(answers.server_time, 1),
    "ping": Route(answers.ping, 1),
}
USDM = {
    "aggTrades": Route(answers.agg_trades, 20),
    "trades": Route(answers.recent_trades, 5),
    "historicalTrades": Route(answers.recent_trades, 20),
    "klines": Route(answers.klines, 5),
    "exchangeInfo": Route(answers.exchange_info, 1, 1),
    "ticker/24hr": Route(answers.ticker_24hr, 1, 40),
    "ticker/price": Route(answers.ticker_price, 1, 2),
    "ticker/bookTicker": Route(answers.ticker_book, 2, 5),
    "time": Route(answers.server_time, 1),
    "ping": Route(answers.ping, 1),
}
# These answer from the market's data, so a client that only polls them counts as a client.
_DATA_PATHS = ("aggTrades", "trades", "klines", "ticker/24hr", "ticker/price", "ticker/bookTicker")


class Rest:
    """Answers REST requests from what the playback has played.

    Args:
        playback: Tape and clock.
        limiter: Weights.
    """

    def __init__(self, playback: Playback, limiter: WeightLimiter) -> None:
        self.playback = playback
        self.limiter = limiter
        self.counts: Counter[str] = Counter()

    def add_routes(self, app: web.Application) -> None:
        """Serve /api/v3 for a spot tape, /fapi/v1 for a USD-M one."""
        is_spot = self.playback.tape.market == "spot"
        prefix, routes = ("/api/v3", SPOT) if is_spot else ("/fapi/v1", USDM)
        for name, route in routes.items():
            app.router.add_get(f"{prefix}/{name}", self._handler(name, route))

    def _handler(self, name: str, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if name in _DATA_PATHS:
                self.playback.noticed("client")
            is_for_all = route.weight_for_all and "symbol" not in request.query
            weight = route.weight_for_all if is_for_all else route.weight
            verdict = self.limiter.charge(request.remote or "", weight, is_probe=name == "ping")
            self.counts[f"answered_{verdict.status}"] += 1
            if verdict.status != 200:
                return _refusal(verdict)
            try:
                return _json(route.answer(self._ask(request)), 200, verdict)
            except RestError as error:
                self.counts["answered_400"] += 1
                return _json(compact({"code": error.code, "msg": error.message}), error.status, verdict)

        return handle

    def _ask(self, request: web.Request) -> Ask:
        tape, now_us = self.playback.tape, self.playback.now_us
        known = {spec.symbol for spec in tape.specs(now_us)}
        is_micro = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
        return Ask(tape, now_us, Query(request.query, known), is_micro, self.limiter.rules.weight_per_window)


def _json(text: str, status: int, verdict: Verdict) -> web.Response:
    used = str(verdict.used)
    headers = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def _refusal(verdict: Verdict) -> web.Response:
    """Return 429 or 418 with Retry-After in seconds and Binance's body."""
    message = "Too many requests; please use the websocket for live updates to avoid polling the API."
    if verdict.status == 418:
        message = "Way too many requests; IP banned. Please use the websocket for live updates to avoid bans."
    response = _json(compact({"code": -1003, "msg": message}), verdict.status, verdict)
    response.headers["Retry-After"] = str(verdict.retry_after_s)
    return response
