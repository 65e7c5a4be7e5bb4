"""The checker's own reader of bronze: it reads only files that a manifest names.

It reads both layouts of manifests: folders by event day, with pointers from the other days of a
batch, and the flat folder of older versions. All other code reads with `common.clients.lake_files`.
An object below `_manifests` that is not a whole manifest is added to `BronzeManifests.problems`,
and reading continues.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType

from common.clients.lake_gateway import lake_filesystem
from common.days import Days, day_of
from common.errors import StoreUnavailable
from common.settings import Settings

_MANIFESTS, _TABLES = "bronze/_manifests", ("trades", "ticks")
_FOLDER = re.compile(r"date=(?P<day>\d{4}-\d{2}-\d{2})|month=(?P<month>\d{4}-\d{2})|undated", re.ASCII)
_FORGOTTEN = re.compile(r".*/date=(?P<day>\d{4}-\d{2}-\d{2})\.json", re.ASCII)
_MANIFEST_NAME = re.compile(r"/\d+(-[0-9a-z]+)?(\.pointer)?\.json\Z", re.ASCII)
# A reader of a manifest waits for the network: four at a time keep it busy.
_READERS = 4


class LakeFile(NamedTuple):
    """A file that a manifest names."""

    path: str
    rows: int
    manifest: str


class ManifestProblem(NamedTuple):
    """An object below `_manifests` that is not a whole manifest.

    Attributes:
        path: Its path inside the ref.
        kind: stray, empty, broken, or unfinished (a pointer to a manifest that was never written).
        detail: What was expected and what was there.
    """

    path: str
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {self.detail}"


# The most lines of notes about manifests in a result.
_MOST_NOTES = 20


@dataclass
class BronzeManifests:
    """The manifests of one table on one ref.

    Attributes:
        files: The files that they name.
        rows: Rows of all manifests.
        manifests: Rows by path of the manifest inside the ref.
        problems: Objects below `_manifests` that are not whole manifests.
        forgotten: Event days whose bronze was removed after their silver was published.
        reread_rows: Records that were stored a second time; counted while the rows are read.
    """

    files: list[LakeFile] = field(default_factory=list)
    rows: int = 0
    topic: str = ""
    manifests: dict[str, int] = field(default_factory=dict)
    problems: list[ManifestProblem] = field(default_factory=list)
    forgotten: set[date] = field(default_factory=set)
    reread_rows: int = 0

    def notes(self) -> list[str]:
        """Return lines about the problems, which are not faults."""
        lines = [str(one) for one in self.problems[:_MOST_NOTES]]
        if len(self.problems) > _MOST_NOTES:
            lines.append(f"{len(self.problems) - _MOST_NOTES} more objects below {_MANIFESTS} are not whole manifests")
        if self.reread_rows:
            lines.append(f"{self.reread_rows} records were read from Kafka and stored a second time; they count once")
        return lines


def _parse_manifest(path: str, body: bytes) -> dict[str, Any] | ManifestProblem:
    """Return a manifest's topic, rows and files, or the manifest that a pointer names (pure)."""
    if not body.strip():
        return ManifestProblem(path, "empty", "it holds nothing")
    try:
        document = json.loads(body)
        if path.endswith(".pointer.json"):
            return {"manifest": _require_text(document["manifest"])}
        files = [{"path": _require_text(one["path"]), "rows": int(one["rows"])} for one in document["files"]]
        return {"topic": _require_text(document["topic"]), "rows": int(document["rows"]), "files": files}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return ManifestProblem(path, "broken", f"{error!r}")


def _require_text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"Expected a text, was {value!r}")
    return value


def _may_hold(folder: re.Match[str], days: Days | None) -> bool:
    """Return whether a folder (of a day, of a month, of batches without an event time) may hold
    rows of the days.
    """
    if days is None:
        return True
    try:
        if folder["day"]:
            return date.fromisoformat(folder["day"]) in days
        return bool(folder["month"]) and _month(folder["month"]) in days.months()
    except ValueError:
        return False


def _month(text: str) -> date:
    return date.fromisoformat(f"{text}-01")


