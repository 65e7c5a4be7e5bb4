"""A full disk under every server of the core: it is reported, and `up` repairs everything.

The home is on a small file system of its own. Only root can make one, so other users skip the test.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import boto3
import httpx
import psycopg
import pytest
import redis
from botocore.config import Config
from confluent_kafka import Producer

from common.errors import StoreUnavailable
from common.settings import Settings, load_settings
from tests.eventually import eventually
from tests.homes import own_home
from tests.runbook.following import FollowedPage

pytestmark = pytest.mark.integration

TICKHOUSE = Path(sys.prefix) / "bin" / "tickhouse"
SERVICES = ("kafka", "registry", "postgres", "redis", "lakefs")
SIZE = "1500m"  # an empty core takes about 0.4 GB, mostly the index files and logs that servers allocate ahead
BODY_BYTES = 4 << 20
FULL_RECORDS = 64


@pytest.fixture(scope="module")
def small_home() -> Iterator[Path]:
    """Yield a home on a file system of 1.5 GB; skip when it cannot be made."""
    with own_home("disk/home") as home:
        disk = home.parent
        disk.mkdir(mode=0o711)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0711", "tickhouse-test", str(disk)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if mounted.returncode != 0:
            pytest.skip(f"a small file system cannot be made here: {mounted.stderr.strip()}")
        try:
            tickhouse("up", *(word for name in SERVICES for word in ("--service", name)))
            yield home
        finally:
            (disk / "filler").unlink(missing_ok=True)
            tickhouse("down", "--purge")
            subprocess.run(["umount", str(disk)], check=True)


def tickhouse(*arguments: str) -> str:
    done = subprocess.run([TICKHOUSE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(path: Path) -> None:
    """Write until no space is left."""
    with path.open("wb", buffering=0) as filler:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    filler.write(b"\0" * size)
    with pytest.raises(OSError, match="No space") as caught:
        (path.parent / "one-more").write_bytes(b"x" * 8192)
    assert caught.value.errno == errno.ENOSPC
    (path.parent / "one-more").unlink(missing_ok=True)


def write_to_kafka(settings: Settings) -> None:
    failures: list[object] = []
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "message.timeout.ms": 5000})
    for _ in range(FULL_RECORDS):
        producer.produce("crypto.alerts", os.urandom(500_000), on_delivery=lambda error, _: failures.append(error))
        producer.poll(0)
    assert producer.flush(20) == 0
    assert not any(failures), failures[0]


def write_to_registry(settings: Settings) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": f"f{uuid4().hex}", "type": "string"}]}
    url = f"{settings.schema_registry_url}/subjects/probe-{uuid4().hex}/versions"
    httpx.post(url, json={"schema": json.dumps(schema)}, timeout=20).raise_for_status()


def write_to_postgres(settings: Settings) -> None:
    with psycopg.connect(settings.database_dsn("owner"), connect_timeout=5) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS market.probe (body text)")
        connection.execute(
            "INSERT INTO market.probe SELECT repeat(md5(random()::text), 100) FROM generate_series(1, 20000)"
        )


def write_to_redis(settings: Settings) -> None:
    with closing(redis.Redis.from_url(settings.redis_dsn(), socket_timeout=10)) as store:
        for number in range(16):
            store.set(f"probe:{number}", os.urandom(1 << 20))


def write_to_lake(settings: Settings) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=settings.lakefs_endpoint,
        aws_access_key_id=settings.lakefs_access_key_id,
        aws_secret_access_key=settings.lakefs_secret_access_key.get_secret_value(),
        region_name="us-east-1",
        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
    )
    client.put_object(Bucket="lake", Key=f"ingest/probe/{uuid4().hex}", Body=os.urandom(BODY_BYTES))


WRITES: dict[str, Callable[[Settings], None]] = {
    "kafka": write_to_kafka,
    "registry": write_to_registry,
    "postgres": write_to_postgres,
    "redis": write_to_redis,
    "lakefs": write_to_lake,
}


def status() -> dict[str, object]:
    document: dict[str, object] = json.loads(tickhouse("status", "--json"))
    return document


@pytest.mark.runbook("disk-almost-full")
def test_a_full_disk_is_reported_and_repaired(small_home: Path, followed: FollowedPage) -> None:
    settings = load_settings()
    for write in WRITES.values():
        write(settings)

    fill(small_home.parent / "filler")
    failed = [name for name, write in WRITES.items() if fails(write, settings)]
    reported = status()["disk"]
    followed.check(codes={"tickhouse retention plan": StoreUnavailable.exit_code})
    (small_home.parent / "filler").unlink()
    followed.values = {"SERVICE": " --service ".join(SERVICES)}
    # Airflow never ran in this home, so its database has no tables, and retention says so.
    repaired = followed.repair(codes={"tickhouse retention apply": StoreUnavailable.exit_code})
    assert "Retention failed on some stores. airflow:" in " ".join(repaired.split())

    # The lake's blocks and Kafka's segments always need new space; other servers may have reserved
    # some.
    assert {"kafka", "lakefs"} <= set(failed)
    assert isinstance(reported, dict)
    assert reported["is_low"] is True
    for name, write in WRITES.items():
        eventually(lambda write=write: not fails(write, settings), timeout_s=60, every_s=1), name


@pytest.mark.runbook("kafka-partitions-offline")
def test_a_broker_whose_disk_failed(small_home: Path, followed: FollowedPage) -> None:
    settings = load_settings()
    fill(small_home.parent / "filler")
    eventually(lambda: fails(write_to_kafka, settings), timeout_s=60, every_s=1)

    found = followed.check(codes={"tickhouse doctor": 1})
    (small_home.parent / "filler").unlink()
    followed.repair()

    # The end of the log may be a stack trace, and is on the full disk itself.
    assert "docs/runbook/disk-almost-full.md" in found
    eventually(lambda: not fails(write_to_kafka, settings), timeout_s=60, every_s=1)


def fails(write: Callable[[Settings], None], settings: Settings) -> bool:
    """Return whether a write fails with any error of its client."""
    try:
        write(settings)
    except Exception:  # noqa: BLE001  # each client has errors of its own; that it fails is what counts
        return True
    return False
