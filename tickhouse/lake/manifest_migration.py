"""Move manifests that older versions wrote into one flat folder into folders by event day.

Delivery guarantee. The copies are written before the flat manifests are removed, and a reader that
finds both uses one. So a killed call loses nothing, and a second call continues. Only branch
`ingest` is rewritten; older commits stay unchanged and readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from lakefs import Branch

from common.clients.lake_manifest_paths import MANIFESTS, TABLES, is_manifest, placement, pointer_body, table_of
from common.clients.lake_manifests import Objects, Problem, parse
from common.clients.lake_objects import RefObjects
from common.clients.lakefs import INGEST, lake_errors, repository
from common.settings import Settings

_WRITERS = 8
# Paths per deletion request.
_MOST_PATHS = 1000


def flat_manifests(objects: Objects) -> Iterator[str]:
    """Yield the paths of the manifests in the flat folders."""
    for table in TABLES:
        folder = f"{MANIFESTS}/{table}"
        yield from (path for name in objects.children(folder) if is_manifest(path := f"{folder}/{name}"))


def move_flat(branch: Branch, limit: int | None = None) -> int:
    """Move at most `limit` flat manifests of a branch; return how many were moved. Commits nothing.

    An empty or broken manifest stays where it is; every reader reports it.
    """
    objects = RefObjects(branch)
    paths = list(islice(flat_manifests(objects), limit))
    with ThreadPoolExecutor(_WRITERS) as pool:
        are_copied = pool.map(lambda path: _copy(branch, objects, path), paths)
        copied = [path for path, is_copied in zip(paths, are_copied, strict=True) if is_copied]
    for start in range(0, len(copied), _MOST_PATHS):
        branch.delete_objects(copied[start : start + _MOST_PATHS])
    return len(copied)


def _copy(branch: Branch, objects: Objects, path: str) -> bool:
    """Copy one manifest with its pointers; return False when it is gone, empty or broken."""
    body = objects.read_optional(path)
    manifest = None if body is None else parse(path, body)
    if body is None or manifest is None or isinstance(manifest, Problem):
        return False
    places = placement(table_of(path), manifest.name, [file.path for file in manifest.files])
    for pointer in places.pointers:
        branch.object(pointer).upload(pointer_body(places.manifest), mode="wb")
    branch.object(places.manifest).upload(body, mode="wb")
    return True


def migrate(settings: Settings) -> int:
    """Move every flat manifest of `ingest` and commit; return how many were moved.

    Idempotent. May run at the same time as the streaming job, DAG `lake_commit` and itself.

    Raises:
        StoreUnavailable: lakeFS does not answer; run it again.
    """
    with lake_errors(settings):
        branch = repository(settings).branch(INGEST)
        total = 0
        while moved := move_flat(branch, _MOST_PATHS):
            total += moved
            branch.commit(f"Move {moved} manifests into folders by event day", {"moved": str(moved)}, allow_empty=True)
        return total
