"""Commit branch `ingest` with Kafka offsets, row counts and manifest names in the metadata.

A manifest that is written between the listing and the commit is in the commit, but not named in its
metadata. It is complete, so readers may use it, and the next commit names it. So over all commits
each manifest is named exactly once, and the row counts add up.

A commit names at most `MOST_NAMED` manifests, so that its metadata stays small even after a long
outage. The remaining manifests are named by further commits, which change nothing else. `unnamed`
in the metadata is their number.

A manifest that `move_flat` moved out of a flat folder of an older version is not named again: it is
recognised by its name without the folder, `<batch>-<digest>.json`, which did not change.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog
from lakefs import Branch, Reference, Repository
from lakefs.models import Commit

from common.clients.lake_manifest_paths import MANIFESTS, is_manifest, is_pointer
from common.clients.lake_manifests import Manifest, Problem, parse
from common.clients.lake_objects import PAGE, RefObjects
from common.clients.lakefs import INGEST, lake_errors, repository
from common.settings import Settings
from tickhouse.lake.manifest_migration import flat_manifests, move_flat
from tickhouse.lineage.events import record
from tickhouse.lineage.runs import ingest_run

# About 40 kB of names. A commit of two minutes names about twelve per table.
MOST_NAMED = 500
# Most flat manifests that are moved before a commit: about ten seconds of work.
MOST_MOVED = 1000
_READERS = 8

log = structlog.get_logger("tickhouse.lake")


@dataclass(frozen=True, slots=True)
class LakeCommit:
    """The metadata of one commit of `ingest`.

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
    """Commit what streaming wrote since the last commit; return None when there is nothing new.

    Idempotent: a second call finds nothing to commit, and finishes what a killed one began. After
    an outage it makes as many commits as the names need, and returns the last one. An object that
    is not a valid manifest is logged and left alone.

    Raises:
        StoreUnavailable: lakeFS does not answer.
        ConfigurationError: lakeFS refuses the keys.
    """
    with lake_errors(settings):
        lake = repository(settings)
        branch = lake.branch(INGEST)
        moved = move_flat(branch, MOST_MOVED)
        head: Commit = branch.get_commit()  # type: ignore[no-untyped-call]
        paths = sorted(uncommitted_manifests(lake, branch, head) | unnamed_manifests(lake, head))
        made = None
        for at in range(0, len(paths), MOST_NAMED):
            # A flat manifest may have been moved by now; then the last commit still has it.
            manifests = _read_manifests([branch, lake.ref(head.id)], paths[at : at + MOST_NAMED])
            done = _commit(branch, manifests, left=max(0, len(paths) - at - MOST_NAMED))
            if done is not None:
                record(settings, ingest_run(settings, done.commit_id, done.kafka_offsets, datetime.now(UTC)))
            made = done or made
        if moved and made is None:
            branch.commit(f"Move {moved} manifests into folders by event day", {"moved": str(moved)}, allow_empty=True)
        return made


