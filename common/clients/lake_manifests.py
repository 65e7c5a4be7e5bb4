"""Manifests of bronze: their content, and which of them count for some event days.

A batch counts only when its manifest is there: the manifest is the last object that a batch writes.
A pointer whose manifest is missing belongs to an unfinished batch and does not count. The paths of
both are in common/clients/lake_manifest_paths.py.

Re-read offsets. After a lost checkpoint the new batches have other offset ranges, so two manifests
may cover the same offsets. Both stay: bronze is as received. A row is one Kafka record, identified
by topic, partition, offset and event id, and readers count each record once (`overlapping` returns
the files to compare; silver keeps one row per event id anyway). The event id is part of the
identity because a topic that was deleted and made again starts at offset 0 again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from itertools import chain
from typing import Any, Literal, NamedTuple, Protocol

from common.clients.lake_manifest_paths import (
    FORGOTTEN,
    HOUR_FOLDER,
    MANIFESTS,
    POINTER_SUFFIX,
    TABLES,
    UNDATED,
    day_of_folder,
    has_expected_name,
    is_manifest,
    table_of,
)
from common.days import Days

# A manifest is one small request that waits for the network, so threads help.
_READERS = 8

_SLICE = re.compile(r"-(\d+)-(\d+)-(\d+)\.parquet\Z", re.ASCII)

ProblemKind = Literal["stray", "empty", "broken", "unfinished", "missing_file"]


class Problem(NamedTuple):
    """A problem with an object below `_manifests`, or with a file that a manifest names.

    Attributes:
        path: The object.
        kind: `stray` (not an object of Tickhouse), `empty`, `broken` (does not parse),
            `unfinished` (a pointer whose manifest was never written; the rows are in another batch,
            or will be), `missing_file`.
        detail: What was expected and what was there.
    """

    path: str
    kind: ProblemKind
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.detail}"


class ManifestFile(NamedTuple):
    """A file that a manifest names."""

    path: str
    rows: int
    bytes: int

    @property
    def date(self) -> date | None:
        """Return the event date of its folder."""
        found = HOUR_FOLDER.search(self.path)
        return date.fromisoformat(found[1]) if found else None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What one batch wrote.

    Attributes:
        path: Path of the manifest.
        ranges: Kafka partition to offsets [first, next).
        rows: Rows of all files.
    """

    path: str
    topic: str
    ranges: Mapping[str, tuple[int, int]]
    rows: int
    files: tuple[ManifestFile, ...]

    @property
    def name(self) -> str:
        """Return the name, which is the same in every layout: `<batch>-<digest>.json`."""
        return self.path.rpartition("/")[2]

    def days(self) -> set[date]:
        """Return the event days of its files."""
        return {day for one in self.files if (day := one.date) is not None}


class Found(NamedTuple):
    """The manifests that count, sorted by path, and the problems with other objects."""

    manifests: tuple[Manifest, ...]
    problems: tuple[Problem, ...]

    def files(self, days: Days | None = None) -> list[ManifestFile]:
        """Return the named files of the days (None: all days), each once, sorted by path."""
        named = {one.path: one for manifest in self.manifests for one in manifest.files}
        return [named[path] for path in sorted(named) if days is None or named[path].date in days]


class Objects(Protocol):
    """The objects of one lake ref."""

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a folder, those of folders with a slash.

        There are none when the folder is not there.
        """
        ...

    def listing(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder, sorted."""
        ...

    def read_optional(self, path: str) -> bytes | None:
        """Return an object, or None when it is not there."""
        ...


# -- content ---------------------------------------------------------------------------------------


def parse(path: str, body: bytes) -> Manifest | Problem:
    """Return a manifest, or the problem with it (pure)."""
    if not body.strip():
        return Problem(path, "empty", "Expected a manifest, was nothing")
    try:
        return _parse_manifest(path, json.loads(body))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return Problem(path, "broken", f"Expected a manifest, was {body[:60]!r} ({type(error).__name__}: {error})")


