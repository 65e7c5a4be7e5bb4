"""Export the batch output of a lake reference to HDFS: `LAKE_STORE=hdfs`, and the input of `mapreduce/`.

What: every object below `silver/` and `gold/` of the reference's commit, at `/lake/<commit id>/`.
Delivery: files go to a folder of their own beside it, which gets its name when all are there. So what has the name is
whole, is of exactly that commit and never changes; a second export of it finds it and does nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

from hdfs_native import Client, WriteOptions
from lakefs import Reference

from tickhouse.errors import StoreUnavailable
from tickhouse.lake.client import lake_errors, repository
from tickhouse.settings import Settings

ROOT = "/lake"
LAYERS = ("silver/", "gold/")
CHUNK_BYTES = 8 << 20
# 3.5 s until a name node that is away is called so; the client's own number, 15, takes three minutes.
FAILOVERS = "2"
# A killed export leaves its folder; one that is still running is younger.
STALE_S = 3600


@dataclass(frozen=True, slots=True)
class Exported:
    """What is in HDFS of one commit.

    Attributes:
        commit_id: 64 hex digits.
        path: Its folder.
        files: Objects in it.
        size_bytes: Of all of them.
    """

    commit_id: str
    path: str
    files: int
    size_bytes: int


def hdfs(settings: Settings) -> Client:
    """Return the HDFS client (native, no JVM); makes no request."""
    return Client(settings.hdfs_url, {"dfs.client.failover.max.attempts": FAILOVERS})


@contextmanager
def hdfs_errors(settings: Settings) -> Iterator[None]:
    """Turn the client's errors into ours; a missing file stays a FileNotFoundError.

    Raises:
        StoreUnavailable: HDFS does not answer or refuses.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError) as error:
        raise StoreUnavailable(
            f"HDFS at {settings.hdfs_url} did not do it: {error}.",
            safe="The lake is untouched.",
            next_command="tickhouse up --profile stores",
        ) from error


def export(settings: Settings, ref: str, keep: int = 3) -> Exported:
    """Copy a reference's silver and gold to HDFS unless its commit is there already; drop all but the newest exports.

    Args:
        settings: Where lake and HDFS are.
        ref: Branch, tag or commit.
        keep: Exports to keep, this one among them.

    Raises:
        ConfigurationError: The lake has no such reference.
        StoreUnavailable: The lake or HDFS does not answer.
    """
    with lake_errors(settings), hdfs_errors(settings):
        lake, client = repository(settings), hdfs(settings)
        at = lake.ref(str(lake.ref(ref).get_commit().id))
        target = f"{ROOT}/{at.id}"
        if not _exists(client, target):
            _copy(at, client, target)
        _prune(client, target, keep)
        summary = client.get_content_summary(target)
        return Exported(at.id, target, summary.file_count, summary.length)


def _copy(at: Reference, client: Client, target: str) -> None:
    partial = f"{ROOT}/.{at.id}-{uuid.uuid4().hex}"
    client.mkdirs(partial, create_parent=True)
    for layer in LAYERS:
        for found in at.objects(prefix=layer):
            _copy_one(at, client, found.path, f"{partial}/{found.path}")
    try:
        client.rename(partial, target)
    except (OSError, RuntimeError):
        if not _exists(client, target):
            raise
        client.delete(partial, recursive=True)  # another export of the same commit was faster


def _copy_one(at: Reference, client: Client, path: str, target: str) -> None:
    # One copy: with a single data node more would never be written.
    options = WriteOptions(replication=1, create_parent=True, overwrite=True)
    with at.object(path).reader(mode="rb") as source, client.create(target, options) as sink:
        while chunk := cast("bytes", source.read(CHUNK_BYTES)):
            sink.write(chunk)


def _prune(client: Client, target: str, keep: int) -> None:
    folders = sorted(client.list_status(ROOT), key=lambda one: one.modification_time, reverse=True)
    whole = [one.path for one in folders if not _name(one.path).startswith(".") and one.path != target]
    stale_ms = (time.time() - STALE_S) * 1000
    partial = [one.path for one in folders if _name(one.path).startswith(".") and one.modification_time < stale_ms]
    for path in [*whole[max(0, keep - 1) :], *partial]:
        client.delete(path, recursive=True)


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _exists(client: Client, path: str) -> bool:
    try:
        client.get_file_info(path)
    except FileNotFoundError:
        return False
    return True
