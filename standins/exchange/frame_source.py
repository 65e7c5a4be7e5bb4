"""Frame sources: each yields frames in event order, and the trades for REST responses."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from common.symbols import in_stream_name
from standins.exchange import frames
from standins.exchange.klines import bar_of, day_of, flat_bar, floor_to
from standins.exchange.synthetic_market import MINUTE, MS, SyntheticMarket
from standins.exchange.trade_columns import Int64s, MarketName, SymbolSpec, TradeColumns, single_counts, singles_of

# Binance sends a closed kline a few milliseconds after its minute (in the captures, E is 4 ms
# later).
KLINE_DELAY_US = 4 * MS


class PlayedFrame(NamedTuple):
    """One event of one stream; `ordinal` is the number of the trade, -1 for other events."""

    stream: str
    data: str
    ordinal: int


class FrameSource(Protocol):
    """A market that can be played.

    `play` returns, in order, the frames of the wanted streams with an event time in
    (after_us, until_us]. `unit` is 1 for microseconds and 1,000 for milliseconds. `sent_us` is the
    wall clock to use as event time; 0 means the source's own event time.
    """

    @property
    def market(self) -> MarketName: ...  # noqa: D102
    @property
    def start_us(self) -> int: ...  # noqa: D102
    @property
    def end_us(self) -> int: ...  # noqa: D102
    def specs(self, now_us: int) -> list[SymbolSpec]: ...  # noqa: D102
    def agg_trades(self, symbol: str) -> TradeColumns | None: ...  # noqa: D102
    def single_trades(self, symbol: str) -> TradeColumns | None: ...  # noqa: D102
    def time_of(self, event: int) -> int: ...  # noqa: D102
    def count_until(self, until_us: int) -> int: ...  # noqa: D102
    def play(  # noqa: D102
        self, after_us: int, until_us: int, wanted: Collection[str], unit: int, sent_us: int
    ) -> list[PlayedFrame]: ...
    def starting_at(self, start_us: int) -> FrameSource: ...  # noqa: D102


@dataclass(frozen=True)
class _Timeline:
    """Every trade of the market in global time order, as columns of equal length."""

    time: Int64s
    symbol: Int64s
    row: Int64s
    ids: Int64s
    price: Int64s
    qty: Int64s
    first: Int64s
    last: Int64s
    maker: Int64s
    normal_row: Int64s


@dataclass(frozen=True)
class SyntheticSource:
    """Plays a synthetic market."""

    built: SyntheticMarket
    _singles: dict[str, TradeColumns] = field(default_factory=dict)

    @property
    def market(self) -> MarketName:
        """Return spot or usdm."""
        return self.built.config.market

    @property
    def start_us(self) -> int:
        """Return the event time before the first trade."""
        return self.built.config.start_us

    @property
    def end_us(self) -> int:
        """Return the event time at the end of the run."""
        return self.built.config.end_us

    def specs(self, now_us: int) -> list[SymbolSpec]:
        """Return the symbols listed at a moment."""
        listed = self.built.config.listed_us()
        return [t.spec for name, t in self.built.tables.items() if listed.get(name, 0) <= now_us]

    def agg_trades(self, symbol: str) -> TradeColumns | None:
        """Return the aggregate trades of a symbol."""
        return self.built.tables.get(symbol)

    def single_trades(self, symbol: str) -> TradeColumns | None:
        """Return the single trades of a symbol."""
        if symbol not in self._singles and symbol in self.built.tables:
            self._singles[symbol] = singles_of(self.built.tables[symbol])
        return self._singles.get(symbol)

    def time_of(self, event: int) -> int:
        """Return the event time of the nth trade."""
        return int(self._timeline.time[min(event, len(self._timeline.time) - 1)])

    def count_until(self, until_us: int) -> int:
        """Return how many trades are played up to a moment."""
        return int(np.searchsorted(self._timeline.time, until_us, side="right"))

    def starting_at(self, start_us: int) -> SyntheticSource:
        """Return the same market moved in time."""
        return SyntheticSource(self.built.starting_at(start_us))

    def play(self, after_us: int, until_us: int, wanted: Collection[str], unit: int, sent_us: int) -> list[PlayedFrame]:
        """Return the frames in (after_us, until_us]; see `FrameSource`."""
        every_us = self.built.config.ticker_interval_ms * MS
        found: list[PlayedFrame] = []
        for low, high in pairwise(_boundaries(self.start_us, every_us, after_us, until_us)):
            found += self._trades(low, high, wanted, unit, sent_us)
            if (high - self.start_us) % every_us == 0:
                found += self._tickers(high - every_us, high, wanted, unit)
            if high % MINUTE == KLINE_DELAY_US:
                found += self._klines(high, wanted, unit)
        return found

    @cached_property
    def _tables(self) -> list[TradeColumns]:
        return list(self.built.tables.values())

    @cached_property
    def _timeline(self) -> _Timeline:
        time, symbol, row = self.built.order
        starts = np.cumsum([0] + [len(t) for t in self._tables])
        at = starts[symbol] + row

        def gathered(columns: list[Int64s]) -> Int64s:
            return np.asarray(np.concatenate(columns)[at], dtype=np.int64)

        normal = [np.where(t.flags == 0, np.cumsum(t.flags == 0) - 1, -1) for t in self._tables]
        names = ("ids", "price", "qty", "first", "last", "maker")
        columns = {name: gathered([getattr(t, name) for t in self._tables]) for name in names}
        return _Timeline(time, symbol, row, **columns, normal_row=gathered(normal))

    @cached_property
    def _single_starts(self) -> list[Int64s]:
        return [np.cumsum(single_counts(t)) - single_counts(t) for t in self._tables]

    def _trades(
        self, after_us: int, until_us: int, wanted: Collection[str], unit: int, sent_us: int
    ) -> list[PlayedFrame]:
        line = self._timeline
        low, high = (int(np.searchsorted(line.time, at, side="right")) for at in (after_us, until_us))
        plan = [_stream_names(t.spec, wanted) for t in self._tables]
        columns = (line.symbol, line.row, line.ids, line.price, line.qty, line.first, line.last, line.time, line.maker)
        found: list[PlayedFrame] = []
        for nth, (s, row, a, p, q, f, last, time_us, maker) in enumerate(
            zip(*(c[low:high].tolist() for c in columns), strict=True), start=low
        ):
            agg, single, book = plan[s]
            table = self._tables[s]
            event_us = sent_us if sent_us > time_us else time_us
            if agg:
                price, qty = table.special.get(row) or (self._price[s](p), self._qty[s](q))
                values = (a, price, qty, f, last, time_us, bool(maker))
                text = frames.agg_trade(table.spec.symbol, self._is_spot, values, event_us, unit)
                found.append(PlayedFrame(agg, text, nth))
            if single:
                found += [PlayedFrame(single, text, nth) for text in self._single_texts(s, row, event_us, unit)]
            if book and (normal := int(line.normal_row[nth])) >= 0:
                found.append(PlayedFrame(book, frames.book_ticker(table, normal, event_us, unit), -1))
        return found

    @cached_property
    def _is_spot(self) -> bool:
        return self.market == "spot"

    @cached_property
    def _price(self) -> list[frames.Printer]:
        return [frames.printer(t.spec.price_decimals) for t in self._tables]

    @cached_property
    def _qty(self) -> list[frames.Printer]:
        return [frames.printer(t.spec.qty_decimals) for t in self._tables]

    def _single_texts(self, s: int, row: int, event_us: int, unit: int) -> Iterator[str]:
        aggregate = self._tables[s]
        symbol = aggregate.spec.symbol
        table = self.single_trades(symbol)
        if table is None or aggregate.first[row] < 0:
            return
        start = int(self._single_starts[s][row])
        for at in range(start, start + int(aggregate.last[row] - aggregate.first[row]) + 1):
            trade_id, time_us, maker = int(table.ids[at]), int(table.t_us[at]), bool(table.maker[at])
            values = (trade_id, *table.texts(at), trade_id, trade_id, time_us, maker)
            yield frames.single_trade(symbol, self._is_spot, values, event_us, unit)

    def _tickers(self, after_us: int, now_us: int, wanted: Collection[str], unit: int) -> list[PlayedFrame]:
        """Return the ticker frames of the symbols that traded in (after_us, now_us]."""
        found, minis = [], []
        wants_all = frames.ALL_MINI in wanted
        for table in self._tables:
            low = in_stream_name(table.spec.symbol)
            names = [f"{low}@ticker", f"{low}@miniTicker"]
            if not (wants_all or names[0] in wanted or names[1] in wanted) or not has_traded(table, after_us, now_us):
                continue
            if (day := day_of(table, now_us)) is None:
                continue
            if names[0] in wanted:
                found.append(PlayedFrame(names[0], frames.ticker(table, day, now_us, unit), -1))
            if wants_all or names[1] in wanted:
                minis.append(frames.mini_ticker(table, day, now_us, unit))
            if names[1] in wanted:
                found.append(PlayedFrame(names[1], minis[-1], -1))
        if wants_all and minis:
            found.append(PlayedFrame(frames.ALL_MINI, f"[{','.join(minis)}]", -1))
        return found

    def _klines(self, now_us: int, wanted: Collection[str], unit: int) -> list[PlayedFrame]:
        open_us = floor_to(now_us - MINUTE, MINUTE)
        played = []
        for table in self._tables:
            name = f"{in_stream_name(table.spec.symbol)}@kline_1m"
            before = table.normal.until(open_us + MINUTE - 1)
            if name not in wanted or not before:
                continue
            last_price = int(table.normal.price[before - 1])
            bar = bar_of(table, open_us, MINUTE, now_us) or flat_bar(open_us, MINUTE, last_price)
            played.append(PlayedFrame(name, frames.kline(table, bar, "1m", now_us, unit), -1))
        return played


def has_traded(table: TradeColumns, after_us: int, until_us: int) -> bool:
    """Return whether the symbol traded at a valid price in (after_us, until_us]."""
    return table.normal.until(until_us) > table.normal.until(after_us)


def _stream_names(spec: SymbolSpec, wanted: Collection[str]) -> tuple[str, str, str]:
    """Return the names of a symbol's trade streams; an empty name means that nobody subscribed."""
    low = in_stream_name(spec.symbol)
    agg, single, book = (f"{low}@{kind}" for kind in frames.STREAM_KINDS[:3])
    return agg if agg in wanted else "", single if single in wanted else "", book if book in wanted else ""


def _boundaries(start_us: int, every_us: int, after_us: int, until_us: int) -> list[int]:
    """Return the moments at which tickers and klines are due, between after_us and until_us."""
    first = start_us + ((after_us - start_us) // every_us + 1) * every_us
    minute = floor_to(after_us - KLINE_DELAY_US, MINUTE) + MINUTE + KLINE_DELAY_US
    due = {*range(first, until_us + 1, every_us), *range(minute, until_us + 1, MINUTE)}
    return [after_us, *sorted(due | ({until_us} if until_us > after_us else set()))]
