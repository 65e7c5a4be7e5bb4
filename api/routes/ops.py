"""The operations page's data: panels of the dashboards, and the alerts of Prometheus."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.answers import cached, page
from api.cache import live
from api.models import AnswerPage, OpsAlertAnswer, OpsBoardAnswer, OpsBoardName
from api.ops_boards import RANGES_S, OpsPanel, PanelQuery, ops_dashboards, step_of
from api.parameters import Parameters
from api.problems import ApiProblem
from api.prometheus import MetricSeries, PrometheusClient, QueryRefused
from api.routes.common import MAY_READ, Serving, problems
from tickhouse.alerts.status_rules import own_labels

# Prometheus reads every 10 s, so an answer of the last 5 s is as good as a new one.
FRESH_S: Final = 5.0
router = APIRouter(prefix="/v1/ops", tags=["operations"], dependencies=MAY_READ, responses=problems())


class BoardParameters(Parameters):
    """Which time."""

    range: Annotated[Literal["15m", "1h", "6h", "24h"], Field(description="Time before now")] = "1h"


class NoParameters(Parameters):
    """The address takes no parameter."""


@router.get("/boards", response_model=AnswerPage[OpsBoardName], summary="Boards of the operations page")
async def boards(asked: Annotated[NoParameters, Query()]) -> dict[str, Any]:
    """Return the boards in the order in which the page shows them."""
    found = ops_dashboards().values()
    return page([{"board": one.uid, "title": one.title, "description": one.description} for one in found])


@router.get("/boards/{board}", response_model=OpsBoardAnswer, summary="Panels of a board with their values")
async def board(
    request: Request,
    board: Annotated[str, Path(max_length=40, examples=["tickhouse-pipeline"])],
    asked: Annotated[BoardParameters, Query()],
    server: Serving,
) -> Response:
    """Return every panel of a board, with its series from Prometheus."""
    known = ops_dashboards()
    if board not in known:
        raise ApiProblem(404, "unknown-name", f"There is no board {board!r}.", f"one of {', '.join(known)}")
    range_s = RANGES_S[asked.range]

    async def compute() -> dict[str, Any]:
        now_s = time.time() // 1
        panels = await asyncio.gather(
            *(_panel(server.prometheus, panel, now_s, range_s) for panel in known[board].panels)
        )
        described = known[board]
        times = {"at": now_s, "range_s": range_s, "step_s": step_of(range_s)}
        return {
            "board": board,
            "title": described.title,
            "description": described.description,
            **times,
            "panels": panels,
        }

    return await cached(request, server.stores.cache, live(f"ops:{board}:{asked.range}", FRESH_S, time.time()), compute)


@router.get("/alerts", response_model=AnswerPage[OpsAlertAnswer], summary="Alerts that are firing or pending")
async def alerts(request: Request, asked: Annotated[NoParameters, Query()], server: Serving) -> Response:
    """Return the alerts of Prometheus's rules, those that fire first, then by name."""

    async def compute() -> dict[str, Any]:
        found = [_alert(one) for one in await server.prometheus.alerts()]
        found.sort(key=lambda one: (one["state"] != "firing", one["alert"], sorted(one["labels"].items())))
        return page(found)

    return await cached(request, server.stores.cache, live("ops:alerts", FRESH_S, time.time()), compute)


def _alert(document: dict[str, Any]) -> dict[str, Any]:
    all_labels = document["labels"].items()
    labels = own_labels({name: value for name, value in all_labels if name not in ("alertname", "severity")})
    notes = document.get("annotations", {})
    return {
        "alert": document["labels"].get("alertname", ""),
        "severity": document["labels"].get("severity", ""),
        "state": document["state"],
        "since": document["activeAt"],
        "summary": notes.get("summary", ""),
        "description": notes.get("description", ""),
        "runbook": notes.get("runbook_url", ""),
        "labels": labels,
    }


async def _panel(prometheus: PrometheusClient, panel: OpsPanel, now_s: float, range_s: int) -> dict[str, Any]:
    """Return a panel with its series; a query that Prometheus refuses is said in its panel."""
    problem = None
    series: list[dict[str, Any]] = []
    try:
        answers = await asyncio.gather(*(_ask(prometheus, query, now_s, range_s) for query in panel.queries))
        for query, answer in zip(panel.queries, answers, strict=True):
            series += [_series(one, query, panel) for one in answer]
    except QueryRefused as error:
        problem = str(error)
    return {
        "panel": panel.number,
        "title": panel.title,
        "description": panel.description,
        "kind": panel.kind,
        "unit": panel.unit,
        "width": panel.width,
        "thresholds": [{"at_least": value, "color": color} for value, color in panel.thresholds],
        "words": {value: {"text": text, "color": color} for value, (text, color) in panel.words.items()},
        "series": sorted(series, key=lambda one: str(one["name"])),
        "problem": problem,
    }


async def _ask(prometheus: PrometheusClient, query: PanelQuery, now_s: float, range_s: int) -> list[MetricSeries]:
    if query.is_instant:
        return await prometheus.newest(query.promql(range_s), now_s)
    step_s = step_of(range_s)
    # The points of two answers are at the same seconds, so that a curve does not tremble.
    end_s = now_s // step_s * step_s
    return await prometheus.over_time(query.promql(range_s), end_s - range_s, end_s, step_s)


def _series(series: MetricSeries, query: PanelQuery, panel: OpsPanel) -> dict[str, Any]:
    return {"name": query.name_of(series.labels, panel.title), "points": series.points}
