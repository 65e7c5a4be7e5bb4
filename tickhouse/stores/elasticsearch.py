"""A client of Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

REQUEST_S = 30.0


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[Elasticsearch]:
    """Open a client as one of `SINK_ROLES` and close it.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    from elasticsearch import ApiError, Elasticsearch, TransportError

    address, user, password = settings.elasticsearch_login(role)
    login = (user, password) if password else None
    with Elasticsearch(address, basic_auth=login, request_timeout=REQUEST_S, max_retries=0) as client:
        try:
            yield client
        except (ApiError, TransportError) as error:
            raise StoreUnavailable(
                f"Elasticsearch does not answer: {error}", next_command="tickhouse logs elasticsearch"
            ) from error


def newest_us(settings: Settings, indices: str, field: str) -> int | None:
    """Return the newest time in a field of `date_nanos`, µs; None when there is no document.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    from datetime import UTC, datetime, timedelta

    with connected(settings, "reader") as client:
        answer = client.search(
            index=indices,
            size=1,
            sort=[{field: {"order": "desc", "unmapped_type": "date_nanos"}}],
            source_includes=[field],
        )
    hits = answer["hits"]["hits"]
    if not hits:
        return None
    moment = datetime.fromisoformat(hits[0]["_source"][field])
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def count(settings: Settings, indices: str) -> int:
    """Return how many documents the indices hold.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings, "reader") as client:
        return int(client.count(index=indices)["count"])


def expire(settings: Settings, pattern: str, older_than_s: float, now_s: float) -> list[str]:
    """Delete the indices of a pattern that were made so long ago; return their names.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings, "admin") as client:
        found = client.indices.get_settings(index=pattern, name="index.creation_date", allow_no_indices=True)
        made_s = {name: int(one["settings"]["index"]["creation_date"]) / 1000 for name, one in found.items()}
        old = sorted(name for name, seconds in made_s.items() if now_s - seconds > older_than_s)
        if old:
            client.indices.delete(index=",".join(old))
    return old
