"""Which bronze files a day is made of: only those that a manifest names count (spark/lake_sink.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any

from spark.batch.files import LakeFiles
from tickhouse.days import Days, day_of

MANIFESTS = "bronze/_manifests/trades"
# A manifest is one small request: the wait is the network's, so threads help where cores do not.
_READERS = 8


@dataclass(frozen=True, slots=True)
class BronzeFile:
    """A file that a manifest names; `date` is the event date of its folder."""

    path: str
    rows: int
    date: date


def named_files(files: LakeFiles) -> list[BronzeFile]:
    """Return every file of bronze trades that a manifest names, each once, sorted by path.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        bodies = list(pool.map(files.read_bytes, files.listing(MANIFESTS)))
    found = {one.path: one for body in bodies for one in _files_of(json.loads(body))}
    return [found[path] for path in sorted(found)]


def _files_of(manifest: dict[str, Any]) -> Iterator[BronzeFile]:
    for entry in manifest["files"]:
        day = day_of(entry["path"])
        if day is not None:
            yield BronzeFile(entry["path"], entry["rows"], day)


def of_days(named: Iterable[BronzeFile], days: Days) -> list[str]:
    """Return the paths of the files of these days."""
    return [one.path for one in named if one.date in days]
