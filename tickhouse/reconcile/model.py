"""What the checker compares: trades, ticks and rejections in canonical form.

Prices and quantities are integers in units of 10^-8, times are microseconds since 1970 UTC. Every store reader and
every truth reader yields these, so that equality of two tuples is equality of the events.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

SCALE = 10**8
MINUTE_US = 60_000_000
HASH_MODULUS = 1 << 64


class StreamKey(NamedTuple):
    """One id sequence of the exchange."""

    market: str
    symbol: str
    stream: str

    def __str__(self) -> str:
        return f"{self.market}:{self.symbol}:{self.stream}"


class Trade(NamedTuple):
    """One aggregate or single trade; `price` and `qty` in 10^-8, `time_us` the trade time."""

    key: StreamKey
    trade_id: int
    first_id: int
    last_id: int
    price: int
    qty: int
    side: str
    time_us: int

    @property
    def event_id(self) -> str:
        """Return the id under which every store knows the trade."""
        return event_id(self.key, self.trade_id)

    @property
    def is_sentinel(self) -> bool:
        """Return whether Binance marked the id as void (price or quantity not above zero): never in a candle."""
        return self.price <= 0 or self.qty <= 0

    @property
    def minute_us(self) -> int:
        """Return the start of the trade's minute."""
        return self.time_us - self.time_us % MINUTE_US


class TickId(NamedTuple):
    """A ticker update; ticks are counted, not compared value by value."""

    key: StreamKey
    tick_id: int


class Rejection(NamedTuple):
    """A record that must be in `dlq.producer`; `key` as the contract says (event id, else sha256 of the raw bytes)."""

    key: str
    reason: str
    detail: str
    position: str = ""


def event_id(key: StreamKey, exchange_id: int) -> str:
    """Return `binance:<market>:<SYMBOL>:<stream>:<exchange id>`."""
    return f"binance:{key.market}:{key.symbol}:{key.stream}:{exchange_id}"


def parse_event_id(text: str) -> tuple[StreamKey, int]:
    """Take an event id apart.

    Raises:
        ValueError: The text is not of the form `binance:<market>:<SYMBOL>:<stream>:<exchange id>`.
    """
    parts = text.split(":")
    if len(parts) != 5 or parts[0] != "binance" or not all(parts) or not parts[4].isdigit():
        raise ValueError(f"Expected binance:<market>:<SYMBOL>:<stream>:<exchange id>, was {text!r}.")
    return StreamKey(parts[1], parts[2], parts[3]), int(parts[4])


def kafka_key(key: StreamKey) -> str:
    """Return the Kafka key under which a stream's records are partitioned."""
    return f"BINANCE:{key.market.upper()}:{key.symbol}"


def plain(scaled: int, places: int = 8) -> str:
    """Return a scaled integer in plain digits with exactly `places` decimals ("61685.99000000")."""
    sign = "-" if scaled < 0 else ""
    whole, fraction = divmod(abs(scaled), 10**places)
    return f"{sign}{whole}.{fraction:0{places}d}"


def checksum(trade: Trade) -> int:
    """Return the trade's share of the order-free checksum.

    The first 15 hex digits of md5("<trade_id>|<price>|<qty>|<side>|<trade_time_us>"), as an integer; shares are
    added modulo 2^64. md5 is a fingerprint here, not a safeguard.
    """
    price, qty = trade.price, trade.qty
    if price < 0 or qty < 0:
        figures = f"{plain(price)}|{plain(qty)}"
    else:  # the same text without a call: this runs once an event and store
        figures = f"{price // SCALE}.{price % SCALE:08d}|{qty // SCALE}.{qty % SCALE:08d}"
    text = f"{trade.trade_id}|{figures}|{trade.side}|{trade.time_us}"
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def hash_text(total: int) -> str:
    """Return a checksum total as 16 hex digits."""
    return f"{total % HASH_MODULUS:016x}"
