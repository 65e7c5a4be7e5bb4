"""List and read the objects of a lake ref with the official client."""

from __future__ import annotations

from typing import cast

from lakefs import Reference
from lakefs.exceptions import NotFoundException

# The largest page that lakeFS returns.
PAGE = 1000


class RefObjects:
    """One reference; implements `common.clients.lake_manifests.Objects`."""

    def __init__(self, reference: Reference) -> None:
        self._reference = reference

    def children(self, folder: str) -> list[str]:
        """Return the names directly below a folder, those of folders with a slash."""
        prefix = f"{folder}/"
        listed = self._reference.objects(prefix=prefix, delimiter="/", amount=PAGE)
        return [one.path.removeprefix(prefix) for one in listed]

    def listing(self, folder: str) -> list[str]:
        """Return the paths of all objects below a folder, sorted."""
        return [one.path for one in self._reference.objects(prefix=f"{folder}/", amount=PAGE)]

    def read_optional(self, path: str) -> bytes | None:
        """Return an object, or None when it is not there."""
        try:
            with self._reference.object(path).reader(mode="rb") as reader:
                return cast("bytes", reader.read())
        except NotFoundException:
            return None