def _parse_manifest(path: str, document: Any) -> Manifest:
    files = tuple(
        ManifestFile(str(one["path"]), _count(one["rows"]), _count(one.get("bytes", 0))) for one in document["files"]
    )
    if outside := next((one.path for one in files if one.date is None), None):
        raise ValueError(f"file {outside!r} is in no hour")
    ranges = {str(part): (_count(first), _count(until)) for part, (first, until) in document["ranges"].items()}
    return Manifest(path, str(document["topic"]), ranges, _count(document["rows"]), files)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"Expected a count, was {value!r}")
    return value


def _parse_pointer(path: str, body: bytes) -> str | Problem:
    try:
        target = json.loads(body)["manifest"]
        if is_manifest(target) and table_of(target) == table_of(path):
            return str(target)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    return Problem(path, "broken" if body.strip() else "empty", f"Expected a pointer to a manifest, was {body[:60]!r}")


# -- which manifests count -------------------------------------------------------------------------


def read_manifests(objects: Objects, table: str, days: Days | None = None) -> Found:
    """Return the manifests of a table with rows of the days (None: all days), and the problems.

    It lists the table's folder and the folder of each of these days, and reads every manifest in
    the flat folder. Reading continues after a problem. Folders of other days are not checked.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    problems = strays(objects)
    folders, flat = _folders(objects, table, days, problems)
    paths = [*flat, *(path for folder in folders for path in objects.listing(folder))]
    read = partial(_read_with_path, objects)
    with ThreadPoolExecutor(_READERS) as pool:
        parsed = _parse_all(pool.map(read, [path for path in paths if _check_name(path, problems)]), problems)
        targets = sorted(set(parsed.pointers.values()) - parsed.manifests.keys())
        pointed = _parse_all(pool.map(read, targets), problems)
    manifests = parsed.manifests | pointed.manifests
    problems += [
        Problem(pointer, "unfinished", f"its batch has no manifest {target}")
        for pointer, target in parsed.pointers.items()
        if target not in manifests
    ]
    # A flat manifest that was copied but not removed yet is replaced by its copy.
    by_name = {one.name: one for one in manifests.values()}
    kept = [one for one in by_name.values() if days is None or any(day in days for day in one.days())]
    return Found(tuple(sorted(kept, key=lambda one: one.path)), tuple(problems))


def strays(objects: Objects) -> list[Problem]:
    """Return a problem for each object beside the tables' folders."""
    wanted = {f"{table}/" for table in TABLES}
    return [
        Problem(f"{MANIFESTS}/{name}", "stray", f"Expected only {', '.join(sorted(wanted))} here")
        for name in objects.children(MANIFESTS)
        if name not in wanted
    ]


def _folders(objects: Objects, table: str, days: Days | None, problems: list[Problem]) -> tuple[list[str], list[str]]:
    """Return the folders that may hold manifests of the days, and the flat folder's objects."""
    months = None if days is None else {f"month={month:%Y-%m}/" for month in days.months()}
    folders, flat = [], []
    for name in objects.children(f"{MANIFESTS}/{table}"):
        path = f"{MANIFESTS}/{table}/{name}"
        if not name.endswith("/"):
            flat.append(path)
        elif (day := day_of_folder(name)) is not None:
            folders += [path.rstrip("/")] if days is None or day in days else []
        elif name.startswith("month="):
            folders += [path.rstrip("/")] if months is None or name in months else []
        elif name != f"{UNDATED}/":
            problems.append(Problem(path, "stray", "Expected a folder of a day or a month"))
        elif days is None:
            folders.append(path.rstrip("/"))
    return folders, flat


def _check_name(path: str, problems: list[Problem]) -> bool:
    """Return whether a name is that of a manifest or pointer; if not, add a problem."""
    if has_expected_name(path):
        return True
    problems.append(Problem(path, "stray", "Expected <batch>-<digest>.json"))
    return False


