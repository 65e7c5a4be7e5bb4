"""Symbols, candles and latest trades."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import cached, page
from api.cache import Cacheable, live
from api.candles import CandlePage, live_page, moment_of
from api.latest import latest_trades
from api.models import AnswerPage, Candle, Latest, SymbolAnswer
from api.parameters import AnySymbol, Limit, MarketName, Moment, Parameters, Reference, SymbolName
from api.routes.common import COMMIT_HEADER, COMMIT_TTL_S, MAY_READ, Server, Serving, problems
from common.pairs import split_pair
from common.symbols import nearest, upper_latin
from tickhouse.known_names import require_market

LIVE_S: Final = 1.0
router = APIRouter(prefix="/v1", tags=["market"], dependencies=MAY_READ, responses=problems())
Interval = Literal["1m", "5m", "15m", "1h", "1d"]


class SymbolsParameters(Parameters):
    """Which symbols."""

    market: MarketName | None = None
    search: Annotated[str, Field(max_length=50, description="Only symbols that contain this text")] = ""
    limit: Limit = 1000
    cursor: Annotated[str, Field(max_length=80, description="`next` of the answer before")] = ""


class CandleParameters(Parameters):
    """Which candles."""

    market: MarketName
    symbol: SymbolName
    interval: Interval = "1m"
    from_: Annotated[Moment | None, Field(alias="from", description="First open time; without it, the newest")] = None
    to: Annotated[Moment | None, Field(description="Last open time, exclusive")] = None
    limit: Limit = 500
    cursor: Annotated[
        str | None, Field(pattern="^[0-9]{1,13}$", description="`next` of the answer before; replaces `from`")
    ] = None
    ref: Annotated[Reference | None, Field(description="Lake reference; without it, live from PostgreSQL")] = None


@router.get("/symbols", response_model=AnswerPage[SymbolAnswer], summary="Symbols that the stores hold")
async def symbols(request: Request, asked: Annotated[SymbolsParameters, Query()], server: Serving) -> Response:
    """Return market and symbol, the pair, and the time of the latest trade, by name."""
    if asked.market is not None:
        require_market(asked.market)

    async def compute() -> dict[str, Any]:
        wanted = nearest(asked.search)
        known = [
            (market, symbol)
            for market, symbol in await server.symbols.known()
            if asked.market in (None, market) and wanted in symbol and f"{market}:{symbol}" > asked.cursor
        ]
        shown = known[: asked.limit]
        trades = await latest_trades(server.stores, shown)
        rows = [_symbol_row(pair, trades.get(pair)) for pair in shown]
        return page(rows, ":".join(shown[-1]) if len(known) > len(shown) else None)

    return await cached(request, server.stores.cache, _live("symbols", asked), compute)


def _symbol_row(pair: tuple[str, str], trade: dict[str, Any] | None) -> dict[str, Any]:
    base, quote = split_pair(pair[1])
    time_ = trade["trade_time"] if trade else None
    return {"market": pair[0], "symbol": pair[1], "base": base, "quote": quote, "last_trade_time": time_}


@router.get("/candles", response_model=AnswerPage[Candle], summary="Candles, live or at a lake commit")
async def candles(request: Request, asked: Annotated[CandleParameters, Query()], server: Serving) -> Response:
    """Return candles in order of time; an interval without trades has none (in the lake: volume 0).

    Without `from` these are the newest `limit` intervals before `to`.
    """
    first = asked.from_ if asked.cursor is None else moment_of(asked.cursor)
    if asked.ref is not None:
        pair = (require_market(asked.market), upper_latin(asked.symbol))
        return await _at_commit(request, asked, server, CandlePage(*pair, asked.interval, first, asked.to, asked.limit))
    pair = await server.symbols.require(asked.market, asked.symbol)
    wanted = CandlePage(*pair, asked.interval, first, asked.to, asked.limit)

    async def compute() -> dict[str, Any]:
        return await live_page(server.stores, wanted, datetime.now(UTC))

    return await cached(request, server.stores.cache, _live("candles", asked), compute)


async def _at_commit(request: Request, asked: CandleParameters, server: Server, wanted: CandlePage) -> Response:
    lake = await server.lake.at(asked.ref or "")
    parameters = asked.model_dump_json(by_alias=True, exclude_none=True, exclude={"ref"})
    how = Cacheable(f"candles:{parameters}:{lake.commit_id}", COMMIT_TTL_S, {COMMIT_HEADER: lake.commit_id})
    return await cached(request, server.stores.cache, how, lambda: server.lake.candles(lake, wanted))


@router.get("/latest", response_model=AnswerPage[Latest], summary="Latest trade of each symbol")
async def latest(request: Request, asked: AnySymbol, server: Serving) -> Response:
    """Return the latest trade of one symbol, of a market, or of all."""
    pairs = await _pairs(server, asked.market, asked.symbol)

    async def compute() -> dict[str, Any]:
        trades = await latest_trades(server.stores, pairs)
        return page([trades[pair] for pair in pairs if pair in trades])

    return await cached(request, server.stores.cache, _live("latest", asked), compute)


async def _pairs(server: Server, market: str | None, symbol: str | None) -> list[tuple[str, str]]:
    """Return the symbols that were asked for."""
    if market is not None and symbol is not None:
        return [await server.symbols.require(market, symbol)]
    if market is not None:
        require_market(market)
    known = await server.symbols.known()
    return [pair for pair in known if market in (None, pair[0]) and symbol in (None, pair[1])]


def _live(name: str, asked: Parameters) -> Cacheable:
    return live(f"{name}:{asked.model_dump_json(by_alias=True, exclude_none=True)}", LIVE_S, time.time())
