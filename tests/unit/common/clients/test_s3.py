"""Clients of the S3 gateway: one boto3 client per gateway and key, and a file system of pyarrow."""

from __future__ import annotations

from common.clients.s3 import s3_client, s3_filesystem

GATEWAY = "http://127.0.0.1:9"


def test_a_client_is_made_once_per_gateway_and_key() -> None:
    client = s3_client(GATEWAY, "key", "secret")

    assert s3_client(GATEWAY, "key", "secret") is client
    assert s3_client(GATEWAY, "other", "secret") is not client
    assert client.meta.config.s3 == {"addressing_style": "path"}


def test_a_file_system_is_equal_for_equal_arguments() -> None:
    system = s3_filesystem(GATEWAY, "key", "secret", connect_timeout_s=5, request_timeout_s=120)

    assert system == s3_filesystem(GATEWAY, "key", "secret", connect_timeout_s=5, request_timeout_s=120)
    assert system != s3_filesystem(GATEWAY, "key", "secret")
