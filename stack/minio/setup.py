"""The bucket for the lake's blocks."""

from __future__ import annotations

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stack.engine.context import ServiceContext
from tickhouse.errors import StoreUnavailable


def create_bucket(context: ServiceContext) -> None:
    """Make the bucket of the lake's blocks unless it is there.

    Raises:
        StoreUnavailable: The store does not answer or refuses the keys.
    """
    settings = context.settings
    client = boto3.client(
        "s3",
        endpoint_url=settings.minio_url,
        aws_access_key_id=settings.minio_root_user.get_secret_value(),
        aws_secret_access_key=settings.minio_root_password.get_secret_value(),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, connect_timeout=5, retries={"mode": "standard"}),
    )
    try:
        client.create_bucket(Bucket=settings.lake_bucket)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        return
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(
            f"The S3 store at {settings.minio_url} did not make bucket {settings.lake_bucket}: {error}.",
            safe="Nothing was written.",
            next_command="tickhouse status",
        ) from error
