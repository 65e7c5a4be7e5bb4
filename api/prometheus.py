"""Asks Prometheus: few questions at a time, each with a limit of time and of series."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from api.problems import ApiProblem, store_down

ANSWER_S: Final = 5.0
# A board has some thirty queries; Prometheus runs on the machine of the pipeline.
AT_A_TIME: Final = 4
# More lines than this cannot be told apart.
MOST_SERIES: Final = 40
_OFF: Final = "tickhouse up --profile observe"


@dataclass(frozen=True, slots=True)
class MetricSeries:
    """One series of an answer.

    Attributes:
        labels: Its labels.
        points: Seconds since 1970, and the value; None where it is not a number.
    """

    labels: Mapping[str, str]
    points: list[tuple[float, float | None]]


class QueryRefused(Exception):
    """Prometheus answered a query with an error; the message is its own."""


class PrometheusClient:
    """A client of Prometheus's HTTP API.

    Args:
        url: Its address.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=ANSWER_S, trust_env=False)
        self._free = asyncio.Semaphore(AT_A_TIME)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def newest(self, query: str, at_s: float) -> list[MetricSeries]:
        """Return the newest value of each series.

        Raises:
            QueryRefused: The query is wrong or took too long.
            ApiProblem: Prometheus does not answer.
        """
        data = await self._get("/api/v1/query", {"query": query, "time": at_s})
        return [MetricSeries(one["metric"], [_point(one["value"])]) for one in data["result"][:MOST_SERIES]]

    async def over_time(self, query: str, start_s: float, end_s: float, step_s: int) -> list[MetricSeries]:
        """Return each series from `start_s` to `end_s`.

        Raises:
            QueryRefused: The query is wrong or took too long.
            ApiProblem: Prometheus does not answer.
        """
        parameters = {"query": query, "start": start_s, "end": end_s, "step": step_s}
        data = await self._get("/api/v1/query_range", parameters)
        return [
            MetricSeries(one["metric"], [_point(point) for point in one["values"]])
            for one in data["result"][:MOST_SERIES]
        ]

    async def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing, as Prometheus describes them.

        Raises:
            ApiProblem: Prometheus does not answer.
        """
        try:
            data = await self._get("/api/v1/alerts", {})
        except QueryRefused as error:
            raise _down(str(error)) from error
        return list(data["alerts"])

    async def _get(self, path: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        try:
            async with self._free:
                answer = await self._http.get(path, params={**parameters, "timeout": f"{ANSWER_S:.0f}s"})
        except httpx.ConnectError as error:
            raise ApiProblem(503, "store-off", "Prometheus does not run.", _OFF, {"Retry-After": "15"}) from error
        except httpx.HTTPError as error:
            raise _down(type(error).__name__) from error
        try:
            document = answer.json()
        except ValueError:
            document = {}
        if document.get("status") != "success":
            raise QueryRefused(str(document.get("error") or f"status {answer.status_code}"))
        data: dict[str, Any] = document["data"]
        return data


def _down(why: str) -> ApiProblem:
    return store_down(f"Prometheus does not answer: {why}.", "tickhouse logs prometheus")


def _point(pair: list[Any]) -> tuple[float, float | None]:
    """Return a point; Prometheus writes values as text, also `NaN` and `+Inf` (pure)."""
    value = float(pair[1])
    return float(pair[0]), value if math.isfinite(value) else None
