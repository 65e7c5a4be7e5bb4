"""The state of the pipeline: gaps, events by id, alerts, freshness and lag."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal, LiteralString

import psycopg
from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import cached, encoded, page, tagged
from api.cache import Cacheable, live
from api.models import AlertAnswer, AnswerPage, ExplanationAnswer, GapAnswer, Status
from api.parameters import Limit, MarketName, Moment, Offset, Parameters, Reference, SymbolName
from api.pipeline_state import gap_rows, pipeline_state, require_kafka
from api.problems import ApiProblem
from api.routes.common import MAY_READ, Server, Serving, problems
from common.symbols import upper_latin
from tickhouse.checks.explain.event import explain
from tickhouse.known_names import require_market

LIVE_S: Final = 5.0
router = APIRouter(prefix="/v1", tags=["pipeline"], dependencies=MAY_READ, responses=problems())
# What common.event_ids accepts, for the markets that there are; an id has 64 bits.
EVENT_ID: Final = r"^binance:(spot|usdm|coinm):[^:/\x00-\x20]{1,50}:[A-Za-z]{1,20}:[0-9]{1,18}$"
_ALERTS: Final[LiteralString] = """
SELECT number, document FROM alerts.alerts
WHERE number < %(before)s AND (%(since)s::timestamptz IS NULL OR raised_at >= %(since)s)
ORDER BY number DESC LIMIT %(limit)s
"""
_ALERT_FIELDS: Final = ("alert_id", "rule", "kind", "severity", "market", "symbol", "raised_at", "summary", "values")
_LAST_NUMBER: Final = (1 << 63) - 1


class GapParameters(Parameters):
    """Which gaps."""

    market: MarketName | None = None
    symbol: SymbolName | None = None
    open: Annotated[Literal["true", "false"] | None, Field(description="Only open gaps, or only others")] = None
    limit: Limit = 500
    cursor: Offset = "0"


class EventParameters(Parameters):
    """Where to look."""

    ref: Annotated[Reference, Field(description="Branch, tag or commit of the lake to look in")] = "ingest"


class AlertParameters(Parameters):
    """Which alerts."""

    since: Annotated[Moment | None, Field(description="Only alerts that were raised then or later")] = None
    limit: Limit = 100
    cursor: Annotated[str | None, Field(pattern="^[0-9]{1,18}$", description="`next` of the answer before")] = None


class StatusParameters(Parameters):
    """The status takes no parameter."""


@router.get("/gaps", response_model=AnswerPage[GapAnswer], summary="Ids that did not arrive")
async def gaps(request: Request, asked: Annotated[GapParameters, Query()], server: Serving) -> Response:
    """Return the gap ledger in the order of detection, as `tickhouse gaps` shows it."""
    if asked.market is not None:
        require_market(asked.market)

    async def compute() -> dict[str, Any]:
        rows = await server.stores.reads.run(lambda: gap_rows(server.stores.settings))
        chosen = [row for row in rows if _is_wanted(row, asked)]
        first = int(asked.cursor)
        end = first + asked.limit
        return page(chosen[first:end], str(end) if end < len(chosen) else None)

    return await cached(request, server.stores.cache, _live("gaps", asked), compute)


def _is_wanted(row: dict[str, Any], asked: GapParameters) -> bool:
    symbol = None if asked.symbol is None else upper_latin(asked.symbol)
    has_state = asked.open is None or (row["state"] == "open") == (asked.open == "true")
    return has_state and asked.market in (None, row["market"]) and symbol in (None, row["symbol"])


@router.get("/events/{event_id}", response_model=ExplanationAnswer, summary="What each system knows about an event")
async def event(
    request: Request,
    event_id: Annotated[str, Path(pattern=EVENT_ID, examples=["binance:spot:BTCUSDT:aggTrade:3000001"])],
    asked: Annotated[EventParameters, Query()],
    server: Serving,
) -> Response:
    """Return the document of `tickhouse explain --json`. It reads Kafka and may take seconds."""
    lake = await server.lake.at(asked.ref)
    settings = server.stores.settings
    await server.stores.reads.run(lambda: require_kafka(settings))
    found = await server.stores.reads.run(lambda: explain(settings, event_id, lake.commit_id, lambda _: None))
    return tagged(request, encoded(found.document()), {})


@router.get("/alerts", response_model=AnswerPage[AlertAnswer], summary="Alerts that rang, newest first")
async def alerts(request: Request, asked: Annotated[AlertParameters, Query()], server: Serving) -> Response:
    """Return alerts by the order in which they were recorded, newest first."""
    before = _LAST_NUMBER if asked.cursor is None else int(asked.cursor)
    parameters = {"before": before, "since": asked.since, "limit": asked.limit + 1}

    async def compute() -> dict[str, Any]:
        rows = await _alert_rows(server, parameters)
        shown = rows[: asked.limit]
        data = [{name: document.get(name) for name in _ALERT_FIELDS} for _, document in shown]
        return page(data, str(shown[-1][0]) if len(rows) > len(shown) else None)

    return await cached(request, server.stores.cache, _live("alerts", asked, 1.0), compute)


async def _alert_rows(server: Server, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    try:
        return await server.stores.rows(_ALERTS, parameters)
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
        raise ApiProblem(503, "store-off", "This database has no alerts.", "tickhouse up --profile stores") from error


@router.get("/status", response_model=Status, summary="Freshness, lag, gaps and dead letters")
async def status(request: Request, asked: Annotated[StatusParameters, Query()], server: Serving) -> Response:
    """Return how fresh the data is, and how far each reader is behind."""

    async def compute() -> dict[str, Any]:
        return await pipeline_state(server.stores, list(await server.symbols.known()))

    return await cached(request, server.stores.cache, _live("status", asked), compute)


def _live(name: str, asked: Parameters, length_s: float = LIVE_S) -> Cacheable:
    return live(f"{name}:{asked.model_dump_json()}", length_s, time.time())
