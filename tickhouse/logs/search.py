"""Search the logs: in Elasticsearch, and in the files while Elasticsearch has none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from common.clients.elasticsearch import connected
from common.errors import StoreUnavailable
from common.settings import Settings
from stack.engine import supervisor
from tickhouse.logs.file_search import search_files
from tickhouse.logs.query import LogQuery
from tickhouse.logs.sources import log_sources

INDICES = "tickhouse-logs-*"
SHIPPER = "log_shipper"
TEXTS = ("message", "error.message", "error.stack_trace")
KEYWORDS = ("error.type", "event.action", "event.id", "trace.id", "log.logger", "labels")


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """What was found, oldest first; `searched` says where, `note` why not in Elasticsearch."""

    messages: tuple[dict[str, Any], ...]
    searched: str
    total: int
    note: str = ""


def search(settings: Settings, query: LogQuery) -> LogAnswer:
    """Search Elasticsearch, or the files when it does not have the logs."""
    note = _why_not_elasticsearch(settings)
    if not note:
        try:
            return _search_elasticsearch(settings, query)
        except StoreUnavailable:
            note = "Elasticsearch does not answer"
    found, total, unread = search_files(settings.home, log_sources(), query)
    cut = f"; {unread / 1e6:.0f} MB of older lines were not read" if unread else ""
    return LogAnswer(tuple(found), "files", total, f"{note}: searched the files{cut}")


def _why_not_elasticsearch(settings: Settings) -> str:
    if settings.is_external("elasticsearch_url"):
        return ""
    states = supervisor.states()
    if SHIPPER not in states or not states[SHIPPER].is_alive:
        return "The log shipper does not run (tickhouse up --profile observe)"
    return ""


def _search_elasticsearch(settings: Settings, query: LogQuery) -> LogAnswer:
    with connected(settings, "reader") as client:
        answer = client.search(
            index=INDICES,
            allow_no_indices=True,
            ignore_unavailable=True,
            size=query.limit,
            query=elasticsearch_query(query),
            sort=[{"@timestamp": "desc"}, {"log.offset": "desc"}],
            track_total_hits=True,
        )
    hits = [dict(hit["_source"]) for hit in answer["hits"]["hits"]]
    return LogAnswer(tuple(reversed(hits)), "elasticsearch", int(answer["hits"]["total"]["value"]))


def elasticsearch_query(query: LogQuery) -> dict[str, Any]:
    """Return the query for the index (pure)."""
    filters: list[dict[str, Any]] = [
        {"range": {"@timestamp": {"gte": query.since.isoformat()}}},
        {"terms": {"log.level": list(query.levels)}},
        *([{"terms": {"service.name": list(query.services)}}] if query.services else []),
        *(_word(word) for word in query.words),
    ]
    return {"bool": {"filter": filters}}


def _word(word: str) -> dict[str, Any]:
    texts: dict[str, Any] = {"multi_match": {"query": word, "type": "phrase", "fields": list(TEXTS)}}
    return {"bool": {"should": [texts, *({"term": {field: word}} for field in KEYWORDS)]}}


def services_of(names: Iterable[str], catalog: dict[str, list[str]]) -> tuple[str, ...]:
    """Return the values of `service.name` that services or programs mean (pure).

    Args:
        names: Of services, of programs, or `spark` and the commands that log.
        catalog: Service to its programs.
    """
    extra = {"airflow": ["airflow-task"], "spark": ["spark", "spark-stream", "spark-batch"]}
    chosen = [[*catalog.get(name, [name]), *extra.get(name, [])] for name in names]
    return tuple(dict.fromkeys(one for group in chosen for one in group))
