"""Pages of candles and volatility at a commit of the lake, through the analysts' reader."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Any, Final, Generic, TypeVar

from api.answers import decimal_text, page, utc_text
from api.candles import CandlePage, cursor_of
from api.parameters import FIRST, LAST
from api.stores import BlockingReads
from schemas.contracts import size_of, vwap
from tickhouse.read.lake_at_commit import LakeAtCommit, open_lake
from tickhouse.read.lake_tables import INTERVALS, LakeTable, TimeSpan, candle_table, named_table
from tickhouse.read.table_scan import SymbolFilter, Wanted, days_of, read_rows

# A branch is asked for its commit again this long after.
KEPT_S: Final = 2.0
MOST_KEPT: Final = 256
_DAY: Final = timedelta(days=1)
_COMMIT: Final = re.compile("[0-9a-f]{64}")
_COLUMNS: Final = (
    *("open_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap", "trades", "taker_buy_volume"),
)
_SUMMED: Final = ("volume", "quote_volume", "trades", "taker_buy_volume")
# Intervals that the lake does not have, and the one that they are made of.
PARTS_OF: Final = {"15m": "5m"}
_EXACT: Final = Context(prec=100)
K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values of the last keys that were asked for."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._values: OrderedDict[K, V] = OrderedDict()
        self._most = most

    def get(self, key: K) -> V | None:
        """Return a value; None when it is not kept."""
        return self._values.get(key)

    def put(self, key: K, value: V) -> V:
        """Keep a value, and forget the oldest one."""
        self._values[key] = value
        if len(self._values) > self._most:
            self._values.popitem(last=False)
        return value


class Lake:
    """The lake at its commits. A commit never changes, so what is read of it is kept."""

    def __init__(self, reads: BlockingReads, resolve: Callable[[str], LakeAtCommit] = open_lake) -> None:
        self._reads = reads
        self._resolve = resolve
        self._commits: Recent[str, tuple[float, LakeAtCommit]] = Recent()
        self._days: Recent[tuple[str, str], list[date]] = Recent()

    async def at(self, ref: str) -> LakeAtCommit:
        """Return the lake at the commit of a reference.

        Raises:
            UnknownName: There is no such reference.
            StoreUnavailable: The lake does not answer.
        """
        kept = self._commits.get(ref)
        if kept is not None and (_COMMIT.fullmatch(ref) or time.monotonic() - kept[0] < KEPT_S):
            return kept[1]
        lake = await self._reads.run(lambda: self._resolve(ref))
        return self._commits.put(ref, (time.monotonic(), lake))[1]

    async def candles(self, lake: LakeAtCommit, wanted: CandlePage) -> dict[str, Any]:
        """Return a page of candles.

        Raises:
            ConfigurationError: The lake has no such interval.
            UnknownName: The symbol has no candle on the days of the page.
            StoreUnavailable: The lake does not answer.
        """
        days = await self._days_of(lake, table_of(wanted.interval))
        if wanted.first is None:
            return page(await self._newest(lake, wanted, days))
        span = lake_span(wanted, wanted.first, days)
        if span is None:
            return page([])
        bars = await self._bars(lake, wanted, span)
        if not bars and span.following is not None:
            # Before its first trade a symbol has no candles; look at the rest of the day at once.
            span = rest_of_day(wanted, span, days)
            bars = await self._bars(lake, wanted, span)
        following = bars[wanted.limit]["open_time"] if len(bars) > wanted.limit else span.following
        return page(bars[: wanted.limit], None if following is None else cursor_of(_moment(following)))

    async def _newest(self, lake: LakeAtCommit, wanted: CandlePage, days: list[date]) -> list[dict[str, Any]]:
        """Return the candles of the newest intervals; a day may end before midnight."""
        end = wanted.start_of(wanted.end or LAST)
        newest = max((day for day in days if midnight(day) < end), default=None)
        if newest is None:
            return []
        start = midnight(newest)
        bars = await self._bars(lake, wanted, LakeSpan(TimeSpan(start, min(end, start + _DAY)), None))
        if not bars or len(bars) >= wanted.limit:
            return bars[-wanted.limit :]
        until = _moment(bars[-1]["open_time"]) + wanted.length
        return await self._bars(lake, wanted, LakeSpan(TimeSpan(until - wanted.limit * wanted.length, until), None))

    async def _bars(self, lake: LakeAtCommit, wanted: CandlePage, span: LakeSpan) -> list[dict[str, Any]]:
        of = SymbolFilter(wanted.market, wanted.symbol)
        asked = Wanted(table_of(wanted.interval), span.span, of, _COLUMNS, skip_missing_days=True)
        rows = (await self._reads.run(lambda: read_rows(lake, asked))).arrow().to_pylist()
        if wanted.interval not in INTERVALS:
            rows = combined(rows, wanted)
        return [{**_texts(row), "is_closed": True} for row in rows]

    async def volatility(self, lake: LakeAtCommit, wanted: SymbolFilter | None) -> list[dict[str, Any]]:
        """Return the volatility of each symbol on the newest day.

        Raises:
            UnknownName: The symbol is not there.
            StoreUnavailable: The lake does not answer.
        """
        table = named_table("volatility")
        days = await self._days_of(lake, table)
        if not days:
            return []
        start = midnight(days[-1])
        asked = Wanted(table, TimeSpan(start, start + _DAY), wanted, VOLATILITY)
        return [_texts(row) for row in (await self._reads.run(lambda: read_rows(lake, asked))).arrow().to_pylist()]

    async def _days_of(self, lake: LakeAtCommit, table: LakeTable) -> list[date]:
        key = (lake.commit_id, table.folder)
        kept = self._days.get(key)
        if kept is None:
            kept = self._days.put(key, await self._reads.run(lambda: days_of(lake, table)))
        return kept


VOLATILITY: Final = ("market", "symbol", "open_time", "returns", "variance", "volatility", "span")


def table_of(interval: str) -> LakeTable:
    """Return the table from which the candles of an interval are read (pure)."""
    return candle_table(interval if interval in INTERVALS else PARTS_OF[interval])


def combined(rows: list[dict[str, Any]], wanted: CandlePage) -> list[dict[str, Any]]:
    """Return candles of an interval that the lake does not have, from shorter ones (pure).

    A silent part has the prices of the candle before it; it counts only where all parts are silent.
    """
    by_start: dict[datetime, list[dict[str, Any]]] = {}
    for row in rows:
        by_start.setdefault(row["open_time"] - (row["open_time"] - FIRST) % wanted.length, []).append(row)
    size = size_of(wanted.market, wanted.symbol)
    return [_combined(start, parts, size) for start, parts in by_start.items()]


def _combined(start: datetime, parts: list[dict[str, Any]], size: int | None) -> dict[str, Any]:
    traded = [part for part in parts if part["trades"]] or parts[:1]
    with localcontext(_EXACT):
        sums = {name: sum(part[name] for part in traded[1:]) + traded[0][name] for name in _SUMMED}
    prices = {
        "open": traded[0]["open"],
        "high": max(part["high"] for part in traded),
        "low": min(part["low"] for part in traded),
        "close": traded[-1]["close"],
    }
    row = {"open_time": start, **prices, **sums, "vwap": vwap(sums["volume"], sums["quote_volume"], size)}
    return {name: row[name] for name in _COLUMNS}


@dataclass(frozen=True, slots=True)
class LakeSpan:
    """The times of a page, and the first time of the next page, if there is one."""

    span: TimeSpan
    following: datetime | None


def lake_span(wanted: CandlePage, start: datetime, days: list[date]) -> LakeSpan | None:
    """Return the times of a page; None when the lake has no day of it (pure).

    The lake has a candle for every interval of a day, so that a page of `limit` intervals is known
    before it is read. Days that the lake does not have are skipped.

    Args:
        wanted: The page.
        start: Its first time.
        days: The days of the table, sorted.
    """
    end = wanted.start_of(wanted.end or LAST)
    first = _skip_missing(wanted.start_of(start), days)
    if first is None or first >= end:
        return None
    until = min(end, first + wanted.limit * wanted.length)
    following = _skip_missing(until, days)
    return LakeSpan(TimeSpan(first, until), following if following is not None and following < end else None)


def rest_of_day(wanted: CandlePage, span: LakeSpan, days: list[date]) -> LakeSpan:
    """Return a page from the start of another one to the end of its day (pure)."""
    end = wanted.start_of(wanted.end or LAST)
    until = min(end, midnight(span.span.start.date()) + _DAY)
    following = _skip_missing(until, days)
    return LakeSpan(TimeSpan(span.span.start, until), following if following is not None and following < end else None)


def _skip_missing(moment: datetime, days: list[date]) -> datetime | None:
    """Return the first time, not before `moment`, on one of the days (pure)."""
    following = next((day for day in days if midnight(day) + _DAY > moment), None)
    return None if following is None else max(moment, midnight(following))


def _moment(value: str | datetime) -> datetime:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def midnight(day: date) -> datetime:
    """Return the start of a UTC day (pure)."""
    return max(datetime(day.year, day.month, day.day, tzinfo=UTC), FIRST)


def _texts(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _text(value) for name, value in row.items()}


def _text(value: object) -> object:
    if isinstance(value, Decimal):
        return decimal_text(value)
    return utc_text(value) if isinstance(value, datetime) else value
