"""The lake's repository and the branch that streaming writes to, made once the lakeFS endpoint answers.

Here and not in `stack/lakefs/`, because it goes through the official client to whatever endpoint is given, and the
stand-in is only one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stack.engine.context import ServiceContext
from tickhouse.errors import ConfigurationError
from tickhouse.settings import Settings

if TYPE_CHECKING:
    from lakefs import Repository

INGEST_BRANCH = "ingest"
MAIN_BRANCH = "main"


def create_repository(context: ServiceContext) -> None:
    """Make the repository and its branch `ingest` where they are missing.

    Raises:
        ConfigurationError: An external lakeFS has no such repository (only its owner knows where to store it), or
            refuses our keys.
    """
    from lakefs.exceptions import NotAuthorizedException, NotFoundException

    settings = context.settings
    repository = _repository(settings)
    try:
        if not settings.is_external("lakefs_endpoint"):
            repository.create(storage_namespace=f"local://{settings.lake_repository}", exist_ok=True)
        repository.branch(INGEST_BRANCH).create(MAIN_BRANCH, exist_ok=True)
    except NotFoundException as error:
        raise ConfigurationError(
            f"{settings.lakefs_endpoint} has no repository {settings.lake_repository!r}.",
            next_command=f"lakectl repo create lakefs://{settings.lake_repository} <storage namespace>",
        ) from error
    except NotAuthorizedException as error:
        raise ConfigurationError(
            f"{settings.lakefs_endpoint} refuses LAKEFS_ACCESS_KEY_ID.", next_command="tickhouse config show"
        ) from error


def _repository(settings: Settings) -> Repository:
    import lakefs
    from lakefs.client import Client

    client = Client(  # type: ignore[no-untyped-call]
        host=settings.lakefs_endpoint,
        username=settings.lakefs_access_key_id,
        password=settings.lakefs_secret_access_key.get_secret_value(),
    )
    return lakefs.Repository(settings.lake_repository, client=client)
