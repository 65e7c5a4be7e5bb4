"""Read the metrics of a live producer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from common.errors import ServiceNotReady
from stack.engine.probe import accepts_connections


def samples(port: int, timeout_s: float, program: str) -> list[Any] | None:
    """Return the samples that a producer serves; None when nothing listens at the port.

    Raises:
        ServiceNotReady: Something listens there, but does not answer with metrics.
    """
    import httpx
    from prometheus_client.parser import text_string_to_metric_families

    address = f"127.0.0.1:{port}"
    if not accepts_connections(address):
        return None
    try:
        text = httpx.get(f"http://{address}/metrics", timeout=timeout_s, trust_env=False).raise_for_status().text
        return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    except (httpx.HTTPError, ValueError) as error:
        raise ServiceNotReady(
            f"The metrics of {program} cannot be read: {error}.", next_command=f"tickhouse logs {program}"
        ) from error


def producer_section(samples: Iterable[Any]) -> dict[str, Any]:
    """Return what a live producer says of itself: streams, REST limits, gaps (pure)."""
    values: dict[str, float] = {}
    by_stream: dict[str, dict[str, float]] = {"silent_stream_seconds": {}, "refused_stream": {}}
    for sample in samples:
        name = sample.name.removeprefix("tickhouse_producer_")
        if name in by_stream:
            labels = sample.labels
            by_stream[name][f"{labels['market']}/{labels['symbol']}/{labels['stream']}"] = sample.value
        elif not sample.labels:
            values[name] = sample.value
    age_s = values.get("last_event_age_seconds", math.nan)
    return {
        "is_running": True,
        "connections": int(values.get("connections", 0)),
        "is_websocket_blocked": bool(values.get("is_blocked", 0)),
        "last_event_age_s": None if math.isnan(age_s) else round(age_s, 1),
        "gaps_open_ids": int(values.get("gaps_open_ids", 0)),
        "silent_streams": {name: round(seconds, 1) for name, seconds in by_stream["silent_stream_seconds"].items()},
        "refused_streams": {name: int(code) for name, code in by_stream["refused_stream"].items()},
        "subscriptions_refused": int(values.get("subscriptions_refused", 0)),
        "rest_failing_s": round(values.get("rest_failing_seconds", 0.0), 1),
        "rest_weight_this_minute": int(values.get("rest_weight_this_minute", 0)),
        "rest_weight_limit": int(values.get("rest_weight_limit", 0)),
    }


def gauge(samples: Iterable[Any], name: str) -> int:
    """Return a gauge without labels as a whole number; 0 without it."""
    return int(next((one.value for one in samples if one.name == f"tickhouse_producer_{name}"), 0))


def delivered(samples: Iterable[Any]) -> dict[str, float]:
    """Return the events that were delivered so far, by stream (pure)."""
    return {
        sample.labels["stream"]: sample.value
        for sample in samples
        if sample.name == "tickhouse_producer_events_total" and sample.labels["outcome"] == "delivered"
    }
