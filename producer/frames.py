"""WebSocket frames to events: one typed decode for what we know, a slow and exact look at everything else.

Protocol: binance-spot-api-docs `web-socket-streams.md`, and the USD-M futures documentation for the fields that differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from producer.decimals import CACHE, unscaled
from producer.events import END_MILLIS, MAX_ID, MIN_MILLIS, Identity, Tick, Trade, is_symbol, micros
from tickhouse.errors import RejectedRecord


class _AggTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    E: int
    s: str
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741
    T: int
    m: bool


class _Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    E: int
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _MiniTicker(msgspec.Struct, tag_field="e", tag="24hrMiniTicker", gc=False):
    E: int
    s: str
    c: str
    o: str
    h: str
    l: str  # noqa: E741
    v: str
    q: str


class _Ticker(msgspec.Struct, tag_field="e", tag="24hrTicker", gc=False):
    E: int
    s: str
    c: str
    o: str
    h: str
    l: str  # noqa: E741
    v: str
    q: str
    n: int | None = None
    # USD-M futures send no best bid and ask in this frame.
    b: str | None = None
    B: str | None = None
    a: str | None = None
    A: str | None = None


class _BookTicker(msgspec.Struct, gc=False):
    u: int
    s: str
    b: str
    B: str
    a: str
    A: str
    E: int | None = None  # none on the spot market


class _Skipped(msgspec.Struct, gc=False):
    """Reads any object and keeps nothing: proves that an unwanted frame is whole JSON."""


class Ignored(msgspec.Struct, frozen=True):
    """A frame that is known and not wanted: an answer, a depth update, a kline, a shutdown notice."""

    what: str


Parsed: TypeAlias = Trade | Tick | Ignored
Parser: TypeAlias = Callable[[str], "Parsed | list[tuple[str, Parsed]]"]
_Convert: TypeAlias = Callable[[Any], Parsed]

# Column of tick.avsc by frame field, a frame type each.
TICK_FIELDS: Final[dict[type, dict[str, str]]] = {
    _MiniTicker: {"c": "last_price", "o": "open_price", "h": "high_price", "l": "low_price", "v": "volume",
                  "q": "quote_volume"},
    _Ticker: {"c": "last_price", "o": "open_price", "h": "high_price", "l": "low_price", "v": "volume",
              "q": "quote_volume", "b": "bid_price", "B": "bid_qty", "a": "ask_price", "A": "ask_qty"},
    _BookTicker: {"b": "bid_price", "B": "bid_qty", "a": "ask_price", "A": "ask_qty"},
}  # fmt: skip


def tick_values(tick: Tick) -> dict[str, Any]:
    """Return the numbers of a tick by column of tick.avsc (decimals as Avro bytes, absent ones left out).

    Raises:
        RejectedRecord: A number is none, or does not fit.
    """
    frame = tick.frame
    given = {column: getattr(frame, name) for name, column in TICK_FIELDS[type(frame)].items()}
    values: dict[str, Any] = {column: unscaled(text) for column, text in given.items() if text is not None}
    values["trade_count"] = getattr(frame, "n", None)
    return values


def check_ids(number: int, first: int, last: int) -> None:
    """Refuse ids that Avro's long cannot hold or that contradict each other; -1 stands for none in a sentinel.

    Raises:
        RejectedRecord: `bad_id`.
    """
    if not (0 <= number <= MAX_ID and -1 <= first <= last <= MAX_ID):
        raise RejectedRecord("bad_id", f"Expected 0 <= id and -1 <= first <= last, was {number}, {first}, {last}")


# The two below run once an event: the usual case is tested in place, and the functions say what is wrong.


def _from_agg_trade(frame: _AggTrade) -> Trade:
    number, first, last, event, trade = frame.a, frame.f, frame.l, frame.E, frame.T
    if not 0 <= first <= last <= MAX_ID >= number >= 0:
        check_ids(number, first, last)
    return Trade(
        "aggTrade", frame.s, number, first, last,
        CACHE.get(frame.p) or unscaled(frame.p), CACHE.get(frame.q) or unscaled(frame.q),
        "SELL" if frame.m else "BUY",
        event * 1000 if MIN_MILLIS <= event < END_MILLIS else micros(event),
        trade * 1000 if MIN_MILLIS <= trade < END_MILLIS else micros(trade),
    )  # fmt: skip


def _from_trade(frame: _Trade) -> Trade:
    number, event, trade = frame.t, frame.E, frame.T
    if not 0 <= number <= MAX_ID:
        check_ids(number, number, number)
    return Trade(
        "trade", frame.s, number, number, number,
        CACHE.get(frame.p) or unscaled(frame.p), CACHE.get(frame.q) or unscaled(frame.q),
        "SELL" if frame.m else "BUY",
        event * 1000 if MIN_MILLIS <= event < END_MILLIS else micros(event),
        trade * 1000 if MIN_MILLIS <= trade < END_MILLIS else micros(trade),
    )  # fmt: skip


def _from_ticker(frame: _Ticker) -> Tick:
    return Tick("ticker", frame.s, micros(frame.E), None, frame)


def _from_mini_ticker(frame: _MiniTicker) -> Tick:
    return Tick("miniTicker", frame.s, micros(frame.E), None, frame)


def _from_book_ticker(frame: _BookTicker) -> Tick:
    check_ids(frame.u, frame.u, frame.u)
    return Tick("bookTicker", frame.s, None if frame.E is None else micros(frame.E), frame.u, frame)


class _Kind(msgspec.Struct, frozen=True):
    """One sort of frame: stream name, its `e`, its fields, the field that holds the exchange id."""

    stream: str
    event_type: str
    frame: Any
    convert: _Convert
    id_field: str


KINDS: Final = (
    _Kind("aggTrade", "aggTrade", _AggTrade, _from_agg_trade, "a"),
    _Kind("trade", "trade", _Trade, _from_trade, "t"),
    _Kind("ticker", "24hrTicker", _Ticker, _from_ticker, "E"),
    _Kind("miniTicker", "24hrMiniTicker", _MiniTicker, _from_mini_ticker, "E"),
    _Kind("bookTicker", "bookTicker", _BookTicker, _from_book_ticker, "u"),
)
_BY_TYPE: Final = {kind.event_type: kind for kind in KINDS}
_UNWANTED_STREAMS: Final = ("depth", "kline", "avgPrice", "ticker_", "rollingTicker")
_UNWANTED_TYPES: Final = {"depthUpdate", "kline", "continuous_kline", "avgPrice", "serverShutdown", "1hTicker",
                          "4hTicker", "1dTicker", "markPriceUpdate", "indexPriceUpdate"}  # fmt: skip
_BOOK_KEYS: Final = {"u", "s", "b", "B", "a", "A"}
_DEPTH_KEYS: Final = {"lastUpdateId", "bids", "asks"}


def _decoder(kind: _Kind) -> tuple[Callable[[str], Any], _Convert]:
    envelope = msgspec.defstruct(f"_{kind.stream}Envelope", [("stream", str), ("data", kind.frame)], gc=False)
    return msgspec.json.Decoder(envelope).decode, kind.convert


_AGG_TRADE: Final = _decoder(KINDS[0])[0]
_FAST: Final = {kind.stream: _decoder(kind) for kind in KINDS}
_SKIP: Final = msgspec.json.Decoder(_Skipped).decode
_START: Final = '{"stream":"'
_UNWANTED: Final = Ignored("unwanted stream")


def parse_frame(text: str) -> Parsed | list[tuple[str, Parsed]]:
    """Return the event of one frame; a list of (raw, event) for an array of events.

    The stream's name only chooses the decoder to try first: what the frame is, its own fields say.

    Raises:
        RejectedRecord: With the reason of the contract.
    """
    if text.find("@aggTrade", 11, 72) > 0:  # by far the busiest stream; the rest of its name does not matter
        try:
            return _from_agg_trade(_AGG_TRADE(text).data)
        except (msgspec.DecodeError, RecursionError):
            return _parse_slowly(text)
    at = text.find("@", 11, 72) + 1 if text.startswith(_START) else 0
    if at:
        name = text[at : text.find('"', at)]
        try:
            fast = _FAST.get(name)
            if fast is not None:
                frame = fast[0](text).data
                return fast[1](frame)
            if name.startswith(_UNWANTED_STREAMS):
                _SKIP(text)
                return _UNWANTED
        except (msgspec.DecodeError, RecursionError):
            return _parse_slowly(text)  # says exactly what is wrong
    return _parse_slowly(text)


def decode_json(text: str) -> Any:  # any JSON document
    """Return any JSON document.

    Raises:
        RejectedRecord: `truncated` when it ends too early, else `invalid_json`.
    """
    try:
        return msgspec.json.decode(text)
    except RecursionError as error:
        raise RejectedRecord("invalid_json", "Expected JSON, was nested too deeply") from error
    except msgspec.DecodeError as error:
        reason = "truncated" if text.strip() and "truncated" in str(error) else "invalid_json"
        raise RejectedRecord(reason, str(error)) from error


def _parse_slowly(text: str) -> Parsed | list[tuple[str, Parsed]]:
    document = decode_json(text)
    data = document["data"] if isinstance(document, dict) and "stream" in document and "data" in document else document
    if isinstance(data, list):
        return [(msgspec.json.encode(item).decode(), _parse_object(item)) for item in _objects(data)]
    return _parse_object(data)


def _objects(items: list[Any]) -> list[dict[str, Any]]:
    if items and all(isinstance(item, dict) and "e" in item for item in items):
        return items
    raise RejectedRecord("not_an_object", f"Expected an object, was a list of {len(items)}")


def _parse_object(data: object) -> Parsed:
    if not isinstance(data, dict):
        raise RejectedRecord("not_an_object", f"Expected an object, was {type(data).__name__}")
    kind = _kind_of(data)
    if isinstance(kind, Ignored):
        return kind
    try:
        return kind.convert(msgspec.convert(data, kind.frame))
    except msgspec.ValidationError as error:
        missing = "missing required field" in str(error)
        raise RejectedRecord("missing_field" if missing else "wrong_type", str(error)) from error


def _kind_of(data: dict[str, Any]) -> _Kind | Ignored:
    if "e" in data:
        return _kind_of_type(data["e"])
    if data.keys() >= _BOOK_KEYS:
        return _BY_TYPE["bookTicker"]
    if data.keys() >= _DEPTH_KEYS:
        return Ignored("depth")
    if "result" in data or {"code", "msg"} <= data.keys() or "error" in data:
        return Ignored("answer")
    raise RejectedRecord("missing_field", f"Expected `e`, was an object with {sorted(data)[:8]}")


def _kind_of_type(event_type: object) -> _Kind | Ignored:
    if not isinstance(event_type, str):
        raise RejectedRecord("wrong_type", f"Expected `str`, was `{type(event_type).__name__}` - at `$.e`")
    if event_type in _UNWANTED_TYPES:
        return Ignored(event_type)
    kind = _BY_TYPE.get(event_type)
    if kind is None:
        raise RejectedRecord("unknown_event_type", f"Expected one of {sorted(_BY_TYPE)}, was {event_type[:80]!r}")
    return kind


def identify(raw: bytes) -> tuple[str, Identity | None]:
    """Return (stream name, identity) of a rejected frame as far as they can be read; never raises."""
    try:
        document = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return "", None
    name = document.get("stream", "") if isinstance(document, dict) else ""
    data = document.get("data", document) if isinstance(document, dict) else None
    return (name if isinstance(name, str) else ""), _identity(data)


def _identity(data: object) -> Identity | None:
    if not isinstance(data, dict):
        return None
    event_type, symbol = data.get("e"), data.get("s")
    kind = _BY_TYPE.get(event_type) if isinstance(event_type, str) else None
    if kind is None or not isinstance(symbol, str) or not is_symbol(symbol):
        return None
    return identity(kind.stream, symbol, data.get(kind.id_field))


def identity(stream: str, symbol: str, number: object) -> Identity | None:
    """Return the identity of an event, or None when its number cannot be an exchange id."""
    if type(number) is not int or not 0 <= number <= MAX_ID:
        return None
    if stream in ("ticker", "miniTicker"):
        try:
            number = micros(number)
        except RejectedRecord:
            return None
    return Identity(stream=stream, symbol=symbol, exchange_id=number)
