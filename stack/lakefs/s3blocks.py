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

from stack.lakefs.blocks import clear_folder, new_name
from tickhouse.errors import ConfigurationError

# Uploads run in worker threads already.
_TRANSFER = TransferConfig(use_threads=False)


class _RangeReader(io.RawIOBase):
    """A block from an offset on, as a file; botocore's body reads but is no file object."""

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
    """Blocks as objects `<namespace>/data/xx/<uuid>` of one bucket; an upload completes before its entry is staged.

    Args:
        root: Data folder, for bodies on their way.
        endpoint: URL of the S3 store.
        bucket: Its bucket, which must exist; the keys come from `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.

    Raises:
        ConfigurationError: The bucket does not answer.
    """

    kind = "s3"

    def __init__(self, root: Path, endpoint: str, bucket: str) -> None:
        self.temporary = root / "tmp"
        clear_folder(self.temporary)
        self._bucket = bucket
        # Without the address: the same store may be reached by another one.
        self.place = f"s3 bucket {bucket}"
        settings = Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard"},
            max_pool_connections=16,
            # The signature covers the body already.
            request_checksum_calculation="when_required",
        )
        self._client = boto3.client("s3", endpoint_url=endpoint, config=settings, region_name="us-east-1")
        try:
            self._client.head_bucket(Bucket=bucket)
        except (BotoCoreError, ClientError) as error:
            raise ConfigurationError(
                f"The block store does not answer: bucket {bucket!r} at {endpoint}: {error}.",
                safe="Nothing was started.",
                next_command="start the store, make the bucket, check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ) from error

    def _key(self, address: str) -> str:
        return address.partition("://")[2] or address

    def keep(self, content: Path | bytes, namespace: str) -> str:
        """Put a body into the store and return its address."""
        address = f"{namespace.rstrip('/')}/{new_name()}"
        try:
            if isinstance(content, bytes):
                self._client.put_object(Bucket=self._bucket, Key=self._key(address), Body=content)
            else:
                self._client.upload_file(str(content), self._bucket, self._key(address), Config=_TRANSFER)
        except (BotoCoreError, ClientError, S3UploadFailedError) as error:
            raise OSError(f"the block store refused a block: {error}") from error
        if isinstance(content, Path):
            content.unlink()
        return address

    def open(self, address: str, start: int) -> BinaryIO:
        """Open a block at an offset in bytes."""
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._key(address), Range=f"bytes={start}-")
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"the block store has no such block: {error}") from error
        return cast("BinaryIO", _RangeReader(answer["Body"]))

    def drop(self, address: str) -> None:
        """Delete a block; missing is fine."""
        try:
            self._client.delete_object(Bucket=self._bucket, Key=self._key(address))
        except (BotoCoreError, ClientError) as error:
            raise OSError(f"the block store did not delete a block: {error}") from error
