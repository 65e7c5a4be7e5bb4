"""Compare `quote_qty` and `base_qty`, the columns that follow from price and quantity.

Their values are never used. Some files of Binance have rows whose `base_qty` is 10,000 times too
large, so these columns cannot be trusted. Such a trade is delivered anyway, and the replay reports
how many rows differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

from producer.events import Trade
from producer.parsing.decimals import SCALE

# Returns the value of one contract of a symbol in the quote currency, None when it is not known.
ContractSize: TypeAlias = Callable[[str], "int | None"]

_NUMBER = re.compile(r"(-?[0-9]+)(?:\.([0-9]*))?")


class DerivedQuantity:
    """Compares one column of a file with the value that the other columns give.

    Args:
        name: Name of the column, `quote_qty` or `base_qty`.
        column: Its index, from 0.
        contract_size: Needed for `base_qty`, which is contracts x size / price; without it nothing
            is compared.
    """

    def __init__(self, name: str, column: int, contract_size: ContractSize | None = None) -> None:
        self.name, self.column = name, column
        self._contract_size = contract_size
        self.compared = self.differing = 0
        self.example = ""

    def compare(self, trade: Trade, text: str) -> None:
        """Count a row, and whether its value differs by more than one unit of its last digit."""
        expected = self._expected(trade)
        if expected is None:
            return
        self.compared += 1
        if not _is_near(text, *expected):
            self.differing += 1
            self.example = self.example or f"{trade.trade_id}: {text[:40]}"

    def _expected(self, trade: Trade) -> tuple[int, int] | None:
        """Return the expected value as (numerator, denominator)."""
        price, qty = (int.from_bytes(value, "big", signed=True) for value in (trade.price, trade.qty))
        if self.name == "quote_qty":
            return price * qty, 10 ** (2 * SCALE)
        size = self._contract_size(trade.symbol) if self._contract_size else None
        return None if size is None or price <= 0 else (qty * size, price)

    def document(self) -> dict[str, object]:
        """Return the counts for a report."""
        return {"column": self.name, "compared": self.compared, "differing": self.differing, "example": self.example}


def _is_near(text: str, numerator: int, denominator: int) -> bool:
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > 60:
        return False
    decimals = match[2] or ""
    unit = 10 ** len(decimals)
    difference: int = int(match[1] + decimals) * denominator - numerator * unit
    return abs(difference) <= denominator
