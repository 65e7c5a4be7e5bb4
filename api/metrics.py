"""Figures of the API for Prometheus, at `/metrics`."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class ApiMetrics:
    """Counters of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        prefix = "tickhouse_api_"
        self._requests = Counter(
            f"{prefix}requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            f"{prefix}request_seconds", "Time to answer.", ("route",), buckets=_SECONDS, registry=self._registry
        )
        self._cache = Counter(
            f"{prefix}cache", "Answers by hit, miss and bypass.", ("result",), registry=self._registry
        )
        self.live_clients = 0
        self._live_clients = Gauge(f"{prefix}live_clients", "Clients of the live stream.", registry=self._registry)
        self.live_events = Counter(f"{prefix}live_events", "Events read from Redis.", registry=self._registry)
        self.live_lost = Counter(f"{prefix}live_lost", "`lost` events sent to clients.", registry=self._registry)
        self.live_slow = Counter(
            f"{prefix}live_slow", "Times a client fell behind and was served from Redis.", registry=self._registry
        )

    def request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count one request by its route, so that names of symbols make no series."""
        route: Any = scope.get("route")
        name = getattr(route, "path", "other")
        self._requests.labels(name, status).inc()
        self._seconds.labels(name).observe(seconds)

    def cache(self, result: str) -> None:
        """Count one answer by what the cache did."""
        self._cache.labels(result).inc()

    def client_came(self) -> None:
        """Count a client of the live stream."""
        self.live_clients += 1
        self._live_clients.set(self.live_clients)

    def client_left(self) -> None:
        """Count it no longer."""
        self.live_clients -= 1
        self._live_clients.set(self.live_clients)

    def text(self) -> bytes:
        """Return all figures in the text format."""
        return generate_latest(self._registry)
