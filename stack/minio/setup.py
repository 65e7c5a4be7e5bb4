"""Hook of MinIO: create the bucket for the lake's blocks."""

from __future__ import annotations

from botocore.exceptions import BotoCoreError, ClientError

from common.clients.s3 import s3_client
from common.errors import StoreUnavailable
from stack.engine.context import ServiceContext


def create_bucket(context: ServiceContext) -> None:
    """Create the bucket of the lake's blocks if it is missing.

    Raises:
        StoreUnavailable: The store does not respond or refuses the keys.
    """
    settings = context.settings
    user = settings.minio_root_user.get_secret_value()
    client = s3_client(settings.minio_url, user, settings.minio_root_password.get_secret_value())
    try:
        client.create_bucket(Bucket=settings.lake_bucket)
    except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
        return
    except (BotoCoreError, ClientError) as error:
        raise StoreUnavailable(
            f"The S3 store at {settings.minio_url} did not create bucket {settings.lake_bucket}: {error}.",
            safe="Nothing was written.",
            next_command="tickhouse status",
        ) from error
