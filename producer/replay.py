"""Replay one recorded file: resumable, exactly once by event id, its gaps and conflicts told.

Delivery guarantees: every line of the file is delivered, rejected or known; a snapshot covers only what Kafka
acknowledged; a replay that is cut goes on where the log ends, whether or not it could write a last snapshot.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from producer.files import SourceFile, batches
from producer.intake import UNKNOWN, Origin
from producer.ledger import has_dense_ids
from producer.outbox import HIGH_WATER, TICKS, TRADES
from producer.runtime import Writer
from tickhouse.errors import RejectedRecord

ARCHIVE: Final = "ARCHIVE"
SNAPSHOT_EVERY_S: Final = 5.0

Ranges = list[tuple[int, int]]


class Replayed(msgspec.Struct):
    """What one replay did; `delivered` are the ids of the file that are in Kafka now, by (stream, symbol)."""

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


def record_truth(home: Path, source: SourceFile, market: str, symbol: str | None) -> None:
    """Append the file to `<home>/truth/files.jsonl`, once per sha256 and market."""
    entry = {
        "path": str(source.path), "sha256": source.sha256, "market": market, "symbol": symbol,
        "format": source.format.name,
    }  # fmt: skip
    target = home / "truth" / "files.jsonl"
    target.parent.mkdir(parents=True, exist_ok=True)
    known = target.read_text(encoding="utf-8").splitlines() if target.exists() else []
    same = ("sha256", "market")
    if not any(all(json.loads(line)[name] == entry[name] for name in same) for line in known if line):
        with target.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


def replay(
    source: SourceFile,
    writer: Writer,
    *,
    progress: Callable[[int, int], None] = lambda done, sent: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Replayed:
    """Send a file to Kafka and close its ledger.

    Args:
        source: What to read.
        writer: Who writes; its name must be the file's (`file:<sha256>`).
        progress: Called with (bytes of the file read, records sent) after every batch.
        is_stopped: Asked after every batch; true ends the replay with all it has sent in the ledger.

    Raises:
        StoreUnavailable: Kafka does not take or acknowledge records.
    """
    started, before = time.monotonic(), _bounds(writer)
    intake, is_whole = writer.intake, True
    origin = Origin(ARCHIVE, source.format.parse, source.format.identify, lambda at: f"{source.path.name}:{at}")
    saved = started
    try:
        for lines, done in batches(source):
            intake.feed(lines, origin)
            while writer.outbox.queued() > HIGH_WATER:
                writer.outbox.poll(0.1)
            progress(done, intake.sent)
            if time.monotonic() - saved > SNAPSHOT_EVERY_S:
                writer.save()
                saved = time.monotonic()
            if is_stopped():
                is_whole = False
                break
    except RejectedRecord as error:  # the file ends too early: what could be read was sent
        intake.reject((b"", None, 0), error, origin)
        is_whole = False
    gaps = _tell_gaps(writer) if is_whole else []
    writer.save(is_closed=True)
    writer.outbox.flush()
    after = _bounds(writer)
    return Replayed(
        path=str(source.path), sha256=source.sha256, format=source.format.name, checksum=source.checksum,
        sent=intake.sent, sent_earlier=intake.earlier, counts=intake.totals(), rejects=dict(intake.rejects), gaps=gaps,
        delivered=_delivered(writer), offsets=_written(before, after), is_whole=is_whole,
        seconds=time.monotonic() - started,
    )  # fmt: skip


def _bounds(writer: Writer) -> dict[str, dict[str, int]]:
    return {topic: writer.reader.ends(topic) for topic in (TRADES, TICKS)}


def _written(
    before: dict[str, dict[str, int]], after: dict[str, dict[str, int]]
) -> dict[str, dict[int, tuple[int, int]]]:
    return {
        topic: {int(p): (before[topic][p], end) for p, end in ends.items() if end > before[topic].get(p, 0)}
        for topic, ends in after.items()
    }


def _tell_gaps(writer: Writer) -> list[tuple[str, str, int, int]]:
    """Open a gap for every hole of the file that nobody has filled, and close those of others that it fills."""
    told = []
    for ledger in writer.intake.ledgers.values():
        if ledger.is_tick or ledger.stream == UNKNOWN or not has_dense_ids(ledger.market, ledger.stream):
            continue
        now_us = writer.intake.now_us()
        for gap in list(writer.gaps.of(ledger)):
            writer.gaps.settle(gap, ledger, now_us)
        known = {(gap.first_id, gap.last_id) for gap in writer.gaps.of(ledger)}
        holes = ledger.holes()
        told += [(ledger.stream, ledger.symbol, low, high) for low, high in holes]
        fresh = [hole for hole in holes if hole not in known]
        writer.gaps.open(ledger, fresh, now_us=now_us, reason="not in the file", source=ARCHIVE)
    return told


def _delivered(writer: Writer) -> dict[tuple[str, str], Ranges]:
    found = {}
    for ledger in writer.intake.ledgers.values():
        if not ledger.is_tick and ledger.stream != UNKNOWN:
            found[ledger.stream, ledger.symbol] = [
                part for low, high in ledger.own for part in ledger.rejected.missing(low, high)
            ]
    return found
