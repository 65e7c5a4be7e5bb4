"""Play recorded captures: the frames unchanged, and REST responses from the same trades.

Frames are played in the order in which they were received, at the running maximum of their event
times. The receiver's clock is not used, because it may be seconds off (1.2 s in the hftbacktest
captures). A frame without a time has the time of the frame before it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from common.errors import ConfigurationError
from standins.exchange.captures import Recording, read_capture
from standins.exchange.config import Capture
from standins.exchange.frame_source import PlayedFrame
from standins.exchange.rest_parameters import MICROSECONDS_FROM
from standins.exchange.trade_columns import (
    NORMAL,
    OUT_OF_RANGE,
    SENTINEL,
    Int64s,
    MarketName,
    SymbolSpec,
    TradeColumns,
    decimals_of,
    fixed,
    to_units,
)

# The quote assets of the captures and of exchangeInfo of 2021. Where one ends with another, the
# longer one comes first.
QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "IDR")

_TIMES = re.compile(r'"([ET])":(\d{13}(?:\d{3})?)\b')


class RecordedTrade(NamedTuple):
    """One trade of a capture; price and quantity are the recorded text."""

    trade_id: int
    price: str
    qty: str
    first: int
    last: int
    time_us: int
    maker: bool


@dataclass(frozen=True)
class RecordedSource:
    """Plays recordings.

    Args:
        market: spot or usdm.
        recordings: In playing order.
        times: The time at which each is played.
        ordinals: The number of each trade, -1 for other frames.
        tables: Columns by (symbol, stream kind).
        known: The symbols, in the order seen.
    """

    market: MarketName
    recordings: list[Recording]
    times: Int64s
    ordinals: list[int]
    trade_times: Int64s
    tables: dict[tuple[str, str], TradeColumns]
    known: dict[str, SymbolSpec]

    @classmethod
    def load(cls, capture: Capture) -> RecordedSource:
        """Read every file of a capture.

        Raises:
            ConfigurationError: A file is missing, of no known format, or has no trade; or its times
                step back.
        """
        timed = [pair for path in capture.files for pair in _timed(read_capture(path, capture.market, capture.symbol))]
        timed.sort(key=lambda pair: pair[0])
        recordings = [recording for _, recording in timed]
        trades = [is_trade(item) for item in recordings]
        if not any(trades):
            names = ", ".join(map(str, capture.files))
            raise ConfigurationError(f"No trade is in {names}.", safe="Nothing was started.")
        times = np.array([at for at, _ in timed], dtype=np.int64)
        places = np.where(trades, np.cumsum(trades) - 1, -1).tolist()
        tables = _tables(recordings, capture.market)
        known = {symbol: table.spec for (symbol, _), table in tables.items()}
        return cls(capture.market, recordings, times, places, times[np.array(trades)], tables, known)

    @property
    def start_us(self) -> int:
        """Return the event time of the first frame."""
        return int(self.times[0])

    @property
    def end_us(self) -> int:
        """Return the event time of the last frame."""
        return int(self.times[-1])

    def specs(self, now_us: int) -> list[SymbolSpec]:
        """Return every symbol with a trade in the capture, at any moment."""
        return list(self.known.values())

    def agg_trades(self, symbol: str) -> TradeColumns | None:
        """Return the aggregate trades of a symbol; empty when only single trades were recorded."""
        return self._table(symbol, "aggTrade")

    def single_trades(self, symbol: str) -> TradeColumns | None:
        """Return the single trades of a symbol; empty when only aggregates were recorded."""
        return self._table(symbol, "trade")

    def time_of(self, event: int) -> int:
        """Return the playing time of the nth trade."""
        return int(self.trade_times[min(event, len(self.trade_times) - 1)])

    def count_until(self, until_us: int) -> int:
        """Return how many trade frames are played up to a moment."""
        return int(np.searchsorted(self.trade_times, until_us, side="right"))

    def starting_at(self, start_us: int) -> RecordedSource:
        """Refuse: the frames of a capture are played unchanged.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(
            f"A capture cannot move to another start ({start_us}): live_times needs a synthetic market."
        )

    def play(self, after_us: int, until_us: int, wanted: Collection[str], unit: int, sent_us: int) -> list[PlayedFrame]:
        """Return the frames in (after_us, until_us], with their times in the given unit."""
        low, high = (int(np.searchsorted(self.times, at, side="right")) for at in (after_us, until_us))
        return [
            PlayedFrame(recording.stream, in_unit(recording.data, unit), self.ordinals[at])
            for at, recording in enumerate(self.recordings[low:high], start=low)
            if recording.stream in wanted
        ]

    def _table(self, symbol: str, kind: str) -> TradeColumns | None:
        if symbol not in self.known:
            return None
        table = self.tables.get((symbol, kind))
        return _columns([], self.known[symbol]) if table is None else table


