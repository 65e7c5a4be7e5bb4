"""Remove a day of bronze from `ingest` after its silver was published.

Delivery guarantee. First a note is written (`bronze/_forgotten/<table>/date=<day>.json`), then the
files, the manifests and the pointers are removed. Once the note exists, readers know why files of
the day are missing, and a nightly run refuses to rebuild the day from late trades alone. After a
kill, a second call continues the removal. The next commit of `ingest` contains the removal; earlier
commits contain the day as long as they are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date

from lakefs import Branch

from common.clients.lake_manifest_paths import FORGOTTEN, MANIFESTS, TABLES, is_pointer, placement
from common.clients.lake_manifests import Manifest, forgotten_days, read_manifests
from common.clients.lake_objects import RefObjects
from common.clients.lakefs import INGEST, lake_errors, repository
from common.days import Days
from common.settings import Settings

# Paths per deletion request.
_MOST_PATHS = 1000


def remove_day(settings: Settings, day: date) -> int:
    """Remove a day's bronze files and their manifests from `ingest`; return their number.

    A manifest that also names files of another day stays. Idempotent; commits nothing.

    Raises:
        StoreUnavailable: lakeFS does not answer; call it again.
    """
    with lake_errors(settings):
        branch = repository(settings).branch(INGEST)
        return sum(_remove_table_day(branch, table, day) for table in TABLES)


def _remove_table_day(branch: Branch, table: str, day: date) -> int:
    objects = RefObjects(branch)
    named = read_manifests(objects, table, Days(day, day))
    files = objects.listing(f"bronze/{table}/date={day}")
    if not files and not named.manifests:
        return 0
    removed_days = forgotten_days(objects, table) | {day}
    note = {"v": 1, "files": len(files), "rows": sum(file.rows for file in named.files(Days(day, day)))}
    path = f"{FORGOTTEN}/{table}/date={day}.json"
    if objects.read_optional(path) is None:
        branch.object(path).upload(json.dumps(note).encode(), mode="wb")
    _remove(branch, files)
    obsolete = [manifest for manifest in named.manifests if manifest.days() <= removed_days]
    paths = {path for manifest in obsolete for path in (manifest.path, *_pointers(table, manifest))}
    # Pointers are removed after their manifest: without them a second call would not find it.
    _remove(branch, sorted(paths, key=lambda path: (is_pointer(path), path)))
    pointers_of_day = [path for path in objects.listing(f"{MANIFESTS}/{table}/date={day}") if is_pointer(path)]
    _remove(branch, pointers_of_day)
    return len(files) + len(paths) + len(pointers_of_day)


def _pointers(table: str, manifest: Manifest) -> Sequence[str]:
    return placement(table, manifest.name, [file.path for file in manifest.files]).pointers


def _remove(branch: Branch, paths: Sequence[str]) -> None:
    for start in range(0, len(paths), _MOST_PATHS):
        branch.delete_objects(list(paths[start : start + _MOST_PATHS]))
