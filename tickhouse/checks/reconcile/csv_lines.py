"""Read the lines of CSV files of the public archive, and of files that tools made from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tickhouse.checks.reconcile.csv_columns import CsvColumns, flag, header, split_row
from tickhouse.checks.reconcile.exact_values import (
    Invalid,
    exchange_id,
    scaled,
    span,
    symbol,
    time_us,
    without_exponent,
)
from tickhouse.checks.reconcile.json_records import MOST_RAW_BYTES, Item, Source, sha_key, side
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, event_id

LineReader = Callable[[bytes], Iterator[Item]]


def csv_line_reader(columns: CsvColumns, source: Source) -> LineReader:
    """Return the reader of a CSV file's lines; a line that repeats the header yields nothing."""

    def read_line(raw: bytes) -> Iterator[Item]:
        text = raw.decode("utf-8", "replace")
        if not raw[:1].isdigit() and _is_repeated_header(text, columns):
            return
        try:
            yield _trade(_decode(raw), columns, source)
        except Invalid as error:
            yield Rejection(_rejection_key(text, raw, columns, source), error.reason, error.detail)

    return read_line


def _is_repeated_header(text: str, columns: CsvColumns) -> bool:
    named = header(text, columns.delimiter)
    used = ("id", "first", "last", "price", "qty", "time", "maker")
    return (
        named is not None
        and (named.stream, named.count) == (columns.stream, columns.count)
        and all(named.at[name] == columns.at[name] for name in used)
    )


def _decode(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("not_utf8", str(error)) from error


def _trade(line: str, columns: CsvColumns, source: Source) -> CheckedTrade:
    cells = split_row(line, columns.delimiter)
    if len(cells) != columns.count:
        raise Invalid("missing_field", f"Expected {columns.count} columns, was {len(cells)}.")
    own_id, first, last = (_integer(columns.cell(cells, name), "bad_id") for name in ("id", "first", "last"))
    exchange_id(own_id)
    low, high = span(first, last)
    moment = time_us(_integer(columns.cell(cells, "time"), "bad_time"))
    if columns.has("event_time"):
        time_us(_integer(columns.cell(cells, "event_time"), "bad_time"))
    price, qty = (_decimal(columns.cell(cells, name), columns) for name in ("price", "qty"))
    taker = side(flag(columns.cell(cells, "maker")))
    name = symbol(_symbol(cells, columns, source))
    if len(line.encode()) > MOST_RAW_BYTES:
        raise Invalid("too_large", f"Expected at most {MOST_RAW_BYTES} bytes, was {len(line.encode())}.")
    key = CheckedStream(source.market, name, columns.stream)
    return CheckedTrade(key, own_id, low, high, price, qty, taker, moment)


def _decimal(text: str, columns: CsvColumns) -> int:
    """Read a number; only captures with receive times, which pandas wrote, have exponents."""
    return scaled(without_exponent(text) if columns.has("received") else text)


def _symbol(cells: list[str], columns: CsvColumns, source: Source) -> str:
    return columns.cell(cells, "symbol") if columns.has("symbol") else source.symbol


def _rejection_key(text: str, raw: bytes, columns: CsvColumns, source: Source) -> str:
    """Return the event id of a wrong line where it can be read, else the hash of its bytes."""
    try:
        cells = split_row(text, columns.delimiter)
        name = symbol(_symbol(cells, columns, source))
        number = exchange_id(_integer(columns.cell(cells, "id"), "bad_id"))
    except (Invalid, IndexError):
        return sha_key(raw)
    return event_id(CheckedStream(source.market, name, columns.stream), number)


def _integer(text: str, reason: str) -> int:
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        raise Invalid(reason, f"Expected an integer, was {text[:80]!r}.")
    return int(sign + digits)
