"""Retention in Elasticsearch: indices go as a whole. In Cassandra it is the table's TTL; Kafka has its own."""

from __future__ import annotations

import json

from tickhouse.connectors.files import FOLDER
from tickhouse.settings import Settings
from tickhouse.stores import elasticsearch

DAY_S = 86_400


def expire(settings: Settings, now_s: float) -> list[str]:
    """Delete the indices that were made longer ago than their template's `retention_days`; return their names.

    By the time an index was made and not by its day: history that is replayed today stays as long as today's trades.

    Raises:
        StoreUnavailable: Elasticsearch does not answer.
    """
    gone: list[str] = []
    for path in sorted((FOLDER / "elasticsearch").glob("*.json")):
        template = json.loads(path.read_text())
        older_than_s = template["_meta"]["retention_days"] * DAY_S
        for pattern in template["index_patterns"]:
            gone += elasticsearch.expire(settings, pattern, older_than_s, now_s)
    return gone
