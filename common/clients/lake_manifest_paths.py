"""The paths of bronze's manifests in the lake.

Manifests are in folders by event time, so that a reader of one day reads only that day's manifests
(docs/adr/0020-manifests-by-event-day.md). Below `bronze/_manifests/<table>/`:

    date=<newest day>/hour=<its newest hour>/<batch>-<digest>.json
    date=<each other day>/hour=…/<batch>-<digest>.pointer.json
    month=<YYYY-MM>/<batch>-<digest>.pointer.json     of a batch of more than 8 days
    undated/<batch / 1000>/<batch>-<digest>.json      of a batch without a good row

A pointer names the manifest of its batch and is written before it. Version 0 of this layout had all
manifests in one flat folder, `bronze/_manifests/<table>/<batch>-<digest>.json`. Readers accept both
layouts, and `tickhouse lake migrate` moves old manifests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import date
from typing import NamedTuple

MANIFESTS = "bronze/_manifests"
FORGOTTEN = "bronze/_forgotten"
TABLES = ("trades", "ticks")
UNDATED = "undated"
# A batch of up to this many days has a pointer per day; a batch of more days (the years of a rare
# symbol) has a pointer per month.
MOST_DAY_POINTERS = 8
# Batches without a good row have no event time; this many of them share a folder.
UNDATED_PER_FOLDER = 1000

POINTER_SUFFIX = ".pointer.json"
HOUR_FOLDER = re.compile(r"/date=(\d{4}-\d{2}-\d{2})/hour=(\d{2})/", re.ASCII)
_MANIFEST_NAME = re.compile(r"\d+(-[0-9a-z]+)?\.json\Z", re.ASCII)
_POINTER_NAME = re.compile(r"\d+(-[0-9a-z]+)?\.pointer\.json\Z", re.ASCII)


class Placement(NamedTuple):
    """The paths of a batch's manifest and of its pointers."""

    manifest: str
    pointers: tuple[str, ...]


def placement(table: str, name: str, files: Iterable[str]) -> Placement:
    """Return the paths of a batch's manifest and pointers (pure).

    Args:
        table: trades or ticks.
        name: `<batch>-<digest>.json`.
        files: Paths of the batch's files.
    """
    newest: dict[str, str] = {}
    for folder in filter(None, map(HOUR_FOLDER.search, files)):
        day, hour = folder.groups()
        newest[day] = max(newest.get(day, ""), hour)
    root = f"{MANIFESTS}/{table}"
    if not newest:
        batch = int(re.match(r"\d*", name)[0] or 0)  # type: ignore[index]
        return Placement(f"{root}/{UNDATED}/{batch // UNDATED_PER_FOLDER}/{name}", ())
    *others, last = sorted(newest)
    if len(others) < MOST_DAY_POINTERS:
        folders = [f"date={day}/hour={newest[day]}" for day in others]
    else:
        folders = [f"month={month}" for month in sorted({day[:7] for day in others})]
    pointer = name.removesuffix(".json") + POINTER_SUFFIX
    manifest = f"{root}/date={last}/hour={newest[last]}/{name}"
    return Placement(manifest, tuple(f"{root}/{folder}/{pointer}" for folder in folders))


def pointer_body(manifest: str) -> bytes:
    """Return the content of a pointer to a manifest."""
    return json.dumps({"v": 1, "manifest": manifest}, separators=(",", ":")).encode()


def is_manifest(path: str) -> bool:
    """Return whether a path is that of a manifest in either layout; a pointer is not one."""
    return table_of(path) in TABLES and _MANIFEST_NAME.match(path.rpartition("/")[2]) is not None


def is_pointer(path: str) -> bool:
    """Return whether a path is that of a pointer to a manifest."""
    return table_of(path) in TABLES and _POINTER_NAME.match(path.rpartition("/")[2]) is not None


def table_of(path: str) -> str:
    """Return the table of a path below `_manifests`; empty if the path belongs to no table."""
    table, slash, _ = path.removeprefix(f"{MANIFESTS}/").partition("/")
    return table if slash and path.startswith(f"{MANIFESTS}/") else ""


def has_expected_name(path: str) -> bool:
    """Return whether the last part of a path is the name of a manifest or of a pointer."""
    name = path.rpartition("/")[2]
    return any(pattern.match(name) is not None for pattern in (_MANIFEST_NAME, _POINTER_NAME))


def day_of_folder(name: str) -> date | None:
    """Return the day of `date=YYYY-MM-DD/`; None for any other name."""
    try:
        return date.fromisoformat(name.removeprefix("date=").rstrip("/")) if name.startswith("date=") else None
    except ValueError:
        return None
