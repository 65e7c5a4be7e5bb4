"""Ask every system about one event and collect the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from common.clients.avro import AvroDecoder, registry_lookup
from common.clients.kafka import TopicLog
from common.clients.lake_files import RefFiles
from common.clients.latest_prices import latest_trade
from common.clients.postgres import read_only
from common.errors import ConfigurationError, StoreUnavailable
from common.event_ids import StreamName, parse_event_id
from common.settings import Settings
from common.topics import ENRICHED_TRADES, PRODUCER_DEAD_LETTERS, TICKS, TRADES
from stack.engine.enabled import SINKS, enabled_sinks, is_graph_enabled, is_series_enabled, is_statistics_enabled
from tickhouse.checks.explain import connect_sinks, derived_stores, series, systems
from tickhouse.checks.explain.systems import Say

TRADE_STREAMS = ("aggTrade", "trade")


@dataclass
class Explanation:
    """The answer of each system; `unavailable` has the reason for each one that did not answer."""

    event_id: str
    systems: dict[str, Any] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)

    @property
    def is_found(self) -> bool:
        """Return whether any system knows the event."""
        answers = self.systems
        ledger = answers.get("ledger") or {}
        asked = ("kafka", "enriched", "lake", PRODUCER_DEAD_LETTERS, "influxdb", *SINKS)
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
    """Find an event in Kafka, lake, databases, enabled stores, dead letters and gap ledger.

    Args:
        settings: Addresses.
        event: `binance:<market>:<SYMBOL>:<stream>:<exchange id>`.
        ref: Branch, tag or commit of the lake.
        say: Receives one line of progress at a time.

    Raises:
        ConfigurationError: The text is not an event id.
    """
    try:
        stream, number = parse_event_id(event)
    except ValueError as error:
        raise ConfigurationError(str(error), next_command="tickhouse reconcile") from error
    answer = Explanation(event)
    kafka = TopicLog.for_command(settings.kafka_bootstrap_servers)
    try:
        with httpx.Client(timeout=10) as client:
            decoder = AvroDecoder(registry_lookup(settings.schema_registry_url, client))
            _ask_kafka(answer, kafka, decoder, say)
    finally:
        kafka.close()
    _ask(answer, "lake", lambda: _lake(settings, ref, stream, answer, say), say)
    if stream.stream in TRADE_STREAMS:
        _ask(answer, "postgres", lambda: _postgres(settings, stream, number, answer), say)
        _ask(answer, "redis", lambda: _redis(settings, stream, event), say)
    _ask_sinks(answer, settings, stream, say)
    _ask_series(answer, settings, stream, number, say)
    return answer


def _ask_kafka(answer: Explanation, kafka: TopicLog, decoder: AvroDecoder, say: Say) -> None:
    event = answer.event_id
    stream, number = parse_event_id(event)
    is_trade = stream.stream in TRADE_STREAMS
    topic = TRADES if is_trade else TICKS
    _ask(answer, "kafka", lambda: systems.copies(kafka, decoder, topic, stream, event), say)
    if is_trade:
        _ask(answer, "enriched", lambda: systems.copies(kafka, decoder, ENRICHED_TRADES, stream, event), say)
    _ask(answer, PRODUCER_DEAD_LETTERS, lambda: systems.dead_letters(kafka, event), say)
    _ask(answer, "ledger", lambda: systems.ledger_state(kafka, stream, number), say)


def _ask(answer: Explanation, name: str, question: Callable[[], Any], say: Say) -> None:
    say(f"asking {name}")
    try:
        answer.systems[name] = question()
    except StoreUnavailable as error:
        answer.unavailable[name] = error.message


def _ask_sinks(answer: Explanation, settings: Settings, stream: StreamName, say: Say) -> None:
    enabled, event = enabled_sinks(settings), answer.event_id
    if "elasticsearch" in enabled:
        _ask(answer, "elasticsearch", lambda: connect_sinks.elasticsearch_documents(settings, event), say)
    if stream.stream not in TRADE_STREAMS:
        return
    if "mongodb" in enabled:
        _ask(answer, "mongodb", lambda: connect_sinks.mongodb_documents(settings, event), say)
    if "cassandra" in enabled:
        _ask(answer, "cassandra", lambda: connect_sinks.cassandra_rows(settings, stream, event, _time_us(answer)), say)
    if is_statistics_enabled(settings):
        _ask(answer, "geode", lambda: derived_stores.minute_of(settings, stream, _time_us(answer)), say)
    if is_graph_enabled(settings):
        _ask(answer, "neo4j", lambda: derived_stores.hour_of(settings, stream, _time_us(answer)), say)


def _ask_series(answer: Explanation, settings: Settings, stream: StreamName, number: int, say: Say) -> None:
    if is_series_enabled(settings) and stream.stream in TRADE_STREAMS:
        _ask(answer, "influxdb", lambda: series.points(settings, stream, number, _time_us(answer)), say)


def _time_us(answer: Explanation) -> int | None:
    """Return the trade time from Kafka, else from MongoDB."""
    known = [*(answer.systems.get("kafka") or []), *(answer.systems.get("mongodb") or [])]
    return next((one["trade_time_us"] for one in known if "trade_time_us" in one), None)


def _lake(settings: Settings, ref: str, stream: StreamName, answer: Explanation, say: Say) -> list[dict[str, Any]]:
    table = "trades" if stream.stream in TRADE_STREAMS else "ticks"
    copies = answer.systems.get("kafka") or []
    time_us = _time_us(answer) if table == "trades" else None
    day = None if time_us is None else datetime.fromtimestamp(time_us / 1e6, UTC).date()
    found = systems.lake_files(RefFiles.connect(settings, ref), table, answer.event_id, copies, say, day=day)
    for row in found:
        row["ref"] = ref
        row["first_commit"] = systems.first_commit(settings, ref, row["path"], row["manifest"])
    return found


def _redis(settings: Settings, stream: StreamName, event: str) -> dict[str, Any]:
    return systems.redis_state(latest_trade(settings.redis_dsn(), stream), stream, event)


def _postgres(settings: Settings, stream: StreamName, number: int, answer: Explanation) -> dict[str, Any]:
    copies = answer.systems.get("kafka") or []
    time_us = copies[0]["trade_time_us"] if copies else None
    with read_only(settings.database_dsn("reader")) as connection:
        return systems.candle(connection, stream, number, time_us)