class LakeReader:
    """A reader of one ref of the lake.

    Args:
        filesystem: The S3 gateway (or any file system laid out like it).
        root: `<repository>/<ref>`.
    """

    def __init__(self, filesystem: FileSystem, root: str) -> None:
        self._files = filesystem
        self._root = root

    def bronze(self, table: str, days: Days | None = None) -> BronzeManifests:
        """Return the files of `trades` or `ticks` that manifests name.

        Args:
            table: trades or ticks.
            days: Read only the manifests of these event days; they may name files of other days
                too.

        Raises:
            StoreUnavailable: The lake does not answer or has no such ref.
        """
        found = BronzeManifests(problems=self._strays(), forgotten=self._forgotten(table))
        documents = self._documents(self._manifest_paths(table, days, found.problems), found.problems)
        pointers = {path: document["manifest"] for path, document in documents.items() if "manifest" in document}
        wanted = sorted(set(pointers.values()) - documents.keys())
        documents |= self._documents(wanted, found.problems)
        found.problems += [
            ManifestProblem(pointer, "unfinished", f"its batch has no manifest {target}")
            for pointer, target in pointers.items()
            if target not in documents
        ]
        # While it is moved, a manifest may be in both layouts under the same name.
        by_name = {path.rpartition("/")[2]: path for path in sorted(documents) if path not in pointers}
        for path in sorted(by_name.values()):
            self._add_manifest(found, path, documents[path], days)
        return found

    @staticmethod
    def _add_manifest(found: BronzeManifests, path: str, manifest: dict[str, Any], days: Days | None) -> None:
        files = [LakeFile(one["path"], one["rows"], path) for one in manifest["files"]]
        if days is None or any(day_of(one.path) in days for one in files):
            found.topic = manifest["topic"]
            found.rows += manifest["rows"]
            found.manifests[path] = manifest["rows"]
            found.files += files

    def _forgotten(self, table: str) -> set[date]:
        notes = (_FORGOTTEN.fullmatch(path) for path, _ in self._children(f"bronze/_forgotten/{table}"))
        return {date.fromisoformat(note["day"]) for note in notes if note}

    def _strays(self) -> list[ManifestProblem]:
        below = [path for path, _ in self._children(_MANIFESTS)]
        expected = {f"{_MANIFESTS}/{table}" for table in _TABLES}
        return [ManifestProblem(path, "stray", "no table has this name") for path in below if path not in expected]

    def _manifest_paths(self, table: str, days: Days | None, problems: list[ManifestProblem]) -> list[str]:
        paths: list[str] = []
        for path, is_folder in self._children(f"{_MANIFESTS}/{table}"):
            kind = _FOLDER.fullmatch(path.rpartition("/")[2])
            if not is_folder:
                paths.append(path)
            elif kind is None:
                problems.append(ManifestProblem(path, "stray", "neither a day nor a month"))
            elif _may_hold(kind, days):
                paths += self._files_below(path)
        strays = [path for path in paths if not _MANIFEST_NAME.search(path)]
        problems += [ManifestProblem(path, "stray", "its name is not that of a manifest") for path in strays]
        return [path for path in paths if _MANIFEST_NAME.search(path)]

    def _documents(self, paths: Sequence[str], problems: list[ManifestProblem]) -> dict[str, dict[str, Any]]:
        """Return manifests and pointers by path; missing objects are left out.

        Objects that do not parse are added to `problems`.
        """
        found: dict[str, dict[str, Any]] = {}
        with ThreadPoolExecutor(_READERS) as pool:
            for path, body in zip(paths, pool.map(self._bytes, paths), strict=True):
                parsed = None if body is None else _parse_manifest(path, body)
                if isinstance(parsed, ManifestProblem):
                    problems.append(parsed)
                elif parsed is not None:
                    found[path] = parsed
        return found

    def _bytes(self, path: str) -> bytes | None:
        try:
            with self._files.open_input_stream(f"{self._root}/{path}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(f"{path}: {error!r}") from error

    def _children(self, folder: str) -> list[tuple[str, bool]]:
        """Return (path inside the ref, whether it is a folder) of a folder's entries, sorted."""
        return [
            (info.path[len(self._root) + 1 :], info.type == FileType.Directory)
            for info in self._infos(FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        ]

    def _files_below(self, folder: str) -> list[str]:
        selector = FileSelector(f"{self._root}/{folder}", recursive=True, allow_not_found=True)
        return [info.path[len(self._root) + 1 :] for info in self._infos(selector) if info.type == FileType.File]

    def _infos(self, selector: FileSelector) -> list[FileInfo]:
        try:
            return sorted(self._files.get_file_info(selector), key=lambda info: str(info.path))
        except OSError as error:
            raise self._unavailable(str(error)) from error

    def files(self, folder: str) -> list[str]:
        """Return the paths of all Parquet files below a folder, sorted.

        There are none when there is no such folder.

        Raises:
            StoreUnavailable: The lake does not answer or has no such ref.
        """
        return [path for path in self._files_below(folder) if path.endswith(".parquet")]

    def table(self, path: str, columns: list[str] | None) -> pa.Table | None:
        """Return the columns (None: all) of one file, by its path inside the ref.

        The result is None when there is no such file.

        Raises:
            StoreUnavailable: The file is there and cannot be read.
        """
        try:
            with self._files.open_input_file(f"{self._root}/{path}") as source:
                return pq.ParquetFile(source).read(columns)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowInvalid) as error:
            raise self._unavailable(f"{path}: {error}") from error

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The lake at {self._root} cannot be read: {why}.",
            safe="The stores are untouched.",
            next_command="tickhouse status",
        )


def connect(settings: Settings, ref: str) -> LakeReader:
    """Return a reader of a ref through the S3 gateway of the settings."""
    return LakeReader(lake_filesystem(settings), f"{settings.lake_repository}/{ref}")
