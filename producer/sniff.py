"""Tell what a file is from its first line and its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from producer import records
from producer.frames import Ignored, Parser, decode_json, identify, parse_frame
from producer.records import Identify, Layout
from tickhouse.errors import ConfigurationError, RejectedRecord

_HFT = re.compile(rb"(\d{16,19}) ")
_CAPTURE = re.compile(rb"wss?://\S+ <-> [\d.]+\s*")
_CAPTURED = re.compile(rb"(\d{10}\.\d+): ")
_REST_CAPTURE = re.compile(rb"https?://\S+ -> ([\d.]+): ")
_NAMED = re.compile(r"([A-Z0-9]{3,30}(?:_(?:PERP|\d{6}))?)[-_](?:aggTrades|trades)(?![a-z])")
_MILLIS_OR_MICROS = re.compile(r"\d{13}(?:\d{3})?")
_BOOLEAN = re.compile(r"(?i)true|false")

# (received µs, payload) of one line; None when the line holds nothing to parse (a header, a blank line).
Split = Callable[[bytes], "tuple[int | None, bytes] | None"]


class Format(msgspec.Struct, frozen=True):
    """How to read one file: a name for people, how a line splits, how its payload parses, one document or lines."""

    name: str
    split: Split
    parse: Parser
    identify: Identify
    is_document: bool = False


def _whole(line: bytes) -> tuple[int | None, bytes] | None:
    return (None, line) if line.strip() else None


def _hft(line: bytes) -> tuple[int | None, bytes] | None:
    match = _HFT.match(line)
    if match is None:
        return _whole(line)  # not as the format says: its text is rejected by the parser, with the line as it is
    return int(match[1]) // 10 ** (len(match[1]) - 16), line[match.end() :]


def seconds_to_micros(text: bytes) -> int:
    """Return decimal seconds as µs, without a float."""
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


def _capture_csv(line: bytes) -> tuple[int | None, bytes] | None:
    head = line.split(b",", 1)[0]
    if head == b"TimestampOfReceive" or not line.strip():
        return None
    return (int(head) if re.fullmatch(rb"\d{16}", head) else None), line


def _csv(line: bytes) -> tuple[int | None, bytes] | None:
    # A header line starts with a name, a record with an id.
    return None if not line.strip() or line[:1].isalpha() else (None, line)


def symbol_of(file_name: str) -> str | None:
    """Return the symbol in an archive's name (`BTCUSDT-aggTrades-2026-01-01.zip`), or None."""
    match = _NAMED.search(file_name)
    return match[1] if match else None


def rest_body_name(document: object) -> str | None:
    """Return what a REST body without trades is, or None when it is none that we know."""
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
        raise RejectedRecord("unknown_format", "Expected a REST body that we know")
    return Ignored(name)


def sniff(first_line: bytes, head: bytes, file_name: str, symbol: str | None) -> Format:
    """Return how to read a file.

    Args:
        first_line: Its first line that is not blank.
        head: Its first bytes (64 KiB), for documents of many lines.
        file_name: Its name, which may hold the symbol.
        symbol: The symbol the caller gave, stronger than the name.

    Raises:
        RejectedRecord: `unknown_format`, naming what it is when we know.
        ConfigurationError: The file does not say its symbol, nor did the caller.
    """
    if _HFT.match(first_line) and first_line[:40].rstrip().find(b"{") > 0:
        return Format("frames with receive time in ns", _hft, parse_frame, identify)
    if _CAPTURE.fullmatch(first_line):
        return Format("cryptofeed WebSocket capture", _captured, parse_frame, identify)
    if _REST_CAPTURE.match(first_line):
        return Format("cryptofeed REST capture", _captured_rest, _parse_rest_body, lambda _: ("", None))
    if first_line.lstrip()[:1] in (b"{", b"["):
        return _sniff_json(first_line, head, file_name, symbol)
    return _sniff_csv(first_line.decode(errors="replace").strip(), file_name, symbol)


def _need_symbol(file_name: str, symbol: str | None) -> str:
    found = symbol or symbol_of(file_name)
    if found is None:
        raise ConfigurationError(
            f"{file_name} does not say which symbol it is of.",
            safe="Nothing was sent.",
            next_command="tickhouse replay FILE --market M --symbol S",
        )
    return found


