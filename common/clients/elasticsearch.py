"""Sessions and requests of Elasticsearch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from common.errors import StoreUnavailable
from common.settings import Settings

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

REQUEST_S = 30.0
# Documents per request when an index is moved: half a mebibyte.
MOVE_PAGE = 1_000


@contextmanager
def connected(settings: Settings, role: str) -> Iterator[Elasticsearch]:
    """Open a client as one of `SINK_ROLES`, and close it.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    from elasticsearch import ApiError, Elasticsearch, TransportError
    from elasticsearch.helpers import ScanError

    address, user, password = settings.elasticsearch_login(role)
    login = (user, password) if password else None
    with Elasticsearch(address, basic_auth=login, request_timeout=REQUEST_S, max_retries=0) as client:
        try:
            yield client
        except (ApiError, TransportError, ScanError) as error:  # ScanError: a shard of a new index has not started yet
            raise StoreUnavailable(
                f"Elasticsearch does not answer: {error}", next_command="tickhouse logs elasticsearch"
            ) from error


def newest_us(settings: Settings, indices: str, field: str) -> int | None:
    """Return the newest time (µs) of a `date_nanos` field, None when there is no document.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
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
    """Return the number of documents in the indices.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings, "reader") as client:
        return int(client.count(index=indices)["count"])


def describe(settings: Settings, pattern: str) -> dict[str, tuple[datetime, int, int]]:
    """Return (creation time, bytes, documents) of each index of a pattern, by name.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings, "admin") as client:
        made = client.indices.get_settings(index=pattern, name="index.creation_date", allow_no_indices=True)
        stats = client.indices.stats(index=pattern, metric=["store", "docs"], expand_wildcards="all")["indices"]
    found = {}
    for name, index in made.items():
        totals = stats.get(name, {}).get("primaries", {})
        made_at = datetime.fromtimestamp(int(index["settings"]["index"]["creation_date"]) / 1000, UTC)
        size = int(totals.get("store", {}).get("size_in_bytes", 0))
        found[name] = (made_at, size, int(totals.get("docs", {}).get("count", 0)))
    return found


def delete_index(settings: Settings, name: str) -> None:
    """Delete one index; nothing happens when it does not exist.

    Raises:
        StoreUnavailable: The server does not answer, or refuses.
    """
    with connected(settings, "admin") as client:
        client.indices.delete(index=name, ignore_unavailable=True)


def move(settings: Settings, source: str, target: str) -> None:
    """Copy all documents of an index into another one under the same ids, and delete the first.

    A repeated move changes nothing: documents with equal ids are equal, so each replaces itself.
    The source is deleted only after the target has all documents.

    Raises:
        StoreUnavailable: The server does not answer, or refused a document.
    """
    from elasticsearch.helpers import BulkIndexError, scan, streaming_bulk

    with connected(settings, "admin") as client:
        documents = (
            {"_op_type": "index", "_index": target, "_id": hit["_id"], "_source": hit["_source"]}
            for hit in scan(client, index=source, size=MOVE_PAGE, query={"sort": ["_doc"]})
        )
        try:
            for _ in streaming_bulk(client, documents, chunk_size=MOVE_PAGE):
                pass
        except BulkIndexError as error:
            raise StoreUnavailable(
                f"Elasticsearch did not move {source} to {target}: {error}.",
                safe=f"{source} is as it was.",
                next_command="tickhouse logs elasticsearch",
            ) from error
        client.indices.delete(index=source, ignore_unavailable=True)
