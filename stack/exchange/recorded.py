"""Plays recorded captures: the frames as they came, and REST answers from the same records.

Frames are played in the order received, at the running maximum of their event times: the receiver's clock may be
seconds off (1.2 s in the shared hft captures), and a frame without a time belongs to the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from stack.exchange.captures import Recording, read_capture
from stack.exchange.columns import (
    NORMAL,
    OUT_OF_RANGE,
    SENTINEL,
    Columns,
    Int64s,
    MarketName,
    SymbolSpec,
    decimals_of,
    fixed,
    to_units,
)
from stack.exchange.config import Capture
from stack.exchange.query import MICROSECONDS_FROM
from stack.exchange.tape import Frame
from tickhouse.errors import ConfigurationError

# The quote assets that the shared captures and exchangeInfo of 2021 know, longest first where one ends another.
QUOTES = ("FDUSD", "USDT", "USDC", "BUSD", "TUSD", "BTC", "ETH", "BNB", "EUR", "TRY", "IDR")

_TIMES = re.compile(r'"([ET])":(\d{13}(?:\d{3})?)\b')


class Record(NamedTuple):
    """One trade of a capture, as text where it matters."""

    trade_id: int
    price: str
    qty: str
    first: int
    last: int
    time_us: int
    maker: bool


@dataclass(frozen=True)
class RecordedTape:
    """Plays recordings.

    Args:
        market: spot or usdm.
        recordings: In playing order.
        times: Playing time of each.
        ordinals: Nth trade of the tape, -1 for what is no trade.
        tables: Columns by (symbol, stream kind).
        known: The symbols, in the order seen.
    """

    market: MarketName
    recordings: list[Recording]
    times: Int64s
    ordinals: list[int]
    trade_times: Int64s
    tables: dict[tuple[str, str], Columns]
    known: dict[str, SymbolSpec]

    @classmethod
    def load(cls, capture: Capture) -> RecordedTape:
        """Read every file of a capture.

        Raises:
            ConfigurationError: A file is missing, of no known format, or has no trade; or its times step back.
        """
        timed = [pair for path in capture.files for pair in _timed(read_capture(path, capture.market, capture.symbol))]
        timed.sort(key=lambda pair: pair[0])
        recordings = [recording for _, recording in timed]
        trades = [is_trade(one) for one in recordings]
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
        """Return every symbol with a trade in the capture, whatever the moment."""
        return list(self.known.values())

    def agg_trades(self, symbol: str) -> Columns | None:
        """Return the aggregate trades of a symbol; none where only single trades were recorded."""
        return self._table(symbol, "aggTrade")

    def single_trades(self, symbol: str) -> Columns | None:
        """Return the single trades of a symbol; none where only aggregates were recorded."""
        return self._table(symbol, "trade")

    def time_of(self, event: int) -> int:
        """Return the playing time of the nth trade."""
        return int(self.trade_times[min(event, len(self.trade_times) - 1)])

    def count_until(self, until_us: int) -> int:
        """Return how many trade frames are played up to a moment."""
        return int(np.searchsorted(self.trade_times, until_us, side="right"))

    def starting_at(self, start_us: int) -> RecordedTape:
        """Refuse: frames are played as they came.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError(f"Expected no live_times with a capture, was a move to {start_us}.")

    def play(self, after_us: int, until_us: int, wanted: Collection[str], unit: int, sent_us: int) -> list[Frame]:
        """Return the frames in (after_us, until_us]; times are rewritten only where the unit asked for differs."""
        low, high = (int(np.searchsorted(self.times, at, side="right")) for at in (after_us, until_us))
        return [
            Frame(one.stream, in_unit(one.data, unit), self.ordinals[at])
            for at, one in enumerate(self.recordings[low:high], start=low)
            if one.stream in wanted
        ]

    def _table(self, symbol: str, kind: str) -> Columns | None:
        if symbol not in self.known:
            return None
        found = self.tables.get((symbol, kind))
        return _columns([], self.known[symbol]) if found is None else found


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
    for one in recordings:
        stamp = one.event.get("E")
        if isinstance(stamp, int):
            now_us = max(now_us, micros(stamp))
        timed.append((now_us, one))
    first_us = next((at for at, _ in timed if at), 0)
    return [(at or first_us, one) for at, one in timed]


def micros(time: int) -> int:
    """Return a time of 13 or 16 digits in microseconds."""
    return time if time >= MICROSECONDS_FROM else time * 1_000


def _tables(recordings: Iterable[Recording], market: MarketName) -> dict[tuple[str, str], Columns]:
    records: dict[tuple[str, str], dict[int, Record]] = {}
    for one in filter(is_trade, recordings):
        record = _record(one.event)
        # The first of two records of one id counts; a capture may hold repeats, even contradicting ones.
        records.setdefault((one.event["s"], one.event["e"]), {}).setdefault(record.trade_id, record)
    tables = {}
    for (symbol, kind), by_id in records.items():
        rows = [by_id[trade_id] for trade_id in sorted(by_id)]
        if any(later.time_us < earlier.time_us for earlier, later in pairwise(rows)):
            raise ConfigurationError(f"Times of {symbol} {kind} step back as ids grow.", safe="Nothing was started.")
        tables[symbol, kind] = _columns(rows, _spec(symbol, rows, market))
    return tables


def _record(event: dict[str, Any]) -> Record:
    trade_id = event["a"] if event["e"] == "aggTrade" else event["t"]
    first, last = event.get("f", trade_id), event.get("l", trade_id)
    return Record(trade_id, event["p"], event["q"], first, last, micros(event["T"]), bool(event["m"]))


def _spec(symbol: str, rows: list[Record], market: MarketName) -> SymbolSpec:
    quote = next((q for q in QUOTES if symbol.endswith(q) and symbol != q), "")
    texts = ([r.price for r in rows], [r.qty for r in rows])
    # USD-M prints the decimals of the symbol, zeros included, so there the records show the steps.
    printed = (lambda text: len(text.partition(".")[2])) if market == "usdm" else decimals_of
    places = [min(8, max(map(printed, column))) for column in texts]
    tick, step = (f"0.{'1'.zfill(n)}" if n else "1" for n in places)
    return SymbolSpec(symbol, symbol.removesuffix(quote), quote, rows[0].price, tick, step, 1, 1, market)


def _columns(rows: list[Record], spec: SymbolSpec) -> Columns:
    parsed = [(_units(r.price), _units(r.qty)) for r in rows]
    special = {}
    for at, (row, (price, qty)) in enumerate(zip(rows, parsed, strict=True)):
        plain = (fixed(price or 0, spec.price_decimals), fixed(qty or 0, spec.qty_decimals))
        if plain != (row.price, row.qty):
            special[at] = (row.price, row.qty)

    def whole(values: list[int]) -> Int64s:
        return np.array(values, dtype=np.int64)

    return Columns(
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
