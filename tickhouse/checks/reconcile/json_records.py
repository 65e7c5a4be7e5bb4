"""Read JSON records: WebSocket frames (wrapped or not) and REST objects.

Field names and meanings: Binance's web-socket-streams and rest-api documents. Each record is a
trade, a tick, a rejection, or nothing (known frames that Tickhouse does not store:
acknowledgements, depth, klines, averages).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from tickhouse.checks.reconcile.exact_values import Invalid, boolean, exchange_id, scaled, span, symbol, time_us
from tickhouse.checks.reconcile.model import CheckedStream, CheckedTrade, Rejection, TickId, event_id

Item = CheckedTrade | TickId | Rejection

# The limit of a Kafka message: a longer record is always a dead letter (docs/reference/topics.md).
MOST_RAW_BYTES = 900_000

_WANTED = {"aggTrade", "trade", "24hrTicker", "24hrMiniTicker", "bookTicker"}
_TICKERS = {"24hrTicker": "ticker", "24hrMiniTicker": "miniTicker"}
_NUMBERS = {"24hrTicker": "cohlvq", "24hrMiniTicker": "cohlvq", "bookTicker": "bBaA"}
_BOOK_TICKER = {"u", "s", "b", "B", "a", "A"}
# Known and ignored; any other `e` is a dead letter (unknown_event_type).
_UNWANTED_TYPES = {
    "depthUpdate", "kline", "continuous_kline", "avgPrice", "serverShutdown", "1hTicker", "4hTicker", "1dTicker",
    "markPriceUpdate", "indexPriceUpdate",
}  # fmt: skip
_UNWANTED_STREAMS = ("depth", "kline", "avgPrice", "ticker_", "rollingTicker")


@dataclass(frozen=True)
class Source:
    """Where records come from: the market, and the symbol if the records have none."""

    market: str
    symbol: str = ""


def sha_key(raw: bytes) -> str:
    """Return the dead-letter key of a record whose id cannot be read."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def read_record(raw: bytes, source: Source) -> Iterator[Item]:
    """Yield the events of one frame or REST object, given as the received bytes."""
    try:
        document = parse(raw)
    except Invalid as error:
        yield Rejection(sha_key(raw), error.reason, error.detail)
        return
    for payload, own_raw in _payloads(document, raw):
        item = _read_payload(payload, own_raw, source)
        if item is not None:
            yield item


def parse(raw: bytes) -> dict[str, Any]:
    """Parse one JSON object.

    Raises:
        Invalid: not_utf8, invalid_json or not_an_object.
    """
    try:
        document = _JSON.decode(raw.decode("utf-8"))
        if b"\\ud" in raw.lower():
            json.dumps(document, ensure_ascii=False).encode()  # fails on half of a surrogate pair, which is not text
    except UnicodeDecodeError as error:
        raise Invalid("not_utf8", str(error)) from error
    except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
        raise Invalid("invalid_json", str(error)) from error
    if not isinstance(document, dict):
        raise Invalid("not_an_object", f"Expected an object, was {type(document).__name__}.")
    return document


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _payloads(document: dict[str, Any], raw: bytes) -> list[tuple[object, bytes]]:
    """Return the payloads of an envelope, each with its own bytes.

    Only the !…@arr streams send lists.
    """
    if not {"stream", "data"} <= document.keys():
        return [(document, raw)]
    name, data = document["stream"], document["data"]
    if isinstance(name, str) and name.partition("@")[2].startswith(_UNWANTED_STREAMS):
        return []
    if not isinstance(data, list):
        return [(data, raw)]
    if not data or not all(isinstance(item, dict) and "e" in item for item in data):
        return [(None, raw)]
    return [(item, json.dumps(item, separators=(",", ":"), ensure_ascii=False).encode()) for item in data]


def _read_payload(payload: object, raw: bytes, source: Source) -> Item | None:
    if not isinstance(payload, dict):
        return Rejection(sha_key(raw), "not_an_object", "Expected an object as data.")
    try:
        reader = _reader_of(payload)
        item = reader(payload, source) if reader else None
        if item is not None and len(raw) > MOST_RAW_BYTES:
            raise Invalid("too_large", f"Expected at most {MOST_RAW_BYTES} bytes, was {len(raw)}.")
        return item
    except Invalid as error:
        return Rejection(_key_of(payload, raw, source), error.reason, error.detail)


def _reader_of(payload: dict[str, Any]) -> Callable[[dict[str, Any], Source], Item] | None:
    if "e" not in payload:
        return _reader_without_type(payload)
    kind = payload["e"]
    if not isinstance(kind, str):
        raise Invalid("wrong_type", f"Expected an event type as text, was {kind!r}.")
    if kind in _WANTED:
        return _stream_trade if kind in ("aggTrade", "trade") else _tick
    if kind in _UNWANTED_TYPES:
        return None
    raise Invalid("unknown_event_type", f"Expected one of {sorted(_WANTED)}, was {kind!r}.")


