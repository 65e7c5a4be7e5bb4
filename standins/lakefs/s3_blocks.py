"""Data blocks in a bucket of another S3 store (MinIO in profile `stores`)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from boto3.exceptions import S3UploadFailedError
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from common.errors import ConfigurationError
from standins.lakefs.blocks import clear_folder, new_name

# An upload already runs in a worker thread.
_TRANSFER = TransferConfig(use_threads=False)


class _RangeReader(io.RawIOBase):
    """A block from an offset on, as a file object; botocore's body has only `read`."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._body.read(None if size < 0 else size)
        return data

    def close(self) -> None:
        self._body.close()
        super().close()


class S3Blocks:
    """Blocks as objects `<namespace>/data/xx/<uuid>` of a bucket.

    Args:
        root: Data folder; bodies wait in it before they are uploaded.
        endpoint: URL of the S3 store.
        bucket: Its bucket, which must exist; the keys come from `AWS_ACCESS_KEY_ID` and
            `AWS_SECRET_ACCESS_KEY`.

    Raises:
        ConfigurationError: The bucket does not exist or the store does not respond.
    """

    kind = "s3"

    def __init__(self, root: Path, endpoint: str, bucket: str) -> None:
        self.temporary = root / "tmp"
        clear_folder(self.temporary)
        self._bucket = bucket
        # Without the endpoint, because one store may have several addresses.
        self.place = f"s3 bucket {bucket}"
        # The stand-in makes its own client: it must not depend on Tickhouse's settings, and its
        # keys come from the environment as in the real server.
        settings = Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard"},
            max_pool_connections=16,
            # The signature already covers the body.
            request_checksum_calculation="when_required",
        )
        self._client = boto3.client("s3", endpoint_url=endpoint, config=settings, region_name="us-east-1")
        try:
            self._client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise ConfigurationError(
                f"The block store at {endpoint} does not give access to bucket {bucket!r}: {error}.",
                safe="Nothing was started.",
                next_command="start the store, make the bucket, check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error

    def _key(self, address: str) -> str:
        return address.partition("://")[2] or address

    def keep(self, content: Path | bytes, namespace: str) -> str:
        """Upload a body and return its address."""
        address = f"{namespace.rstrip('/')}/{new_name()}"
        try:
            if isinstance(content, bytes):
                self._client.put_object(Bucket=self._bucket, Key=self._key(address), Body=content)
            else:
                self._client.upload_file(str(content), self._bucket, self._key(address), Config=_TRANSFER)
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise OSError(f"the block store did not accept a block: {error}") from error
        if isinstance(content, Path):
            content.unlink()
        return address

    def open(self, address: str, start: int) -> BinaryIO:
        """Open a block at an offset in bytes."""
        try:
            response = self._client.get_object(Bucket=self._bucket, Key=self._key(address), Range=f"bytes={start}-")
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"the block store has no such block: {error}") from error
        return cast("BinaryIO", _RangeReader(response["Body"]))

    def drop(self, address: str) -> None:
        """Delete a block; a missing block is no error."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key(address))
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"the block store did not delete a block: {error}") from error
