"""Objects per second into the lake's S3 gateway, against MinIO; then a commit and merges."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import lakefs
from botocore.config import Config
from lakefs.client import Client

from bench.bench_stack import BenchStack, running_program, wait_for
from bench.harness import Figures, alternate, at_least, compared, percentile, ratio_of, rounded
from common.settings import Settings, ports
from stack.engine.probe import accepts_connections

BOUND = at_least(0.7)
# Four pairs of 2,500 make 10,000 objects in the lake. BODY is as large as a bronze file of one
# micro-batch.
OBJECTS, PAIRS, WARMUP = 2_500, 4, 200
BODY = bytes(range(256)) * 128
THREADS = 4
MERGES, CHANGES = 100, 20


@dataclass(frozen=True)
class ObjectStore:
    """An S3 server: objects go to a bucket below a prefix."""

    client: Any
    bucket: str
    prefix: str

    def putter(self, count: int) -> Callable[[], float]:
        """Return a function that puts `count` new objects and returns the rate per second."""
        rounds = iter(range(10_000))

        def put(place: tuple[int, int]) -> None:
            number, at = place
            folder = f"{self.prefix}bronze/date=2024-08-{number % 28 + 1:02d}/hour={at % 24:02d}"
            self.client.put_object(Bucket=self.bucket, Key=f"{folder}/{count}-{number}-{at}.parquet", Body=BODY)

        def go() -> float:
            number = next(rounds)
            return rounded(count / _seconds(lambda: _in_threads(put, [(number, at) for at in range(count)])))

        return go


def run(bench: BenchStack) -> Figures:
    """Measure objects per second, both sides from the same four threads."""
    settings = bench.up("minio")
    count, taken = bench.sized(OBJECTS, 100), bench.sized(PAIRS, 2)
    plain = ObjectStore(_s3(settings.minio_url, *_keys(settings)), "plain", "")
    plain.client.create_bucket(Bucket="plain")
    floor = plain.putter(count)
    plain.putter(WARMUP)()
    over = ("--block-store", "s3", "--block-s3-endpoint", settings.minio_url, "--block-s3-bucket", settings.lake_bucket)
    with gateway(bench, settings, "over-minio", *over) as (_, lake):
        over_minio = alternate(taken, lake.putter(count), floor, name="lake_put over MinIO")
    with gateway(bench, settings, "local") as (repo, lake):
        pairs = alternate(taken, lake.putter(count), floor, name="lake_put")
        commit_s = _seconds(lambda: repo.branch("main").commit("all of it"))
        merges = [_merge_s(repo, lake.client, number) for number in range(bench.sized(MERGES, 10))]
    return compared(
        pairs,
        "objects per s",
        ratio_over_minio=rounded(ratio_of(over_minio)),
        commit_s=rounded(commit_s),
        merge_s={f"p{percent}": rounded(percentile(merges, percent)) for percent in (50, 95)},
        how=f"{taken} alternate pairs of {count} objects of {len(BODY) // 1024} KiB by boto3, {THREADS} threads; ours: "
        "the gateway, blocks on the local disk (ratio_over_minio: blocks in that MinIO); floor: MinIO; commit_s: the "
        f"commit of all {taken * count + WARMUP}; merge_s: {len(merges)} merges of {CHANGES} changes each into them",
    )


@contextmanager
def gateway(
    bench: BenchStack, settings: Settings, name: str, *arguments: str
) -> Iterator[tuple[lakefs.Repository, ObjectStore]]:
    """Run a lakeFS stand-in with a repository, warmed up."""
    address = f"127.0.0.1:{ports()['lakefs']}"
    command = [
        sys.executable,
        "-m",
        "standins.lakefs",
        "--listen",
        address,
        "--data",
        str(bench.file(name)),
        *arguments,
    ]
    keys = _keys(settings)
    names = ("LAKEFS_ACCESS_KEY_ID", "LAKEFS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environment = dict(zip(names, (*keys, *keys), strict=True))
    with running_program(bench.file(f"lake_put-{name}.log"), command, **environment) as running:

        def answers() -> bool:
            running.require_alive()
            return accepts_connections(address)

        wait_for(answers, "the gateway to listen", timeout_s=60)
        client = Client(host=f"http://{address}", username=keys[0], password=keys[1])
        repo = lakefs.Repository("bench", client).create("local://bench")
        lake = ObjectStore(_s3(f"http://{address}", *keys), repo.id, "main/")
        lake.putter(WARMUP)()
        yield repo, lake


def _keys(settings: Settings) -> tuple[str, str]:
    return settings.minio_root_user.get_secret_value(), settings.minio_root_password.get_secret_value()


def _s3(url: str, key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, max_pool_connections=THREADS),
    )


def _in_threads(call: Callable[[tuple[int, int]], None], places: list[tuple[int, int]]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(call, places))


def _merge_s(repo: lakefs.Repository, client: Any, number: int) -> float:
    branch = repo.branch(f"etl-{number}").create("main")
    for change in range(CHANGES):
        key = f"{branch.id}/gold/candles/date=2024-08-{number % 28 + 1:02d}/{number}-{change}.parquet"
        client.put_object(Bucket=repo.id, Key=key, Body=b"x" * 1000)
    branch.commit("gold")
    return _seconds(lambda: branch.merge_into("main"))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
