"""The REST server: paths, request weights and headers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from standins.exchange import rest_responses
from standins.exchange.frames import compact
from standins.exchange.playback import Playback
from standins.exchange.request_weights import WeightDecision, WeightLimiter
from standins.exchange.rest_parameters import RestError, RestParameters
from standins.exchange.rest_responses import RestRequest


class Route(NamedTuple):
    """One path: its response, and its weights for one symbol and for all (Binance's docs)."""

    respond: Callable[[RestRequest], str]
    weight: int
    weight_for_all: int = 0


SPOT = {
    "aggTrades": Route(rest_responses.agg_trades, 4),
    "trades": Route(rest_responses.recent_trades, 25),
    "historicalTrades": Route(rest_responses.recent_trades, 25),
    "klines": Route(rest_responses.klines, 2),
    "uiKlines": Route(rest_responses.klines, 2),
    "exchangeInfo": Route(rest_responses.exchange_info, 20, 20),
    "ticker/24hr": Route(rest_responses.ticker_24hr, 2, 80),
    "ticker/price": Route(rest_responses.ticker_price, 2, 4),
    "ticker/bookTicker": Route(rest_responses.ticker_book, 2, 4),
    "time": Route(rest_responses.server_time, 1),
    "ping": Route(rest_responses.ping, 1),
}
USDM = {
    "aggTrades": Route(rest_responses.agg_trades, 20),
    "trades": Route(rest_responses.recent_trades, 5),
    "historicalTrades": Route(rest_responses.recent_trades, 20),
    "klines": Route(rest_responses.klines, 5),
    "exchangeInfo": Route(rest_responses.exchange_info, 1, 1),
    "ticker/24hr": Route(rest_responses.ticker_24hr, 1, 40),
    "ticker/price": Route(rest_responses.ticker_price, 1, 2),
    "ticker/bookTicker": Route(rest_responses.ticker_book, 2, 5),
    "time": Route(rest_responses.server_time, 1),
    "ping": Route(rest_responses.ping, 1),
}
# Requests for market data; they start a playback that waits for a client.
_DATA_PATHS = ("aggTrades", "trades", "klines", "ticker/24hr", "ticker/price", "ticker/bookTicker")


class RestServer:
    """Responds to REST requests with the trades that were played.

    Args:
        playback: The frame source and the event clock.
        limiter: Counts the request weights.
    """

    def __init__(self, playback: Playback, limiter: WeightLimiter) -> None:
        self.playback = playback
        self.limiter = limiter
        self.counts: Counter[str] = Counter()

    def add_routes(self, app: web.Application) -> None:
        """Add /api/v3 for a spot market, /fapi/v1 for a USD-M market."""
        is_spot = self.playback.source.market == "spot"
        prefix, routes = ("/api/v3", SPOT) if is_spot else ("/fapi/v1", USDM)
        for name, route in routes.items():
            app.router.add_get(f"{prefix}/{name}", self._handler(name, route))

    def _handler(self, name: str, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            if name in _DATA_PATHS:
                self.playback.client_activity("client")
            is_for_all = route.weight_for_all and "symbol" not in request.query
            weight = route.weight_for_all if is_for_all else route.weight
            decision = self.limiter.charge(request.remote or "", weight, is_probe=name == "ping")
            self.counts[f"answered_{decision.status}"] += 1
            if decision.status != 200:
                return _limit_response(decision)
            try:
                return _json(route.respond(self._rest_request(request)), 200, decision)
            except RestError as error:
                self.counts["answered_400"] += 1
                return _json(compact({"code": error.code, "msg": error.message}), error.status, decision)

        return handle

    def _rest_request(self, request: web.Request) -> RestRequest:
        source, now_us = self.playback.source, self.playback.now_us
        known = {spec.symbol for spec in source.specs(now_us)}
        is_micro = request.headers.get("X-MBX-TIME-UNIT", "").upper() == "MICROSECOND"
        return RestRequest(
            source, now_us, RestParameters(request.query, known), is_micro, self.limiter.rules.weight_per_window
        )


def _json(text: str, status: int, decision: WeightDecision) -> web.Response:
    used = str(decision.used)
    headers = {"X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def _limit_response(decision: WeightDecision) -> web.Response:
    """Return a 429 or 418 with Binance's body and Retry-After in seconds."""
    message = "Too many requests; please use the websocket for live updates to avoid polling the API."
    if decision.status == 418:
        message = "Way too many requests; IP banned. Please use the websocket for live updates to avoid bans."
    response = _json(compact({"code": -1003, "msg": message}), decision.status, decision)
    response.headers["Retry-After"] = str(decision.retry_after_s)
    return response
