"""Trades, ticks and rejections in the canonical form that the checker compares.

Prices and quantities are integers in units of 10^-8, times are microseconds since 1970 UTC. The
readers of the stores and of the offered events all yield these types, so two events are equal when
their tuples are equal.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

SCALE = 10**8
MINUTE_US = 60_000_000
HASH_MODULUS = 1 << 64


class CheckedStream(NamedTuple):
    """One id sequence of the exchange."""

    market: str
    symbol: str
    stream: str

    def __str__(self) -> str:
        return f"{self.market}:{self.symbol}:{self.stream}"


class CheckedTrade(NamedTuple):
    """One aggregate or single trade; `price` and `qty` in 10^-8, `time_us` the trade time."""

    key: CheckedStream
    trade_id: int
    first_id: int
    last_id: int
    price: int
    qty: int
    side: str
    time_us: int

    @property
    def event_id(self) -> str:
        """Return the trade's id, which is its key in every store."""
        return event_id(self.key, self.trade_id)

    @property
    def is_sentinel(self) -> bool:
        """Return whether Binance marked the id as void (price or quantity not above zero).

        Such a trade is in no candle.
        """
        return self.price <= 0 or self.qty <= 0

    @property
    def minute_us(self) -> int:
        """Return the start of the trade's minute."""
        return self.time_us - self.time_us % MINUTE_US


class TickId(NamedTuple):
    """A ticker update, of which only the id is compared."""

    key: CheckedStream
    tick_id: int


class Rejection(NamedTuple):
    """A record that must be in `dlq.producer`.

    `key` is the event id, or the sha256 of the raw bytes where there is none.
    """

    key: str
    reason: str
    detail: str
    position: str = ""


def event_id(key: CheckedStream, exchange_id: int) -> str:
    """Return `binance:<market>:<SYMBOL>:<stream>:<exchange id>`."""
    return f"binance:{key.market}:{key.symbol}:{key.stream}:{exchange_id}"


def parse_event_id(text: str) -> tuple[CheckedStream, int]:
    """Split an event id into its stream and the exchange's number.

    Raises:
        ValueError: The text is not of the form `binance:<market>:<SYMBOL>:<stream>:<exchange id>`.
    """
    parts = text.split(":")
    if len(parts) != 5 or parts[0] != "binance" or not all(parts) or not parts[4].isdigit():
        raise ValueError(f"Expected binance:<market>:<SYMBOL>:<stream>:<exchange id>, was {text!r}.")
    return CheckedStream(parts[1], parts[2], parts[3]), int(parts[4])


def kafka_key(key: CheckedStream) -> str:
    """Return the Kafka key under which a stream's records are partitioned."""
    return f"BINANCE:{key.market.upper()}:{key.symbol}"


def plain(scaled: int, places: int = 8) -> str:
    """Return a scaled integer as plain digits with exactly `places` decimals ("61685.99000000")."""
    sign = "-" if scaled < 0 else ""
    whole, fraction = divmod(abs(scaled), 10**places)
    return f"{sign}{whole}.{fraction:0{places}d}"


def checksum(trade: CheckedTrade) -> int:
    """Return the number that the trade adds to the order-free checksum.

    It is the first 15 hex digits of md5("<trade_id>|<price>|<qty>|<side>|<trade_time_us>"). The
    numbers of all trades are added modulo 2^64, so their order does not matter. md5 is not used for
    security here.
    """
    price, qty = trade.price, trade.qty
    if price < 0 or qty < 0:
        figures = f"{plain(price)}|{plain(qty)}"
    else:  # the same text without a call: this runs once per event and store
        figures = f"{price // SCALE}.{price % SCALE:08d}|{qty // SCALE}.{qty % SCALE:08d}"
    text = f"{trade.trade_id}|{figures}|{trade.side}|{trade.time_us}"
    return int(hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:15], 16)


def hash_text(total: int) -> str:
    """Return a checksum total as 16 hex digits."""
    return f"{total % HASH_MODULUS:016x}"
