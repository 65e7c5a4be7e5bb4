"""The live stream as server-sent events."""

from __future__ import annotations

from typing import Annotated, Any, Final

import psycopg
import psycopg_pool
from fastapi import APIRouter, Header, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.live_hub import EventId
from api.live_response import LiveResponse, Subscription
from api.parameters import MarketName, Parameters, SymbolName
from api.problems import ApiProblem, store_down
from api.routes.common import MAY_READ, Server, Serving, problems
from common.clients.live_stream import KINDS
from common.errors import UnknownName
from common.symbols import nearest, upper_latin
from tickhouse.known_names import nearest_names, require_market, shown

router = APIRouter(prefix="/v1", tags=["live"], dependencies=MAY_READ)
MOST_CLIENTS: Final = 1000
_EXAMPLE: Final = """\
id: 1709251200123-0
event: trade
data: {"market":"spot","symbol":"BTCUSDT","price":"61234.50000000","qty":"0.10000000","side":"BUY",\
"trade_time":"2024-03-01T00:00:00.123Z","average_1m":"61230.1000000000000000",\
"event_id":"binance:spot:BTCUSDT:aggTrade:3000001"}
"""
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events `trade`, `candle`, `alert`, `lost` and `closing`, until the client goes",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}


class EventStream(Response):
    """Names the media type for the OpenAPI description."""

    media_type = "text/event-stream"


class LiveParameters(Parameters):
    """Which events."""

    market: Annotated[list[MarketName], Field(max_length=3, description="Only these markets")] = []  # noqa: RUF012
    symbol: Annotated[list[SymbolName], Field(max_length=100, description="Only these symbols")] = []  # noqa: RUF012
    kinds: Annotated[
        str | None, Field(max_length=64, description="Comma-separated: trade, candle, alert", examples=["trade,candle"])
    ] = None


@router.get("/live", response_class=EventStream, responses={**problems(), **_STREAM}, summary="Events as they happen")
async def live(
    request: Request,
    asked: Annotated[LiveParameters, Query()],
    server: Serving,
    last_event_id: Annotated[str | None, Header(description="Resume after this event")] = None,
) -> Response:
    """Send events (server-sent events) until the client goes.

    With `Last-Event-ID` it begins after that event. When Redis has trimmed events that the client
    did not get, it is told so by an event `lost` with the ids between which they were.
    """
    hub = server.hub
    for market in asked.market:
        require_market(market)
    symbols = await _known(server, asked.symbol)
    if hub.is_closing or not hub.is_connected:
        raise store_down("The live stream is not connected to Redis.", "tickhouse logs redis")
    if server.metrics.live_clients >= MOST_CLIENTS:
        raise ApiProblem(503, "busy", "Too many clients follow the live stream.", "later", {"Retry-After": "5"})
    position = hub.newest if last_event_id is None else _position(last_event_id, hub.newest)
    wanted = Subscription(_kinds(asked.kinds), frozenset(asked.market), symbols)
    return LiveResponse(hub, server.metrics, wanted, position)


def _kinds(text: str | None) -> frozenset[str]:
    kinds = frozenset(kind for kind in (text or "").split(",") if kind)
    for kind in sorted(kinds - set(KINDS)):
        raise UnknownName(f"There is no kind {shown(kind)}. The nearest: {nearest_names(kind, KINDS)}.")
    return kinds


def _position(text: str, newest: EventId) -> EventId:
    position = EventId.parse(text.strip())
    if position is None:
        raise ApiProblem(400, "invalid-parameter", "Last-Event-ID is not an id of this stream.", "leave it out")
    # An id of the future would never be reached.
    return min(position, newest)


async def _known(server: Server, symbols: list[str]) -> frozenset[str]:
    """Return the symbols as the exchange writes them; while PostgreSQL is down, unchecked."""
    wanted = frozenset(map(upper_latin, symbols))
    if not wanted:
        return wanted
    try:
        known = {symbol for _, symbol in await server.symbols.known()}
    except (psycopg.Error, psycopg_pool.PoolTimeout):
        return wanted
    for symbol in sorted(wanted - known):
        raise UnknownName(f"There is no symbol {shown(symbol)}. The nearest: {nearest_names(nearest(symbol), known)}.")
    return wanted