def newest_ingest_commit(settings: Settings, ref: str) -> str:
    """Return the newest commit of `ingest` that a reference contains; empty when it has none.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    with lake_errors(settings):
        commits = repository(settings).ref(ref).log(amount=100)
        return next((str(made.id) for made in commits if "kafka_offsets" in (made.metadata or {})), "")


def _commit(branch: Branch, manifests: Mapping[str, Manifest], left: int) -> LakeCommit | None:
    if not manifests:
        return None
    summary = summarise(manifests)
    made = branch.commit(message_of(summary), metadata_of(summary, left), allow_empty=True)
    return replace(summary, commit_id=made.id)


def _read_manifests(references: Iterable[Reference], paths: Iterable[str]) -> dict[str, Manifest]:
    places = [RefObjects(reference) for reference in references]

    def body_of(path: str) -> tuple[str, bytes | None]:
        bodies = (place.read_optional(path) for place in places)
        return path, next((body for body in bodies if body is not None), None)

    with ThreadPoolExecutor(_READERS) as pool:
        parsed = [parse(path, body) for path, body in pool.map(body_of, paths) if body is not None]
    for result in parsed:
        if isinstance(result, Problem):
            log.warning("manifest_problem", problem=str(result))
    return {result.path: result for result in parsed if isinstance(result, Manifest)}


def uncommitted_manifests(lake: Repository, branch: Branch, head: Commit) -> set[str]:
    """Return manifests that were added since the last commit, without those written again."""
    changes = branch.uncommitted(prefix=f"{MANIFESTS}/", amount=PAGE)
    return _new_manifests(lake.ref(head.id), (change.path for change in changes if change.type == "added"))


def unnamed_manifests(lake: Repository, head: Commit) -> set[str]:
    """Return manifests that the last commits contain but do not name."""
    held: set[str] = set()
    named: set[str] = set()
    newer, is_first = head, True
    while newer.parents and (is_first or _may_have_unnamed(newer)):
        # The newest commit may contain manifests that were written between listing and commit.
        # Older commits may contain manifests that they left for later commits to name.
        parent = lake.ref(newer.parents[0])
        changes = parent.diff(newer.id, prefix=f"{MANIFESTS}/", amount=PAGE)
        held |= _new_manifests(parent, (change.path for change in changes if change.type == "added"))
        named |= names_of(newer.metadata)
        newer, is_first = parent.get_commit(), False
    return held - named


def _may_have_unnamed(commit: Commit) -> bool:
    """Return whether a commit left manifests unnamed, or was made by hand or by a migration."""
    metadata = commit.metadata or {}
    return "manifests" not in metadata or metadata.get("unnamed", "0") != "0"


def names_of(metadata: Mapping[str, str] | None) -> set[str]:
    """Return the manifests that a commit names."""
    return set(json.loads((metadata or {}).get("manifests", "[]")))


def _new_manifests(before: Reference, added: Iterable[str]) -> set[str]:
    """Return the new manifests among the added paths, without moved ones; log unknown objects."""
    paths = list(added)
    for path in paths:
        if not is_manifest(path) and not is_pointer(path):
            log.warning("manifest_problem", problem=str(Problem(path, "stray", "Expected <batch>-<digest>.json")))
    manifests = {path for path in paths if is_manifest(path)}
    moved = {path.rpartition("/")[2] for path in flat_manifests(RefObjects(before))} if manifests else set()
    return {path for path in manifests if path.rpartition("/")[2] not in moved}


def summarise(manifests: Mapping[str, Manifest]) -> LakeCommit:
    """Return offset ranges and row counts of some manifests, without a commit id (pure)."""
    rows: dict[str, int] = {}
    offsets: dict[str, dict[str, list[int]]] = {}
    for manifest in manifests.values():
        rows[manifest.topic] = rows.get(manifest.topic, 0) + manifest.rows
        of_topic = offsets.setdefault(manifest.topic, {})
        for partition, span in manifest.ranges.items():
            of_topic[partition] = _merge_spans(of_topic.get(partition, span), span)
    return LakeCommit("", rows, offsets, sorted(manifests))


def _merge_spans(left: Iterable[int], right: Iterable[int]) -> list[int]:
    (left_first, left_next), (right_first, right_next) = left, right
    return [min(left_first, right_first), max(left_next, right_next)]


def message_of(summary: LakeCommit) -> str:
    """Return the commit message."""
    parts = (f"{count:,} rows of {topic}" for topic, count in sorted(summary.rows.items()))
    return f"Ingest {', '.join(parts)} in {len(summary.manifests)} batches"


def metadata_of(summary: LakeCommit, left: int = 0) -> dict[str, str]:
    """Return the commit metadata; lakeFS wants every value as text.

    Args:
        summary: What the commit names.
        left: How many manifests are left for later commits to name.
    """
    metadata = {
        "kafka_offsets": json.dumps(summary.kafka_offsets, sort_keys=True, separators=(",", ":")),
        "rows": json.dumps(summary.rows, sort_keys=True, separators=(",", ":")),
        "manifests": json.dumps(summary.manifests, separators=(",", ":")),
    }
    return metadata | ({"unnamed": str(left)} if left else {})