def in_unit(data: str, unit: int) -> str:
    """Return an event with E and T in milliseconds (unit 1,000) or microseconds (unit 1)."""

    def rewritten(match: re.Match[str]) -> str:
        name, digits = match.groups()
        if unit == 1:
            return f'"{name}":{digits}' if len(digits) == 16 else f'"{name}":{digits}000'
        return f'"{name}":{digits[:13]}'

    return _TIMES.sub(rewritten, data)


def is_trade(recording: Recording) -> bool:
    """Return whether a recording is of a trade stream."""
    return recording.event.get("e") in ("aggTrade", "trade")


def _timed(recordings: Iterable[Recording]) -> list[tuple[int, Recording]]:
    now_us, timed = 0, []
    for recording in recordings:
        stamp = recording.event.get("E")
        if isinstance(stamp, int):
            now_us = max(now_us, micros(stamp))
        timed.append((now_us, recording))
    first_us = next((at for at, _ in timed if at), 0)
    return [(at or first_us, recording) for at, recording in timed]


def micros(time: int) -> int:
    """Return a time of 13 or 16 digits in microseconds."""
    return time if time >= MICROSECONDS_FROM else time * 1_000


def _tables(recordings: Iterable[Recording], market: MarketName) -> dict[tuple[str, str], TradeColumns]:
    records: dict[tuple[str, str], dict[int, RecordedTrade]] = {}
    for recording in filter(is_trade, recordings):
        record = _record(recording.event)
        # A capture may contain an id twice, even with other values; the first record counts.
        records.setdefault((recording.event["s"], recording.event["e"]), {}).setdefault(record.trade_id, record)
    tables = {}
    for (symbol, kind), by_id in records.items():
        rows = [by_id[trade_id] for trade_id in sorted(by_id)]
        if any(later.time_us < earlier.time_us for earlier, later in pairwise(rows)):
            raise ConfigurationError(
                f"The times of {symbol} {kind} step back while its ids grow.", safe="Nothing was started."
            )
        tables[symbol, kind] = _columns(rows, _spec(symbol, rows, market))
    return tables


def _record(event: dict[str, Any]) -> RecordedTrade:
    trade_id = event["a"] if event["e"] == "aggTrade" else event["t"]
    first, last = event.get("f", trade_id), event.get("l", trade_id)
    return RecordedTrade(trade_id, event["p"], event["q"], first, last, micros(event["T"]), bool(event["m"]))


def _spec(symbol: str, rows: list[RecordedTrade], market: MarketName) -> SymbolSpec:
    quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), "")
    texts = ([r.price for r in rows], [r.qty for r in rows])
    # USD-M prints exactly the decimals of the symbol, including zeros, so the text shows the step.
    printed = (lambda text: len(text.partition(".")[2])) if market == "usdm" else decimals_of
    places = [min(8, max(map(printed, column))) for column in texts]
    tick, step = (f"0.{'1'.zfill(n)}" if n else "1" for n in places)
    return SymbolSpec(symbol, symbol.removesuffix(quote), quote, rows[0].price, tick, step, 1, 1, market)


def _columns(rows: list[RecordedTrade], spec: SymbolSpec) -> TradeColumns:
    parsed = [(_units(r.price), _units(r.qty)) for r in rows]
    special = {}
    for at, (row, (price, qty)) in enumerate(zip(rows, parsed, strict=True)):
        plain = (fixed(price or 0, spec.price_decimals), fixed(qty or 0, spec.qty_decimals))
        if plain != (row.price, row.qty):
            special[at] = (row.price, row.qty)

    def whole(values: list[int]) -> Int64s:
        return np.array(values, dtype=np.int64)

    return TradeColumns(
        spec=spec,
        ids=whole([r.trade_id for r in rows]),
        t_us=whole([r.time_us for r in rows]),
        price=whole([p or 0 for p, _ in parsed]),
        qty=whole([q or 0 for _, q in parsed]),
        first=whole([r.first for r in rows]),
        last=whole([r.last for r in rows]),
        maker=np.array([r.maker for r in rows], dtype=np.bool_),
        flags=np.array([_flag(p, q) for p, q in parsed], dtype=np.int8),
        special=special,
    )


def _units(text: str) -> int | None:
    try:
        return to_units(text)
    except ValueError:
        return None


def _flag(price: int | None, qty: int | None) -> int:
    if price is None or qty is None:
        return OUT_OF_RANGE
    return NORMAL if price > 0 and qty > 0 else SENTINEL
