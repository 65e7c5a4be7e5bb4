"""Decide where a query starts, from its checkpoint, our note beside it, Kafka and the lake (pure).

Going back is always safe, because each store knows which records it holds. Offsets that were never
read are never skipped silently: either Kafka still has them, or they are reported as lost.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from spark.checkpoints.folder import Checkpoint, OffsetRanges, Offsets

NOTE_FILE = "tickhouse.json"


class Reason(StrEnum):
    """Why a query starts at its start offsets."""

    SOUND = "sound"
    NEW = "new"
    CHECKPOINT_DAMAGED = "checkpoint_damaged"
    OFFSETS_EXPIRED = "offsets_expired"
    TOPIC_RECREATED = "topic_recreated"
    LOG_TRUNCATED = "log_truncated"
    MACHINE_RESTARTED = "machine_restarted"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class CheckpointNote:
    """Our own file in a checkpoint, beside those of Spark.

    Attributes:
        topic_id: Kafka's id of the topic that the offsets belong to. A topic that is deleted and
            created again gets another id.
        boot_id: The kernel's id of the boot during which the checkpoint was last opened.
        generation: Part of the names of bronze files, so that the offsets of a recreated topic
            never overwrite the files of the topic before. Empty for the first topic.
        start: Offsets at which this checkpoint began.
        skip: Ranges of offsets that bronze holds already, by partition. Lake queries skip them.
        reason: Why the checkpoint was begun.
    """

    topic_id: str
    boot_id: str = ""
    generation: str = ""
    start: Offsets = field(default_factory=dict)
    skip: Mapping[int, OffsetRanges] = field(default_factory=dict)
    reason: Reason = Reason.NEW

    def to_json(self) -> str:
        """Return the note as JSON."""
        return json.dumps(
            {
                "v": 1, "topic_id": self.topic_id, "boot_id": self.boot_id, "generation": self.generation,
                "start": self.start, "skip": self.skip, "reason": self.reason,
            }
        )  # fmt: skip

    @classmethod
    def from_json(cls, text: str) -> CheckpointNote:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is not a note.
        """
        try:
            fields = json.loads(text)
            return cls(
                topic_id=str(fields["topic_id"]),
                boot_id=str(fields["boot_id"]),
                generation=str(fields["generation"]),
                start={int(part): int(offset) for part, offset in fields["start"].items()},
                skip={int(part): [(int(a), int(b)) for a, b in spans] for part, spans in fields["skip"].items()},
                reason=Reason(fields["reason"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{NOTE_FILE}: {error!r}") from error


class TopicState(NamedTuple):
    """A topic as it is in Kafka now; `bounds` are [first kept, next) offsets by partition."""

    name: str
    topic_id: str
    bounds: Mapping[int, tuple[int, int]]


class LostRange(NamedTuple):
    """Offsets that Kafka dropped before they were read; `until` is None if its end is unknown."""

    topic_id: str
    partition: int
    first: int
    until: int | None


class BronzeOffsets(NamedTuple):
    """Offsets of one generation of a topic that bronze holds."""

    ranges: Mapping[int, OffsetRanges]
    generation: str


# Reads from the lake which offsets of a generation bronze holds. None means the newest generation
# of the topic.
BronzeOffsetsReader = Callable[[str | None], BronzeOffsets]


@dataclass(frozen=True, slots=True)
class StartPlan:
    """Where a query starts, and why.

    Attributes:
        reason: Why it starts there.
        note: The note to write into the checkpoint.
        start: First offset by partition; None to continue from the checkpoint.
        lost: Offsets that were lost, to be recorded before the query starts.
        detail: The reason in words.
    """

    reason: Reason
    note: CheckpointNote
    start: Offsets | None = None
    lost: tuple[LostRange, ...] = ()
    detail: str = ""

    @property
    def is_sound(self) -> bool:
        """Return whether the query continues from its checkpoint."""
        return self.start is None


def read_note(folder: Path) -> CheckpointNote | None:
    """Return the note of a checkpoint; None when it is missing or damaged."""
    try:
        return CheckpointNote.from_json((folder / NOTE_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None


def plan_start(
    checkpoint: Checkpoint,
    note: CheckpointNote | None,
    topic: TopicState,
    *,
    boot_id: str,
    last_seen: Offsets | None = None,
    read_bronze: BronzeOffsetsReader | None = None,
    is_asked: bool = False,
) -> StartPlan:
    """Decide where a query starts, and which offsets it lost.

    Args:
        checkpoint: Its checkpoint.
        note: The note in the checkpoint; None when it is missing or damaged.
        topic: The topic as it is now.
        boot_id: Id of this boot of the machine.
        last_seen: The offsets that the driver last reported. They show what was read when the
            checkpoint does not.
        read_bronze: Reads which offsets bronze holds; None for stores that recognise a repeated
            record by its id. It is called only when the query does not continue from its
            checkpoint.
        is_asked: Start again at the beginning of the topic although the checkpoint is sound.
    """
    reason = Reason.ASKED if is_asked else _reason(checkpoint, note, topic, boot_id, is_rewindable=read_bronze is None)
    detail = _detail(reason, checkpoint, note, topic)
    if reason is Reason.SOUND:
        kept = note or CheckpointNote(topic.topic_id, reason=Reason.SOUND)
        return StartPlan(reason, replace(kept, boot_id=boot_id), detail=detail)
    is_other_log = reason in (Reason.TOPIC_RECREATED, Reason.LOG_TRUNCATED)
    previous = note.generation if note else None
    held = BronzeOffsets({}, previous or "") if read_bronze is None else read_bronze(previous)
    spans = {} if is_other_log else held.ranges
    id_without_note = "" if is_other_log else topic.topic_id
    old_id = note.topic_id if note else id_without_note
    position = _read_so_far(checkpoint, note, last_seen)
    begins = {part: low for part, (low, _) in topic.bounds.items()}
    start = _first_offsets(_resume_at(reason, checkpoint, note), topic, spans)
    if reason is Reason.LOG_TRUNCATED and read_bronze is None:
        # Kafka may also have lost records after `start` that the query had read. They can be
        # restored from bronze.
        position = start
    if is_other_log:
        lost = _unread_ranges(old_id, position, held.ranges)
        generation = next_generation(topic.topic_id, held.generation)
    else:
        lost = _expired_ranges(old_id, position, begins, spans)
        generation = held.generation
    skip = _to_skip(start, spans)
    new_note = CheckpointNote(topic.topic_id, boot_id, generation, start, skip, reason)
    return StartPlan(reason, new_note, start, tuple(lost), detail)


def _to_skip(start: Offsets, held: Mapping[int, OffsetRanges]) -> dict[int, OffsetRanges]:
    """Return the ranges in bronze that end after the first offset to read, by partition."""
    later = {part: [span for span in held.get(part, []) if span[1] > first] for part, first in start.items()}
    return {part: spans for part, spans in later.items() if spans}


def _reason(
    checkpoint: Checkpoint, note: CheckpointNote | None, topic: TopicState, boot_id: str, *, is_rewindable: bool
) -> Reason:
    other_log = _reason_for_other_log(checkpoint, note, topic)
    if other_log is not None:
        return other_log
    if checkpoint.damages:
        return Reason.CHECKPOINT_DAMAGED
    if checkpoint.position is None:
        return Reason.NEW
    if any(low > checkpoint.position.get(part, 0) for part, (low, _) in topic.bounds.items()):
        return Reason.OFFSETS_EXPIRED
    is_other_boot = note is not None and note.boot_id not in ("", boot_id)
    if is_rewindable and is_other_boot and checkpoint.oldest != checkpoint.position:
        return Reason.MACHINE_RESTARTED
    return Reason.SOUND


def _reason_for_other_log(checkpoint: Checkpoint, note: CheckpointNote | None, topic: TopicState) -> Reason | None:
    """Return why the offsets of the checkpoint are not those of this topic; None when they are."""
    if note is not None and note.topic_id != topic.topic_id:
        return Reason.TOPIC_RECREATED
    known = [pair for offsets in (checkpoint.position, checkpoint.planned) if offsets for pair in offsets.items()]
    if any(part not in topic.bounds for part, _ in known):
        return Reason.TOPIC_RECREATED
    if any(offset > topic.bounds[part][1] for part, offset in known):
        return Reason.LOG_TRUNCATED if note is not None else Reason.TOPIC_RECREATED
    return None


def _resume_at(reason: Reason, checkpoint: Checkpoint, note: CheckpointNote | None) -> Offsets:
    """Return the offsets at which to continue.

    A checkpoint that has our note but no batch continues at the offsets of its note.
    """
    if reason in (Reason.TOPIC_RECREATED, Reason.ASKED):
        return {}
    if reason in (Reason.MACHINE_RESTARTED, Reason.LOG_TRUNCATED):
        return checkpoint.oldest or {}  # what was written before these batches was on the disk in time
    if reason is Reason.NEW:
        return note.start if note is not None else {}
    return checkpoint.position or {}


def _first_offsets(wanted: Offsets, topic: TopicState, held: Mapping[int, OffsetRanges]) -> dict[int, int]:
    """Return the first offset to read per partition: within the log, and not in bronze yet."""
    within = {part: max(low, min(wanted.get(part, low), end)) for part, (low, end) in topic.bounds.items()}
    return {part: _first_free(offset, held.get(part, [])) for part, offset in within.items()}


def _read_so_far(checkpoint: Checkpoint, note: CheckpointNote | None, last_seen: Offsets | None) -> Offsets | None:
    """Return how far the query has certainly read, from the best source that is available."""
    if checkpoint.position is not None:
        return checkpoint.position
    return last_seen or (note.start if note is not None and note.start else None)


def _expired_ranges(
    topic_id: str, position: Offsets | None, begins: Offsets, held: Mapping[int, OffsetRanges]
) -> list[LostRange]:
    """Return the expired offsets after the query's position that are not in bronze.

    Without a position, a loss is known only where bronze shows how far the query had read.
    """
    lost = []
    for part, low in begins.items():
        spans = held.get(part, [])
        first_known = spans[0][0] if spans else low
        first = first_known if position is None else position.get(part, 0)
        lost += [LostRange(topic_id, part, a, b) for a, b in subtract((first, low), spans)]
    return lost


def _unread_ranges(topic_id: str, position: Offsets | None, held: Mapping[int, OffsetRanges]) -> list[LostRange]:
    """Return what the query may not have read of a log that is deleted; its end is unknown."""
    if position is None:
        return []
    ends = {part: spans[-1][1] for part, spans in held.items() if spans}
    return [LostRange(topic_id, part, max(at, ends.get(part, 0)), None) for part, at in sorted(position.items())]


def _first_free(offset: int, spans: OffsetRanges) -> int:
    return next((until for first, until in spans if first <= offset < until), offset)


def next_generation(topic_id: str, former: str) -> str:
    """Return the generation for a log that replaces another one; it differs from the former."""
    name = hashlib.sha256(topic_id.encode()).hexdigest()[:8]
    if not former.startswith(name):
        return name
    return f"{name}x{int(former[len(name) + 1 :] or 1) + 1}"


def subtract(span: tuple[int, int], spans: Iterable[tuple[int, int]]) -> OffsetRanges:
    """Return the parts of `span`, [first, next), that none of the sorted `spans` covers."""
    first, end = span
    rest = []
    for low, high in spans:
        if low > first:
            rest.append((first, min(low, end)))
        first = max(first, high)
        if first >= end:
            break
    if first < end:
        rest.append((first, end))
    return [(low, high) for low, high in rest if low < high]


def merged(spans: Iterable[tuple[int, int]]) -> OffsetRanges:
    """Return sorted, disjoint ranges [first, next) that cover the same offsets."""
    result: OffsetRanges = []
    for low, high in sorted(spans):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return result


def _detail(reason: Reason, checkpoint: Checkpoint, note: CheckpointNote | None, topic: TopicState) -> str:
    if reason is Reason.CHECKPOINT_DAMAGED:
        return "; ".join(map(str, checkpoint.damages))
    if reason is Reason.TOPIC_RECREATED:
        old_log = note.topic_id if note is not None else "another log"
        return f"{topic.name} is {topic.topic_id}, but the checkpoint belongs to {old_log}"
    if reason is Reason.LOG_TRUNCATED:
        return f"{topic.name} ends before the offsets that were read: Kafka lost the end of its log"
    if reason is Reason.OFFSETS_EXPIRED:
        return f"{topic.name} begins after the offsets that were read: retention removed unread records"
    if reason is Reason.MACHINE_RESTARTED:
        return (
            "stores without fsync may have lost batches that are done according to the checkpoint, "
            "so the kept batches are read again"
        )
    return ""
