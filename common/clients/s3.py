"""Clients of an S3 gateway: boto3 for single objects, pyarrow's file system for Parquet files.

The functions take plain values and not settings, because Spark's tasks receive them pickled. boto3
and pyarrow take long to import, so each is imported by the function that needs it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pyarrow.fs import S3FileSystem

# The gateway ignores the region, but signatures must name one.
REGION = "us-east-1"


@cache
def s3_client(endpoint: str, access_key_id: str, secret_access_key: str) -> Any:
    """Return a boto3 client with path-style addresses, one per process and gateway.

    It may be used by several threads. It is kept because the first client of a process reads
    boto3's models (0.1 CPU seconds), and each client opens connections of its own.
    """
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        region_name=REGION,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=60,
            retries={"max_attempts": 2, "mode": "standard"},
            # The gateway computes a checksum of its own; a second CRC over each body gains nothing.
            request_checksum_calculation="when_required",
        ),
    )


def s3_filesystem(
    endpoint: str,
    access_key_id: str,
    secret_access_key: str,
    *,
    connect_timeout_s: float | None = None,
    request_timeout_s: float | None = None,
) -> S3FileSystem:
    """Return a pyarrow file system on which a path is `<bucket>/<key>`.

    Args:
        endpoint: URL of the gateway.
        access_key_id: Id of the access key.
        secret_access_key: Secret of the access key.
        connect_timeout_s: Seconds to wait for a connection; pyarrow's default when None.
        request_timeout_s: Seconds to wait for an answer; pyarrow's default when None.
    """
    from pyarrow.fs import S3FileSystem

    address = urlsplit(endpoint)
    return S3FileSystem(
        access_key=access_key_id,
        secret_key=secret_access_key,
        endpoint_override=address.netloc,
        scheme=address.scheme,
        region=REGION,
        connect_timeout=connect_timeout_s,
        request_timeout=request_timeout_s,
    )
