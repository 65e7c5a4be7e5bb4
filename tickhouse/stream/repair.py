"""Repair the streaming queries: damaged checkpoints, and the offsets that the queries lost.

The steps run in this order. A step that was killed can be repeated:

1. Checkpoints. With the driver stopped and its lease held, each query gets a checkpoint that starts
   at an offset that it is known to have reached (`spark/checkpoints/recovery.py`). A query that
   runs is not changed. The offsets that are lost by this are recorded first.
2. Resend. Of the lost offsets, the trades that bronze still has are sent to `crypto.trades` again,
   under the same event ids (`resend.py`).
3. Gaps. Ids that were sent, and that neither the lake nor Kafka has any more, become open gaps, and
   are removed from the ledger (`reopened_gaps.py`). A producer fills them by REST when it starts;
   a replay of the right file fills them too.
4. The lost offsets are marked as repaired.

Lost ticks stay lost, because the exchange serves no past ticks. That is recorded as well.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType

from common.clients.kafka import TopicLog
from common.clients.lake_gateway import lake_filesystem
from common.clients.lakefs import INGEST, MAIN
from common.errors import ConfigurationError, RejectedRecord, StoreUnavailable
from common.event_ids import StreamName
from common.intervals import IntervalSet
from common.settings import Settings
from common.topics import GAPS, LEDGER, PRODUCER_DEAD_LETTERS, SPARK_DEAD_LETTERS, TRADES
from producer.encoding.events import event_id_of
from producer.events import split_event_id
from producer.ledger.gaps import Gap
from producer.writer.outbox import Outbox
from schemas.registry import schema_id
from spark.checkpoints import lost_offsets
from spark.checkpoints.bronze_offsets import Manifest, bronze_offsets, bronze_offsets_reader, read_manifests
from spark.checkpoints.driver_lease import stream_folder
from spark.checkpoints.lost_offsets import LostOffsets
from spark.checkpoints.recovery import QUERY_SPECS, QuerySpec, plan_of, recover
from spark.checkpoints.start_offsets import StartPlan, TopicState, subtract
from spark.checkpoints.topic_offsets import TopicReader
from spark.lake_target import lake_target
from tickhouse.stream.lease import is_held, stopped_driver
from tickhouse.stream.query_state import progress as driver_report
from tickhouse.stream.reopened_gaps import Ids, gaps_for, gone_ids, sent_ids, snapshots_without
from tickhouse.stream.resend import files_that_may_hold, resend, rows_of

Progress = Callable[[str], None]
PRODUCER: Final = "producer"


@dataclass
class RepairReport:
    """What was found and what was done; in a dry run, what would be done.

    Attributes:
        plans: Where each query starts, by name; queries that run are not in it.
        lost: Offset ranges that were lost and not repaired before.
        resent: How many trades of bronze were sent again.
        gaps: Gaps that were opened.
        had_driver: Whether a driver was stopped.
    """

    is_dry_run: bool
    plans: dict[str, StartPlan] = field(default_factory=dict)
    lost: list[LostOffsets] = field(default_factory=list)
    resent: int = 0
    gaps: list[Gap] = field(default_factory=list)
    had_driver: bool = False

    @property
    def gap_ids(self) -> int:
        """Return how many ids are in the opened gaps."""
        return sum(gap.size for gap in self.gaps)

    @property
    def to_begin(self) -> dict[str, StartPlan]:
        """Return the queries that begin a new checkpoint."""
        return {name: plan for name, plan in self.plans.items() if not plan.is_sound}

    def document(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "dry_run": self.is_dry_run,
            "had_driver": self.had_driver,
            "queries": {
                name: {"reason": plan.reason, "detail": plan.detail, "start": plan.start}
                for name, plan in self.plans.items()
            },
            "lost": [{"range": str(lost), "query": lost.query, "offsets": lost.count} for lost in self.lost],
            "resent": self.resent,
            "gaps": [msgspec.to_builtins(gap) for gap in self.gaps],
            "gap_ids": self.gap_ids,
        }


def repair(
    settings: Settings,
    queries: Sequence[str] = (),
    *,
    from_beginning: bool = False,
    is_dry_run: bool = False,
    progress: Progress = lambda _: None,
) -> RepairReport:
    """Repair the checkpoints of the named queries (all by default), then what the queries lost.

    Args:
        settings: Addresses.
        queries: Names; a named query is checked even when it runs.
        from_beginning: The named queries read their topic from its beginning again.
        is_dry_run: Change nothing, and stop no driver.
        progress: Receives one line of text when a long step begins.

    Raises:
        ConfigurationError: There is no such query, or `from_beginning` is set and none is named.
        ServiceNotReady: Kafka or the registry does not answer.
        StoreUnavailable: The lake does not answer.
        LeaseHeld: The driver did not end.
    """
    folder, chosen = stream_folder(settings), _select_queries(settings, queries, from_beginning=from_beginning)
    report = RepairReport(is_dry_run)
    streams = chosen if queries else [stream for stream in chosen if not _is_running(folder, stream)]
    topics = TopicReader(settings.kafka_bootstrap_servers).topics(stream.topic for stream in QUERY_SPECS)

    def make_plans(decide: Callable[..., StartPlan]) -> dict[str, StartPlan]:
        plan_query = partial(_plan_query, settings, decide=decide, is_asked=from_beginning)
        return {stream.name: plan_query(stream, topics[stream.topic]) for stream in streams}

    report.plans = make_plans(plan_of)
    if not is_dry_run and report.to_begin:
        progress("waiting for the streaming driver to end")
        with stopped_driver(folder) as report.had_driver:
            report.plans = make_plans(recover)
    report.lost = lost_offsets.unresolved(folder)
    if is_dry_run:
        report.lost += _further_losses(report, streams, report.lost)
    elif report.lost:
        _repair_losses(settings, topics, report, progress)
    return report


def _select_queries(settings: Settings, queries: Sequence[str], *, from_beginning: bool) -> list[QuerySpec]:
    names = [stream.name for stream in QUERY_SPECS]
    unknown = [name for name in queries if name not in names]
    if unknown:
        raise ConfigurationError(f"There is no query {', '.join(unknown)}; there are {', '.join(names)}.")
    if from_beginning and not queries:
        raise ConfigurationError(
            "Name the queries that are to read their topic from its beginning.",
            safe="No checkpoint was changed.",
            next_command="tickhouse stream status",
        )
    if queries:
        return [stream for stream in QUERY_SPECS if stream.name in queries]
    return [stream for stream in QUERY_SPECS if stream.is_enabled(settings)]


def _is_running(folder: Path, stream: QuerySpec) -> bool:
    """Return whether Spark runs the query now; then its checkpoint files may change."""
    reported = driver_report(folder).get("queries", {}).get(stream.name, {})
    return bool(reported.get("is_active")) and is_held(folder)


def _plan_query(
    settings: Settings, stream: QuerySpec, topic: TopicState, decide: Callable[..., StartPlan], *, is_asked: bool
) -> StartPlan:
    target = lake_target(settings, stream.name.removeprefix("lake_"))
    covered = bronze_offsets_reader(target, topic) if stream.is_lake else None
    return decide(stream_folder(settings), stream, topic, covered, is_asked=is_asked)


def _further_losses(
    report: RepairReport, streams: Sequence[QuerySpec], known: Sequence[LostOffsets]
) -> list[LostOffsets]:
    """Return the offsets that a run which is not dry would lose, without the known ones."""
    names = {lost.name for lost in known}
    losses: list[LostOffsets] = []
    for stream in streams:
        plan = report.plans[stream.name]
        losses += lost_offsets.of_plan(stream.name, stream.topic, plan.reason, plan.lost, 0)
    return [lost for lost in losses if lost.name not in names]


def _repair_losses(settings: Settings, topics: dict[str, TopicState], report: RepairReport, progress: Progress) -> None:
    folder, now_us = stream_folder(settings), time.time_ns() // 1000
    trades = [lost for lost in report.lost if lost.topic == TRADES]
    if trades:
        manifests = read_manifests(lake_target(settings, "trades"))
        outbox = Outbox.connect(settings.kafka_bootstrap_servers)
        progress("sending trades that the lake still has again")
        report.resent = _resend(settings, outbox, manifests, trades)
        if _lacks_lost_offsets(manifests, topics[TRADES], trades):
            progress("searching for ids that no system has any more")
            with _stopped_producer():
                report.gaps = _open_gaps(settings, outbox, manifests, topics[TRADES], now_us)
    outcome = {"resent": report.resent, "gap_ids": report.gap_ids}
    lost_offsets.resolve(folder, trades, outcome, now_us)
    ticks = [lost for lost in report.lost if lost.topic != TRADES]
    lost_offsets.resolve(folder, ticks, {"outcome": "not served any more"}, now_us)


def _resend(settings: Settings, outbox: Outbox, manifests: list[Manifest], lost: list[LostOffsets]) -> int:
    number = schema_id(settings.schema_registry_url, f"{TRADES}-value")
    root = f"{settings.lake_repository}/{INGEST}"
    gateway, sent = lake_filesystem(settings), 0
    not_of_lake = [offsets for offsets in lost if not offsets.query.startswith("lake_")]
    for offsets in _merge_overlaps(not_of_lake):
        paths = files_that_may_hold(manifests, offsets)
        sent += resend(rows_of(gateway, root, paths, offsets), outbox, number)
    return sent


def _merge_overlaps(lost: list[LostOffsets]) -> list[LostOffsets]:
    """Merge the lost ranges that overlap, because several queries may lose the same offsets."""
    merged: list[LostOffsets] = []
    for offsets in sorted(lost, key=lambda offsets: (offsets.topic_id, offsets.partition, offsets.first)):
        if merged and _overlap(merged[-1], offsets):
            is_open = merged[-1].until is None or offsets.until is None
            until = None if is_open else max(merged[-1].until or 0, offsets.until or 0)
            merged[-1] = dataclasses.replace(merged[-1], until=until)
        else:
            merged.append(offsets)
    return merged


def _overlap(left: LostOffsets, right: LostOffsets) -> bool:
    is_same_log = (left.topic_id, left.partition) == (right.topic_id, right.partition)
    return is_same_log and (left.until is None or right.first <= left.until)


def _lacks_lost_offsets(manifests: list[Manifest], topic: TopicState, lost: list[LostOffsets]) -> bool:
    """Return whether the lake lacks a part of what was lost."""
    for offsets in lost:
        of_topic = [manifest for manifest in manifests if str(manifest.get("topic_id", "")) in ("", offsets.topic_id)]
        generations = {str(manifest.get("generation", "")) for manifest in of_topic}
        held = [bronze_offsets(of_topic, topic, generation).ranges for generation in generations]
        spans = sorted(span for ranges in held for span in ranges.get(offsets.partition, []))
        if offsets.until is None or subtract((offsets.first, offsets.until), spans):
            return True
    return False


def _open_gaps(
    settings: Settings, outbox: Outbox, manifests: list[Manifest], topic: TopicState, now_us: int
) -> list[Gap]:
    """Open a gap for every id that was sent and that no system has, then remove it from the ledger.

    After a kill between the two, the next run finds the same ids in the ledger and repeats both.
    """
    reader = TopicLog(settings.kafka_bootstrap_servers)
    try:
        ledger = reader.latest(LEDGER)
        held = _held_ids(settings, reader, manifests, topic, ledger)
        gone = gone_ids(sent_ids(ledger), held)
        gaps = gaps_for(gone, now_us)
        for gap in gaps:
            outbox.send(GAPS, _json(msgspec.to_builtins(gap)), gap.name.encode())
        outbox.flush()
        for key, value in snapshots_without(ledger, gone).items():
            outbox.send(LEDGER, _json(value), key.encode())
        outbox.flush()
        return gaps
    finally:
        reader.close()


def _held_ids(
    settings: Settings,
    reader: TopicLog,
    manifests: list[Manifest],
    topic: TopicState,
    ledger: dict[str, dict[str, Any]],
) -> Ids:
    """Return the trade ids that the lake or Kafka has, and those of dead letters."""
    ids: Ids = {}
    for stream, numbers in _lake_ids(settings, manifests):
        ids.setdefault(stream, IntervalSet()).update((number, number) for number in sorted(numbers))
    covered = bronze_offsets(manifests, topic, None).ranges
    starts = {part: _covered_until(low, covered.get(part, [])) for part, (low, _) in topic.bounds.items()}
    for messages in (reader.read(TRADES, starts), reader.read(SPARK_DEAD_LETTERS)):
        _add_event_ids(ids, (_event_id(message.value() or b"") for message in messages))
    if not any("rejected" in value for value in ledger.values()):  # snapshots of earlier versions
        letters = reader.read(PRODUCER_DEAD_LETTERS)
        _add_event_ids(ids, ((letter.key() or b"").decode(errors="replace") for letter in letters))
    return ids


def _covered_until(offset: int, spans: list[tuple[int, int]]) -> int:
    return next((until for first, until in spans if first <= offset < until), offset)


def _lake_ids(settings: Settings, manifests: list[Manifest]) -> Iterator[tuple[StreamName, list[int]]]:
    """Yield the ids of each file of bronze and of published silver.

    Retention removes bronze after its silver was published.
    """
    gateway, lake = lake_filesystem(settings), settings.lake_repository
    bronze = {f"{lake}/{INGEST}/{file['path']}" for manifest in manifests for file in manifest["files"]}
    for path in sorted(bronze) + _silver_files(gateway, f"{lake}/{MAIN}/silver/trades"):
        by_stream: dict[StreamName, list[int]] = {}
        try:
            with gateway.open_input_file(path) as source:
                table = pq.ParquetFile(source).read(["market", "symbol", "stream", "trade_id"])
        except FileNotFoundError:
            continue  # removed by retention; silver has it
        except OSError as error:
            raise StoreUnavailable(
                f"{path} of the lake cannot be read: {error}.",
                safe="No gap was opened.",
                next_command="tickhouse status",
            ) from error  # fmt: skip
        for market, symbol, stream, number in zip(*(column.to_pylist() for column in table.columns), strict=True):
            by_stream.setdefault(StreamName(market, symbol, stream), []).append(number)
        yield from by_stream.items()


def _silver_files(gateway: Any, folder: str) -> list[str]:
    infos = gateway.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
    return sorted(info.path for info in infos if info.type == FileType.File and info.path.endswith(".parquet"))


def _add_event_ids(ids: Ids, event_ids: Iterable[str]) -> None:
    for event_id in event_ids:
        parts = split_event_id(event_id)
        if parts is not None:
            market, identity = parts
            stream = StreamName(market, identity.symbol, identity.stream)
            ids.setdefault(stream, IntervalSet()).add(identity.exchange_id)


def _event_id(value: bytes) -> str:
    try:
        return event_id_of(value)
    except RejectedRecord:
        return ""


@contextmanager
def _stopped_producer() -> Iterator[None]:
    """Stop the live producer while its ledger changes: it reads the ledger only at its start."""
    from stack.engine import supervisor

    is_running = supervisor.state(PRODUCER).state in supervisor.ALIVE
    if is_running:
        supervisor.stop([PRODUCER])
    try:
        yield
    finally:
        if is_running:
            supervisor.start(PRODUCER)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