def _read_with_path(objects: Objects, path: str) -> tuple[str, bytes | None]:
    return path, objects.read_optional(path)


@dataclass(frozen=True, slots=True)
class _Parsed:
    """Manifests by path, and the manifest that each pointer names."""

    manifests: dict[str, Manifest]
    pointers: dict[str, str]


def _parse_all(bodies: Iterable[tuple[str, bytes | None]], problems: list[Problem]) -> _Parsed:
    parsed = _Parsed({}, {})
    for path, body in bodies:
        if body is None:
            continue
        found = _parse_pointer(path, body) if path.endswith(POINTER_SUFFIX) else parse(path, body)
        if isinstance(found, Problem):
            problems.append(found)
        elif isinstance(found, str):
            parsed.pointers[path] = found
        else:
            parsed.manifests[path] = found
    return parsed


def present_files(objects: Objects, table: str, found: Found, days: Days) -> tuple[list[ManifestFile], list[Problem]]:
    """Return the named files of the days that are there, and a problem for each missing one.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    there = {path for day in days for path in objects.listing(f"bronze/{table}/date={day}")}
    named = found.files(days)
    by_path = {one.path: manifest.path for manifest in found.manifests for one in manifest.files}
    lost = [
        Problem(one.path, "missing_file", f"named by {by_path[one.path]}") for one in named if one.path not in there
    ]
    return [one for one in named if one.path in there], lost


def forgotten_days(objects: Objects, table: str) -> set[date]:
    """Return the days whose bronze was removed after their silver was published."""
    names = (name.removesuffix(".json") for name in objects.children(f"{FORGOTTEN}/{table}"))
    return {day for name in names if (day := day_of_folder(name)) is not None}


def table_days(objects: Objects, table: str) -> list[date]:
    """Return the days that have a folder of manifests, sorted.

    Days of flat manifests and of months are left out.
    """
    found = map(day_of_folder, objects.children(f"{MANIFESTS}/{table}"))
    return sorted(day for day in found if day is not None)


def has_later(objects: Objects, table: str, last: date) -> bool:
    """Return whether bronze has a whole batch with rows of a day after `last`.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    folder = f"{MANIFESTS}/{table}"
    flat = [f"{folder}/{name}" for name in objects.children(folder)]
    later = (objects.listing(f"{folder}/date={day}") for day in table_days(objects, table) if day > last)
    # One whole manifest is enough: the rest of a day is not read.
    paths = (path for path in chain(chain.from_iterable(later), flat) if is_manifest(path))
    parsed = (parse(path, objects.read_optional(path) or b"") for path in paths)
    return any(isinstance(one, Manifest) and any(day > last for day in one.days()) for one in parsed)


def overlapping(paths: Sequence[str]) -> set[str]:
    """Return the files that share offsets of a partition with another file of their hour (pure).

    A record has one event hour, so a record that was read twice is in two files of one folder.
    """
    groups: dict[tuple[str, str], list[tuple[int, int, str]]] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        found = _SLICE.search(name)
        if found:
            slice_ = (int(found[2]), int(found[3]), path)
            groups.setdefault((folder, f"{name[: found.start()]}-{found[1]}"), []).append(slice_)
    return {path for group in groups.values() for path in _overlapping_slices(sorted(group))}


def _overlapping_slices(slices: Sequence[tuple[int, int, str]]) -> Iterator[str]:
    until, widest = -1, ""
    for first, end, path in slices:
        if first < until:
            yield from (widest, path)
        if end > until:
            until, widest = end, path


Say = Callable[[str], None]


def report_problems(problems: Iterable[Problem], say: Say, most: int = 20) -> None:
    """Report each problem as one line, and at most `most` of them."""
    listed = list(problems)
    for one in listed[:most]:
        say(str(one))
    if len(listed) > most:
        say(f"… and {len(listed) - most} more")