def _rest(stream: str, name: str, symbol: str, is_document: bool = False) -> Format:
    parse = records.rest_agg_trade(symbol) if stream == "aggTrade" else records.rest_trade(symbol)
    return Format(name, _whole, parse, records.identify_rest(stream, symbol), is_document)


def _sniff_json(first_line: bytes, head: bytes, file_name: str, symbol: str | None) -> Format:
    try:
        item = msgspec.json.decode(first_line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _sniff_document(head, file_name, symbol)
    if isinstance(item, list):
        return _sniff_document(head, file_name, symbol)
    if isinstance(item, dict) and _rest_stream(item):
        stream = _rest_stream(item)
        return _rest(stream, f"REST {stream} objects, one a line", _need_symbol(file_name, symbol))
    _refuse_body(item)
    return Format("frames, one a line", _whole, parse_frame, identify)


def _rest_stream(item: dict[str, Any]) -> str:
    if "e" in item or "stream" in item:
        return ""
    return "aggTrade" if {"a", "p"} <= item.keys() else "trade" if {"id", "price"} <= item.keys() else ""


def _refuse_body(item: object) -> None:
    name = rest_body_name(item)
    if name is not None:
        raise RejectedRecord("unknown_format", f"Expected trades or frames, was a REST body: {name}")


def _sniff_document(head: bytes, file_name: str, symbol: str | None) -> Format:
    try:
        document = msgspec.json.decode(head)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = _first_object(head)
    _refuse_body(document)
    first = document[0] if isinstance(document, list) and document else document
    if isinstance(document, dict):
        return Format("one frame", _whole, parse_frame, identify, is_document=True)
    if isinstance(first, dict) and (stream := _rest_stream(first)):
        return _rest(stream, f"REST array of {stream} objects", _need_symbol(file_name, symbol), is_document=True)
    raise RejectedRecord("unknown_format", f"Expected trades or frames, was JSON that starts {head[:60]!r}")


def _first_object(head: bytes) -> list[Any] | None:
    """Return the first object of an array that is longer than the head, as a list of one."""
    end = head.find(b"}")
    try:
        return [msgspec.json.decode(head[head.index(b"{") : end + 1])] if end > 0 else None
    except (msgspec.DecodeError, ValueError):
        return None


def _csv_format(layout: Layout, file_name: str, symbol: str | None) -> Format:
    name = _need_symbol(file_name, symbol) if layout.symbol is None else ""
    split = _capture_csv if layout is records.CAPTURE_TRADES else _csv
    return Format(layout.name, split, records.csv_line(layout, name), records.identify_csv(layout, name))


_HEADERS: Final = {
    "TimestampOfReceive,Stream,EventType,": records.CAPTURE_TRADES,
    "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker": records.FUT_AGG,
    "id,price,qty,quote_qty,time,is_buyer_maker": records.FUT_TRADES,
}
_REFUSED: Final = {
    "open_time,": "klines (bars, not trades)",
    "File,Original File Checksum,": "Binance's list of archive files that were replaced",
}


def _sniff_csv(line: str, file_name: str, symbol: str | None) -> Format:
    for start, what in _REFUSED.items():
        if line.startswith(start):
            raise RejectedRecord("unknown_format", f"Expected trades or frames, was {what}")
    for start, layout in _HEADERS.items():
        if line.startswith(start):
            return _csv_format(layout, file_name, symbol)
    layout = _layout_of(line.split(","))
    return _csv_format(layout, file_name, symbol)


def _layout_of(cells: list[str]) -> Layout:
    count = len(cells)
    timed = {at for at, cell in enumerate(cells) if at in (4, 5) and _MILLIS_OR_MICROS.fullmatch(cell)}
    flags = {at for at, cell in enumerate(cells) if _BOOLEAN.fullmatch(cell)}
    if count == 12 and _MILLIS_OR_MICROS.fullmatch(cells[0]) and _MILLIS_OR_MICROS.fullmatch(cells[6]):
        raise RejectedRecord("unknown_format", "Expected trades or frames, was klines (bars, not trades)")
    for layout in (records.SPOT_AGG, records.FUT_AGG, records.SPOT_TRADES, records.FUT_TRADES):
        if count == layout.columns and layout.time in timed and layout.maker in flags and cells[0].isdecimal():
            return layout
    raise RejectedRecord("unknown_format", f"Expected trades or frames, was {count} columns: {','.join(cells)[:80]!r}")
