"""Read the heads of the lake's branches over HTTP.

The lakeFS SDK, which every other module uses, takes half a second of CPU to import: it builds a
validator for each of its 300 calls. `tickhouse status` would wait longer for that than for all
servers together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from common.errors import StoreUnavailable
from common.settings import Settings

INGEST = "ingest"
MAIN = "main"


@dataclass(frozen=True, slots=True)
class Head:
    """The newest commit of a branch.

    Attributes:
        id: The commit.
        created_s: Seconds since 1970.
    """

    id: str
    created_s: int
    message: str
    metadata: Mapping[str, str]


class LakeHeads:
    """Reads the heads of the lake repository.

    Args:
        settings: Address, repository and keys.
        timeout_s: How long one answer may take.
    """

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._endpoint = settings.lakefs_endpoint
        self._client = httpx.Client(
            base_url=f"{settings.lakefs_endpoint.rstrip('/').removesuffix('/api/v1')}/api/v1/repositories/"
            f"{quote(settings.lake_repository, safe='')}/",
            auth=(settings.lakefs_access_key_id, settings.lakefs_secret_access_key.get_secret_value()),
            timeout=timeout_s,
            trust_env=False,
        )

    def __enter__(self) -> LakeHeads:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def head(self, branch: str) -> Head:
        """Return the head of a branch.

        Raises:
            StoreUnavailable: The server does not answer, or has no such branch.
        """
        found = self._get(f"commits/{quote(branch, safe='')}")
        with self._errors():
            return Head(found["id"], found["creation_date"], found["message"], found.get("metadata") or {})

    def branches(self, prefix: str) -> list[str]:
        """Return the names of the branches with a prefix, in their order; at most 1,000.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        found = self._get("branches", prefix=prefix, amount="1000")
        with self._errors():
            return sorted(branch["id"] for branch in found["results"])

    def _get(self, path: str, **params: str) -> Any:
        with self._errors():
            return self._client.get(path, params=params).raise_for_status().json()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise StoreUnavailable(
                f"lakeFS at {self._endpoint} does not answer: {error!r}.", next_command="tickhouse logs lakefs"
            ) from error
