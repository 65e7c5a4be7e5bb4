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
