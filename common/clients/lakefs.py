"""Open the lake repository with the official lakeFS SDK, and turn its errors into ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lakefs import Client, Repository
from lakefs.exceptions import NotAuthorizedException, ServerException
from urllib3.exceptions import HTTPError

from common.clients.lake_heads import INGEST, MAIN
from common.errors import AuditMissing, ConfigurationError, StoreUnavailable, TickhouseError
from common.settings import Settings

__all__ = ["INGEST", "MAIN", "client", "lake_errors", "message_of", "repository"]


def client(settings: Settings) -> Client:
    """Return the lakeFS client, without making a request."""
    return Client(  # type: ignore[no-untyped-call]
        host=settings.lakefs_endpoint,
        username=settings.lakefs_access_key_id,
        password=settings.lakefs_secret_access_key.get_secret_value(),
    )


def repository(settings: Settings) -> Repository:
    """Return the lake repository, without making a request."""
    return Repository(settings.lake_repository, client(settings))


@contextmanager
def lake_errors(settings: Settings) -> Iterator[None]:
    """Raise the client's errors as ours.

    Raises:
        StoreUnavailable: The server does not answer or fails.
        AuditMissing: A hook of lakeFS refused the operation.
        ConfigurationError: lakeFS refused the keys or the request, such as an unknown branch.
    """
    try:
        yield
    except ServerException as error:
        raise _error_of(settings, error) from error
    except HTTPError as error:
        raise _unavailable(settings, error) from error


def _error_of(settings: Settings, error: ServerException) -> TickhouseError:
    status = error.status_code or 500
    if isinstance(error, NotAuthorizedException):
        refused = f"lakeFS at {settings.lakefs_endpoint} refused the keys: {error}."
        return ConfigurationError(refused, next_command="tickhouse config show")
    if status == 412:
        refused = f"A hook of the lake refused the operation: {message_of(error)}."
        return AuditMissing(refused, safe="Nothing was changed.", next_command="tickhouse lake log main")
    if 400 <= status < 500 and status != 429:
        refused = f"lakeFS refused the request: {message_of(error)}."
        return ConfigurationError(refused, safe="Nothing was changed.", next_command="tickhouse lake branch")
    return _unavailable(settings, error)


def message_of(error: ServerException) -> str:
    """Return the server's message without the SDK's wrapping."""
    return str(error.body.get("message") or error.reason or f"status {error.status_code}")


def _unavailable(settings: Settings, error: Exception) -> StoreUnavailable:
    return StoreUnavailable(
        f"lakeFS at {settings.lakefs_endpoint} did not answer: {error}.",
        safe="Nothing was committed.",
        next_command="tickhouse status",
    )
