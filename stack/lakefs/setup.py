"""Hooks of lakeFS: create the repository and the branch of the streaming job, protect `main`.

They use the official client with any endpoint; the stand-in is only one of them.
"""

from __future__ import annotations

from common.errors import ConfigurationError
from stack.engine.context import ServiceContext


def create_repository(context: ServiceContext) -> None:
    """Create the repository and its branch `ingest` if they are missing.

    Raises:
        ConfigurationError: An external lakeFS has no such repository (only its owner can choose the
            storage), or refuses our keys.
        StoreUnavailable: The endpoint does not respond.
    """
    from lakefs.exceptions import NotFoundException

    from common.clients.lakefs import INGEST, MAIN, lake_errors, repository
    from stack.lakefs.garbage_collection_rules import HISTORY_DAYS, history_days, keep_history

    settings = context.settings
    lake = repository(settings)
    with lake_errors(settings):
        if not settings.is_external("lakefs_endpoint"):
            lake.create(storage_namespace=f"local://{settings.lake_repository}", exist_ok=True)
            if history_days(settings) is None:  # the rules of an external lakeFS are its owner's
                keep_history(settings, HISTORY_DAYS)
        try:
            lake.branch(INGEST).create(MAIN, exist_ok=True)
        except NotFoundException as error:
            raise ConfigurationError(
                f"{settings.lakefs_endpoint} has no repository {settings.lake_repository!r}.",
                next_command=f"lakectl repo create lakefs://{settings.lake_repository} <storage namespace>",
            ) from error


def protect_main(context: ServiceContext) -> None:
    """Protect `main`, so that only audited data can reach it.

    Raises:
        ConfigurationError: lakeFS refuses our keys.
        StoreUnavailable: lakeFS does not respond.
    """
    from common.clients.lakefs_protection import protect

    protect(context.settings)
