"""The parameters of REST requests, and Binance's errors for wrong ones."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

# startTime and endTime may be milliseconds or microseconds; values from here on are microseconds.
MICROSECONDS_FROM = 10**14

UNSIGNED = re.compile(r"[0-9]{1,20}")
# Word characters of any script, but no lower-case Latin letter.
SYMBOL = re.compile(r"(?:(?![a-z])[\w\-.]){1,50}")


class RestError(Exception):
    """A wrong request; the response is `{"code":…,"msg":…}`."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class RestParameters:
    """The parameters of one request.

    Args:
        values: The query of the URL.
        known: The symbols that are listed at this moment.
    """

    def __init__(self, values: Mapping[str, str], known: Collection[str]) -> None:
        self.values = values
        self.known = known

    def symbol(self) -> str:
        """Return the mandatory symbol.

        Raises:
            RestError: -1102 without one, -1100 with illegal characters, -1121 for an unknown one.
        """
        symbol = self.values.get("symbol", "")
        if not symbol:
            raise RestError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        return self._checked(symbol, "symbol")

    def symbols(self) -> list[str] | None:
        """Return the symbols of `symbol` or `symbols` (a JSON list); None when neither was sent.

        Raises:
            RestError: As for `symbol`.
        """
        if "symbol" in self.values:
            return [self.symbol()]
        if "symbols" not in self.values:
            return None
        names = re.findall(r'"([^"]*)"', self.values["symbols"])
        if not names:
            raise RestError(-1100, "Illegal characters found in parameter 'symbols'.")
        return [self._checked(name, "symbols") for name in names]

    def number(self, name: str) -> int | None:
        """Return an unsigned integer; None when it was not sent.

        Raises:
            RestError: -1100 when it is no unsigned integer.
        """
        text = self.values.get(name)
        if text is None:
            return None
        if not UNSIGNED.fullmatch(text):
            raise RestError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
        return int(text)

    def time_us(self, name: str) -> int | None:
        """Return a time, sent in milliseconds or microseconds, in microseconds."""
        value = self.number(name)
        if value is None:
            return None
        return value if value >= MICROSECONDS_FROM else value * 1_000

    def limit(self, default: int = 500, most: int = 1_000) -> int:
        """Return the row limit, at most the number that is allowed.

        Raises:
            RestError: -1130 for 0.
        """
        value = self.number("limit")
        if value == 0:
            raise RestError(-1130, "Data sent for parameter 'limit' is not valid.")
        return min(default if value is None else value, most)

    def _checked(self, name: str, parameter: str) -> str:
        if not SYMBOL.fullmatch(name):
            raise RestError(
                -1100,
                f"Illegal characters found in parameter '{parameter}'; legal range is '^[\\w\\-._&&[^a-z]]{{1,50}}$'.",
            )
        if name not in self.known:
            raise RestError(-1121, "Invalid symbol.")
        return name
