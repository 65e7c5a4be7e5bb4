"""Read numbers, times and ids of exchange records exactly."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_PLAIN = re.compile(r"(-?)([0-9]+)(?:\.([0-9]*))?")
_EXPONENT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,2}")
# What Binance takes as a symbol: word characters (of any script), dot and dash, no lower-case Latin
# letter.
_SYMBOL = re.compile(r"(?:(?![a-z])[\w.\-]){1,50}")
_DECIMALS = 8
_INTEGER_DIGITS = 20
_US_FROM = 10**15  # 16 digits
_MS_FROM = 10**12  # 13 digits


class Invalid(Exception):
    """A record that must be a dead letter; `reason` is its error class."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def scaled(text: object) -> int:
    """Return a decimal text in units of 10^-8; zeros beyond the eighth decimal are allowed.

    Raises:
        Invalid: wrong_type, bad_number, or decimal_out_of_range (nothing is ever rounded).
    """
    if not isinstance(text, str):
        raise Invalid("wrong_type", f"Expected a decimal as text, was {text!r}.")
    match = _PLAIN.fullmatch(text)
    if not match:
        raise Invalid("bad_number", f"Expected a decimal, was {text!r}.")
    whole, fraction = match[2].lstrip("0"), (match[3] or "").rstrip("0")
    if len(fraction) > _DECIMALS or len(whole) > _INTEGER_DIGITS:
        raise Invalid("decimal_out_of_range", f"Expected at most 20 digits and 8 decimals, was {text!r}.")
    return int(f"{match[1]}{whole}{fraction:0<{_DECIMALS}}")


def without_exponent(text: str) -> str:
    """Return a number that pandas wrote with an exponent ("1e-05") in plain digits.

    Any other text is returned unchanged.
    """
    return format(Decimal(text), "f") if _EXPONENT.fullmatch(text) else text


def time_us(value: object) -> int:
    """Return an exchange time in microseconds: 13 digits are milliseconds, 16 are microseconds.

    Raises:
        Invalid: wrong_type or bad_time.
    """
    number = integer(value, "wrong_type")
    if _MS_FROM <= number < 10 * _MS_FROM:
        return number * 1000
    if _US_FROM <= number < 10 * _US_FROM:
        return number
    raise Invalid("bad_time", f"Expected 13 or 16 digits, was {number}.")


def exchange_id(value: object) -> int:
    """Return a 64-bit id that is not negative.

    Raises:
        Invalid: wrong_type or bad_id.
    """
    number = integer(value, "wrong_type")
    if not 0 <= number < 1 << 63:
        raise Invalid("bad_id", f"Expected an id of 0 to 2^63 - 1, was {number}.")
    return number


def integer(value: object, reason: str) -> int:
    """Return a JSON integer; a boolean is not one.

    Raises:
        Invalid: With `reason`.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise Invalid(reason, f"Expected an integer, was {value!r}.")
    return value


def boolean(value: object) -> bool:
    """Return a JSON boolean.

    Raises:
        Invalid: wrong_type.
    """
    if not isinstance(value, bool):
        raise Invalid("wrong_type", f"Expected true or false, was {value!r}.")
    return value


def span(first: object, last: object) -> tuple[int, int]:
    """Return the ids of the first and last single trade of an aggregate.

    Both are -1 in the sentinels of Binance's audit of 2022.

    Raises:
        Invalid: wrong_type or bad_id.
    """
    low, high = integer(first, "wrong_type"), integer(last, "wrong_type")
    if not -1 <= low <= high < 1 << 63:
        raise Invalid("bad_id", f"Expected -1 <= first <= last < 2^63, was {low} and {high}.")
    return low, high


def symbol(value: object) -> str:
    """Return a symbol; letters of any script are allowed, in Unicode's composed form.

    Raises:
        Invalid: wrong_type or bad_symbol.
    """
    if not isinstance(value, str):
        raise Invalid("wrong_type", f"Expected a symbol, was {value!r}.")
    if not _SYMBOL.fullmatch(value) or unicodedata.normalize("NFC", value) != value:
        raise Invalid("bad_symbol", f"Expected an upper-case symbol, was {value[:80]!a}.")
    return value
