"""Questions that the graph in Neo4j answers."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import cached, encoded, page, tagged
from api.cache import live
from api.models import AnswerPage, GraphAnswer, GraphQuery
from api.parameters import Parameters
from api.problems import ApiProblem
from api.routes.common import MAY_READ, Server, Serving, problems
from common.errors import UnknownName
from stack.engine.enabled import is_graph_enabled
from tickhouse.graph.answers import QUESTIONS, Question, ask
from tickhouse.known_names import nearest_names, shown

LIVE_S: Final = 10.0
router = APIRouter(prefix="/v1/graph", tags=["graph"], dependencies=MAY_READ, responses=problems())
Text = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f]*$")]


class ConnectingAssets(Parameters):
    """Which pairs to connect."""

    left: Annotated[Text, Field(examples=["BTC-USDT"])]
    right: Annotated[Text, Field(examples=["ETH-BTC"])]


class Triangles(Parameters):
    """Where and when; without an hour, the newest."""

    market: Literal["spot", "usdm", "coinm"] = "spot"
    hour: Text = ""


class Concentration(Parameters):
    """Of which quote asset, and when."""

    quote: Annotated[Text, Field(examples=["USDT"])]
    market: Literal["spot", "usdm"] = "spot"
    from_: Annotated[Text, Field(alias="from")] = ""
    to: Text = ""


class SharedCounterparties(Parameters):
    """The least number of counterparties to share."""

    least: Annotated[str, Field(pattern="^[0-9]{1,4}$")] = "2"


PARAMETERS: Final[dict[str, type[Parameters]]] = {
    "connecting_assets": ConnectingAssets,
    "triangles": Triangles,
    "concentration": Concentration,
    "shared_counterparties": SharedCounterparties,
}


@router.get("", response_model=AnswerPage[GraphQuery], summary="Questions that the graph answers")
async def questions(request: Request) -> Response:
    """Return every question with its parameters."""
    return tagged(request, encoded(page([_document(name, one) for name, one in QUESTIONS.items()])), {})


@router.get("/connecting_assets", response_model=GraphAnswer, summary="Assets that connect two pairs")
async def connecting_assets(request: Request, asked: Annotated[ConnectingAssets, Query()], server: Serving) -> Response:
    """Return the assets that two pairs share, or that a third pair leads to."""
    return await _answer(request, server, "connecting_assets", asked)


@router.get("/triangles", response_model=GraphAnswer, summary="Conversion paths over a third asset")
async def triangles(request: Request, asked: Annotated[Triangles, Query()], server: Serving) -> Response:
    """Return each path of two pairs with its implied rate, against the direct one."""
    return await _answer(request, server, "triangles", asked)


@router.get("/concentration", response_model=GraphAnswer, summary="Shares of the volume of a quote asset")
async def concentration(request: Request, asked: Annotated[Concentration, Query()], server: Serving) -> Response:
    """Return the share of each symbol, the largest first."""
    return await _answer(request, server, "concentration", asked)


@router.get("/shared_counterparties", response_model=GraphAnswer, summary="Wallets that share counterparties")
async def shared_counterparties(
    request: Request, asked: Annotated[SharedCounterparties, Query()], server: Serving
) -> Response:
    """Return pairs of wallets of the SYNTHETIC sample."""
    return await _answer(request, server, "shared_counterparties", asked)


@router.get("/{query}", include_in_schema=False)
async def unknown(query: str) -> Response:
    """Name the nearest questions."""
    near = nearest_names(query, QUESTIONS)
    raise UnknownName(f"There is no query {shown(query)}. The nearest: {near}.", next_command="GET /v1/graph")


async def _answer(request: Request, server: Server, query: str, asked: Parameters) -> Response:
    """Return the rows that `tickhouse graph query` prints."""
    settings = server.stores.settings
    if not await server.stores.reads.run(lambda: is_graph_enabled(settings)):
        raise ApiProblem(503, "store-off", "Neo4j is not enabled here.", "tickhouse up --service neo4j")

    async def compute() -> dict[str, Any]:
        found = await server.stores.reads.run(lambda: ask(settings, query, asked.model_dump(by_alias=True)))
        return {"query": query, "rows": found.rows, "figures": found.figures, "is_simulated": found.is_simulated}

    how = live(f"graph:{query}:{asked.model_dump_json(by_alias=True)}", LIVE_S, time.time())
    return await cached(request, server.stores.cache, how, compute)


def _document(name: str, question: Question) -> dict[str, Any]:
    choices = {parameter: list(values) for parameter, values in question.choices.items()}
    return {"query": name, "required": list(question.required), "defaults": dict(question.defaults), "choices": choices}
