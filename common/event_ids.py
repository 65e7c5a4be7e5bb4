"""Event ids and the names of the exchange's streams."""

from __future__ import annotations

from typing import NamedTuple


class StreamName(NamedTuple):
    """One symbol's stream on one market: one sequence of ids of the exchange."""

    market: str
    symbol: str
    stream: str

    def __str__(self) -> str:
        return f"{self.market}:{self.symbol}:{self.stream}"

    @property
    def kafka_key(self) -> bytes:
        """Return the key of the stream's records in Kafka, which decides their partition."""
        return f"BINANCE:{self.market.upper()}:{self.symbol}".encode()


def parse_event_id(text: str) -> tuple[StreamName, int]:
    """Split an event id into its stream and the exchange's number.

    Raises:
        ValueError: The text is not of the form `binance:<market>:<SYMBOL>:<stream>:<exchange id>`.
    """
    parts = text.split(":")
    if len(parts) != 5 or parts[0] != "binance" or not all(parts) or not parts[4].isdecimal():
        raise ValueError(f"Expected binance:<market>:<SYMBOL>:<stream>:<exchange id>, was {text!r}.")
    return StreamName(*parts[1:4]), int(parts[4])
