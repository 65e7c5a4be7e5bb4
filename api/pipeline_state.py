"""Freshness, lag, gaps and dead letters, each from the system that knows it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import psycopg
import psycopg_pool

from api.latest import latest_trades
from api.stores import Stores
from common.clients.gap_ledger import read_gaps
from common.clients.kafka import TopicLog
from common.clients.live_stream import utc_text
from common.errors import TickhouseError
from common.market_kind import is_simulated
from common.settings import Settings, home
from tickhouse.status.kafka import kafka_status
from tickhouse.status.section import require_answer

EXCHANGE: Final = "BINANCE"
# A system that is down must not hold up what the others know.
ANSWER_S: Final = 15.0
T = TypeVar("T")
_FIELDS: Final = ("market", "symbol", "stream", "first_id", "last_id")


def gap_rows(settings: Settings) -> list[dict[str, Any]]:
    """Return every gap in the order of detection.

    Raises:
        TransientError: Kafka does not answer.
    """
    require_kafka(settings)
    with closing(TopicLog.for_command(settings.kafka_bootstrap_servers)) as kafka:
        found = read_gaps(kafka)
    gaps = sorted(found, key=lambda gap: (gap.get("detected_at_us", 0), *(gap[name] for name in _FIELDS)))
    return [
        {**{name: gap[name] for name in _FIELDS}, "detected_at": utc_text(gap["detected_at_us"]), "state": gap["state"]}
        for gap in gaps
    ]


def require_kafka(settings: Settings) -> None:
    """Return when Kafka's port is open; its client would wait for longer than a request may take.

    Raises:
        ServiceNotReady: It is not.
    """
    require_answer(settings.kafka_bootstrap_servers.split(",")[0], "Kafka", "kafka")


async def pipeline_state(stores: Stores, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Return the document of `/v1/status`; what cannot be read is null, with the reason.

    Args:
        stores: The stores.
        pairs: Market and symbol of all symbols.
    """
    unavailable: dict[str, str] = {}
    settings = stores.settings
    freshness, kafka, gaps = await asyncio.gather(
        _or_none(_freshness(stores, pairs), "latest", unavailable),
        _or_none(stores.reads.run(lambda: kafka_status(settings), ANSWER_S), "kafka", unavailable),
        _or_none(stores.reads.run(lambda: gap_rows(settings), ANSWER_S), "gaps", unavailable),
    )
    return {
        "is_synthetic": is_simulated(home()),
        "exchange": EXCHANGE,
        "freshness": freshness or [],
        "lag": [] if kafka is None else _lag(kafka),
        "gaps_open": None if gaps is None else sum(gap["state"] == "open" for gap in gaps),
        "dead_letters": None if kafka is None else sum(kafka["dead_letters"].values()),
        "unavailable": unavailable,
    }


async def _or_none(answer: Awaitable[T], name: str, unavailable: dict[str, str]) -> T | None:
    """Return an answer; None when the system does not answer, and note why."""
    try:
        return await answer
    except TickhouseError as error:
        unavailable[name] = error.message
    except (psycopg.Error, psycopg_pool.PoolTimeout, TimeoutError):
        unavailable[name] = "It does not answer."
    return None


async def _freshness(stores: Stores, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    trades = await latest_trades(stores, pairs)
    return [
        {"market": pair[0], "symbol": pair[1], "last_trade_time": trade["trade_time"], "age_s": _age_s(trade, now)}
        for pair, trade in trades.items()
        if trade["trade_time"] is not None
    ]


def _age_s(trade: dict[str, Any], now: datetime) -> float:
    return round((now - datetime.fromisoformat(trade["trade_time"])).total_seconds(), 3)


def _lag(kafka: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the lag of each reader; one that is behind has not read the newest trade (pure)."""
    age_s = kafka["newest_trade_age_s"]
    return [
        {"query": name, "records": records, "age_s": age_s if records else 0.0}
        for name, records in sorted(kafka["lag_records"].items())
    ]
