"""Reads the capture formats of Binance market data that are in use, by sniffing the first line.

- `<local time, ns> <frame>`, frames in combined-stream envelopes (hftbacktest);
- `wss://… <-> <local s>`, then `<local s>: <frame>` (cryptofeed);
- CSV with the header `TimestampOfReceive,Stream,…` (trade frames, flattened);
- JSON lines as /aggTrades gives them;
- the public archive's aggTrades CSV: 8 columns on spot, 7 and maybe a header on USD-M.

What is no trade in the first two is replayed too, under the stream name it came with.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from stack.exchange.columns import MarketName
from stack.exchange.frames import compact
from tickhouse.errors import ConfigurationError

_ENVELOPE = '{"stream":"'
_SYMBOL_IN_NAME = re.compile(r"(?:^|_)([A-Z0-9]{5,20}?)[-_]aggTrades")


class Recording(NamedTuple):
    """One frame: its stream, the event as it came, and the event parsed."""

    stream: str
    data: str
    event: dict[str, Any]


class _File(NamedTuple):
    path: Path
    market: MarketName
    symbol: str


def read_capture(path: Path, market: MarketName, symbol: str | None) -> Iterator[Recording]:
    """Yield the frames of one file, decompressed if it is gzipped.

    Args:
        path: The file.
        market: Which market its trades are of.
        symbol: Needed where neither the records nor the file name tell it.

    Raises:
        ConfigurationError: The file is missing, or of no known format, or a line of it does not parse.
    """
    found = _SYMBOL_IN_NAME.search(path.name)
    file = _File(path, market, symbol or (found.group(1) if found else ""))
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            first = next(lines, "")
            yield from _reader(file, first)(file, _again(first, lines))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ConfigurationError(
            f"The capture {path} does not load: {error!r}.", safe="Nothing was started."
        ) from error


_Reader = Callable[[_File, Iterator[str]], Iterator[Recording]]


def _reader(file: _File, first: str) -> _Reader:
    if first.startswith("TimestampOfReceive,"):
        return _flattened
    if first.startswith("{"):
        return _rest_lines
    if first.startswith(("ws://", "wss://")):
        return _cryptofeed
    if re.match(r"\d+ \{", first):
        return _hftbacktest
    if len(first.split(",")) in (7, 8):
        return _archive
    raise ConfigurationError(f"The capture {file.path} is of no known format.", safe="Nothing was started.")


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _hftbacktest(_file: _File, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        yield from _enveloped(line.partition(" ")[2].strip())


def _cryptofeed(_file: _File, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        yield from _enveloped(line.partition(": ")[2].strip())


def _enveloped(frame: str) -> Iterator[Recording]:
    """Yield the event of an envelope; a REST snapshot in the middle, and a URL line, have none."""
    if not frame.startswith(_ENVELOPE):
        return
    head, _, tail = frame.partition('","data":')
    data = tail.removesuffix("}")
    yield Recording(head.removeprefix(_ENVELOPE), data, json.loads(data))


def _flattened(_file: _File, lines: Iterator[str]) -> Iterator[Recording]:
    for row in csv.DictReader(lines):
        event = {"e": "trade", "E": int(row["EventTime"]), "s": row["Symbol"], "t": int(row["TradeId"])}
        event |= {"p": row["Price"], "q": row["Quantity"], "T": int(row["TransactionTime"])}
        event |= {"m": row["IsBuyerMarketMaker"] in ("1", "True"), "M": True}
        yield Recording(row["Stream"], compact(event), event)


def _rest_lines(file: _File, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        if line.strip():
            yield _from_rest(file, json.loads(line))


def _archive(file: _File, lines: Iterator[str]) -> Iterator[Recording]:
    for row in csv.reader(lines):
        if not row[0].isdigit():
            continue  # the header of USD-M files of 2024 and 2025
        a, price, qty, first, last, time, maker = row[:7]
        record = {"a": int(a), "p": price, "q": qty, "f": int(first), "l": int(last), "T": int(time)}
        yield _from_rest(file, record | {"m": maker in ("True", "true")})


def _from_rest(file: _File, record: dict[str, Any]) -> Recording:
    """Turn a REST or archive record into the aggTrade event that would have carried it; E is then T."""
    if not file.symbol:
        raise ConfigurationError(
            f"The symbol of {file.path} is not in its name: give capture.symbol.", safe="Nothing was started."
        )
    event = {"e": "aggTrade", "E": record["T"], "s": file.symbol}
    event |= {key: record[key] for key in ("a", "p", "q", "f", "l", "T", "m")}
    if file.market == "spot":
        event["M"] = True
    return Recording(f"{file.symbol.lower()}@aggTrade", compact(event), event)
