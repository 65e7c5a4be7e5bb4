"""Replay recorded files into Kafka, and return what the stores must then show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import RejectedRecord
from common.settings import Settings
from common.symbols import check_given_symbol
from producer.events import check_market
from producer.market_check import claim_home
from producer.parsing.archives import Limits
from producer.parsing.format_detection import symbol_of
from producer.parsing.source_files import SourceFile, open_source
from producer.replay import ReplayedFile, record_truth
from producer.replay import replay as send_file
from producer.signals import stop_flag
from producer.writer.ledger_store import file_writer
from producer.writer.open_writer import DEFAULT_SAMPLE_S, open_writer
from schemas.contracts import contract_size
from tickhouse.ingest.visibility import ExpectedRecords

# Called with (the file, bytes read of it, records sent from it).
Progress = Callable[[SourceFile, int, int], None]


@dataclass(frozen=True)
class ReplayOptions:
    """How to replay: which market, and how often to keep a tick.

    `symbol` is for files that do not name one. `is_forced` sends again what Kafka already has.
    """

    market: str
    symbol: str | None = None
    sample_s: int = DEFAULT_SAMPLE_S
    is_forced: bool = False


@dataclass(frozen=True)
class ReplayResult:
    """The outcome of each file."""

    market: str
    files: list[ReplayedFile]

    def expected(self) -> list[ExpectedRecords]:
        """Return what must become visible in the stores, one entry per file."""
        return [ExpectedRecords(self.market, done.delivered, done.offsets) for done in self.files]

    def document(self, visible_after_s: dict[str, float] | None = None) -> dict[str, Any]:
        """Return the result as one JSON object."""
        return {"files": [file_document(done) for done in self.files], "visible_after_s": visible_after_s}

    def require_events(self) -> None:
        """Fail when a file had no events or was not read to its end, because success would hide it.

        Raises:
            RejectedRecord: Names each such file and what is wrong with it.
        """
        problems = [f"{done.path} {done.problem} ({_reject_counts(done)})" for done in self.files if done.problem]
        if not problems:
            return
        reason = "no_events" if all(done.is_whole for done in self.files) else "truncated"
        error = RejectedRecord(reason, "; ".join(problems))
        error.safe, error.next_command = "Rejected lines are dead letters.", "tickhouse dlq show dlq.producer"
        raise error


def _reject_counts(done: ReplayedFile) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in done.rejects.items()) or "no dead letter"


def replay(
    settings: Settings,
    paths: Sequence[Path],
    options: ReplayOptions,
    *,
    progress: Progress = lambda source, done, sent: None,
) -> ReplayResult:
    """Send every event of recorded files that Kafka does not have yet.

    SIGTERM or SIGINT ends it early: what was sent is kept, and the next run continues from there.

    Raises:
        ConfigurationError: The market or the symbol does not exist, or the home contains synthetic
            trades.
        RejectedRecord: A file cannot be read; no record of any file was sent.
        StoreUnavailable: Kafka does not accept or acknowledge records.
    """
    check_market(options.market)
    if options.symbol is not None:
        check_given_symbol(options.symbol)
    # Every file is opened before the first record is sent, so that a bad one stops all of them.
    sources = [_open(settings, path, options) for path in paths]
    return ReplayResult(options.market, [_replay_file(settings, source, options, progress) for source in sources])


def _open(settings: Settings, path: Path, options: ReplayOptions) -> SourceFile:
    limits = Limits(**{name: getattr(settings, f"replay_max_{name}") for name in Limits.__struct_fields__})
    return open_source(path, options.symbol, market=options.market, limits=limits, contract_size=contract_size)


def _replay_file(settings: Settings, source: SourceFile, options: ReplayOptions, progress: Progress) -> ReplayedFile:
    writer = open_writer(
        settings, market=options.market, writer=file_writer(source.sha256), sample_s=options.sample_s,
        is_forced=options.is_forced, follows_gaps=False,
    )  # fmt: skip
    claim_home(settings, writer, "real")
    record_truth(settings.home, source, options.market, options.symbol or symbol_of(source.path.name))
    progress(source, 0, 0)
    with stop_flag() as is_stopped:
        done = send_file(
            source, writer, progress=lambda read, sent: progress(source, read, sent), is_stopped=is_stopped
        )
    writer.reader.close()
    return done


def file_document(done: ReplayedFile) -> dict[str, Any]:
    """Return the outcome of one file as a JSON object."""
    return {
        "path": done.path, "sha256": done.sha256, "format": done.format, "checksum": done.checksum,
        "is_whole": done.is_whole, "problem": done.problem or None,
        "derived": done.derived.document() if done.derived else None,
        "sent": done.sent, "sent_earlier": done.sent_earlier, "counts": done.counts,
        "rejects": done.rejects, "repeats": done.repeats, "compared": done.compared, "seconds": round(done.seconds, 3),
        "gaps": [
            {"stream": stream, "symbol": symbol, "first_id": first, "last_id": last}
            for stream, symbol, first, last in done.gaps
        ],
        "delivered": [
            {"stream": stream, "symbol": symbol, "ranges": [list(pair) for pair in ranges]}
            for (stream, symbol), ranges in done.delivered.items()
        ],
        "offsets": {
            topic: {str(part): list(span) for part, span in parts.items()} for topic, parts in done.offsets.items()
        },
    }  # fmt: skip
