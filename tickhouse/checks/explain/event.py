"""Ask every system about one event and collect the answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
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

Question = Callable[[], Any]


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
        parse_event_id(event)
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
    _ask_at_once(answer, _stores(answer, settings, ref, say), say)
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


def _ask(answer: Explanation, name: str, question: Question, say: Say) -> None:
    say(f"asking {name}")
    try:
        answer.systems[name] = question()
    except StoreUnavailable as error:
        answer.unavailable[name] = error.message


def _ask_at_once(answer: Explanation, questions: Mapping[str, Question], say: Say) -> None:
    """Ask several systems at the same time; the answers are in the order of the questions."""
    first = "mongodb" if "mongodb" in questions and _time_us(answer) is None else ""
    if first:  # the others look for the event by its time, which Kafka no longer has
        _ask(answer, first, questions[first], say)
    others = {name: question for name, question in questions.items() if name != first}
    with ThreadPoolExecutor(max_workers=len(questions)) as pool:
        answers = [pool.submit(_ask, answer, name, question, say) for name, question in others.items()]
        for one in answers:
            one.result()
    for name in questions:
        if name in answer.systems:
            answer.systems[name] = answer.systems.pop(name)


def _stores(answer: Explanation, settings: Settings, ref: str, say: Say) -> dict[str, Question]:
    """Return what to ask each enabled store, Kafka apart."""
    stream, number = parse_event_id(answer.event_id)
    enabled, event = enabled_sinks(settings), answer.event_id
    questions: dict[str, Question] = {"lake": lambda: _lake(settings, ref, stream, answer, say)}
    is_trade = stream.stream in TRADE_STREAMS
    if is_trade:
        questions["postgres"] = lambda: _postgres(settings, stream, number, answer)
        questions["redis"] = lambda: _redis(settings, stream, event)
    if "elasticsearch" in enabled:
        questions["elasticsearch"] = lambda: connect_sinks.elasticsearch_documents(settings, event)
    if not is_trade:
        return questions
    if "mongodb" in enabled:
        questions["mongodb"] = lambda: connect_sinks.mongodb_documents(settings, event)
    if "cassandra" in enabled:
        questions["cassandra"] = lambda: connect_sinks.cassandra_rows(settings, stream, event, _time_us(answer))
    if is_statistics_enabled(settings):
        questions["geode"] = lambda: derived_stores.minute_of(settings, stream, _time_us(answer))
    if is_graph_enabled(settings):
        questions["neo4j"] = lambda: derived_stores.hour_of(settings, stream, _time_us(answer))
    if is_series_enabled(settings):
        questions["influxdb"] = lambda: series.points(settings, stream, number, _time_us(answer))
    return questions


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
