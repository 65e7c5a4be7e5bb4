"""Replay one recorded file into Kafka.

A replay can be resumed, and sends each event id once. It reports gaps and conflicts.

Delivery guarantees: every line of the file is delivered, rejected or a duplicate. A snapshot covers
only what Kafka acknowledged. A replay that was killed continues where the log ends, with or without
a last snapshot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from common.errors import RejectedRecord
from common.intervals import Ranges
from common.topics import TICKS, TRADES
from producer.ledger.stream_ledger import UNKNOWN
from producer.parsing.derived_columns import DerivedQuantity
from producer.parsing.source_files import SourceFile, batches
from producer.writer.intake import Intake, Origin
from producer.writer.open_writer import Writer
from producer.writer.outbox import HIGH_WATER

ARCHIVE: Final = "ARCHIVE"
SNAPSHOT_EVERY_S: Final = 5.0


class ReplayedFile(msgspec.Struct):
    """The result of one replay.

    `delivered` are the ids of the file that are in Kafka, by (stream, symbol).
    """

    path: str
    sha256: str
    format: str
    checksum: str
    sent: int
    sent_earlier: int
    counts: dict[str, int]
    rejects: dict[str, int]
    gaps: list[tuple[str, str, int, int]]
    delivered: dict[tuple[str, str], Ranges]
    offsets: dict[str, dict[int, tuple[int, int]]]
    is_whole: bool
    seconds: float
    # Ids that earlier runs delivered, and how many of these could be compared with the log.
    repeats: int = 0
    compared: int = 0
    derived: DerivedQuantity | None = None
    lines: int = 0
    rejected_lines: int = 0

    @property
    def problem(self) -> str:
        """Return what is wrong with the replayed file, or ""."""
        if not self.is_whole:
            return "was not read to its end; what could be read was sent"
        if not self.lines:
            return "held no line with an event"
        if self.rejected_lines >= self.lines and not (self.sent or self.sent_earlier):
            return "held no line that could be delivered: every one was rejected"
        return ""


def record_truth(home: Path, source: SourceFile, market: str, symbol: str | None) -> None:
    """Append the file to `<home>/truth/files.jsonl`, once per sha256 and market.

    `tickhouse reconcile` reads it.
    """
    entry: dict[str, Any] = {
        "path": str(source.path), "sha256": source.sha256, "market": market, "symbol": symbol,
        "format": source.format.name, "at_s": int(time.time()),
    }  # fmt: skip
    target = home / "truth" / "files.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    known = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
    if not any(_is_same_file(json.loads(line), entry) for line in known if line):
        with target.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _is_same_file(earlier: dict[str, Any], entry: dict[str, Any]) -> bool:
    return bool(earlier["sha256"] == entry["sha256"] and earlier["market"] == entry["market"])


def replay(
    source: SourceFile,
    writer: Writer,
    *,
    progress: Callable[[int, int], None] = lambda done, sent: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> ReplayedFile:
    """Send the events of a file to Kafka, and close its ledger.

    Args:
        source: The file.
        writer: The writer of this file, named `file:<sha256>`.
        progress: Called with (bytes of the file read, records sent) after every batch.
        is_stopped: Called after every batch; true ends the replay, with all it has sent in the
            ledger.

    Raises:
        StoreUnavailable: Kafka does not accept or acknowledge records.
    """
    started, before = time.monotonic(), _bounds(writer)
    intake, is_whole, read = writer.intake, True, 0
    origin = Origin(ARCHIVE, source.format.parse, source.format.identify, lambda at: f"{source.path.name}:{at}")
    saved = started
    try:
        for lines, done in batches(source):
            intake.feed(lines, origin)
            read += len(lines)
            while writer.outbox.queued() > HIGH_WATER:
                writer.outbox.poll(0.1)
            progress(done, intake.sent)
            if time.monotonic() - saved > SNAPSHOT_EVERY_S:
                writer.save()
                saved = time.monotonic()
            if is_stopped():
                is_whole = False
                break
    except RejectedRecord as error:  # the file ends too early; what could be read was sent
        intake.reject((b"", None, 0), error, origin)
        is_whole = False
    gaps = _record_gaps(writer) if is_whole else []
    writer.save(is_closed=True)
    writer.outbox.flush()
    after = _bounds(writer)
    return ReplayedFile(
        path=str(source.path), sha256=source.sha256, format=source.format.name, checksum=source.checksum,
        sent=intake.sent, sent_earlier=intake.sent_earlier, counts=intake.totals(), rejects=dict(intake.rejects),
        gaps=gaps, delivered=_delivered(writer), offsets=_written(before, after), is_whole=is_whole,
        seconds=time.monotonic() - started, derived=source.format.derived, lines=read,
        rejected_lines=intake.rejected_lines, **_compared(intake),
    )  # fmt: skip


def _compared(intake: Intake) -> dict[str, int]:
    known = intake.delivered
    return {} if known is None else {"repeats": known.repeats, "compared": known.compared}


def _bounds(writer: Writer) -> dict[str, dict[str, int]]:
    return {topic: writer.reader.ends(topic) for topic in (TRADES, TICKS)}


def _written(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]
) -> dict[str, dict[int, tuple[int, int]]]:
    return {
        topic: {int(p): (before[topic][p], end) for p, end in ends.items() if end > before[topic].get(p, 0)}
        for topic, ends in after.items()
    }


def _record_gaps(writer: Writer) -> list[tuple[str, str, int, int]]:
    """Open and close gaps after a file was read to its end, and return its holes."""
    missing = []
    for ledger in writer.intake.ledgers.values():
        if ledger.stream != UNKNOWN:
            holes = writer.gaps.compare_files(ledger, writer.intake.now_us(), ARCHIVE)
            missing += [(ledger.stream, ledger.symbol, low, high) for low, high in holes]
    return missing


def _delivered(writer: Writer) -> dict[tuple[str, str], Ranges]:
    ids = {}
    for ledger in writer.intake.ledgers.values():
        if not ledger.is_tick and ledger.stream != UNKNOWN:
            ids[ledger.stream, ledger.symbol] = ledger.delivered()
    return ids
