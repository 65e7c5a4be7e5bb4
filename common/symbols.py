"""Symbols of the exchange: validate a text, and find the symbol that a person meant (ADR 0015).

Two symbols are equal when their characters are. Nothing in a record is case-folded, normalised or
guessed. Only text that a person typed, or that a file system may have changed, is compared more
loosely.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from common.errors import ConfigurationError

# What Binance accepts: 1 to 50 word characters, dots and dashes, without lower-case Latin letters.
_SYMBOL = re.compile(r"[\w.\-]{1,50}")
_LOWER = re.compile(r"[a-z]")
_TO_LOWER: Final = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_TO_UPPER: Final = {lower: upper for upper, lower in _TO_LOWER.items()}
# Letters that look like a Latin capital (Unicode's confusables.txt, Greek and Cyrillic capitals).
_LOOK_ALIKES: Final = str.maketrans(
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7"
    "\u0405\u0406\u0408\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0425\u04ae\u04c0\u050c\u051a\u051c",
    "ABEZHIKMNOPTYX" "SIJABEKMHOPCTXYIGQW",
)  # fmt: skip


def is_symbol(text: str) -> bool:
    """Return whether a text is a valid symbol: in any script, in Unicode's composed form (NFC)."""
    if _SYMBOL.fullmatch(text) is None:
        return False
    return _LOWER.search(text) is None and (text.isascii() or unicodedata.is_normalized("NFC", text))


def in_stream_name(symbol: str) -> str:
    """Return a symbol as it is in stream names: Latin letters in lower case, others unchanged."""
    return symbol.translate(_TO_LOWER)


def upper_latin(text: str) -> str:
    """Return a text with its Latin letters in upper case, others unchanged."""
    return text.translate(_TO_UPPER)


def nearest(text: str) -> str:
    """Return the symbol that a person most likely meant; for a normal symbol that is `text` itself.

    It replaces compatibility forms (full-width letters), decomposed accents, invisible characters,
    Latin lower case and look-alike letters. Look-alikes are replaced only when the whole name
    becomes Latin: a letter without a Latin look-alike shows that the name is of another script.
    """
    visible = "".join(character for character in text.strip() if unicodedata.category(character) not in ("Cc", "Cf"))
    plain = upper_latin(unicodedata.normalize("NFKC", visible))
    latin = plain.translate(_LOOK_ALIKES)
    return latin if latin.isascii() else plain


def check_given_symbol(text: str) -> str:
    """Return a symbol that a person typed, when it is valid and not a look-alike of another one.

    Raises:
        ConfigurationError: It is not valid, or looks like another symbol; the message names the
            nearest one.
    """
    meant = nearest(text)
    if is_symbol(text) and meant == text:
        return text
    shown = text.encode("ascii", "backslashreplace").decode()
    hint = f" The nearest one is {meant}." if is_symbol(meant) else ""
    raise ConfigurationError(
        f"{shown} is not a symbol as the exchange writes it.{hint}",
        safe="Nothing was sent.",
        next_command="the same command with the symbol as the exchange writes it",
    )
