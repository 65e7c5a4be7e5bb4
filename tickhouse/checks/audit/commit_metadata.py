"""Rows by the metadata of the lake's commits, and by the manifests that these commits name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

from common.clients.lake_files import BronzeListing, RefFiles
from common.clients.lakefs import lake_errors, repository
from common.days import Days, day_of, midnight
from common.settings import Settings
from common.topics import TICKS, TRADES
from tickhouse.checks.audit.lake_views import CommitRows

LOG_PAGE = 1000
# The exchange's clock may be ahead of ours.
CLOCK_SKEW_S = 3600
RECENT_S = 8 * 86_400
TOPICS = {"trades": TRADES, "ticks": TICKS}


def metadata_of_days(
    settings: Settings, commit_id: str, days: Days, bronze: Mapping[str, BronzeListing]
) -> list[dict[str, str]]:
    """Return the metadata of the commits that name manifests of the days, newest first.

    A record is received after it happened, so commits from before the first day are not read. For
    old days, which a replay brought, reading stops when the commit of each manifest was found.
    """
    unmatched = {_file_name(path) for one in bronze.values() for path in one.manifests}
    since = midnight(days.first).timestamp() - CLOCK_SKEW_S
    found: list[dict[str, str]] = []
    newest = None
    with lake_errors(settings):
        for commit in repository(settings).ref(commit_id).log(amount=LOG_PAGE):
            newest = newest or commit.creation_date
            if commit.creation_date < since or (not unmatched and newest - since > RECENT_S):
                break
            metadata = dict(commit.metadata or {})
            named = json.loads(metadata.get("manifests", "[]"))
            if any(_file_name(path) in unmatched or day_of(path) in days for path in named):
                found.append(metadata)
            unmatched -= set(map(_file_name, named))
    return [one for one in found if not _names_forgotten(one, bronze)]


def _names_forgotten(metadata: Mapping[str, str], bronze: Mapping[str, BronzeListing]) -> bool:
    """Return whether a commit names manifests of removed bronze, whose rows cannot be counted."""
    named = json.loads(metadata.get("manifests", "[]"))
    return any(day_of(path) in one.forgotten for path in named for one in bronze.values())


class OtherManifests:
    """The rows of manifests of other days, which commits name besides those of the audited days."""

    def __init__(self, lake: RefFiles) -> None:
        self._lake = lake
        self._by_name: dict[str, dict[str, int]] = {}

    def rows(self, path: str) -> int | None:
        """Return the rows of a manifest by its path in the metadata; None when it is missing."""
        count = self._lake.manifest_rows(path)
        table, _, rest = path.partition("/_manifests/")[2].partition("/")
        if count is None and "/" not in rest:  # moved out of the flat folder: only its name is known
            if table not in self._by_name:
                whole = self._lake.bronze(table).manifests
                self._by_name[table] = {_file_name(one): rows for one, rows in whole.items()}
            count = self._by_name[table].get(rest)
        return count


def _file_name(path: str) -> str:
    """Return the name of a manifest, which stays the same when the manifest is moved."""
    return path.rpartition("/")[2]


def commit_rows(
    metadata: Iterable[dict[str, str]],
    bronze: Mapping[str, BronzeListing],
    rows_at: Callable[[str], int | None] = lambda path: None,
) -> list[CommitRows]:
    """Return rows by the metadata of commits and by the manifests that these name (pure).

    Args:
        metadata: Of the commits that name manifests of the audited days.
        bronze: The manifests of these days by table.
        rows_at: Rows of a manifest of another day by its path; None when it is not there.
    """
    rows: dict[str, int] = {}
    named: set[str] = set()
    for commit in metadata:
        named |= set(json.loads(commit.get("manifests", "[]")))
        for topic, count in json.loads(commit.get("rows", "{}")).items():
            rows[topic] = rows.get(topic, 0) + count
    result = []
    for table, topic in TOPICS.items():
        own = {_file_name(path): count for path, count in bronze[table].manifests.items()}
        of_table = sorted(path for path in named if f"/_manifests/{table}/" in path)
        counts = [own[_file_name(path)] if _file_name(path) in own else rows_at(path) for path in of_table]
        if of_table:
            known = [count for count in counts if count is not None]
            result.append(CommitRows(topic, rows.get(topic, 0), sum(known), len(counts) - len(known)))
    return result
