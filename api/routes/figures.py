"""Movers, statistics and volatility."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Annotated, Any, Final, Literal, LiteralString

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api.answers import cached, decimal_text, page, utc_text
from api.cache import Cacheable, live
from api.lake import VOLATILITY
from api.models import AnswerPage, Mover, Statistics, Volatility
from api.parameters import Limit, MarketName, Offset, Parameters, Reference, SymbolName
from api.routes.common import COMMIT_HEADER, COMMIT_TTL_S, MAY_READ, Server, Serving, problems
from api.shared_statistics import shared_statistics
from api.windows import DAY, movers, windows
from common.errors import TransientError
from common.symbols import upper_latin
from stack.engine.enabled import is_statistics_enabled
from tickhouse.known_names import require_market
from tickhouse.read.table_scan import SymbolFilter

LIVE_S: Final = 5.0
GEODE_S: Final = 3.0
log = structlog.get_logger("api.figures")
WINDOWS: Final = {"1h": timedelta(hours=1), "4h": timedelta(hours=4), "24h": DAY, "7d": timedelta(days=7)}
router = APIRouter(prefix="/v1", tags=["figures"], dependencies=MAY_READ, responses=problems())
# PostgreSQL has the newest commit of `main` that was published, all of its days.
_VOLATILITY: Final[LiteralString] = """
SELECT v.market, v.symbol, v.open_time, v.returns, v.variance, v.volatility, v.span
FROM gold.volatility AS v
WHERE (%(market)s::text IS NULL OR v.market = %(market)s) AND (%(symbol)s::text IS NULL OR v.symbol = %(symbol)s)
      AND v.open_time = (SELECT max(open_time) FROM gold.volatility)
ORDER BY v.market, v.symbol
"""
_SOURCE: Final[LiteralString] = "SELECT commit_id FROM gold.source"


class MoverParameters(Parameters):
    """Which movers."""

    market: MarketName = "spot"
    window: Literal["1h", "4h", "24h", "7d"] = "24h"
    limit: Limit = 20


class StatisticsParameters(Parameters):
    """Which statistics."""

    market: MarketName = "spot"
    symbol: SymbolName | None = None


class VolatilityParameters(Parameters):
    """Which volatility; without `ref`, of the newest publication."""

    market: MarketName | None = None
    symbol: SymbolName | None = None
    ref: Reference | None = None
    limit: Limit = 500
    cursor: Offset = "0"


@router.get("/movers", response_model=AnswerPage[Mover], summary="Symbols that moved most")
async def most_moved(request: Request, asked: Annotated[MoverParameters, Query()], server: Serving) -> Response:
    """Return the symbols that moved most, in either direction, up to the newest candle."""
    require_market(asked.market)

    async def compute() -> dict[str, Any]:
        rows = await windows(server.stores, asked.market, None, WINDOWS[asked.window])
        return page(movers(rows, asked.limit))

    return await cached(request, server.stores.cache, _live("movers", asked), compute)


@router.get("/statistics", response_model=AnswerPage[Statistics], summary="Rolling statistics of 24 hours")
async def statistics(request: Request, asked: Annotated[StatisticsParameters, Query()], server: Serving) -> Response:
    """Return open, high, low, close and volumes of the 24 hours up to the newest candle."""
    symbol = None
    if asked.symbol is not None:
        _, symbol = await server.symbols.require(asked.market, asked.symbol)
    require_market(asked.market)

    async def compute() -> dict[str, Any]:
        return page(await _statistics(server, asked.market, symbol))

    return await cached(request, server.stores.cache, _live("statistics", asked), compute)


async def _statistics(server: Server, market: str, symbol: str | None) -> list[dict[str, Any]]:
    """Return the statistics that the stream keeps in Geode; while there are none, from candles."""
    settings, reads = server.stores.settings, server.stores.reads
    try:
        if await reads.run(lambda: is_statistics_enabled(settings)):
            found = await reads.run(lambda: shared_statistics(settings, market, symbol), GEODE_S)
            if found:
                return found
    except (TransientError, TimeoutError) as error:
        log.warning("geode_down", error=str(error))
    rows = await windows(server.stores, market, symbol, DAY)
    return [{**row, "source": "candles"} for row in rows]


@router.get("/volatility", response_model=AnswerPage[Volatility], summary="Volatility of the newest day")
async def volatility(request: Request, asked: Annotated[VolatilityParameters, Query()], server: Serving) -> Response:
    """Return variance and volatility of the 1-minute returns of the newest day, from gold."""
    if asked.market is not None:
        require_market(asked.market)
    read = _published if asked.ref is None else _at_commit
    return await read(request, asked, server)


async def _published(request: Request, asked: VolatilityParameters, server: Server) -> Response:
    source = await server.stores.rows(_SOURCE, {})
    commit_id = source[0][0] if source else ""
    symbol = None if asked.symbol is None else upper_latin(asked.symbol)
    if asked.market is not None and symbol is not None:
        await server.symbols.require(asked.market, symbol)

    async def compute() -> dict[str, Any]:
        rows = await server.stores.rows(_VOLATILITY, {"market": asked.market, "symbol": symbol})
        return _page([_volatility(row) for row in rows], asked)

    how = Cacheable(f"volatility:{asked.model_dump_json()}:{commit_id}", COMMIT_TTL_S, {COMMIT_HEADER: commit_id})
    return await cached(request, server.stores.cache, how, compute)


async def _at_commit(request: Request, asked: VolatilityParameters, server: Server) -> Response:
    lake = await server.lake.at(asked.ref or "")

    async def compute() -> dict[str, Any]:
        both = asked.market is not None and asked.symbol is not None
        of = SymbolFilter(asked.market or "", asked.symbol or "") if both else None
        rows = await server.lake.volatility(lake, of)
        symbol = None if asked.symbol is None else upper_latin(asked.symbol)
        chosen = [r for r in rows if asked.market in (None, r["market"]) and symbol in (None, r["symbol"])]
        return _page(chosen, asked)

    key = f"volatility:{asked.model_dump_json(exclude={'ref'})}:{lake.commit_id}"
    how = Cacheable(key, COMMIT_TTL_S, {COMMIT_HEADER: lake.commit_id})
    return await cached(request, server.stores.cache, how, compute)


def _volatility(row: tuple[Any, ...]) -> dict[str, Any]:
    market, symbol, opened, returns, *figures = row
    names = {"market": market, "symbol": symbol, "open_time": utc_text(opened), "returns": returns}
    return names | dict(zip(VOLATILITY[4:], map(decimal_text, figures), strict=True))


def _page(rows: list[dict[str, Any]], asked: VolatilityParameters) -> dict[str, Any]:
    first = int(asked.cursor)
    end = first + asked.limit
    return page(rows[first:end], str(end) if end < len(rows) else None)


def _live(name: str, asked: Parameters) -> Cacheable:
    return live(f"{name}:{asked.model_dump_json()}", LIVE_S, time.time())
