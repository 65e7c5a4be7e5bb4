"""Spark's S3A over the gateway, batch and streaming: committer, partitions, checkpoints, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import lakefs
import pytest
from lakefs.client import Client

from tests.contract.conftest import make_s3, new_name
from tests.contract.server import REPOSITORY, Endpoint


@pytest.fixture(scope="module")
def spark_repo(client: Client, endpoint: Endpoint) -> Iterator[lakefs.Repository]:
    """Yield a repository with one table and a tag `before` on it."""
    name = new_name("spark")
    repo = lakefs.Repository(name, client=client).create(storage_namespace=f"local://{name}")
    yield repo
    repo.delete()


@pytest.fixture(scope="module")
def results(endpoint: Endpoint, spark_repo: lakefs.Repository) -> dict[str, Any]:
    """Run the application once, in its own process: it has another class path than our sessions."""
    main = spark_repo.branch("main")
    seed = f"{spark_repo.id}/main/silver/trades/hour=z/part-0.parquet"
    write_seed(endpoint, seed)
    main.commit("seed")
    spark_repo.tag("before").create("main")
    make_s3(endpoint).delete_object(Bucket=spark_repo.id, Key=seed.partition("/")[2])
    keys = {"LAKEFS_ACCESS_KEY_ID": endpoint.access_key, "LAKEFS_SECRET_ACCESS_KEY": endpoint.secret_key}
    done = subprocess.run(
        [sys.executable, "-m", "tests.contract.spark_s3a", endpoint.url, spark_repo.id],
        cwd=REPOSITORY,
        env={**os.environ, **keys, "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def write_seed(endpoint: Endpoint, path: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import fs

    gateway = fs.S3FileSystem(
        access_key=endpoint.access_key,
        secret_key=endpoint.secret_key,
        endpoint_override=endpoint.address,
        scheme="http",
        region="us-east-1",
    )
    with gateway.open_output_stream(path) as sink:
        pq.write_table(pa.table({"id": ["z-0"], "n": [0]}), sink)


def test_partitioned_write_reads_back(results: dict[str, Any]) -> None:
    assert results["written"] == {"a": 3, "b": 3}


def test_dynamic_overwrite_replaces_its_partitions_only(results: dict[str, Any]) -> None:
    assert results["overwritten"] == {"a": 3, "b": 5}


def test_append_adds(results: dict[str, Any]) -> None:
    assert results["appended"] == {"a": 3, "b": 5, "c": 2}


def test_a_table_that_exists_is_not_written_again(results: dict[str, Any]) -> None:
    assert "PATH_ALREADY_EXISTS" in results["again"]


def test_a_stream_takes_each_file_once(results: dict[str, Any]) -> None:
    assert results["streamed"] == [10, 10]


def test_missing_branch_and_table_are_errors(results: dict[str, Any]) -> None:
    assert results["no_branch"]
    assert "PATH_NOT_FOUND" in results["no_table"]


def test_a_tag_is_read_as_it_was(results: dict[str, Any]) -> None:
    assert results["at_commit"] == {"z": 1}


def test_what_spark_wrote_is_in_the_lake(results: dict[str, Any], spark_repo: lakefs.Repository) -> None:
    paths = [row.path for row in spark_repo.branch("main").objects(prefix="silver/")]
    assert "silver/trades/_SUCCESS" in paths
    assert not [path for path in paths if "_temporary" in path or ".spark-staging" in path]
