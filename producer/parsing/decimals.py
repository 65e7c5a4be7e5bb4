"""Convert decimal text to scaled integers and Avro bytes exactly, without floats or rounding."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from common.errors import RejectedRecord

SCALE = 8  # decimal(28,8) of trade.avsc and tick.avsc
MAX_INTEGER_DIGITS = 20  # 28 - 8
# The numbers of a stream repeat often (price levels, lot sizes). 2^15 entries of about 130 bytes
# are 4 MiB.
CACHE_SIZE = 1 << 15

_PLAIN = re.compile(r"(-?)([0-9]+)(?:\.([0-9]*))?")
_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}")
CACHE: Final[dict[str, bytes]] = {}  # bytes by text; the hot path reads it before it calls `unscaled`


def scaled(text: str) -> int:
    """Return a plain decimal number times 10^8, exactly.

    Raises:
        RejectedRecord: `bad_number` when it is not a plain decimal number; `decimal_out_of_range`
            when it has more than 8 decimals (without trailing zeros) or more than 20 integer
            digits.
    """
    match = _PLAIN.fullmatch(text)
    if match is None:
        raise RejectedRecord("bad_number", f"Expected a decimal number, was {text[:80]!r}")
    sign, integer, fraction = match[1], match[2].lstrip("0"), (match[3] or "").rstrip("0")
    if len(fraction) > SCALE or len(integer) > MAX_INTEGER_DIGITS:
        raise RejectedRecord(
            "decimal_out_of_range", f"Expected at most {MAX_INTEGER_DIGITS} + {SCALE} digits, was {text[:80]!r}"
        )
    return int(f"{sign}{integer}{fraction.ljust(SCALE, '0')}")


def to_bytes(number: int) -> bytes:
    """Return a scaled integer as Avro decimal bytes: big-endian two's complement."""
    return number.to_bytes((number.bit_length() + 8) >> 3, "big", signed=True)


def unscaled(text: str) -> bytes:
    """Return the Avro bytes of a decimal number.

    Raises:
        RejectedRecord: As `scaled`.
    """
    encoded = CACHE.get(text)
    if encoded is None:
        if len(CACHE) >= CACHE_SIZE:
            CACHE.clear()
        encoded = CACHE[text] = to_bytes(scaled(text))
    return encoded


def from_bytes(value: bytes) -> Decimal:
    """Return the decimal number of Avro bytes."""
    return Decimal(int.from_bytes(value, "big", signed=True)).scaleb(-SCALE)


def plain(text: str) -> str:
    """Return a number that pandas printed (such as `1e-05`) without exponent.

    Other text is returned unchanged.
    """
    return format(Decimal(text), "f") if _EXPONENT.fullmatch(text) else text
