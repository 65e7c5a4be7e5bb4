"""Play the demo's market at a pace that the slowest consumer can follow."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from math import isinf
from pathlib import Path
from typing import Any, Literal

import httpx

from common.days import Days
from common.errors import ServiceNotReady
from common.settings import Settings
from common.topics import TRADES
from stack.engine.enabled import enabled_sinks
from tickhouse.connectors import files
from tickhouse.demo.pace import next_pace, slowest
from tickhouse.status.kafka import kafka_status

# Between two queries of the lag: Kafka's admin calls cost some 20 ms of CPU each.
PACE_EVERY_S = 1.0


class Pacer:
    """Sets the pace of the local exchange by the lag of the slowest consumer.

    Args:
        settings: Addresses.

    Attributes:
        pace: Seconds of event time per second.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._queried_at = 0.0
        self._fastest: float | None = None
        self._lag = 0
        self.pace = 0.0

    def adjust(self, state: dict[str, Any]) -> int:
        """Query the lag, at most once per second, and set the pace; return the lag in records.

        A market at speed `max` has no pace to halve, so it either pauses or plays.

        Args:
            state: The exchange's state, from `exchange_state`.

        Raises:
            ServiceNotReady: The exchange or Kafka does not answer.
        """
        if self._fastest is None:
            self._fastest = self.pace = float("inf") if state["speed"] == "max" else float(state["speed"])
        if time.monotonic() - self._queried_at >= PACE_EVERY_S and state["state"] == "playing":
            self._queried_at = time.monotonic()
            self._lag = lag_records(self._settings)
            wanted = next_pace(self.pace, self._lag, self._fastest)
            if wanted != self.pace:
                set_pace(self._settings, "max" if isinf(wanted) else wanted)
                self.pace = wanted
        return self._lag


def lag_records(settings: Settings) -> int:
    """Return the lag in records of the slowest query or sink.

    Raises:
        ServiceNotReady: Kafka does not answer.
    """
    section = kafka_status(settings)
    lags = {name: lag for name, lag in section["lag_records"].items() if name.startswith(("stream:", "connect-"))}
    records = section["records"]
    waiting = {
        f"connect-{connector.name}": records.get(topic, 0)
        for connector in files.read().values()
        if connector.store in enabled_sinks(settings)
        for topic in connector.topics
    }
    return slowest(lags, {"stream:candles": records.get(TRADES, 0), **waiting})


def exchange_state(settings: Settings) -> dict[str, Any]:
    """Return the local exchange's state: `state`, `trades_played`, `trades_total`, `speed`.

    Raises:
        ServiceNotReady: It does not answer.
    """
    return _ask_exchange(settings, "GET", "state")


def set_pace(settings: Settings, speed: float | Literal["max"]) -> None:
    """Change the speed at which the local exchange plays.

    Raises:
        ServiceNotReady: It does not answer.
    """
    _ask_exchange(settings, "POST", "pace", {"speed": speed})


def _ask_exchange(settings: Settings, method: str, name: str, body: object = None) -> dict[str, Any]:
    url = f"{settings.exchange_rest_url}/tickhouse/{name}"
    try:
        answer = httpx.request(method, url, json=body, timeout=10.0, trust_env=False)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise ServiceNotReady(
            f"The exchange did not answer: {error}.", next_command="tickhouse logs exchange"
        ) from error
    state: dict[str, Any] = answer.json()
    return state


def is_recorded(folder: Path) -> bool:
    """Return whether the exchange has written all that it played to disk (once per second)."""
    try:
        played = json.loads((folder / "truth" / "exchange.json").read_text())
    except FileNotFoundError:
        return False
    return bool(played["played_until_us"] >= played["end_us"])


def market_days(folder: Path) -> Days:
    """Return the event days that the local exchange played."""
    played = json.loads((folder / "truth" / "exchange.json").read_text())
    moments = (played["market"]["start_us"], played["end_us"] - 1)
    first, last = (datetime.fromtimestamp(moment // 1_000_000, UTC).date() for moment in moments)
    return Days(first, last)
