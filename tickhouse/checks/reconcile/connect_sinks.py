"""Check the stores that Kafka Connect fills; a store is checked when it is enabled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from common.settings import Settings
from tickhouse.checks.reconcile import cassandra, elasticsearch, mongodb
from tickhouse.checks.reconcile.documents import (
    Document,
    Unreadable,
    enriched_document_fault,
    raw_document_fault,
    rows,
    stored_twice,
)
from tickhouse.checks.reconcile.kafka_records import FieldCheck
from tickhouse.checks.reconcile.store_result import StoreResult
from tickhouse.checks.reconcile.stores import CheckContext, StoreCheck
from tickhouse.checks.reconcile.trade_comparison import compare

# What each server of profile `sinks` holds, as the report names it.
STORES_OF = {"mongodb": ("mongodb", "mongodb-raw"), "elasticsearch": ("elasticsearch",), "cassandra": ("cassandra",)}


@dataclass(frozen=True)
class DocumentStore:
    """A store whose key is the event id: it must have each event once."""

    name: str
    read: Callable[[], Iterator[Document | Unreadable]]
    fault: FieldCheck

    def check(self, context: CheckContext) -> StoreResult:
        """Compare every document, including the derived fields."""
        result = StoreResult(self.name, limit=context.limit)
        bad: list[Unreadable] = []
        found = rows(self.read(), bad, self.fault)
        compare(
            found,
            context.base.expected,
            result,
            repeat=stored_twice,
            horizon=context.base.horizon,
            expired=context.expired(self.name),
        )
        for document in bad:
            result.count += 1
            result.add_fault("mismatch", document.identity, document.detail)
        return result


def stores(settings: Settings) -> dict[str, StoreCheck]:
    """Return every store of profile `sinks` by name; nothing is read yet."""
    return {
        "mongodb": DocumentStore(
            "mongodb", lambda: mongodb.documents(settings, mongodb.TRADES), enriched_document_fault
        ),
        "mongodb-raw": DocumentStore(
            "mongodb-raw", lambda: mongodb.documents(settings, mongodb.RAW), raw_document_fault
        ),
        "elasticsearch": DocumentStore(
            "elasticsearch", lambda: elasticsearch.documents(settings), enriched_document_fault
        ),
        "cassandra": DocumentStore("cassandra", lambda: cassandra.documents(settings), enriched_document_fault),
    }


def check_search_ticks(settings: Settings, kafka: set[str], limit: int) -> StoreResult:
    """Compare the ticks in Elasticsearch with the topic: every id once, in the index of its month.

    Args:
        settings: Addresses.
        kafka: Distinct ids of the topic.
        limit: Examples per kind of fault.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    return compare_search_ticks(elasticsearch.tick_ids(settings), kafka, limit)


def compare_search_ticks(found: Iterator[tuple[str, str]], kafka: set[str], limit: int) -> StoreResult:
    """Compare (id, fault) of the stored ticks with the ids of the topic (pure)."""
    result = StoreResult("search ticks", limit=limit)
    seen: set[str] = set()
    for event, fault in found:
        result.count += 1
        if event in seen:
            result.add_fault("duplicate", event, "stored twice")
        if fault:
            result.add_fault("mismatch", event, fault)
        seen.add(event)
    result.distinct, result.delivered = len(seen), len(seen & kafka)
    # These ids arrived after the topic was read: only retention removes ids from the topic.
    result.ahead = len(seen - kafka)
    for event in sorted(kafka - seen):
        result.add_fault("missing", event, "in the topic and not in Elasticsearch")
    return result
