"""Detect the format of a file from its first lines and its name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from common.errors import ConfigurationError, RejectedRecord
from common.symbols import is_symbol, nearest
from producer.parsing import rest_and_csv
from producer.parsing.archives import HEAD_BYTES, NOTHING_SENT, refused
from producer.parsing.csv_layouts import csv_layout, is_header_of
from producer.parsing.derived_columns import ContractSize, DerivedQuantity
from producer.parsing.frames import Ignored, Parser, decode_json, identify, parse_frame
from producer.parsing.rest_and_csv import CsvLayout, Identify

_HFT = re.compile(rb"(\d{16,19}) ")
_CAPTURE = re.compile(rb"wss?://\S+ <-> [\d.]+\s*")
_CAPTURED = re.compile(rb"(\d{10}\.\d+): ")
_REST_CAPTURE = re.compile(rb"https?://\S+ -> ([\d.]+): ")
# `<SYMBOL>-aggTrades-2026-01-01.zip`: the whole name, as in binance-public-data's README.
_ARCHIVE_NAME = re.compile(r"([\w.]+)-(?:aggTrades|trades)-[0-9]{4}-[0-9]{2}(?:-[0-9]{2})?\.(?:zip|csv|csv\.gz|tsv)")
_LIKELY_NAME = re.compile(r"([\w.]+?)[-_](?:aggTrades|trades)(?![a-z]).*")  # good enough for a suggestion only
_RECEIVED = re.compile(r"\d{16}")
_FIRST_LINES: Final = 20

# Returns (received µs, payload) of one line; None for a header or a blank line.
Split = Callable[[bytes], "tuple[int | None, bytes] | None"]


class FileFormat(msgspec.Struct, frozen=True):
    """How to read one file.

    `name` is shown to people. `split` separates receive time and payload of a line, and `parse`
    reads the payload. `is_document` means that the file is one JSON document instead of lines.
    """

    name: str
    split: Split
    parse: Parser
    identify: Identify
    is_document: bool = False
    derived: DerivedQuantity | None = None


def _whole(line: bytes) -> tuple[int | None, bytes] | None:
    return (None, line) if line.strip() else None


def _hft(line: bytes) -> tuple[int | None, bytes] | None:
    match = _HFT.match(line)
    if match is None:
        return _whole(line)  # not of this format: the parser rejects it with the unchanged line
    return int(match[1]) // 10 ** (len(match[1]) - 16), line[match.end() :]


def seconds_to_micros(text: bytes) -> int:
    """Return decimal seconds as µs, without using a float."""
    whole, _, fraction = text.partition(b".")
    return int(whole) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))


def _captured(line: bytes) -> tuple[int | None, bytes] | None:
    match = _CAPTURED.match(line)
    if match is None:
        return None if _CAPTURE.fullmatch(line) else _whole(line)
    return seconds_to_micros(match[1]), line[match.end() :]


def _captured_rest(line: bytes) -> tuple[int | None, bytes] | None:
    match = _REST_CAPTURE.match(line)
    if match is None:
        return None if line.startswith(b"configuration: ") else _whole(line)
    return seconds_to_micros(match[1]), line[match.end() :]


def _csv_split(layout: CsvLayout, header: str) -> Split:
    """Return the function that skips blank lines and headers, also in joined files."""
    known = header.encode()

    def split(line: bytes) -> tuple[int | None, bytes] | None:
        if line[:1].isdigit():
            return (None if layout.received is None else _received(line, layout)), line
        text = line.strip()
        if not text or text == known or is_header_of(layout, text.decode(errors="replace")):
            return None
        return None, line

    return split


def _received(line: bytes, layout: CsvLayout) -> int | None:
    try:
        cells = rest_and_csv.cells_of(line.decode(errors="replace"), layout.delimiter)
    except RejectedRecord:
        return None
    text = cells[layout.received or 0] if len(cells) > (layout.received or 0) else ""
    return int(text) if text.isascii() and _RECEIVED.fullmatch(text) else None


def symbol_of(file_name: str) -> str | None:
    """Return the symbol in an archive's name (`BTCUSDT-aggTrades-2026-01-01.zip`), or None.

    The whole name must have the form that Binance uses. File systems may decompose accents, so the
    name is composed (NFC) first. A symbol with look-alike letters is not accepted.
    """
    match = _ARCHIVE_NAME.fullmatch(unicodedata.normalize("NFC", file_name))
    if match is None or not is_symbol(match[1]) or nearest(match[1]) != match[1]:
        return None
    return match[1]


def rest_body_name(document: object) -> str | None:
    """Return the name of a known REST response without trades, None for any other document."""
    if isinstance(document, list):
        rows = [item for item in document if isinstance(item, list)]
        return "klines (bars, not trades)" if document and len(rows) == len(document) else None
    if not isinstance(document, dict):
        return None
    shapes = {
        "depth": {"lastUpdateId", "bids", "asks"},
        "exchangeInfo": {"rateLimits", "symbols"},
        "server time": {"serverTime"},
        "average price": {"mins", "price"},
        "book ticker": {"symbol", "bidPrice", "askPrice"},
        "24 h ticker": {"symbol", "lastPrice"},
        "price ticker": {"symbol", "price"},
    }
    return next((name for name, keys in shapes.items() if keys <= document.keys()), None if document else "ping answer")


def _parse_rest_body(text: str) -> Ignored:
    name = rest_body_name(decode_json(text))
    if name is None:
        raise RejectedRecord("unknown_format", "Expected a known REST response")
    return Ignored(name)


class FileHints(msgspec.Struct, frozen=True):
    """What is known about a file besides its bytes."""

    file_name: str
    symbol: str | None = None  # given by the caller; overrides the name
    market: str = ""
    contract_size: ContractSize | None = None


def detect_format(lines: Sequence[bytes], head: bytes, hints: FileHints) -> FileFormat:
    """Return how to read a file.

    Args:
        lines: Its first complete lines that are not blank; at least one.
        head: Its first bytes, for JSON documents of many lines.
        hints: Its name, and what the caller knows.

    Raises:
        RejectedRecord: `unknown_format`; the detail names the kind of file if it is known.
        ConfigurationError: Neither the file nor the caller names its symbol.
    """
    first_line = lines[0]
    if _HFT.match(first_line) and first_line[:40].rstrip().find(b"{") > 0:
        return FileFormat("frames with receive time in ns", _hft, parse_frame, identify)
    if _CAPTURE.fullmatch(first_line):
        return FileFormat("cryptofeed WebSocket capture", _captured, parse_frame, identify)
    if _REST_CAPTURE.match(first_line):
        return FileFormat("cryptofeed REST capture", _captured_rest, _parse_rest_body, lambda _: ("", None))
    if first_line.lstrip()[:1] in (b"{", b"["):
        return _detect_json(first_line, head, hints)
    return _detect_csv([line.decode(errors="replace").strip() for line in lines[: _FIRST_LINES + 1]], hints)


def _need_symbol(hints: FileHints) -> str:
    symbol = hints.symbol or symbol_of(hints.file_name)
    if symbol is None:
        raise ConfigurationError(
            f"{hints.file_name} does not name its symbol. Only a complete file name of Binance's archive "
            "does (BTCUSDT-aggTrades-2026-01-01.zip).",
            safe=NOTHING_SENT,
            next_command=f"tickhouse replay FILE --market M --symbol {_likely_symbol(hints.file_name)}",
        )
    return symbol


def _likely_symbol(file_name: str) -> str:
    match = _LIKELY_NAME.fullmatch(unicodedata.normalize("NFC", file_name))
    meant = nearest(match[1]) if match else ""
    return meant if is_symbol(meant) else "SYMBOL"


def _rest(stream: str, name: str, symbol: str, is_document: bool = False) -> FileFormat:
    parse = rest_and_csv.rest_agg_trade(symbol) if stream == "aggTrade" else rest_and_csv.rest_trade(symbol)
    return FileFormat(name, _whole, parse, rest_and_csv.identify_rest(stream, symbol), is_document)


def _detect_json(first_line: bytes, head: bytes, hints: FileHints) -> FileFormat:
    start = head[:HEAD_BYTES]
    if first_line.lstrip().startswith(b"["):
        return _detect_document(start, hints)
    try:
        item = msgspec.json.decode(first_line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _detect_document(start, hints)
    if isinstance(item, dict) and _rest_stream(item):
        stream = _rest_stream(item)
        return _rest(stream, f"REST {stream} objects, one per line", _need_symbol(hints))
    _refuse_body(item)
    return FileFormat("frames, one per line", _whole, parse_frame, identify)


def _rest_stream(item: dict[str, Any]) -> str:
    if "e" in item or "stream" in item:
        return ""
    if {"a", "p"} <= item.keys():
        return "aggTrade"
    return "trade" if {"id", "price"} <= item.keys() else ""


def _refuse_body(item: object) -> None:
    name = rest_body_name(item)
    if name is not None:
        raise refused("unknown_format", f"Expected trades or frames, was a REST body: {name}")


def _detect_document(head: bytes, hints: FileHints) -> FileFormat:
    try:
        document = msgspec.json.decode(head)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = _first_object(head)
    _refuse_body(document)
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(document, dict):
        return FileFormat("one frame", _whole, parse_frame, identify, is_document=True)
    if isinstance(first, dict) and (stream := _rest_stream(first)):
        return _rest(stream, f"REST array of {stream} objects", _need_symbol(hints), is_document=True)
    raise refused("unknown_format", f"Expected trades or frames, was JSON that starts {head[:60]!r}")


def _first_object(head: bytes) -> list[Any] | None:
    """Return the first object of an array that is longer than `head`, as a list of one."""
    end = head.find(b"}")
    try:
        return [msgspec.json.decode(head[head.index(b"{") : end + 1])] if end > 0 else None
    except (msgspec.DecodeError, ValueError):
        return None


def _detect_csv(lines: list[str], hints: FileHints) -> FileFormat:
    layout = csv_layout(lines, hints.symbol or "")
    symbol = _need_symbol(hints) if layout.symbol is None else ""
    derived = _derived(layout, hints)
    header = lines[0] if is_header_of(layout, lines[0]) else ""
    parse, read = rest_and_csv.csv_line(layout, symbol, derived), rest_and_csv.identify_csv(layout, symbol)
    return FileFormat(layout.name, _csv_split(layout, header), parse, read, derived=derived)


def _derived(layout: CsvLayout, hints: FileHints) -> DerivedQuantity | None:
    """Return the comparison of the derived column, None when there is none.

    Without a header, the column follows from the market.
    """
    unnamed = 3 if layout in (rest_and_csv.FUT_TRADES, rest_and_csv.SPOT_TRADES) and hints.market else None
    quote = unnamed if hints.market in ("spot", "usdm") else None
    base = unnamed if hints.market == "coinm" else None
    quote = quote if layout.quote_qty is None else layout.quote_qty
    base = base if layout.base_qty is None else layout.base_qty
    if base is not None:
        return DerivedQuantity("base_qty", base, hints.contract_size) if hints.contract_size else None
    return None if quote is None else DerivedQuantity("quote_qty", quote)
