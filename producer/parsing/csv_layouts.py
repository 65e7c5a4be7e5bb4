"""Find the columns of a CSV file: by the names in its header, or by the values of its first rows.

Known names are those of binance-public-data's README and of the headers of its USD-M and COIN-M
files, the fields of REST and stream objects (people write them to CSV unchanged), and spellings of
common tools. Case, blanks and punctuation are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from common.errors import RejectedRecord
from producer.parsing.archives import refused
from producer.parsing.rest_and_csv import (
    FUT_AGG,
    FUT_TRADES,
    SPOT_AGG,
    SPOT_TRADES,
    CsvLayout,
    cells_of,
    csv_line,
    is_boolean,
)

DELIMITERS: Final = (",", "\t", ";", "|")
FIRST_ROWS: Final = 20
_FEWEST_COLUMNS: Final = 6
_MILLIS_OR_MICROS = re.compile(r"\d{13}(?:\d{3})?")
_NOT_WORD = re.compile(r"[\W_]+")

_NAMES: Final = {
    "agg_id": ("aggtradeid", "aggid", "aggregateid", "aggregatetradeid", "aggregatedtradeid", "aggtradesid"),
    "id": ("id", "tradeid"),
    "price": ("price",),
    "qty": ("quantity", "qty"),
    "first": ("firsttradeid", "firstid"),
    "last": ("lasttradeid", "lastid"),
    "time": ("transacttime", "transactiontime", "tradetime", "time", "timestamp", "ts"),
    "maker": (
        "isbuyermaker", "buyermaker", "buyerismaker", "wasthebuyerthemaker", "isbuyerthemaker", "isbuyermarketmaker",
        "maker",
    ),
    "event_time": ("eventtime",),
    "symbol": ("symbol",),
    "received": ("timestampofreceive",),
    "quote_qty": ("quoteqty", "quotequantity"),
    "base_qty": ("baseqty", "basequantity"),
    # Known but not needed: the index that pandas writes, and values that follow from the others.
    "": (
        "", "isbestmatch", "bestmatch", "wasthetradethebestpricematch", "unnamed0", "index", "stream", "eventtype",
        "munknownparameter", "date", "datetime",
    ),
}  # fmt: skip
_ROLES: Final = {name: role for role, names in _NAMES.items() for name in names}
# Fields of REST and stream objects: one letter each, where case matters.
_LETTERS: Final = {
    "a": "agg_id", "t": "id", "p": "price", "q": "qty", "f": "first", "l": "last", "T": "time", "m": "maker",
    "E": "event_time", "s": "symbol", "M": "", "e": "", "b": "", "X": "", "nq": "", "st": "",
}  # fmt: skip
_BARS: Final = {"open", "high", "low", "close"}
_SHOWN: Final = {
    "id": "the trade id", "price": "the price", "qty": "the quantity", "time": "the time of the trade",
    "maker": "whether the buyer is the maker", "first": "the first trade id", "last": "the last trade id",
}  # fmt: skip


def csv_layout(lines: Sequence[str], symbol: str) -> CsvLayout:
    """Return the layout of a CSV file.

    Args:
        lines: Its first complete lines that are not blank.
        symbol: Symbol of the file, or "" when it is not known.

    Raises:
        RejectedRecord: `unknown_format`; the detail names what is missing or wrong.
    """
    first = lines[0]
    delimiter = max(DELIMITERS, key=first.count)
    cells = _header_cells(first, delimiter)
    if _is_header(cells):
        layout, rows = _layout_by_header(cells, delimiter, first), lines[1:]
    else:
        layout, rows = _layout_by_values(lines, delimiter), lines
    _try_rows(layout, rows, symbol)
    return layout


def is_header_of(layout: CsvLayout, line: str) -> bool:
    """Return whether a line is a header of `layout`; files that were joined have several."""
    try:
        cells = _header_cells(line, layout.delimiter)
        return _is_header(cells) and _same_columns(_layout_by_header(cells, layout.delimiter, line), layout)
    except RejectedRecord:
        return False


def _same_columns(one: CsvLayout, other: CsvLayout) -> bool:
    used = ("stream", "columns", "id", "price", "qty", "first", "last", "time", "maker")
    return all(getattr(one, name) == getattr(other, name) for name in used)


def _header_cells(line: str, delimiter: str) -> list[str]:
    try:
        return cells_of(line, delimiter)
    except RejectedRecord:
        return line.split(delimiter)


def _is_header(cells: list[str]) -> bool:
    """Return whether the cells are names: none is a number, and at least one is not a boolean."""
    words = [cell for cell in cells if cell]
    return bool(words) and all(word[0].isalpha() for word in words) and not all(map(is_boolean, words))


def _roles(cells: list[str]) -> list[str | None]:
    """Return the role of each column, None when its name is not known."""
    return [_LETTERS[cell] if cell in _LETTERS else _ROLES.get(_NOT_WORD.sub("", cell).lower()) for cell in cells]


def _layout_by_header(cells: list[str], delimiter: str, line: str) -> CsvLayout:
    _refuse_files_without_trades(cells, line)
    at: dict[str, int] = {}
    for number, role in enumerate(_roles(cells)):
        if role and role in at:
            names = f"{cells[at[role]]!r} and {cells[number]!r}"
            raise refused("unknown_format", f"Expected one column for each value, was {names} for the same one")
        if role:
            at[role] = number
    if "a" in cells and "t" in cells and "f" not in cells:  # a single trade of 2021, where `a` is the id of an order
        at.pop("agg_id", None)
    return _layout(at, cells, delimiter)


def _layout(at: dict[str, int], cells: list[str], delimiter: str) -> CsvLayout:
    if "agg_id" in at and "id" in at:
        raise refused("unknown_format", f"Expected one column of ids, was {cells[at['agg_id']]!r}, {cells[at['id']]!r}")
    is_aggregate = "agg_id" in at or {"first", "last"} <= at.keys()
    at["id"] = at.get("agg_id", at.get("id", -1))
    needed = ["id", "price", "qty", "time", "maker", *(("first", "last") if is_aggregate else ())]
    missing = [_SHOWN[role] for role in needed if at.get(role, -1) < 0]
    if missing:
        shown = f"Expected a column for {', '.join(missing)}, was {', '.join(map(repr, cells))[:300]}"
        raise refused("unknown_format", shown, "name the columns as Binance does: docs/reference/file-formats.md")
    optional = ("event_time", "symbol", "received", "quote_qty", "base_qty")
    return CsvLayout(
        _name(is_aggregate, cells), "aggTrade" if is_aggregate else "trade", len(cells),
        id=at["id"], price=at["price"], qty=at["qty"], time=at["time"], maker=at["maker"],
        first=at["first"] if is_aggregate else at["id"], last=at["last"] if is_aggregate else at["id"],
        delimiter=delimiter, has_exponents="received" in at, **{name: at.get(name) for name in optional},
    )  # fmt: skip


def _name(is_aggregate: bool, cells: list[str]) -> str:
    unknown = [cell for cell, role in zip(cells, _roles(cells), strict=True) if role is None]
    left_out = f", left out: {', '.join(unknown)[:80]}" if unknown else ""
    return f"CSV of {'aggTrades' if is_aggregate else 'trades'}, columns by name{left_out}"


def _refuse_files_without_trades(cells: list[str], line: str) -> None:
    """Refuse files of the archive that hold no trades; the error names what they hold."""
    names = {_NOT_WORD.sub("", cell).lower() for cell in cells}
    what = ""
    if names >= _BARS or "opentime" in names:
        what = "klines (bars, not trades)"
    elif "originalfilechecksum" in names:
        what = "Binance's list of archive files that were replaced"
    elif len(cells) < _FEWEST_COLUMNS - 1:
        what = f"{len(cells)} columns: {line[:80]!r}"
    if what:
        raise refused("unknown_format", f"Expected trades or frames, was {what}")


def _layout_by_values(lines: Sequence[str], delimiter: str) -> CsvLayout:
    """Return the layout that most of the first rows fit.

    A row fits by its number of cells and the places of its time and booleans.
    """
    fitting_rows: dict[str, int] = {}
    layouts = {layout.name: layout for layout in (SPOT_AGG, FUT_AGG, SPOT_TRADES, FUT_TRADES)}
    for line in lines[:FIRST_ROWS]:
        cells = _header_cells(line, delimiter)
        for name, layout in layouts.items():
            fitting_rows[name] = fitting_rows.get(name, 0) + _fits(cells, layout)
    best = max(fitting_rows, key=lambda name: fitting_rows[name])
    if not fitting_rows[best]:
        raise refused("unknown_format", f"Expected trades or frames, was {_describe_row(lines[0], delimiter)}")
    return layouts[best].with_delimiter(delimiter)


def _fits(cells: list[str], layout: CsvLayout) -> bool:
    return (
        len(cells) == layout.columns
        and _MILLIS_OR_MICROS.fullmatch(cells[layout.time]) is not None
        and all(is_boolean(cell) for cell in cells[layout.maker :])
        and cells[0].isascii()
        and cells[0].isdecimal()
    )


def _describe_row(line: str, delimiter: str) -> str:
    cells = _header_cells(line, delimiter)
    if len(cells) == 12 and _MILLIS_OR_MICROS.fullmatch(cells[0]) and _MILLIS_OR_MICROS.fullmatch(cells[6]):
        return "klines (bars, not trades)"
    return f"{len(cells)} columns: {line[:80]!r}"


def _try_rows(layout: CsvLayout, rows: Sequence[str], symbol: str) -> None:
    """Refuse a file when none of its first rows can be parsed.

    The rest would fail for the same reason.

    Raises:
        RejectedRecord: `unknown_format`, with the reason of the first row.
    """
    if not rows:
        raise refused("unknown_format", "Expected trades or frames, was a header without a row")
    parse, first = csv_line(layout, symbol or "UNKNOWN"), None
    for row in rows[:FIRST_ROWS]:
        try:
            parse(row)
        except RejectedRecord as error:
            first = first or error
        else:
            return
    detail = f"{first.reason}: {first.detail}" if first else "none"
    raise refused(
        "unknown_format", f"Expected rows of trades, was none in the first {len(rows[:FIRST_ROWS])} ({detail})",
        "a spreadsheet may have rewritten the numbers: use the file as it was downloaded",
    )  # fmt: skip
