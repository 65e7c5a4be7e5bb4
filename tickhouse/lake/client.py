"""Open the lake repository with the official SDK."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakefs import Client, Repository
from lakefs.exceptions import NotAuthorizedException, ServerException
from urllib3.exceptions import HTTPError

from tickhouse.errors import ConfigurationError, StoreUnavailable
from tickhouse.settings import Settings

INGEST = "ingest"


def repository(settings: Settings) -> Repository:
    """Return the lake repository; makes no request."""
    client = Client(  # type: ignore[no-untyped-call]
        host=settings.lakefs_endpoint,
        username=settings.lakefs_access_key_id,
        password=settings.lakefs_secret_access_key.get_secret_value(),
    )
    return Repository(settings.lake_repository, client)


@contextmanager
def lake_errors(settings: Settings) -> Iterator[None]:
    """Turn the client's errors into ours.

    Raises:
        StoreUnavailable: The server does not answer or fails.
        ConfigurationError: The keys are refused.
    """
    try:
        yield
    except NotAuthorizedException as error:
        raise ConfigurationError(
            f"lakeFS at {settings.lakefs_endpoint} refused the keys: {error}.", next_command="tickhouse config show"
        ) from error
    except (HTTPError, ServerException) as error:
        raise StoreUnavailable(
            f"lakeFS at {settings.lakefs_endpoint} did not answer: {error}.",
            safe="Nothing was committed.",
            next_command="tickhouse status",
        ) from error
