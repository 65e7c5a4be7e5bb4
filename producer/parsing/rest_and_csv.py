"""Parse REST objects and CSV lines into trades.

Sources: binance-spot-api-docs `rest-api.md` (aggTrades, trades, historicalTrades) and
binance-public-data's README (archive CSV: spot 8 columns, futures 7, single trades 6 or 7).
`csv_layouts` finds the columns of a file.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from common.errors import RejectedRecord
from common.symbols import is_symbol
from producer.events import Identity, Trade, micros
from producer.parsing.decimals import plain, unscaled
from producer.parsing.derived_columns import DerivedQuantity
from producer.parsing.frames import check_ids, identity

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


class CsvLayout(msgspec.Struct, frozen=True):
    """Column indexes of one kind of CSV file.

    For single trades, `first` and `last` are equal to `id`.
    """

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
    event_time: int | None = None
    symbol: int | None = None
    received: int | None = None
    # Derived columns: compared, never used.
    quote_qty: int | None = None
    base_qty: int | None = None
    delimiter: str = ","
    has_exponents: bool = False  # of one capture that pandas wrote; the exchange never writes exponents

    def with_delimiter(self, delimiter: str) -> CsvLayout:
        """Return the same columns with another delimiter."""
        return msgspec.structs.replace(self, delimiter=delimiter)


SPOT_AGG = CsvLayout("archive aggTrades, spot", "aggTrade", 8, id=0, price=1, qty=2, first=3, last=4, time=5, maker=6)
FUT_AGG = CsvLayout("archive aggTrades, futures", "aggTrade", 7, id=0, price=1, qty=2, first=3, last=4, time=5, maker=6)
SPOT_TRADES = CsvLayout("archive trades, spot", "trade", 7, id=0, price=1, qty=2, first=0, last=0, time=4, maker=5)
FUT_TRADES = CsvLayout("archive trades, futures", "trade", 6, id=0, price=1, qty=2, first=0, last=0, time=4, maker=5)

# The usual spellings; any other is looked up in lower case.
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "t", "1", "yes", "y"), True),
    **dict.fromkeys(("false", "False", "f", "0", "no", "n"), False),
}
MAX_DIGITS: Final = 19  # 2^63 has 19 digits; int() of very long input would be slow


def rest_agg_trade(symbol: str) -> ParseTrade:
    """Return the parser of aggTrades objects of `symbol`.

    REST has no event time, so the event time is the trade time.
    """
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
    """Return the parser of trades and historicalTrades objects of `symbol`."""
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
    """Return the function that reads the identity of a rejected REST object."""
    field = "a" if stream == "aggTrade" else "id"

    def read(raw: bytes) -> tuple[str, Identity | None]:
        try:
            item = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return "", None
        return "", identity(stream, symbol, item.get(field)) if isinstance(item, dict) else None

    return read


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line without surrounding quotes and blanks.

    Raises:
        RejectedRecord: `wrong_type` when a cell is longer than 128 KiB.
    """
    if '"' not in line:
        cells = line.split(delimiter)
        return [cell.strip(" ") for cell in cells] if " " in line else cells
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error as error:
        raise RejectedRecord("wrong_type", f"Expected cells of numbers: {error}") from error
    return [cell.strip(" ") for cell in row]


def csv_line(layout: CsvLayout, symbol: str, derived: DerivedQuantity | None = None) -> ParseTrade:
    """Return the parser of CSV lines of `layout`.

    Args:
        layout: Its columns.
        symbol: Symbol of every line, when the layout has no symbol column.
        derived: Compares the derived column, when the layout has one.
    """

    def parse(text: str) -> Trade:
        cells = cells_of(text, layout.delimiter)
        if len(cells) != layout.columns:
            raise RejectedRecord("missing_field", f"Expected {layout.columns} columns, was {len(cells)}")
        number, first, last = (_integer(cells[at], "bad_id") for at in (layout.id, layout.first, layout.last))
        check_ids(number, first, last)
        trade_us = micros(_integer(cells[layout.time], "bad_time"))
        event_us = trade_us if layout.event_time is None else micros(_integer(cells[layout.event_time], "bad_time"))
        name = symbol if layout.symbol is None else cells[layout.symbol]
        price, qty = _number(cells[layout.price], layout), _number(cells[layout.qty], layout)
        trade = Trade(
            layout.stream, name, number, first, last, price, qty, _side(cells[layout.maker]), event_us, trade_us
        )
        if derived is not None:
            derived.compare(trade, cells[derived.column])
        return trade

    return parse


def _number(text: str, layout: CsvLayout) -> bytes:
    return unscaled(plain(text) if layout.has_exponents else text)


def is_boolean(text: str) -> bool:
    """Return whether a cell is a boolean in a known spelling."""
    return text.lower() in _BOOLEANS


def _side(text: str) -> str:
    is_maker = _BOOLEANS.get(text)
    if is_maker is None:
        is_maker = _BOOLEANS.get(text.lower())
    if is_maker is None:
        raise RejectedRecord("wrong_type", f"Expected true or false, was {text[:80]!r}")
    return "SELL" if is_maker else "BUY"


def _integer(text: str, reason: str) -> int:
    digits = text[1:] if text.startswith("-") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > MAX_DIGITS:
        raise RejectedRecord(reason, f"Expected an integer of at most {MAX_DIGITS} digits, was {text[:80]!r}")
    return int(text)


def identify_csv(layout: CsvLayout, symbol: str) -> Identify:
    """Return the function that reads the identity of a rejected CSV line."""

    def read(raw: bytes) -> tuple[str, Identity | None]:
        try:
            cells = cells_of(raw.decode(errors="replace"), layout.delimiter)
            name = symbol if layout.symbol is None else (cells[layout.symbol] if len(cells) > layout.symbol else "")
            text = cells[layout.id] if len(cells) > layout.id else ""
            if not is_symbol(name):
                return "", None
            return "", identity(layout.stream, name, _integer(text, "bad_id"))
        except RejectedRecord:
            return "", None

    return read
