"""Find the columns of a CSV file by the names of its header, or by the shape of its first rows.

Sources: the README of binance-public-data for the archive without headers, the headers of its
futures files, and the field names of REST and stream objects. A name is compared without case,
blanks and punctuation.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, field

from tickhouse.checks.reconcile.exact_values import Invalid

ROWS_TO_LOOK_AT = 20
_TRUE = frozenset(("true", "t", "1", "yes", "y"))
_FALSE = frozenset(("false", "f", "0", "no", "n"))

_VALUE_BY_NAME = {
    **dict.fromkeys(
        ("aggtradeid", "aggid", "aggregateid", "aggregatetradeid", "aggregatedtradeid", "aggtradesid"), "aggregate"
    ),
    **dict.fromkeys(("id", "tradeid"), "single"),
    "price": "price",
    **dict.fromkeys(("quantity", "qty"), "qty"),
    **dict.fromkeys(("firsttradeid", "firstid"), "first"),
    **dict.fromkeys(("lasttradeid", "lastid"), "last"),
    **dict.fromkeys(("transacttime", "transactiontime", "tradetime", "time", "timestamp", "ts"), "time"),
    **dict.fromkeys(
        (
            "isbuyermaker", "buyermaker", "buyerismaker", "wasthebuyerthemaker", "isbuyerthemaker",
            "isbuyermarketmaker", "maker",
        ),
        "maker",
    ),
    "eventtime": "event_time",
    "symbol": "symbol",
    "timestampofreceive": "received",
}  # fmt: skip
# The field names of the exchange's JSON; `M` and `m` are two fields.
_VALUE_BY_FIELD = {
    "a": "aggregate", "t": "single", "p": "price", "q": "qty", "f": "first", "l": "last", "T": "time", "m": "maker",
    "E": "event_time", "s": "symbol", "M": "", "e": "", "b": "", "X": "",
}  # fmt: skip


@dataclass(frozen=True)
class CsvColumns:
    """The position of each value of a trade in a row of `count` cells."""

    stream: str
    count: int
    delimiter: str
    at: dict[str, int] = field(hash=False)

    def cell(self, cells: list[str], name: str) -> str:
        """Return the cell of a value."""
        return cells[self.at[name]]

    def has(self, name: str) -> bool:
        """Return whether the rows have that value."""
        return name in self.at


# Stream, number of cells and positions of the archive's files without a header.
_SHAPES = (
    ("aggTrade", 8, {"id": 0, "price": 1, "qty": 2, "first": 3, "last": 4, "time": 5, "maker": 6}),
    ("aggTrade", 7, {"id": 0, "price": 1, "qty": 2, "first": 3, "last": 4, "time": 5, "maker": 6}),
    ("trade", 7, {"id": 0, "price": 1, "qty": 2, "first": 0, "last": 0, "time": 4, "maker": 5}),
    ("trade", 6, {"id": 0, "price": 1, "qty": 2, "first": 0, "last": 0, "time": 4, "maker": 5}),
)


def flag(text: str) -> bool:
    """Return a boolean in any of its spellings.

    Raises:
        Invalid: wrong_type.
    """
    small = text.lower()
    if small not in _TRUE | _FALSE:
        raise Invalid("wrong_type", f"Expected true or false, was {text[:80]!r}.")
    return small in _TRUE


def split_row(line: str, delimiter: str) -> list[str]:
    """Return the cells of a row, without quotes and blanks.

    Raises:
        Invalid: wrong_type when a cell is longer than 128 KiB.
    """
    if '"' not in line:
        return [cell.strip(" ") for cell in line.split(delimiter)]
    try:
        rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise Invalid("wrong_type", f"Expected numbers: {error}.") from error
    return [cell.strip(" ") for cell in rows[0]] if rows else []


def columns_of(lines: list[str]) -> CsvColumns | None:
    """Return the columns of a file from its first lines, or None when it holds no trades."""
    delimiter = max(",\t;|", key=lines[0].count)
    return header(lines[0], delimiter) or _by_shape(lines, delimiter)


def header(line: str, delimiter: str) -> CsvColumns | None:
    """Return the columns that a line names, or None when it names no trade."""
    names = _cells(line, delimiter)
    words = [name for name in names if name]
    if not words or not all(word[0].isalpha() for word in words):
        return None
    found: dict[str, int] = {}
    for number, name in enumerate(names):
        value = _VALUE_BY_FIELD.get(name)
        if value is None:
            value = _VALUE_BY_NAME.get("".join(filter(str.isalnum, name)).lower(), "")
        if value:
            found.setdefault(value, number)
    if {"t", "a"} <= set(names) and "f" not in names:
        del found["aggregate"]  # the id of an order, in single trades until 2024
    return _columns_from(found, len(names), delimiter)


def _columns_from(found: dict[str, int], count: int, delimiter: str) -> CsvColumns | None:
    is_aggregate = "aggregate" in found or {"first", "last"} <= found.keys()
    number = found.get("aggregate", found.get("single"))
    if number is None or not {"price", "qty", "time", "maker"} <= found.keys():
        return None
    at = found | {"id": number}
    if not is_aggregate:
        at |= {"first": number, "last": number}
    return CsvColumns("aggTrade" if is_aggregate else "trade", count, delimiter, at)


def _by_shape(lines: list[str], delimiter: str) -> CsvColumns | None:
    rows = [_cells(line, delimiter) for line in lines[:ROWS_TO_LOOK_AT]]
    best, most = None, 0
    for stream, count, at in _SHAPES:
        fitting = sum(_has_shape(cells, count, at) for cells in rows)
        if fitting > most:
            best, most = CsvColumns(stream, count, delimiter, at), fitting
    return best


def _has_shape(cells: list[str], count: int, at: dict[str, int]) -> bool:
    if len(cells) != count:
        return False
    flags = [cell.lower() in _TRUE | _FALSE for cell in cells[at["maker"] :]]
    return all(flags) and len(cells[at["time"]]) in (13, 16) and _is_number(cells[at["time"]]) and _is_number(cells[0])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return split_row(line, delimiter)
    except Invalid:
        return line.split(delimiter)
