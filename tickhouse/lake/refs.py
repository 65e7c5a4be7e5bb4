"""Read the lake's branches, tags, history and differences."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal

from lakefs.exceptions import NotFoundException
from lakefs.models import Commit

from common.clients.lakefs import lake_errors, repository
from common.settings import Settings


def exists(settings: Settings, ref: str) -> bool:
    """Return whether a branch, tag or commit exists.

    Raises:
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        try:
            repository(settings).ref(ref).get_commit()
        except NotFoundException:
            return False
        return True


def names(settings: Settings, kind: Literal["branch", "tag"]) -> list[dict[str, str]]:
    """Return every branch or tag with its commit, by name.

    Raises:
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        listed = lake.branches() if kind == "branch" else lake.tags()
        return [{kind: ref.id, "commit": str(ref.get_commit().id)} for ref in listed]


def log(settings: Settings, ref: str, limit: int) -> list[Commit]:
    """Return the newest commits of a reference.

    Raises:
        ConfigurationError: There is no such reference.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        return list(repository(settings).ref(ref).log(max_amount=limit))


def diff(
    settings: Settings, left: str, right: str = "", *, prefix: str = "", limit: int = 1000
) -> list[dict[str, Any]]:
    """Return how `right` differs from `left`; without `right`, the uncommitted changes of `left`.

    Raises:
        ConfigurationError: There is no such reference.
        StoreUnavailable: lakeFS does not answer.
    """
    with lake_errors(settings):
        lake = repository(settings)
        if right:
            changes = lake.ref(left).diff(right, prefix=prefix, type="two_dot")
        else:
            changes = lake.branch(left).uncommitted(prefix=prefix)
        return [
            {"type": change.type, "path": change.path, "size_bytes": change.size_bytes}
            for change in islice(changes, limit)
        ]
