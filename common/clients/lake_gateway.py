"""The S3 gateway of lakeFS as a file system; a path is `<repository>/<ref>/<object>`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.clients.s3 import s3_filesystem
from common.settings import Settings

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

CONNECT_S, REQUEST_S = 5, 60


def lake_filesystem(settings: Settings) -> S3FileSystem:
    """Return the gateway; makes no request."""
    return s3_filesystem(
        settings.lakefs_endpoint,
        settings.lakefs_access_key_id,
        settings.lakefs_secret_access_key.get_secret_value(),
        connect_timeout_s=CONNECT_S,
        request_timeout_s=REQUEST_S,
    )