def _reader_without_type(payload: dict[str, Any]) -> Callable[[dict[str, Any], Source], Item] | None:
    """Return the reader of a payload without `e`.

    It is a bookTicker, a REST aggTrade or trade, depth, or a response.
    """
    if payload.keys() >= _BOOK_TICKER:
        return _tick
    if payload.keys() >= {"a", "p", "q", "T"}:
        return _rest_agg_trade
    if payload.keys() >= {"id", "price", "qty", "time"}:
        return _rest_trade
    if payload.keys() >= {"lastUpdateId", "bids", "asks"} or {"result", "error"} & payload.keys():
        return None
    if payload.keys() >= {"code", "msg"}:
        return None
    raise Invalid("missing_field", f"Expected e, was an object with {sorted(payload)[:8]}.")


def field(payload: dict[str, Any], name: str) -> object:
    """Return a field that must be there.

    Raises:
        Invalid: missing_field.
    """
    if name not in payload:
        raise Invalid("missing_field", f"Expected {name}, was none.")
    return payload[name]


def _stream_trade(payload: dict[str, Any], source: Source) -> CheckedTrade:
    kind = payload["e"]
    own_id = exchange_id(field(payload, "a" if kind == "aggTrade" else "t"))
    time_us(field(payload, "E"))
    first, last = _span(payload, own_id, kind)
    return CheckedTrade(
        CheckedStream(source.market, symbol(field(payload, "s")), kind),
        own_id, first, last, scaled(field(payload, "p")), scaled(field(payload, "q")),
        side(boolean(field(payload, "m"))), time_us(field(payload, "T")),
    )  # fmt: skip


def _rest_agg_trade(payload: dict[str, Any], source: Source) -> CheckedTrade:
    own_id = exchange_id(payload["a"])
    first, last = _span(payload, own_id, "aggTrade")
    return CheckedTrade(
        CheckedStream(source.market, symbol(source.symbol), "aggTrade"),
        own_id, first, last, scaled(payload["p"]), scaled(payload["q"]),
        side(boolean(field(payload, "m"))), time_us(payload["T"]),
    )  # fmt: skip


def _rest_trade(payload: dict[str, Any], source: Source) -> CheckedTrade:
    own_id = exchange_id(payload["id"])
    return CheckedTrade(
        CheckedStream(source.market, symbol(source.symbol), "trade"),
        own_id, own_id, own_id, scaled(payload["price"]), scaled(payload["qty"]),
        side(boolean(field(payload, "isBuyerMaker"))), time_us(payload["time"]),
    )  # fmt: skip


def _span(payload: dict[str, Any], own_id: int, kind: str) -> tuple[int, int]:
    return (own_id, own_id) if kind == "trade" else span(field(payload, "f"), field(payload, "l"))


def side(buyer_is_maker: bool) -> str:
    """Return the taker's side: the buyer being the maker means that the taker sold."""
    return "SELL" if buyer_is_maker else "BUY"


def _tick(payload: dict[str, Any], source: Source) -> TickId:
    kind = payload.get("e", "bookTicker")
    tick_id = exchange_id(field(payload, "u")) if kind == "bookTicker" else time_us(field(payload, "E"))
    if kind == "bookTicker" and payload.get("E") is not None:  # there is none on the spot market
        time_us(payload["E"])
    name = symbol(field(payload, "s"))
    optional = "bBaA" if kind == "24hrTicker" else ""  # USD-M futures send no best bid and ask in this frame
    for number in [*_NUMBERS[kind], *(name for name in optional if payload.get(name) is not None)]:
        scaled(field(payload, number))
    return TickId(CheckedStream(source.market, name, _TICKERS.get(kind, kind)), tick_id)


def _key_of(payload: dict[str, Any], raw: bytes, source: Source) -> str:
    """Return the event id of a wrong record where it can be read, else the hash of its bytes."""
    try:
        return _readable_id(payload, source)
    except (Invalid, KeyError, TypeError):
        return sha_key(raw)


def _readable_id(payload: dict[str, Any], source: Source) -> str:
    kind = payload.get("e")
    if kind is None and "id" in payload and "a" not in payload:
        return event_id(CheckedStream(source.market, symbol(source.symbol), "trade"), exchange_id(payload["id"]))
    if kind is None and "u" not in payload:
        return event_id(CheckedStream(source.market, symbol(source.symbol), "aggTrade"), exchange_id(payload["a"]))
    kind = kind or "bookTicker"
    name = symbol(payload["s"])
    if kind in _TICKERS:
        return event_id(CheckedStream(source.market, name, _TICKERS[kind]), time_us(payload["E"]))
    id_field = {"aggTrade": "a", "trade": "t", "bookTicker": "u"}[kind]
    return event_id(CheckedStream(source.market, name, kind), exchange_id(payload[id_field]))
