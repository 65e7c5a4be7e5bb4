"""Read recorded captures of Binance market data; the first line decides the format.

- `<local time, ns> <frame>`, frames in combined-stream envelopes (hftbacktest);
- `wss://… <-> <local s>`, then `<local s>: <frame>` (cryptofeed);
- CSV with the header `TimestampOfReceive,Stream,…` (trade frames, flattened);
- JSON lines as /aggTrades gives them;
- the public archive's aggTrades CSV: 8 columns on spot, 7 and maybe a header on USD-M.

In the first two formats, frames other than trades are replayed as well, under their stream name.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from common.errors import ConfigurationError
from common.symbols import in_stream_name
from standins.exchange.frames import compact
from standins.exchange.trade_columns import MarketName

_ENVELOPE = '{"stream":"'
_SYMBOL_IN_NAME = re.compile(r"(?:^|[a-z]_)([^\Wa-z_]{2,40}(?:_PERP|_[0-9]{6})?)[-_]aggTrades")


class Recording(NamedTuple):
    """One recorded frame: its stream, the event as text, and the parsed event."""

    stream: str
    data: str
    event: dict[str, Any]


class _CaptureFile(NamedTuple):
    path: Path
    market: MarketName
    symbol: str


def read_capture(path: Path, market: MarketName, symbol: str | None) -> Iterator[Recording]:
    """Yield the frames of one file, which may be gzipped.

    Args:
        path: The file.
        market: The market of its trades.
        symbol: Needed when neither the records nor the file name contain it.

    Raises:
        ConfigurationError: The file is missing or of an unknown format, or a line cannot be parsed.
    """
    in_name = _SYMBOL_IN_NAME.search(path.name)
    file = _CaptureFile(path, market, symbol or (in_name.group(1) if in_name else ""))
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            first = next(lines, "")
            yield from _reader(file, first)(file, chain([first], lines))
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ConfigurationError(
            f"The capture {path} does not load: {error!r}.", safe="Nothing was started."
        ) from error


_Reader = Callable[[_CaptureFile, Iterator[str]], Iterator[Recording]]


def _reader(file: _CaptureFile, first: str) -> _Reader:
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
    raise ConfigurationError(f"The capture {file.path} is of an unknown format.", safe="Nothing was started.")


def _hftbacktest(_file: _CaptureFile, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        yield from _enveloped(line.partition(" ")[2].strip())


def _cryptofeed(_file: _CaptureFile, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        yield from _enveloped(line.partition(": ")[2].strip())


def _enveloped(frame: str) -> Iterator[Recording]:
    """Yield the event of an envelope; yield nothing for a REST snapshot or a URL line."""
    if not frame.startswith(_ENVELOPE):
        return
    head, _, tail = frame.partition('","data":')
    data = tail.removesuffix("}")
    yield Recording(head.removeprefix(_ENVELOPE), data, json.loads(data))


def _flattened(_file: _CaptureFile, lines: Iterator[str]) -> Iterator[Recording]:
    for row in csv.DictReader(lines):
        event = {"e": "trade", "E": int(row["EventTime"]), "s": row["Symbol"], "t": int(row["TradeId"])}
        event |= {"p": row["Price"], "q": row["Quantity"], "T": int(row["TransactionTime"])}
        event |= {"m": row["IsBuyerMarketMaker"].lower() in ("true", "t", "1"), "M": True}
        yield Recording(row["Stream"], compact(event), event)


def _rest_lines(file: _CaptureFile, lines: Iterator[str]) -> Iterator[Recording]:
    for line in lines:
        if line.strip():
            yield _from_rest(file, json.loads(line))


def _archive(file: _CaptureFile, lines: Iterator[str]) -> Iterator[Recording]:
    for row in csv.reader(lines):
        if not row[0].isdigit():
            continue  # USD-M files of 2024 and 2025 have a header
        a, price, qty, first, last, time, maker = row[:7]
        record = {"a": int(a), "p": price, "q": qty, "f": int(first), "l": int(last), "T": int(time)}
        yield _from_rest(file, record | {"m": maker.lower() in ("true", "t", "1")})


def _from_rest(file: _CaptureFile, record: dict[str, Any]) -> Recording:
    """Turn a REST or archive record into an aggTrade event; its event time is the trade time."""
    if not file.symbol:
        raise ConfigurationError(
            f"The name of {file.path} contains no symbol: set capture.symbol.", safe="Nothing was started."
        )
    event = {"e": "aggTrade", "E": record["T"], "s": file.symbol}
    event |= {key: record[key] for key in ("a", "p", "q", "f", "l", "T", "m")}
    if file.market == "spot":
        event["M"] = True
    return Recording(f"{in_stream_name(file.symbol)}@aggTrade", compact(event), event)
