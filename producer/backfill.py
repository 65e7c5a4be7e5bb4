"""Fetch a range of ids from REST into Kafka.

Ids that Kafka has already are skipped, so a run can be resumed.

Ids that REST refuses, or leaves out twice, are recorded as unfillable gaps; the others are fetched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from common.errors import ConfigurationError, ExchangeUnavailable
from common.intervals import IntervalSet, Ranges
from producer.events import Line
from producer.exchange.rest import RestClient, jittered
from producer.exchange.rest_responses import Row
from producer.ledger.stream_ledger import StreamLedger
from producer.recovery.rest_pages import fetch_page, rest_origin
from producer.writer.open_writer import Writer

log = structlog.get_logger(__name__)

STREAM: Final = "aggTrade"
SNAPSHOT_EVERY_S: Final = 5.0
# How long to wait for an exchange that does not answer; the next run resumes from there.
PATIENCE_S: Final = 300.0


class BackfilledRange(msgspec.Struct):
    """The result of one backfill.

    `known` counts the ids that were in Kafka before; `unserved` are ranges that REST does not
    serve.
    """

    symbol: str
    first_id: int
    last_id: int
    sent: int
    known: int
    rejected: int
    unserved: Ranges
    is_whole: bool


async def id_range(
    rest: RestClient, symbol: str, *, from_id: int | None, to_id: int | None, from_us: int | None, to_us: int | None
) -> tuple[int, int]:
    """Return the first and last id of a range of ids, or of times [from, to).

    Raises:
        ConfigurationError: There is no trade in the range.
        ExchangeUnavailable: REST does not answer.
    """
    low = from_id if from_id is not None else await _first_id_since(rest, symbol, from_us or 0)
    high = to_id
    if high is None and to_us is not None:
        following = await _first_id_since(rest, symbol, to_us)
        high = None if following is None else following - 1
    if high is None:  # up to now
        high = _first_id(await rest.trades(STREAM, symbol, None, 1))
    if low is None or high is None or low > high:
        raise ConfigurationError(f"The exchange has no aggregate trade of {symbol} in that range.")
    return low, high


async def _first_id_since(rest: RestClient, symbol: str, since_us: int) -> int | None:
    return _first_id(await rest.first_since(symbol, since_us))


def _first_id(rows: list[Row]) -> int | None:
    return rows[0][0] if rows else None


async def backfill(
    writer: Writer,
    rest: RestClient,
    symbol: str,
    ids: tuple[int, int],
    *,
    progress: Callable[[int, int], None] = lambda done, sent: None,
    is_stopped: Callable[[], bool] = lambda: False,
    patience_s: float = PATIENCE_S,
) -> BackfilledRange:
    """Fetch the ids of [first, last] that are not in Kafka yet.

    Raises:
        ExchangeUnavailable: REST did not answer for `patience_s`; what was fetched is kept.
        StoreUnavailable: Kafka does not accept or acknowledge records.
    """
    ledger, (low, high) = writer.intake.ledger(symbol, STREAM), ids
    undelivered = sum(last - first + 1 for first, last in ledger.undelivered(low, high))
    unserved: Ranges = []
    at, saved, is_whole = low, time.monotonic(), True
    while (first := ledger.first_undelivered(at, high)) is not None:
        if is_stopped():
            is_whole = False
            break
        at = await _take_page(writer, rest, ledger, (first, high), unserved, patience_s=patience_s)
        progress(min(at, high + 1) - low, writer.intake.sent)
        if time.monotonic() - saved > SNAPSHOT_EVERY_S:
            await asyncio.to_thread(writer.save)
            saved = time.monotonic()
    writer.gaps.shrink(ledger, writer.intake.now_us())
    ledger.flush_run()
    return BackfilledRange(
        symbol=symbol, first_id=low, last_id=high, sent=writer.intake.sent, known=high - low + 1 - undelivered,
        rejected=IntervalSet(ledger.rejected.within(low, high)).count(), unserved=unserved, is_whole=is_whole,
    )  # fmt: skip


async def _take_page(
    writer: Writer,
    rest: RestClient,
    ledger: StreamLedger,
    hole: tuple[int, int],
    unserved: Ranges,
    *,
    patience_s: float,
) -> int:
    """Take one page from the start of a hole; return the id to continue from.

    The page covers the following holes too. Ids that REST does not serve are added to `unserved`.

    Raises:
        ExchangeUnavailable: REST did not answer, or served none of these ids, for `patience_s`.
    """
    started, attempt = time.monotonic(), 0
    while True:
        try:
            page = await fetch_page(rest, STREAM, ledger.symbol, *hole)
        except ExchangeUnavailable:
            if time.monotonic() - started > patience_s:
                raise
        else:
            wanted = IntervalSet(ledger.undelivered(hole[0], max(page.reached, hole[0])))
            lines: list[Line] = [(raw, None, number) for number, raw in page.rows if number in wanted]
            writer.intake.feed(lines, rest_origin(STREAM, ledger.symbol))
            for low, high, reason in page.unserved:
                _record_unserved(writer, ledger, (low, high), reason)
                unserved += ledger.missing(low, high)
            if page.reached >= hole[0]:
                return page.reached + 1
            if time.monotonic() - started > patience_s:
                raise ExchangeUnavailable(f"REST serves nothing of {ledger.symbol} from id {hole[0]} on.")
        attempt += 1
        await asyncio.sleep(jittered(attempt, cap_s=patience_s / 4))


def _record_unserved(writer: Writer, ledger: StreamLedger, ids: tuple[int, int], reason: str) -> None:
    """Record ids that REST does not serve as unfillable gaps, once."""
    log.warning("the exchange does not serve these ids", symbol=ledger.symbol, first_id=ids[0], last_id=ids[1],
                reason=reason)  # fmt: skip
    gaps, now_us = writer.gaps, writer.intake.now_us()
    for low, high in ledger.missing(*ids):
        recorded = IntervalSet((gap.first_id, gap.last_id) for gap in gaps.recorded(ledger))
        gaps.open(ledger, recorded.missing(low, high), now_us=now_us, reason=reason, source="REST")
        gaps.declare_unfillable(ledger, low, high, now_us=now_us, reason=reason)
