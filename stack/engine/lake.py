"""The lake's repository and the branch that streaming writes to, made once the lakeFS endpoint answers.

Here and not in `stack/lakefs/`, because it goes through the official client to whatever endpoint is given, and the
stand-in is only one of them.
"""

from __future__ import annotations

from stack.engine.context import ServiceContext
from tickhouse.errors import ConfigurationError


def create_repository(context: ServiceContext) -> None:
    """Make the repository and its branch `ingest` where they are missing.

    Raises:
        ConfigurationError: An external lakeFS has no such repository (only its owner knows where to store it), or
            refuses our keys.
        StoreUnavailable: The endpoint does not answer.
    """
    from lakefs.exceptions import NotFoundException

    from tickhouse.lake.client import INGEST, MAIN, lake_errors, repository

    settings = context.settings
    lake = repository(settings)
    with lake_errors(settings):
        if not settings.is_external("lakefs_endpoint"):
            lake.create(storage_namespace=f"local://{settings.lake_repository}", exist_ok=True)
        try:
            lake.branch(INGEST).create(MAIN, exist_ok=True)
        except NotFoundException as error:
            raise ConfigurationError(
                f"{settings.lakefs_endpoint} has no repository {settings.lake_repository!r}.",
                next_command=f"lakectl repo create lakefs://{settings.lake_repository} <storage namespace>",
            ) from error


def protect_main(context: ServiceContext) -> None:
    """Let nothing reach `main` that no audit has passed.

    Raises:
        ConfigurationError: lakeFS refuses our keys.
        StoreUnavailable: lakeFS does not answer.
    """
    from tickhouse.lake.protect import protect

    protect(context.settings)
