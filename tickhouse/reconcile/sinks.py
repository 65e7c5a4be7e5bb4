"""The stores that Kafka Connect fills, held against the truth like the others; they take part when they are enabled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tickhouse.reconcile import cassandra, elasticsearch, mongodb
from tickhouse.reconcile.documents import (
    Document,
    Unreadable,
    enriched_document_fault,
    raw_document_fault,
    rows,
    stored_twice,
)
from tickhouse.reconcile.records import FieldCheck
from tickhouse.reconcile.stores import Judged, Store
from tickhouse.reconcile.trades import compare
from tickhouse.reconcile.verdict import Verdict
from tickhouse.settings import Settings

# What each server of profile `sinks` holds, as the report names it.
STORES_OF = {"mongodb": ("mongodb", "mongodb-raw"), "elasticsearch": ("elasticsearch",), "cassandra": ("cassandra",)}


@dataclass(frozen=True)
class DocumentStore:
    """A store with the event id as key: each event once, no repeat."""

    name: str
    read: Callable[[], Iterator[Document | Unreadable]]
    fault: FieldCheck

    def check(self, judged: Judged) -> Verdict:
        """Compare every document, the derived fields too."""
        verdict = Verdict(self.name, limit=judged.limit)
        bad: list[Unreadable] = []
        found = rows(self.read(), bad, self.fault)
        compare(found, judged.base.expected, verdict, repeat=stored_twice, horizon=judged.base.horizon)
        for one in bad:
            verdict.count += 1
            verdict.blame("mismatch", one.identity, one.detail)
        return verdict


def stores(settings: Settings) -> dict[str, Store]:
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


def check_search_ticks(settings: Settings, kafka: set[str], limit: int) -> Verdict:
    """Hold the ticks in Elasticsearch against the topic: every id once, in the index of its day, and no other.

    Args:
        settings: Addresses.
        kafka: Distinct ids of the topic.
        limit: Examples a fault.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    return compare_search_ticks(elasticsearch.tick_ids(settings), kafka, limit)


def compare_search_ticks(found: Iterator[tuple[str, str]], kafka: set[str], limit: int) -> Verdict:
    """Hold (id, fault) of the ticks found against the ids of the topic (pure)."""
    verdict = Verdict("search ticks", limit=limit)
    seen: set[str] = set()
    for event, fault in found:
        verdict.count += 1
        if event in seen:
            verdict.blame("duplicate", event, "stored twice")
        if fault:
            verdict.blame("mismatch", event, fault)
        seen.add(event)
    verdict.distinct, verdict.delivered = len(seen), len(seen & kafka)
    # What came after the topic was read is ahead of it: ids only leave the topic by its retention.
    verdict.ahead = len(seen - kafka)
    for event in sorted(kafka - seen):
        verdict.blame("missing", event, "in the topic and not in Elasticsearch")
    return verdict
