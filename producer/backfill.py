"""Fetch a range of ids by REST into Kafka: what is there already is not asked for, so a cut run goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from producer.fill import id_of, rest_origin
from producer.intake import Line
from producer.ledger import StreamLedger
from producer.replay import Ranges
from producer.rest import PAGE, RestClient
from producer.runtime import Writer
from tickhouse.errors import ConfigurationError

log = structlog.get_logger(__name__)

STREAM: Final = "aggTrade"
SNAPSHOT_EVERY_S: Final = 5.0


class Backfilled(msgspec.Struct):
    """What one backfill did: ids asked for, sent now, known before, and ranges that the exchange does not serve."""

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
    """Return the ids [first, last] of a range given by ids or by times (from inclusive, to exclusive).

    Raises:
        ConfigurationError: There is no trade in that range.
        ExchangeUnavailable: REST does not answer.
    """
    low = from_id if from_id is not None else await _first(rest, symbol, from_us or 0)
    high = to_id
    if high is None and to_us is not None:
        following = await _first(rest, symbol, to_us)
        high = None if following is None else following - 1
    if high is None:  # up to now
        high = _only(await rest.trades(STREAM, symbol, None, 1))
    if low is None or high is None or low > high:
        raise ConfigurationError(f"The exchange has no aggregate trade of {symbol} in that range.")
    return low, high


async def _first(rest: RestClient, symbol: str, since_us: int) -> int | None:
    return _only(await rest.first_since(symbol, since_us))


def _only(rows: list[msgspec.Raw]) -> int | None:
    return id_of(rows[0], STREAM) if rows else None


async def backfill(
    writer: Writer,
    rest: RestClient,
    symbol: str,
    ids: tuple[int, int],
    *,
    progress: Callable[[int, int], None] = lambda done, sent: None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Backfilled:
    """Fetch the ids [first, last] that nobody has put into Kafka yet.

    Raises:
        ExchangeUnavailable: REST does not answer; what was fetched is kept.
        ExchangeRefused: REST will not answer, for this symbol or at all.
        StoreUnavailable: Kafka does not take or acknowledge records.
    """
    ledger, (low, high) = writer.intake.ledger(symbol, STREAM), ids
    todo = sum(last - first + 1 for first, last in ledger.missing(low, high))
    unserved: Ranges = []
    at, saved, is_whole = low, time.monotonic(), True
    while holes := ledger.missing(at, high):
        if is_stopped():
            is_whole = False
            break
        at = await _page(writer, rest, ledger, holes[0], unserved)
        progress(min(at, high + 1) - low, writer.intake.sent)
        if time.monotonic() - saved > SNAPSHOT_EVERY_S:
            await asyncio.to_thread(writer.save)
            saved = time.monotonic()
    for gap in list(writer.gaps.of(ledger)):
        writer.gaps.settle(gap, ledger, writer.intake.now_us())
    ledger.settle()
    return Backfilled(
        symbol=symbol, first_id=low, last_id=high, sent=writer.intake.sent, known=high - low + 1 - todo,
        rejected=ledger.rejected.count(), unserved=unserved, is_whole=is_whole,
    )  # fmt: skip


async def _page(writer: Writer, rest: RestClient, ledger: StreamLedger, hole: tuple[int, int], unserved: Ranges) -> int:
    """Take one page of a hole and return the id to go on from; notes what REST leaves out."""
    low, high = hole
    rows = await rest.trades(STREAM, ledger.symbol, low, min(PAGE, high - low + 1))
    numbered = [(number, bytes(row)) for row in rows if (number := id_of(row, STREAM)) is not None]
    served = [number for number, _ in numbered if number >= low]
    reached = min(high, served[-1]) if served else high
    lines: list[Line] = [(raw, None, number) for number, raw in numbered if low <= number <= high]
    writer.intake.feed(lines, rest_origin(STREAM, ledger.symbol))
    left = ledger.missing(low, reached)
    if left:
        log.warning("the exchange does not serve these ids", symbol=ledger.symbol, ranges=left)
    unserved += left
    return reached + 1
