"""lakeFS's garbage collection rules: how long the lake keeps deleted and replaced objects."""

from __future__ import annotations

from lakefs.exceptions import NotFoundException, api_exception_handler
from lakefs_sdk.models.garbage_collection_rules import GarbageCollectionRules

from common.clients.lakefs import client, lake_errors
from common.settings import Settings

# A rollback or a query of an older commit can go back this far. Published figures stay as long as
# their tag.
HISTORY_DAYS = 14


def history_days(settings: Settings) -> int | None:
    """Return the days for which deleted objects are kept; None (no rule) means always.

    Raises:
        StoreUnavailable: lakeFS does not respond.
    """
    with lake_errors(settings):
        try:
            with api_exception_handler():
                rules = client(settings).sdk_client.repositories_api.get_gc_rules(settings.lake_repository)
        except NotFoundException:
            return None
        return int(rules.default_retention_days)


def keep_history(settings: Settings, days: int) -> None:
    """Keep deleted and replaced objects of all branches for this many days.

    Raises:
        StoreUnavailable: lakeFS does not respond.
    """
    rules = GarbageCollectionRules(default_retention_days=days, branches=[])
    with lake_errors(settings), api_exception_handler():
        client(settings).sdk_client.repositories_api.set_gc_rules(settings.lake_repository, rules)
