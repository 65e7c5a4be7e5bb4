"""LAKE_STORE=minio: the lake's blocks are objects of MinIO, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config

from common.clients.lakefs import INGEST, repository
from common.errors import ServiceNotReady
from common.settings import Settings
from stack.engine.go_build import module_folder
from stack.engine.lifecycle import catalog
from tests.conftest import Stack
from tests.homes import own_home
from tickhouse.lake.branches import commit, head

pytestmark = pytest.mark.integration

MODULE = catalog()["minio"].fetch.go["minio"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    if not module_folder(MODULE).is_dir():
        pytest.skip("MinIO is not built: `tickhouse up --service minio` builds it, with Go, in some minutes")
    with own_home() as home, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAKE_STORE", "minio")
        yield Stack(home)


@pytest.fixture(scope="module")
def settings(stack: Stack) -> Settings:
    return stack.up("lakefs")


def minio(settings: Settings) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=settings.minio_url,
        aws_access_key_id=settings.minio_root_user.get_secret_value(),
        aws_secret_access_key=settings.minio_root_password.get_secret_value(),
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def blocks(settings: Settings) -> dict[str, int]:
    listed = minio(settings).list_objects_v2(Bucket=settings.lake_bucket)
    return {one["Key"]: one["Size"] for one in listed.get("Contents", [])}


def test_blocks_are_in_the_bucket_and_read_back(settings: Settings) -> None:
    branch = repository(settings).branch(INGEST)
    before = blocks(settings)
    branch.object("a/b.bin").upload(b"x" * 3_000_000, mode="wb")
    made = commit(settings, INGEST, "one object", {})

    new = {key: size for key, size in blocks(settings).items() if key not in before}
    assert list(new.values()) == [3_000_000]
    with repository(settings).ref(made).object("a/b.bin").reader(mode="rb") as reader:
        reader.seek(2_999_990)
        assert reader.read() == b"x" * 10


def test_another_block_store_is_refused_and_the_lake_is_unchanged(
    stack: Stack, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = head(settings, INGEST)
    monkeypatch.setenv("LAKE_STORE", "local")
    with pytest.raises(ServiceNotReady, match="are in the block store s3 bucket lake-blocks, not in local"):
        stack.up("lakefs")
    monkeypatch.setenv("LAKE_STORE", "minio")
    assert head(stack.up("lakefs"), INGEST) == before
