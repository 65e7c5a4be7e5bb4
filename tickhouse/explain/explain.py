"""Ask every system about one event and put the answers together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from stack.engine.enabled import SINKS, enabled_sinks
from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.explain import places, sinks
from tickhouse.explain.places import Say
from tickhouse.reconcile import lake, latest, postgres
from tickhouse.reconcile.avro import Decoder, registry_fetch
from tickhouse.reconcile.kafka import Topics
from tickhouse.reconcile.model import StreamKey, parse_event_id
from tickhouse.settings import Settings

TRADE_STREAMS = ("aggTrade", "trade")


@dataclass
class Explanation:
    """What each system says; `unavailable` names those that did not answer and why."""

    event_id: str
    systems: dict[str, Any] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def is_found(self) -> bool:
        """Return whether any system knows the event."""
        answers = self.systems
        ledger = answers.get("ledger") or {}
        asked = ("kafka", "enriched", "lake", "dlq.producer", *SINKS)
        known = [answers.get(name) for name in asked]
        known += [ledger.get("seen_by"), ledger.get("gaps"), (answers.get("postgres") or {}).get("is_applied")]
        return any(known) or bool((answers.get("redis") or {}).get("is_latest"))

    def document(self) -> dict[str, Any]:
        """Return the explanation as JSON-ready values."""
        return {
            "event_id": self.event_id,
            "found": self.is_found,
            "systems": self.systems,
            "unavailable": self.unavailable,
        }


def explain(settings: Settings, event: str, ref: str, say: Say) -> Explanation:
    """Follow an event through Kafka, lake, PostgreSQL, Redis, enabled sinks, dead letters and gap ledger.

    Args:
        settings: Addresses.
        event: `binance:<market>:<SYMBOL>:<stream>:<exchange id>`.
        ref: Branch, tag or commit of the lake.
        say: Receives one line of progress at a time.

    Raises:
        ConfigurationError: The id is none.
    """
    try:
        key, number = parse_event_id(event)
    except ValueError as error:
        raise ConfigurationError(str(error), next_command="tickhouse reconcile") from error
    answer = Explanation(event)
    topics = Topics(settings.kafka_bootstrap_servers)
    try:
        with httpx.Client(timeout=10) as client:
            decoder = Decoder(registry_fetch(settings.schema_registry_url, client))
            _ask_kafka(answer, topics, decoder, say)
    finally:
        topics.close()
    _ask(answer, "lake", lambda: _lake(settings, ref, key, answer, say), say)
    if key.stream in TRADE_STREAMS:
        _ask(answer, "postgres", lambda: _postgres(settings, key, number, answer), say)
        _ask(answer, "redis", lambda: places.redis_state(latest.read(settings.redis_dsn()), key, event), say)
    _ask_sinks(answer, settings, key, say)
    return answer


def _ask_kafka(answer: Explanation, topics: Topics, decoder: Decoder, say: Say) -> None:
    event = answer.event_id
    key, number = parse_event_id(event)
    is_trade = key.stream in TRADE_STREAMS
    topic = "crypto.trades" if is_trade else "crypto.ticks"
    _ask(answer, "kafka", lambda: places.copies(topics, decoder, topic, key, event), say)
    if is_trade:
        _ask(answer, "enriched", lambda: places.copies(topics, decoder, "crypto.trades.enriched", key, event), say)
    _ask(answer, "dlq.producer", lambda: places.dead_letters(topics, event), say)
    _ask(answer, "ledger", lambda: places.ledger_state(topics, key, number), say)


def _ask(answer: Explanation, name: str, question: Callable[[], Any], say: Say) -> None:
    say(f"asking {name}")
    try:
        answer.systems[name] = question()
    except StoreUnavailable as error:
        answer.unavailable[name] = error.message


def _ask_sinks(answer: Explanation, settings: Settings, key: StreamKey, say: Say) -> None:
    enabled, event = enabled_sinks(settings), answer.event_id
    if "elasticsearch" in enabled:
        _ask(answer, "elasticsearch", lambda: sinks.elasticsearch_documents(settings, event), say)
    if key.stream not in TRADE_STREAMS:
        return
    if "mongodb" in enabled:
        _ask(answer, "mongodb", lambda: sinks.mongodb_documents(settings, event), say)
    if "cassandra" in enabled:
        _ask(answer, "cassandra", lambda: sinks.cassandra_rows(settings, key, event, _time_us(answer)), say)


def _time_us(answer: Explanation) -> int | None:
    """Return the trade time by Kafka, else by a store that was asked before."""
    known = [*(answer.systems.get("kafka") or []), *(answer.systems.get("mongodb") or [])]
    return next((one["trade_time_us"] for one in known if "trade_time_us" in one), None)


def _lake(settings: Settings, ref: str, key: StreamKey, answer: Explanation, say: Say) -> list[dict[str, Any]]:
    table = "trades" if key.stream in TRADE_STREAMS else "ticks"
    copies = answer.systems.get("kafka") or []
    found = places.lake_files(lake.connect(settings, ref), table, answer.event_id, copies, say)
    for row in found:
        row["ref"] = ref
        row["first_commit"] = places.first_commit(settings, ref, row["path"])
    return found


def _postgres(settings: Settings, key: StreamKey, number: int, answer: Explanation) -> dict[str, Any]:
    copies = answer.systems.get("kafka") or []
    time_us = copies[0]["trade_time_us"] if copies else None
    with postgres.connected(settings.database_dsn("reader")) as connection:
        return places.candle(connection, key, number, time_us)
