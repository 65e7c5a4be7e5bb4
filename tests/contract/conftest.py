"""The server under test and its clients.

LAKEFS_ENDPOINT (with LAKEFS_ACCESS_KEY_ID and LAKEFS_SECRET_ACCESS_KEY) names a server to test,
real lakeFS say; without it the suite starts the stand-in on a free port. Cases that must kill or
restart the server are skipped for a named one, and say so.
"""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import lakefs
import pytest
from botocore.config import Config
from lakefs.client import Client

from tests.contract.server import Endpoint, StandInProcess


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    url = os.environ.get("LAKEFS_ENDPOINT")
    if url:
        keys = os.environ["LAKEFS_ACCESS_KEY_ID"], os.environ["LAKEFS_SECRET_ACCESS_KEY"]
        yield Endpoint(url.rstrip("/"), *keys, is_standin=False)
        return
    server = StandInProcess(tmp_path_factory.mktemp("lakefs") / "data").start()
    yield server.endpoint
    assert server.stop() == 0


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[StandInProcess]:
    """Yield a stand-in that the test may kill."""
    if os.environ.get("LAKEFS_ENDPOINT"):
        pytest.skip("kills and restarts the server, which LAKEFS_ENDPOINT's owner would not like")
    server = StandInProcess(tmp_path / "data").start()
    yield server
    if server.process is not None:
        server.stop()


def make_client(endpoint: Endpoint) -> Client:
    return Client(host=endpoint.url, username=endpoint.access_key, password=endpoint.secret_key)


def make_s3(endpoint: Endpoint, **config: Any) -> Any:
    retries = {"total_max_attempts": 1}
    return boto3.client(
        "s3",
        endpoint_url=endpoint.url,
        aws_access_key_id=endpoint.access_key,
        aws_secret_access_key=endpoint.secret_key,
        region_name="us-east-1",
        config=Config(**{"s3": {"addressing_style": "path"}, "retries": retries, **config}),
    )


@pytest.fixture(scope="session")
def client(endpoint: Endpoint) -> Client:
    return make_client(endpoint)


@pytest.fixture(scope="session")
def s3(endpoint: Endpoint) -> Any:
    return make_s3(endpoint)


def new_name(prefix: str = "repo") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def repo(client: Client) -> Iterator[lakefs.Repository]:
    name = new_name()
    made = lakefs.Repository(name, client=client).create(storage_namespace=f"local://{name}")
    yield made
    made.delete()


@pytest.fixture
def main(repo: lakefs.Repository) -> lakefs.Branch:
    return repo.branch("main")


_COUNTER = itertools.count()


@pytest.fixture
def commit_file(main: lakefs.Branch) -> Callable[..., str]:
    """Upload one file to a branch, commit, and return the commit id."""

    def run(branch: lakefs.Branch | None = None, path: str = "", body: str = "") -> str:
        target = branch or main
        number = next(_COUNTER)
        target.object(path or f"file-{number}").upload((body or f"body {number}").encode())
        commit_id: str = target.commit(f"commit {number}").get_commit().id
        return commit_id

    return run
