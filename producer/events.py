"""Trades, ticks and their event ids."""

from __future__ import annotations

from typing import Final

import msgspec

from common.errors import ConfigurationError, RejectedRecord
from common.symbols import is_symbol

MARKETS: Final = ("spot", "usdm", "coinm")
TRADE_STREAMS: Final = ("aggTrade", "trade")
TICK_STREAMS: Final = ("ticker", "miniTicker", "bookTicker")
MAX_ID: Final = (1 << 63) - 1  # Avro long

# The exchange uses milliseconds (13 digits) and microseconds (16 digits); both are unambiguous from
# 2001-09 to 2286-11.
MIN_MILLIS: Final = 10**12
END_MILLIS: Final = 10**13

# One frame, row or object as it was received: (bytes, received µs or None, position in its source).
Line = tuple[bytes, "int | None", int]


class Trade(msgspec.Struct, frozen=True, gc=False):
    """One trade or aggregate trade.

    `price` and `qty` are unscaled Avro bytes of scale 8; times are µs UTC.
    """

    stream: str
    symbol: str
    trade_id: int
    first_trade_id: int
    last_trade_id: int
    price: bytes
    qty: bytes
    side: str
    event_us: int
    trade_us: int

    def same_payload(self, other: Trade) -> bool:
        """Return whether two deliveries of one id have the same values.

        The event time is not compared, because REST has none. The trade time is compared in ms,
        because REST and streams may use different units.
        """
        return (
            self.price == other.price
            and self.qty == other.qty
            and self.side == other.side
            and self.first_trade_id == other.first_trade_id
            and self.last_trade_id == other.last_trade_id
            and self.trade_us // 1000 == other.trade_us // 1000
        )


class Tick(msgspec.Struct, frozen=True, gc=False):
    """One 24 h ticker or book ticker; its numbers are read from `frame` when it is kept."""

    stream: str
    symbol: str
    event_us: int | None
    update_id: int | None
    frame: msgspec.Struct

    @property
    def exchange_id(self) -> int:
        """Return the update id of a book ticker, else the event time in µs."""
        number = self.update_id if self.stream == "bookTicker" else self.event_us
        assert number is not None  # noqa: S101  # the parser rejects tickers without E
        return number


class Identity(msgspec.Struct, frozen=True, gc=False):
    """The fields that identify an event, readable even when the rest of it is wrong."""

    stream: str
    symbol: str
    exchange_id: int


def micros(value: int) -> int:
    """Return an exchange time in µs; its magnitude shows whether it is in ms or µs.

    Raises:
        RejectedRecord: `bad_time`.
    """
    if MIN_MILLIS <= value < END_MILLIS:
        return value * 1000
    if MIN_MILLIS * 1000 <= value < END_MILLIS * 1000:
        return value
    raise RejectedRecord("bad_time", f"Expected 13 (ms) or 16 (µs) digits, was {str(value)[:40]}")


def check_symbol(text: str) -> str:
    """Return `text` when it is a valid symbol.

    Raises:
        RejectedRecord: `bad_symbol`.
    """
    if is_symbol(text):
        return text
    raise RejectedRecord("bad_symbol", f"Expected 1 to 50 upper-case letters, digits, '_', '-', '.', was {text[:80]!a}")


def check_market(market: str) -> str:
    """Return `market` when it is spot, usdm or coinm.

    Raises:
        ConfigurationError: It is none of these.
    """
    if market in MARKETS:
        return market
    raise ConfigurationError(f"Expected a market of {MARKETS}, was {market!r}.")


def event_prefix(market: str, symbol: str, stream: str) -> str:
    """Return an event id without the exchange's number at its end."""
    return f"binance:{market}:{symbol}:{stream}:"


def event_id(market: str, identity: Identity) -> str:
    """Return `binance:<market>:<SYMBOL>:<stream>:<exchange id>`."""
    return f"{event_prefix(market, identity.symbol, identity.stream)}{identity.exchange_id}"


def split_event_id(text: str) -> tuple[str, Identity] | None:
    """Return (market, identity) of an event id, None when it has another form."""
    parts = text.split(":")
    if len(parts) != 5 or parts[0] != "binance" or not parts[4].isdecimal():
        return None
    return parts[1], Identity(stream=parts[3], symbol=parts[2], exchange_id=int(parts[4]))


def record_key(market: str, symbol: str) -> bytes:
    """Return the Kafka key of a symbol's trades and ticks, `BINANCE:<MARKET>:<SYMBOL>`."""
    return f"BINANCE:{market.upper()}:{symbol}".encode()
