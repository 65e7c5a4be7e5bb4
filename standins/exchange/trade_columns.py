"""Trades of one symbol as columns, and exact decimal text.

Prices and quantities are integers scaled by 10^8; times are UTC microseconds. Nothing is a float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Flags = npt.NDArray[np.int8]

MarketName = Literal["spot", "usdm"]

SCALE = 8
UNIT = 100_000_000

# The kinds of rows. Only NORMAL rows make a price. SENTINEL rows have an id but no price and
# quantity. OUT_OF_RANGE rows do not fit decimal(28,8).
NORMAL = 0
SENTINEL = 1
OUT_OF_RANGE = 2


def fixed(units: int, decimals: int, scale: int = SCALE) -> str:
    """Print a scaled integer with a fixed number of decimals; fewer than `scale` cut digits off."""
    if decimals < scale:
        units //= 10 ** (scale - decimals)
    if decimals == 0:
        return str(units)
    sign, digits = ("-", -units) if units < 0 else ("", units)
    one: int = 10**decimals
    return f"{sign}{digits // one}.{digits % one:0{decimals}d}"


@dataclass(frozen=True)
class SymbolSpec:
    """One tradable symbol.

    Args:
        symbol: The exchange's own name, upper case.
        base: Base asset.
        quote: Quote asset.
        price: Typical price, an exact decimal string; the random walk starts there.
        tick: Smallest price step, an exact decimal string.
        step: Smallest quantity step, an exact decimal string.
        lot: Typical quantity, in units of `step`.
        weight: Share of the market's trades, relative to other symbols.
        market: spot or usdm. Spot always prints 8 decimals, usdm those of tick and step.
    """

    symbol: str
    base: str
    quote: str
    price: str
    tick: str
    step: str
    lot: int
    weight: int
    market: MarketName = "spot"

    @cached_property
    def tick_units(self) -> int:
        """Return the price step, scaled by 10^8."""
        return to_units(self.tick)

    @cached_property
    def step_units(self) -> int:
        """Return the quantity step, scaled by 10^8."""
        return to_units(self.step)

    @property
    def price_decimals(self) -> int:
        """Return how many decimals a price of this symbol is printed with."""
        return SCALE if self.market == "spot" else decimals_of(self.tick)

    @property
    def qty_decimals(self) -> int:
        """Return how many decimals a quantity of this symbol is printed with."""
        return SCALE if self.market == "spot" else decimals_of(self.step)

    @property
    def quote_decimals(self) -> int:
        """Return how many decimals hold every price times quantity exactly, at least 8."""
        return max(SCALE, decimals_of(self.tick) + decimals_of(self.step))


def to_units(text: str) -> int:
    """Parse a plain decimal of at most 8 decimals into units of 10^-8.

    Raises:
        ValueError: The text is no plain decimal, or has non-zero digits after the 8th decimal.
    """
    whole, _, fraction = text.partition(".")
    kept, rest = fraction[:SCALE], fraction[SCALE:]
    if rest.strip("0"):
        raise ValueError(f"Expected at most {SCALE} decimals, was {text!r}")
    negative = whole.startswith("-")
    units = int(whole or "0") * UNIT
    part = int(kept.ljust(SCALE, "0")) if kept else 0
    return units - part if negative else units + part


def decimals_of(text: str) -> int:
    """Return the decimals of a step without trailing zeros; `0.0100` has 2."""
    return len(text.partition(".")[2].rstrip("0"))


@dataclass(frozen=True)
class TradeColumns:
    """Trades of one symbol, ordered by id; `t_us` never steps back.

    Args:
        spec: The symbol.
        ids: Aggregate ids, or trade ids of a `trade` capture; strictly increasing.
        t_us: Trade times.
        price: Scaled by 10^8.
        qty: Scaled by 10^8.
        first: First single trade, -1 in a sentinel.
        last: Last single trade, -1 in a sentinel.
        maker: Whether the buyer is the maker (the taker sold).
        flags: NORMAL, SENTINEL or OUT_OF_RANGE.
        special: Row to price and quantity text, where it differs from the printed columns.
    """

    spec: SymbolSpec
    ids: Int64s
    t_us: Int64s
    price: Int64s
    qty: Int64s
    first: Int64s
    last: Int64s
    maker: Bools
    flags: Flags
    special: Mapping[int, tuple[str, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def normal(self) -> TradeColumns:
        """Return the rows that make a price."""
        mask = self.flags == NORMAL
        if bool(mask.all()):
            return replace(self, special={})
        names = ("ids", "t_us", "price", "qty", "first", "last", "maker", "flags")
        return replace(self, **{name: getattr(self, name)[mask] for name in names}, special={})

    @cached_property
    def sums(self) -> tuple[list[int], list[int], list[int]]:
        """Return the running sums before each row: quantity (10^-8), quote (10^-16), trades.

        Each list is one longer than the rows.
        """
        qty, quote, count = [0], [0], [0]
        rows = zip(self.price.tolist(), self.qty.tolist(), (self.last - self.first + 1).tolist(), strict=True)
        for p, q, n in rows:
            qty.append(qty[-1] + q)
            quote.append(quote[-1] + p * q)
            count.append(count[-1] + n)
        return qty, quote, count

    def shifted(self, delta_us: int) -> TradeColumns:
        """Return the same trades moved in time."""
        return replace(self, t_us=self.t_us + delta_us)

    def until(self, until_us: int) -> int:
        """Return how many rows have a trade time <= `until_us`."""
        return int(np.searchsorted(self.t_us, until_us, side="right"))

    def at_or_after(self, from_us: int) -> int:
        """Return the first row with a trade time >= `from_us`."""
        return int(np.searchsorted(self.t_us, from_us, side="left"))

    def row_of(self, trade_id: int) -> int:
        """Return the first row whose id is >= `trade_id`."""
        return int(np.searchsorted(self.ids, trade_id, side="left"))

    def texts(self, row: int) -> tuple[str, str]:
        """Return price and quantity of a row as they are sent."""
        if (odd := self.special.get(row)) is not None:
            return odd
        spec = self.spec
        return fixed(int(self.price[row]), spec.price_decimals), fixed(int(self.qty[row]), spec.qty_decimals)


def single_counts(table: TradeColumns) -> Int64s:
    """Return how many single trades each row stands for; a sentinel stands for none."""
    return np.where(table.first < 0, 0, table.last - table.first + 1).astype(np.int64)


def singles_of(table: TradeColumns) -> TradeColumns:
    """Split aggregate trades into single trades; the quantity is shared in whole steps.

    Each part of a trade that is out of range is out of range as well.
    """
    counts = single_counts(table)
    row = np.repeat(np.arange(len(table)), counts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    step, size = table.spec.step_units, counts[row]
    share = table.qty[row] // step // size * step
    qty = np.where(nth == size - 1, table.qty[row] - share * (size - 1), share)
    ids = table.first[row] + nth
    odd = np.flatnonzero(table.flags[row] == OUT_OF_RANGE).tolist()
    return replace(
        table,
        ids=ids,
        first=ids,
        last=ids,
        qty=qty,
        flags=table.flags[row],
        t_us=table.t_us[row],
        price=table.price[row],
        maker=table.maker[row],
        special={at: table.special[int(row[at])] for at in odd},
    )
