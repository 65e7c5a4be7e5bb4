"""Fetch past aggregate trades by REST into Kafka, and return what the stores must then show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from common.errors import ConfigurationError
from common.intervals import IntervalSet
from common.settings import Settings
from common.symbols import check_given_symbol
from common.topics import TRADES
from producer.backfill import STREAM, BackfilledRange, id_range
from producer.backfill import backfill as fetch_ids
from producer.events import check_market
from producer.exchange.rest import RestClient
from producer.market_check import claim_market
from producer.signals import stop_flag
from producer.writer.ledger_store import BACKFILL
from producer.writer.open_writer import Writer, open_writer
from tickhouse.ingest.visibility import ExpectedRecords, OffsetRanges

# Called with (ids done, ids of the whole range).
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TradeRange:
    """The trades to fetch: from an id or a time, to an id, a time or now.

    Times are in µs since 1970, UTC. `to_id` is inclusive, `to_us` is exclusive.
    """

    market: str
    symbol: str
    from_id: int | None = None
    to_id: int | None = None
    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True)
class BackfillResult:
    """What a backfill fetched, and the Kafka offsets that were written meanwhile."""

    market: str
    fetched: BackfilledRange
    offsets: OffsetRanges

    def expected(self) -> ExpectedRecords:
        """Return what must become visible in the stores.

        The result has the number of rejected ids but not which ones; if there are any, only offsets
        are expected.
        """
        done = self.fetched
        served = IntervalSet(done.unserved).missing(done.first_id, done.last_id)
        return ExpectedRecords(
            self.market, {(STREAM, done.symbol): [] if done.rejected else served}, {TRADES: self.offsets}
        )

    def document(self, visible_after_s: dict[str, float] | None = None) -> dict[str, Any]:
        """Return the result as one JSON object."""
        return {**msgspec.to_builtins(self.fetched), "visible_after_s": visible_after_s}


def backfill(
    settings: Settings,
    wanted: TradeRange,
    *,
    rest_url: str | None = None,
    progress: Progress = lambda done, total: None,
) -> BackfillResult:
    """Fetch the trades of a range that Kafka does not have yet.

    SIGTERM or SIGINT ends it early. What was fetched is kept; the next run continues from there.

    Raises:
        ConfigurationError: The market, the symbol or the range does not exist.
        ExchangeUnavailable: REST does not answer.
        StoreUnavailable: Kafka does not accept or acknowledge records.
    """
    check_market(wanted.market)
    check_given_symbol(wanted.symbol)
    writer = open_writer(settings, market=wanted.market, writer=BACKFILL, follows_gaps=False)
    before = writer.reader.ends(TRADES)
    try:
        done = asyncio.run(_fetch(settings, writer, wanted, rest_url, progress))
    finally:
        writer.save(is_closed=True)
        writer.outbox.flush()
        after = writer.reader.ends(TRADES)
        writer.reader.close()
    written = {int(part): (before[part], end) for part, end in after.items() if end > before[part]}
    return BackfillResult(wanted.market, done, written)


async def _fetch(
    settings: Settings, writer: Writer, wanted: TradeRange, rest_url: str | None, progress: Progress
) -> BackfilledRange:
    async with httpx.AsyncClient() as http:
        await claim_market(settings, writer, http, rest_url)
        rest = RestClient(http, rest_url or settings.exchange_rest_url, wanted.market, clock=time.time)
        info = await rest.exchange_info()  # sets the client's request limit, and carries the contract sizes
        if wrong_size := info.wrong_sizes().get(wanted.symbol):
            raise ConfigurationError(wrong_size, next_command="tickhouse backfill")
        ids = await id_range(
            rest, wanted.symbol,
            from_id=wanted.from_id, to_id=wanted.to_id, from_us=wanted.from_us, to_us=wanted.to_us,
        )  # fmt: skip
        total = ids[1] - ids[0] + 1
        progress(0, total)
        with stop_flag() as is_stopped:
            return await fetch_ids(
                writer, rest, wanted.symbol, ids,
                progress=lambda done, _: progress(done, total), is_stopped=is_stopped,
            )  # fmt: skip
