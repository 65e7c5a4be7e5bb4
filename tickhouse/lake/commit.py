"""Commit the `ingest` branch with the Kafka offsets and row counts of what the commit brings.

A manifest written between the listing and the commit gets into the commit unnamed. It is whole, so readers may use
it; the next commit names it. So over all commits each manifest is named exactly once, and the row counts add up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lakefs import Branch, Reference, Repository

from tickhouse.lake.client import INGEST, lake_errors, repository
from tickhouse.settings import Settings

MANIFESTS = "bronze/_manifests/"


@dataclass(frozen=True, slots=True)
class LakeCommit:
    """What one commit of `ingest` names.

    Attributes:
        commit_id: 64 hex digits.
        rows: Rows by topic.
        kafka_offsets: topic to partition to [first, next).
        manifests: Paths of the manifests named, sorted.
    """

    commit_id: str
    rows: Mapping[str, int]
    kafka_offsets: Mapping[str, Mapping[str, list[int]]]
    manifests: list[str]


def commit_ingest(settings: Settings) -> LakeCommit | None:
    """Commit what streaming wrote since the last commit; None when that is nothing.

    Idempotent: a second call finds nothing to commit.

    Raises:
        StoreUnavailable: lakeFS does not answer.
        ConfigurationError: lakeFS refuses the keys.
    """
    with lake_errors(settings):
        lake = repository(settings)
        branch = lake.branch(INGEST)
        paths = uncommitted_manifests(branch) | unnamed_manifests(lake, branch)
        if not paths:
            return None
        summary = summarise({path: read_json(branch, path) for path in sorted(paths)})
        made = branch.commit(message_of(summary), metadata_of(summary), allow_empty=True)
        return LakeCommit(made.id, summary.rows, summary.kafka_offsets, summary.manifests)


def uncommitted_manifests(branch: Branch) -> set[str]:
    """Return manifests that are on the branch and in no commit (a rewritten one is in a commit already)."""
    return {change.path for change in branch.uncommitted(prefix=MANIFESTS) if change.type == "added"}


def unnamed_manifests(lake: Repository, branch: Branch) -> set[str]:
    """Return manifests that the last commit holds but does not name."""
    head = branch.get_commit()  # type: ignore[no-untyped-call]
    if not head.parents:
        return set()
    changes = lake.ref(head.parents[0]).diff(head.id, prefix=MANIFESTS)
    brought = {change.path for change in changes if change.type == "added"}
    return brought - set(json.loads((head.metadata or {}).get("manifests", "[]")))


def read_json(reference: Reference, path: str) -> dict[str, Any]:
    """Return a JSON object of the lake."""
    with reference.object(path).reader(mode="r") as reader:
        document: dict[str, Any] = json.loads(reader.read())
    return document


def summarise(manifests: Mapping[str, Mapping[str, Any]]) -> LakeCommit:
    """Return offsets and row counts over manifests by path (pure; no commit id yet)."""
    rows: dict[str, int] = {}
    offsets: dict[str, dict[str, list[int]]] = {}
    for manifest in manifests.values():
        topic = manifest["topic"]
        rows[topic] = rows.get(topic, 0) + manifest["rows"]
        of_topic = offsets.setdefault(topic, {})
        for partition, span in manifest["ranges"].items():
            of_topic[partition] = _cover(of_topic.get(partition, span), span)
    return LakeCommit("", rows, offsets, sorted(manifests))


def _cover(left: Iterable[int], right: Iterable[int]) -> list[int]:
    (left_first, left_next), (right_first, right_next) = left, right
    return [min(left_first, right_first), max(left_next, right_next)]


def message_of(summary: LakeCommit) -> str:
    """Return the commit message."""
    parts = (f"{count:,} rows of {topic}" for topic, count in sorted(summary.rows.items()))
    return f"Ingest {', '.join(parts)} in {len(summary.manifests)} batches"


def metadata_of(summary: LakeCommit) -> dict[str, str]:
    """Return the commit metadata (all values are text, as lakeFS asks)."""
    return {
        "kafka_offsets": json.dumps(summary.kafka_offsets, sort_keys=True, separators=(",", ":")),
        "rows": json.dumps(summary.rows, sort_keys=True, separators=(",", ":")),
        "manifests": json.dumps(summary.manifests, separators=(",", ":")),
    }
