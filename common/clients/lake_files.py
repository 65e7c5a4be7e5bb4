"""Read the Parquet files of one lake ref, and list the files that its manifests of bronze name."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileInfo, FileSelector, FileSystem, FileType, LocalFileSystem

from common.clients.lake_gateway import lake_filesystem
from common.clients.lake_manifests import Manifest, Problem, forgotten_days, parse, read_manifests
from common.days import Days
from common.errors import StoreUnavailable
from common.settings import Settings

# A copy waits for the network: four at a time keep it busy, with a buffer of one mebibyte each.
_COPIES, _COPY_BYTES = 4, 1 << 20
# The most lines of notes about the manifests of a table.
MOST_NOTES = 20


class BronzeFile(NamedTuple):
    """A file of bronze, its number of rows in the manifest, and the path of the manifest."""

    path: str
    rows: int
    manifest: str


@dataclass
class BronzeListing:
    """What the manifests of one table name on one ref.

    Attributes:
        files: The files that they name.
        topic: The topic that the rows come from; empty without manifests.
        manifests: Rows by path of the manifest.
        problems: Objects below the manifests' folder that are not what they should be.
        forgotten: Event days whose bronze was removed after their silver was published.
    """

    files: list[BronzeFile] = field(default_factory=list)
    topic: str = ""
    manifests: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    forgotten: set[date] = field(default_factory=set)

    def notes(self) -> list[str]:
        """Return one line per problem, at most `MOST_NOTES`, and how many more there are."""
        lines = [str(problem) for problem in self.problems[:MOST_NOTES]]
        if len(self.problems) > MOST_NOTES:
            lines.append(f"{len(self.problems) - MOST_NOTES} more problems with manifests")
        return lines


class RefFiles:
    """The files of one ref; implements `common.clients.lake_manifests.Objects`.

    Args:
        filesystem: The S3 gateway, or any file system that is laid out like it.
        root: `<repository>/<ref>`.
    """

    def __init__(self, filesystem: FileSystem, root: str) -> None:
        self._files = filesystem
        self._root = root

    @classmethod
    def connect(cls, settings: Settings, ref: str) -> RefFiles:
        """Return the files of a branch, tag or commit; makes no request."""
        return cls(lake_filesystem(settings), f"{settings.lake_repository}/{ref}")

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a folder, those of folders with a slash.

        There are none when the folder is not there.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        infos = self._infos(folder, recursive=False)
        return [f"{info.base_name}/" if info.type == FileType.Directory else info.base_name for info in infos]

    def listing(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted; none when it is not there.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        infos = self._infos(folder, recursive=True)
        return [info.path[len(self._root) + 1 :] for info in infos if info.type == FileType.File]

    def parquet_files(self, folder: str) -> list[str]:
        """Return the paths of all Parquet files below a folder, sorted; none when it is not there.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        return [path for path in self.listing(folder) if path.endswith(".parquet")]

    def read_optional(self, path: str) -> bytes | None:
        """Return one object, or None when it is not there.

        Raises:
            StoreUnavailable: It cannot be read.
        """
        try:
            with self._files.open_input_stream(f"{self._root}/{path}") as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unavailable(f"{path}: {error!r}") from error

    def table(self, path: str, columns: list[str] | None = None) -> pa.Table | None:
        """Return the columns (None: all) of one file; None when there is no such file.

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

    def row_count(self, path: str) -> int | None:
        """Return the rows of one file by its footer; None when it is not a whole Parquet file.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        try:
            with self._files.open_input_file(f"{self._root}/{path}") as source:
                return int(pq.ParquetFile(source).metadata.num_rows)
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        except OSError as error:
            raise self._unavailable(f"{path}: {error}") from error

    def fetch(self, paths: Sequence[str], folder: Path) -> list[str]:
        """Copy files into a folder and return where each copy is.

        Files of a local lake stay where they are.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such file.
        """
        if isinstance(self._files, LocalFileSystem):
            return [f"{self._root}/{path}" for path in paths]
        with ThreadPoolExecutor(_COPIES) as pool:
            return list(pool.map(lambda path: self._copy(path, folder), paths))

    def bronze(self, table: str, days: Days | None = None) -> BronzeListing:
        """Return the files that the manifests of `trades` or `ticks` name.

        Args:
            table: trades or ticks.
            days: Read only the manifests with rows of these days (None: all days); they may name
                files of other days too.

        Raises:
            StoreUnavailable: The lake does not answer, or has no such ref.
        """
        found = read_manifests(self, table, days)
        return BronzeListing(
            files=[BronzeFile(file.path, file.rows, one.path) for one in found.manifests for file in one.files],
            topic=found.manifests[-1].topic if found.manifests else "",
            manifests={one.path: one.rows for one in found.manifests},
            problems=list(found.problems),
            forgotten=forgotten_days(self, table),
        )

    def manifest_rows(self, path: str) -> int | None:
        """Return the rows of one manifest; None when no whole manifest is there.

        Raises:
            StoreUnavailable: The lake does not answer.
        """
        body = self.read_optional(path)
        manifest = None if body is None else parse(path, body)
        return manifest.rows if isinstance(manifest, Manifest) else None

    def _infos(self, folder: str, *, recursive: bool) -> list[FileInfo]:
        selector = FileSelector(f"{self._root}/{folder}", recursive=recursive, allow_not_found=True)
        try:
            return sorted(self._files.get_file_info(selector), key=lambda info: str(info.path))
        except OSError as error:
            raise self._unavailable(str(error)) from error

    def _copy(self, path: str, folder: Path) -> str:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._files.open_input_stream(f"{self._root}/{path}") as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink, _COPY_BYTES)
        except OSError as error:
            raise self._unavailable(f"{path}: {error}") from error
        return str(target)

    def _unavailable(self, why: str) -> StoreUnavailable:
        return StoreUnavailable(
            f"The lake at {self._root} cannot be read: {why}.",
            safe="Nothing was changed.",
            next_command="tickhouse status",
        )
