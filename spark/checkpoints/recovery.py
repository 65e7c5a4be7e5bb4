"""Repair the checkpoint of a query so that it can start.

The driver does this before each start of a query. `tickhouse stream repair` shows what the driver
would do, or requests a repair.

Contract. The steps run in this order, so that a process which is killed anywhere can continue:

1. The lost offsets are recorded and on the disk (`spark/checkpoints/lost_offsets.py`).
2. The new checkpoint, which holds only our note, is written beside the old one, and is on the disk.
3. The old checkpoint is moved to the folder `aside`. The newest few of these are kept.
4. The new checkpoint is moved into its place. After a kill between 3 and 4, the next start does
   step 4.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from common.optional_stores import has_store
from common.settings import Settings
from common.topics import CANDLES, TICKS, TRADES
from spark.checkpoints import lost_offsets
from spark.checkpoints.folder import Checkpoint, Damage, Offsets, inspect
from spark.checkpoints.start_offsets import (
    NOTE_FILE,
    BronzeOffsetsReader,
    CheckpointNote,
    Reason,
    StartPlan,
    TopicState,
    plan_start,
    read_note,
)

# Old checkpoints that are kept per query, to examine what happened.
KEPT_ASIDE = 5

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """One streaming query, as its checkpoint needs it.

    Attributes:
        name: Its name.
        topic: The topic that it reads.
        is_lake: Whether it writes to the lake.
        store: The optional store that it feeds; without that store the query does not run.
    """

    name: str
    topic: str
    is_lake: bool = False
    store: str = ""

    def is_enabled(self, settings: Settings) -> bool:
        """Return whether this installation runs the query."""
        return not self.store or has_store(settings, self.store)


QUERY_SPECS = (
    QuerySpec("candles", TRADES),
    QuerySpec("last", TRADES),
    QuerySpec("enriched", TRADES),
    QuerySpec("lake_trades", TRADES, is_lake=True),
    QuerySpec("lake_ticks", TICKS, is_lake=True),
    QuerySpec("statistics", CANDLES, store="geode"),
    QuerySpec("series", TRADES, store="influxdb"),
)


def checkpoint_folder(folder: Path, query: str) -> Path:
    """Return the checkpoint of a query below `<home>/stream`."""
    return folder / "checkpoints" / query


def plan_of(
    folder: Path,
    query: QuerySpec,
    topic: TopicState,
    read_bronze: BronzeOffsetsReader | None,
    *,
    is_asked: bool = False,
) -> StartPlan:
    """Return where a query would start; this changes nothing.

    Args:
        folder: `<home>/stream`.
        query: The query.
        topic: Its topic as it is in Kafka now.
        read_bronze: Reads which offsets bronze holds; for lake queries.
        is_asked: Start again at the beginning of the topic.

    Raises:
        StoreUnavailable: The lake is needed and does not answer.
    """
    checkpoint = checkpoint_folder(folder, query.name)
    if not checkpoint.exists() and _is_staged(folder, query.name):
        checkpoint = _staged(folder, query.name)
    return plan_start(
        _inspect(checkpoint, topic.name),
        read_note(checkpoint),
        topic,
        boot_id=boot_id(),
        last_seen=last_seen(folder, query.name),
        read_bronze=read_bronze,
        is_asked=is_asked,
    )


def _inspect(checkpoint: Path, topic: str) -> Checkpoint:
    """Return the content of a checkpoint; a damaged note of ours counts as a damage too."""
    content, note = inspect(checkpoint, topic), checkpoint / NOTE_FILE
    if not note.exists() or read_note(checkpoint) is not None:
        return content
    damage = Damage(NOTE_FILE, "torn" if note.stat().st_size else "empty")
    return replace(content, damages=(*content.damages, damage))


def recover(
    folder: Path,
    query: QuerySpec,
    topic: TopicState,
    read_bronze: BronzeOffsetsReader | None,
    *,
    is_asked: bool = False,
    now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> StartPlan:
    """Carry out the plan of `plan_of`, and return it.

    The caller holds the lease, and the query does not run.

    Raises:
        StoreUnavailable: The lake is needed and does not answer; nothing was changed.
    """
    finish(folder, query.name)
    plan = plan_of(folder, query, topic, read_bronze, is_asked=is_asked)
    checkpoint = checkpoint_folder(folder, query.name)
    if plan.is_sound:
        if read_note(checkpoint) != plan.note:
            write_note(checkpoint, plan.note)
    else:
        lost = lost_offsets.of_plan(query.name, query.topic, plan.reason, plan.lost, now_us())
        lost_offsets.record(folder, lost)
        _stage(folder, query.name, plan.note)
        _set_aside(folder, query.name, plan.reason, now_us())
        finish(folder, query.name)
    for path in inspect(checkpoint, topic.name).leftovers:
        path.unlink(missing_ok=True)
    return plan


def finish(folder: Path, query: str) -> None:
    """Move a staged checkpoint into its place, once the old one is gone from there."""
    checkpoint = checkpoint_folder(folder, query)
    if not checkpoint.exists() and _is_staged(folder, query):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        _staged(folder, query).rename(checkpoint)
        _sync_folder(checkpoint.parent)


def starting_offsets(topic: str, note: CheckpointNote | None) -> str:
    """Return Spark's option `startingOffsets`.

    Spark reads it only when the checkpoint has no batch yet.
    """
    if note is None or not note.start:
        return "earliest"
    return json.dumps({topic: {str(part): offset for part, offset in sorted(note.start.items())}})


def last_seen(folder: Path, query: str) -> Offsets | None:
    """Return the next offsets that the driver last reported for a query, from `progress.json`."""
    try:
        document = json.loads((folder / "progress.json").read_text())
        offsets: Mapping[str, int] = document["queries"][query]["next_offsets"]
        return {int(part): int(offset) for part, offset in offsets.items()} or None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def boot_id() -> str:
    """Return the kernel's id of this boot; empty when the kernel has none."""
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def write_note(checkpoint: Path, note: CheckpointNote) -> None:
    """Write our note of a checkpoint; it is on the disk when this returns."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    temporary = checkpoint / f".{NOTE_FILE}.new"
    with temporary.open("w", encoding="utf-8") as file:
        file.write(note.to_json())
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(checkpoint / NOTE_FILE)
    _sync_folder(checkpoint)


def _stage(folder: Path, query: str, note: CheckpointNote) -> None:
    staged = _staged(folder, query)
    shutil.rmtree(staged, ignore_errors=True)
    write_note(staged, note)
    _sync_folder(staged.parent)


def _set_aside(folder: Path, query: str, reason: Reason, at_us: int) -> None:
    checkpoint, aside = checkpoint_folder(folder, query), folder / "aside"
    if checkpoint.exists():
        checkpoint.rename(aside / f"{query}-{at_us}-{reason}")
        _sync_folder(aside)
        _sync_folder(checkpoint.parent)
    old = sorted(aside.glob(f"{query}-*"), key=lambda path: path.name)
    for path in old[:-KEPT_ASIDE]:
        shutil.rmtree(path, ignore_errors=True)


def _staged(folder: Path, query: str) -> Path:
    return folder / "aside" / f".new-{query}"


def _is_staged(folder: Path, query: str) -> bool:
    return read_note(_staged(folder, query)) is not None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
