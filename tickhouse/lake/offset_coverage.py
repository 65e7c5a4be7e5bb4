"""Which Kafka offsets the newest manifests of bronze cover, for a replay that waits for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from lakefs import Branch, Reference
from lakefs.models import Commit

from common.clients.lake_manifest_paths import MANIFESTS, is_manifest, table_of
from common.clients.lake_manifests import Manifest, parse
from common.clients.lake_objects import PAGE, RefObjects
from common.clients.lakefs import INGEST, lake_errors, repository
from common.settings import Settings
from tickhouse.lake.ingest_commit import names_of, unnamed_manifests

Span = tuple[int, int]
_LOG_PAGE = 100


class OffsetCoverage:
    """The manifests on `ingest` that may cover the wanted offsets of a topic.

    Offsets of a partition are committed in order. So the first call reads the lakeFS log backwards
    until a commit ends before each wanted span, and each later call reads only what is newer. No
    manifest is read twice.

    Args:
        settings: Where the lake is.
        table: trades or ticks.
        topic: Its topic.
        wanted: Partition to offsets [first, next).
    """

    def __init__(self, settings: Settings, table: str, topic: str, wanted: Mapping[int, Span]) -> None:
        self._settings = settings
        self._table, self._topic, self._wanted = table, topic, wanted
        self._newest = ""
        self._manifests: dict[str, Manifest] = {}
        self._seen: set[str] = set()

    def spans(self) -> dict[int, list[Span]]:
        """Return the offset spans [first, next) that are covered now, by partition.

        Raises:
            StoreUnavailable: lakeFS does not answer.
        """
        with lake_errors(self._settings):
            lake = repository(self._settings)
            branch = lake.branch(INGEST)
            # Uncommitted manifests are listed before the log is read. So a manifest that is
            # committed in between is read twice, and none is missed.
            changes = list(branch.uncommitted(prefix=f"{MANIFESTS}/{self._table}/", amount=PAGE))
            paths = {change.path for change in changes if change.type != "removed"}
            commits = list(self._new_commits(branch))
            for commit in commits:
                paths |= names_of(commit.metadata)
            if commits:
                paths |= unnamed_manifests(lake, commits[0])
            self._read(branch, paths)
            self._newest = str(commits[0].id) if commits else self._newest
        covered: dict[int, list[Span]] = {}
        for manifest in self._manifests.values():
            for part, span in manifest.ranges.items():
                covered.setdefault(int(part), []).append(span)
        return covered

    def _new_commits(self, branch: Branch) -> Iterator[Commit]:
        """Yield commits since the last call, newest first, while they may cover the spans."""
        open_parts = {part for part, (first, _) in self._wanted.items() if first > 0}
        for commit in branch.log(amount=_LOG_PAGE):
            if commit.id == self._newest:
                return
            yield commit
            offsets = json.loads((commit.metadata or {}).get("kafka_offsets", "{}")).get(self._topic, {})
            ends_before = {
                int(part) for part, (_, until) in offsets.items() if until <= self._wanted.get(int(part), (0,))[0]
            }
            open_parts -= ends_before
            if self._wanted and not open_parts and ends_before:
                return

    def _read(self, reference: Reference, paths: Iterable[str]) -> None:
        objects = RefObjects(reference)
        for path in sorted(set(paths) - self._seen):
            if is_manifest(path) and table_of(path) == self._table:
                parsed = parse(path, objects.read_optional(path) or b"")
                if isinstance(parsed, Manifest):
                    self._manifests[path] = parsed
            self._seen.add(path)
