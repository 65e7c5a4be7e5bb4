"""Find the bronze files of days.

Only files that a manifest names count (common/clients/lake_manifests.py).
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from common.clients.lake_manifests import ManifestFile, Problem, has_later, present_files, read_manifests
from common.days import Days
from spark.batch.files import LakeFiles

TABLE = "trades"


class BronzeFiles(NamedTuple):
    """The bronze files of some days.

    Attributes:
        files: Each file once, sorted by path. All of them exist.
        problems: Damaged manifests, and files that a manifest names and that do not exist.
        is_newest: Whether the lake has no day after these.
    """

    files: tuple[ManifestFile, ...]
    problems: tuple[Problem, ...]
    is_newest: bool

    def of_days(self, days: Days) -> list[str]:
        """Return the paths of the files of these days."""
        return [file.path for file in self.files if file.date in days]

    def has_later(self, last: date) -> bool:
        """Return whether the lake has a day after `last`, which is one of these days."""
        return not self.is_newest or any(file.date is not None and file.date > last for file in self.files)


def bronze_of(files: LakeFiles, days: Days) -> BronzeFiles:
    """Return the bronze trades of the days; only the manifests of these days are read.

    Raises:
        StoreUnavailable: The lake does not answer.
    """
    manifests = read_manifests(files, TABLE, days)
    present, missing = present_files(files, TABLE, manifests, days)
    problems = (*manifests.problems, *missing)
    return BronzeFiles(tuple(present), problems, is_newest=not has_later(files, TABLE, days.last))
