"""Parse WebSocket frames into events.

Known frames are decoded in one typed step, all others by a slower, exact parser.

Protocol: binance-spot-api-docs `web-socket-streams.md`, and the USD-M futures documentation for the
fields that differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from common.errors import RejectedRecord
from common.symbols import is_symbol
from producer.events import END_MILLIS, MAX_ID, MIN_MILLIS, Identity, Tick, Trade, micros
from producer.parsing.decimals import CACHE, unscaled


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
    """Decodes any object without keeping it, to check that an unwanted frame is complete JSON."""


class Ignored(msgspec.Struct, frozen=True):
    """A known frame without a trade or tick, such as an answer or a kline."""

    what: str


Parsed: TypeAlias = Trade | Tick | Ignored
Parser: TypeAlias = Callable[[str], "Parsed | list[tuple[str, Parsed]]"]
_Convert: TypeAlias = Callable[[Any], Parsed]

# Column of tick.avsc by frame field, for each type of frame.
TICK_FIELDS: Final[dict[type, dict[str, str]]] = {
    _MiniTicker: {"c": "last_price", "o": "open_price", "h": "high_price", "l": "low_price", "v": "volume",
                  "q": "quote_volume"},
    _Ticker: {"c": "last_price", "o": "open_price", "h": "high_price", "l": "low_price", "v": "volume",
              "q": "quote_volume", "b": "bid_price", "B": "bid_qty", "a": "ask_price", "A": "ask_qty"},
    _BookTicker: {"b": "bid_price", "B": "bid_qty", "a": "ask_price", "A": "ask_qty"},
}  # fmt: skip


def tick_values(tick: Tick) -> dict[str, Any]:
    """Return the numbers of a tick by column of tick.avsc.

    Decimals are Avro bytes; absent fields are left out.

    Raises:
        RejectedRecord: A field is not a decimal number, or does not fit.
    """
    frame = tick.frame
    given = {column: getattr(frame, name) for name, column in TICK_FIELDS[type(frame)].items()}
    values: dict[str, Any] = {column: unscaled(text) for column, text in given.items() if text is not None}
    values["trade_count"] = getattr(frame, "n", None)
    return values


def check_ids(number: int, first: int, last: int) -> None:
    """Reject ids that do not fit an Avro long or contradict each other.

    -1 means no id, in sentinel trades.

    Raises:
        RejectedRecord: `bad_id`.
    """
    if not (0 <= number <= MAX_ID and -1 <= first <= last <= MAX_ID):
        raise RejectedRecord("bad_id", f"Expected 0 <= id and -1 <= first <= last, was {number}, {first}, {last}")


# The next two run once per event. They test the usual case in place, and call the checking
# functions only for the others.


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


class _FrameType(msgspec.Struct, frozen=True):
    """One type of frame: its stream, its `e`, its struct, and the field with the exchange id."""

    stream: str
    event_type: str
    frame: Any
    convert: _Convert
    id_field: str


FRAME_TYPES: Final = (
    _FrameType("aggTrade", "aggTrade", _AggTrade, _from_agg_trade, "a"),
    _FrameType("trade", "trade", _Trade, _from_trade, "t"),
    _FrameType("ticker", "24hrTicker", _Ticker, _from_ticker, "E"),
    _FrameType("miniTicker", "24hrMiniTicker", _MiniTicker, _from_mini_ticker, "E"),
    _FrameType("bookTicker", "bookTicker", _BookTicker, _from_book_ticker, "u"),
)
_BY_TYPE: Final = {kind.event_type: kind for kind in FRAME_TYPES}
_UNWANTED_STREAMS: Final = ("depth", "kline", "avgPrice", "ticker_", "rollingTicker")
_UNWANTED_TYPES: Final = {"depthUpdate", "kline", "continuous_kline", "avgPrice", "serverShutdown", "1hTicker",
                          "4hTicker", "1dTicker", "markPriceUpdate", "indexPriceUpdate"}  # fmt: skip
_BOOK_KEYS: Final = {"u", "s", "b", "B", "a", "A"}
_DEPTH_KEYS: Final = {"lastUpdateId", "bids", "asks"}


def _decoder(frame_type: _FrameType) -> tuple[Callable[[str], Any], _Convert]:
    envelope = msgspec.defstruct(
        f"_{frame_type.stream}Envelope", [("stream", str), ("data", frame_type.frame)], gc=False
    )
    return msgspec.json.Decoder(envelope).decode, frame_type.convert


_AGG_TRADE: Final = _decoder(FRAME_TYPES[0])[0]
_FAST: Final = {kind.stream: _decoder(kind) for kind in FRAME_TYPES}
_SKIP: Final = msgspec.json.Decoder(_Skipped).decode
_START: Final = '{"stream":"'
_UNWANTED: Final = Ignored("unwanted stream")


def parse_frame(text: str) -> Parsed | list[tuple[str, Parsed]]:
    """Return the event of one frame, or a list of (raw, event) for an array of events.

    The name of the stream only selects the decoder to try first; the fields of the frame decide
    what it is.

    Raises:
        RejectedRecord: The frame is not valid.
    """
    if text.find("@aggTrade", 11, 72) > 0:  # by far the busiest stream
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
            return _parse_slowly(text)  # raises an error that names what is wrong
    return _parse_slowly(text)


def decode_json(text: str) -> Any:  # any JSON document
    """Decode a JSON document.

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
    kind = _frame_type_of(data)
    if isinstance(kind, Ignored):
        return kind
    try:
        return kind.convert(msgspec.convert(data, kind.frame))
    except msgspec.ValidationError as error:
        missing = "missing required field" in str(error)
        raise RejectedRecord("missing_field" if missing else "wrong_type", str(error)) from error


def _frame_type_of(data: dict[str, Any]) -> _FrameType | Ignored:
    if "e" in data:
        return _frame_type_by_name(data["e"])
    if data.keys() >= _BOOK_KEYS:
        return _BY_TYPE["bookTicker"]
    if data.keys() >= _DEPTH_KEYS:
        return Ignored("depth")
    if "result" in data or {"code", "msg"} <= data.keys() or "error" in data:
        return Ignored("answer")
    raise RejectedRecord("missing_field", f"Expected `e`, was an object with {sorted(data)[:8]}")


def _frame_type_by_name(event_type: object) -> _FrameType | Ignored:
    if not isinstance(event_type, str):
        raise RejectedRecord("wrong_type", f"Expected `str`, was `{type(event_type).__name__}` - at `$.e`")
    if event_type in _UNWANTED_TYPES:
        return Ignored(event_type)
    kind = _BY_TYPE.get(event_type)
    if kind is None:
        raise RejectedRecord("unknown_event_type", f"Expected one of {sorted(_BY_TYPE)}, was {event_type[:80]!r}")
    return kind


def identify(raw: bytes) -> tuple[str, Identity | None]:
    """Return (stream name, identity) of a rejected frame, as far as they can be read.

    It never raises.
    """
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
    """Return the identity of an event, None when `number` cannot be an exchange id."""
    if type(number) is not int or not 0 <= number <= MAX_ID:
        return None
    if stream in ("ticker", "miniTicker"):
        try:
            number = micros(number)
        except RejectedRecord:
            return None
    return Identity(stream=stream, symbol=symbol, exchange_id=number)
