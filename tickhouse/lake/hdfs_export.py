"""Export silver and gold of a lake reference to HDFS, as input of `mapreduce/`.

What: every object below `silver/` and `gold/` of the reference's commit, at `/lake/<commit id>/`.

Delivery guarantee: the files are written to a temporary folder, which is renamed when all of them
are there. So a folder with the final name is complete, belongs to exactly that commit and never
changes. A second export of the same commit finds it and does nothing.
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

from common.clients.lakefs import lake_errors, repository
from common.errors import StoreUnavailable
from common.settings import Settings

ROOT = "/lake"
LAYERS = ("silver/", "gold/")
CHUNK_BYTES = 8 << 20
# Two attempts report an absent name node after 3.5 s; the client's default, 15, takes three
# minutes.
FAILOVERS = "2"
# A killed export leaves its temporary folder. That of a running export is younger than this.
STALE_S = 3600


@dataclass(frozen=True, slots=True)
class HdfsExport:
    """The export of one commit in HDFS.

    Attributes:
        commit_id: 64 hex digits.
        path: Its folder.
        files: Number of files in it.
        size_bytes: Size of all files together.
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
    """Raise the client's errors as ours; a missing file stays a FileNotFoundError.

    Raises:
        StoreUnavailable: HDFS does not answer or refuses.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, RuntimeError) as error:
        raise StoreUnavailable(
            f"HDFS at {settings.hdfs_url} failed: {error}.",
            safe="The lake is unchanged.",
            next_command="tickhouse up --profile stores",
        ) from error


def export(settings: Settings, ref: str, keep: int = 3) -> HdfsExport:
    """Copy a reference's silver and gold to HDFS unless its commit is there; delete old exports.

    Args:
        settings: Where lake and HDFS are.
        ref: Branch, tag or commit.
        keep: How many exports to keep, this one included.

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
        return HdfsExport(at.id, target, summary.file_count, summary.length)


def _copy(at: Reference, client: Client, target: str) -> None:
    partial = f"{ROOT}/.{at.id}-{uuid.uuid4().hex}"
    client.mkdirs(partial, create_parent=True)
    for layer in LAYERS:
        for item in at.objects(prefix=layer):
            _copy_file(at, client, item.path, f"{partial}/{item.path}")
    try:
        client.rename(partial, target)
    except (OSError, RuntimeError):
        if not _exists(client, target):
            raise
        client.delete(partial, recursive=True)  # another process exported the same commit first


def _copy_file(at: Reference, client: Client, path: str, target: str) -> None:
    # Replication 1: with a single data node, more copies would never be written.
    options = WriteOptions(replication=1, create_parent=True, overwrite=True)
    with at.object(path).reader(mode="rb") as source, client.create(target, options) as sink:
        while chunk := cast("bytes", source.read(CHUNK_BYTES)):
            sink.write(chunk)


def _prune(client: Client, target: str, keep: int) -> None:
    folders = sorted(client.list_status(ROOT), key=lambda folder: folder.modification_time, reverse=True)
    complete = [folder.path for folder in folders if not _is_partial(folder.path) and folder.path != target]
    stale_ms = (time.time() - STALE_S) * 1000
    partial = [folder.path for folder in folders if _is_partial(folder.path) and folder.modification_time < stale_ms]
    for path in [*complete[max(0, keep - 1) :], *partial]:
        client.delete(path, recursive=True)


def _is_partial(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _exists(client: Client, path: str) -> bool:
    try:
        client.get_file_info(path)
    except FileNotFoundError:
        return False
    return True
