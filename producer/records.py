"""REST objects and CSV lines to trades.

Sources: binance-spot-api-docs `rest-api.md` (aggTrades, trades, historicalTrades) and binance-public-data's README
(archive CSV: spot 8 columns, futures 7, single trades 6 or 7).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from producer.decimals import plain, unscaled
from producer.events import Identity, Trade, micros
from producer.frames import check_ids, identity
from tickhouse.errors import RejectedRecord

Identify: TypeAlias = Callable[[bytes], tuple[str, Identity | None]]
ParseTrade: TypeAlias = Callable[[str], Trade]


class _RestAggTrade(msgspec.Struct, gc=False):
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741
    T: int
    m: bool


class _RestTrade(msgspec.Struct, gc=False):
    id: int
    price: str
    qty: str
    time: int
    isBuyerMaker: bool


class Layout(msgspec.Struct, frozen=True):
    """Column numbers of one sort of CSV file; `first` and `last` are `id` for single trades."""

    name: str
    stream: str
    columns: int
    id: int
    price: int
    qty: int
    first: int
    last: int
    time: int
    maker: int
    # The capture of one project writes these as well.
    event_time: int | None = None
    symbol: int | None = None
    received: int | None = None


SPOT_AGG = Layout("archive aggTrades, spot", "aggTrade", 8, id=0, price=1, qty=2, first=3, last=4, time=5, maker=6)
FUT_AGG = Layout("archive aggTrades, futures", "aggTrade", 7, id=0, price=1, qty=2, first=3, last=4, time=5, maker=6)
SPOT_TRADES = Layout("archive trades, spot", "trade", 7, id=0, price=1, qty=2, first=0, last=0, time=4, maker=5)
FUT_TRADES = Layout("archive trades, futures", "trade", 6, id=0, price=1, qty=2, first=0, last=0, time=4, maker=5)
CAPTURE_TRADES = Layout(
    "trade frames as CSV", "trade", 11, id=6, price=7, qty=8, first=6, last=6, time=4, maker=9, event_time=3, symbol=5,
    received=0,
)  # fmt: skip

_BOOLEANS: Final = {"True": True, "true": True, "1": True, "False": False, "false": False, "0": False}
MAX_DIGITS: Final = 19  # 2^63 has 19 digits; int() of more is slow on purpose made input


def rest_agg_trade(symbol: str) -> ParseTrade:
    """Return the parser of one aggTrades object of `symbol`; the event time is the trade time, REST has no other."""
    decode = msgspec.json.Decoder(_RestAggTrade).decode

    def parse(text: str) -> Trade:
        item = _typed(decode, text)
        check_ids(item.a, item.f, item.l)
        time_us = micros(item.T)
        side = "SELL" if item.m else "BUY"
        price, qty = unscaled(item.p), unscaled(item.q)
        return Trade("aggTrade", symbol, item.a, item.f, item.l, price, qty, side, time_us, time_us)

    return parse


def rest_trade(symbol: str) -> ParseTrade:
    """Return the parser of one trades or historicalTrades object of `symbol`."""
    decode = msgspec.json.Decoder(_RestTrade).decode

    def parse(text: str) -> Trade:
        item = _typed(decode, text)
        check_ids(item.id, item.id, item.id)
        time_us = micros(item.time)
        side = "SELL" if item.isBuyerMaker else "BUY"
        return Trade(
            "trade", symbol, item.id, item.id, item.id, unscaled(item.price), unscaled(item.qty), side, time_us, time_us
        )

    return parse


def _typed(decode: Callable[[str], Any], text: str) -> Any:  # one of the two structs above
    try:
        return decode(text)
    except msgspec.ValidationError as error:
        if "got `array`" in str(error):
            raise RejectedRecord("not_an_object", str(error)) from error
        missing = "missing required field" in str(error)
        raise RejectedRecord("missing_field" if missing else "wrong_type", str(error)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        reason = "truncated" if text.strip() and "truncated" in str(error) else "invalid_json"
        raise RejectedRecord(reason, str(error)) from error


def identify_rest(stream: str, symbol: str) -> Identify:
    """Return what reads the identity of a rejected REST object."""
    field = "a" if stream == "aggTrade" else "id"

    def read(raw: bytes) -> tuple[str, Identity | None]:
        try:
            item = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return "", None
        return "", identity(stream, symbol, item.get(field)) if isinstance(item, dict) else None

    return read


def csv_line(layout: Layout, symbol: str) -> ParseTrade:
    """Return the parser of one CSV line of `layout`; `symbol` is used where the line has none."""

    def parse(text: str) -> Trade:
        cells = text.split(",")
        if len(cells) != layout.columns:
            raise RejectedRecord("missing_field", f"Expected {layout.columns} columns, was {len(cells)}")
        number, first, last = (_integer(cells[at], "bad_id") for at in (layout.id, layout.first, layout.last))
        check_ids(number, first, last)
        trade_us = micros(_integer(cells[layout.time], "bad_time"))
        event_us = trade_us if layout.event_time is None else micros(_integer(cells[layout.event_time], "bad_time"))
        name = symbol if layout.symbol is None else cells[layout.symbol]
        price, qty = _number(cells[layout.price], layout), _number(cells[layout.qty], layout)
        return Trade(
            layout.stream, name, number, first, last, price, qty, _side(cells[layout.maker]), event_us, trade_us
        )

    return parse


def _number(text: str, layout: Layout) -> bytes:
    # Only the pandas capture may hold exponents; the exchange never writes one.
    return unscaled(plain(text) if layout is CAPTURE_TRADES else text)


def _side(text: str) -> str:
    is_maker = _BOOLEANS.get(text)
    if is_maker is None:
        raise RejectedRecord("wrong_type", f"Expected true or false, was {text[:80]!r}")
    return "SELL" if is_maker else "BUY"


def _integer(text: str, reason: str) -> int:
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
        raise RejectedRecord(reason, f"Expected an integer of at most {MAX_DIGITS} digits, was {text[:80]!r}")
    return int(text)


def identify_csv(layout: Layout, symbol: str) -> Identify:
    """Return what reads the identity of a rejected CSV line."""

    def read(raw: bytes) -> tuple[str, Identity | None]:
        cells = raw.decode(errors="replace").split(",")
        name = symbol if layout.symbol is None else (cells[layout.symbol] if len(cells) > layout.symbol else "")
        text = cells[layout.id] if len(cells) > layout.id else ""
        try:
            return "", identity(layout.stream, name, _integer(text, "bad_id"))
        except RejectedRecord:
            return "", None

    return read
