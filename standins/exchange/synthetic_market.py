"""A synthetic market: a pure function of its configuration.

The reconciler builds the same market from the seed and compares it with what the pipeline stored,
so nothing here may import producer/ or spark/.

The market keeps these facts of the protocol (Binance spot API docs): aggregate ids `a` grow by one
without gaps; the next `f` is the last `l` + 1; many trades share one `T`; a sentinel has p '0', q
'0', f -1, l -1 and its own id. All times are whole milliseconds, so streams in milliseconds and
microseconds have the same times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from standins.exchange.default_symbols import DEFAULTS, NEW_SYMBOL, spec_of
from standins.exchange.trade_columns import (
    NORMAL,
    OUT_OF_RANGE,
    SENTINEL,
    UNIT,
    Bools,
    Flags,
    Int64s,
    MarketName,
    SymbolSpec,
    TradeColumns,
    fixed,
    to_units,
)

MS = 1_000
SECOND = 1_000_000
MINUTE = 60 * SECOND

# The quantity of a huge trade: 46,116,860,414.00 is the largest that exchangeInfo of 2021 allowed.
MAX_QTY = 46_116_860_414


class SymbolConfig(BaseModel):
    """One symbol that the configuration defines in full."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    base: str
    quote: str
    price: str
    tick: str
    step: str
    lot: int = Field(gt=0)
    weight: int = Field(default=10, gt=0)


class Burst(BaseModel):
    """An interval of event time with `factor` times the usual rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at_s: float = Field(ge=0)
    event_s: float = Field(gt=0)
    factor: int = Field(gt=1)


class Listing(BaseModel):
    """A symbol that starts trading in the middle of the run, with aggregate id 0."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str = NEW_SYMBOL.symbol
    at_fraction: float = Field(default=0.4, gt=0, lt=1)


class MarketConfig(BaseModel):
    """The configuration of a market; equal configurations give equal trades.

    Times are event time. `silent_minutes` lists minutes without trades, counted from the start, by
    symbol.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 20_240_808
    market: MarketName = "spot"
    start_us: int = Field(default=1_723_161_240_000_000, ge=0, multiple_of=MS)
    length_s: int = Field(default=1_320, gt=0)
    events: int = Field(default=210_000, gt=0)
    symbols: tuple[str | SymbolConfig, ...] = tuple(list(DEFAULTS)[:24])
    bursts: tuple[Burst, ...] = (Burst(at_s=200, event_s=6, factor=12), Burst(at_s=890, event_s=15, factor=6))
    silent_minutes: dict[str, tuple[int, ...]] = {"XRPETH": (3, 4, 9, 10), "ADABTC": (5, 6, 7), "BTCIDR": (2, 3, 12)}
    listings: tuple[Listing, ...] = ()
    same_time_percent: int = Field(default=30, ge=0, le=100)
    sentinels: int = Field(default=0, ge=0)
    out_of_range: int = Field(default=0, ge=0)
    trailing_zeros: int = Field(default=0, ge=0)
    huge_quantities: int = Field(default=3, ge=0)
    ticker_interval_ms: int = Field(default=1_000, gt=0)

    @model_validator(mode="after")
    def _known_symbols(self) -> MarketConfig:
        names = [s if isinstance(s, str) else s.symbol for s in self.symbols]
        unknown = [s for s in self.symbols if isinstance(s, str) and s not in DEFAULTS]
        if unknown:
            raise ValueError(f"Expected symbols of {sorted(DEFAULTS)} or full definitions, was {unknown}")
        for listing in self.listings:
            if listing.symbol != NEW_SYMBOL.symbol and listing.symbol not in DEFAULTS:
                raise ValueError(f"Expected a listing of {NEW_SYMBOL.symbol} or a default, was {listing.symbol!r}")
        everything = names + [listing.symbol for listing in self.listings]
        if len(set(everything)) != len(everything):
            raise ValueError(f"Expected each symbol once, was {everything}")
        odd = self.sentinels + self.out_of_range + self.trailing_zeros + self.huge_quantities
        if self.events < 4 * len(everything) + 4 * odd:
            least = 4 * (len(everything) + odd)
            raise ValueError(f"Expected at least {least} events for these symbols and oddities, was {self.events}")
        return self

    @property
    def end_us(self) -> int:
        """Return the event time at the end of the run."""
        return self.start_us + self.length_s * SECOND

    def specs(self) -> list[SymbolSpec]:
        """Return the symbols in order, listings last."""
        chosen = [spec_of(s, self.market) if isinstance(s, str) else self._custom(s) for s in self.symbols]
        return chosen + [spec_of(listing.symbol, self.market) for listing in self.listings]

    def listed_us(self) -> dict[str, int]:
        """Return when each new symbol starts to trade."""
        length = self.length_s * 1_000
        return {listing.symbol: self.start_us + int(length * listing.at_fraction) * MS for listing in self.listings}

    def _custom(self, config: SymbolConfig) -> SymbolSpec:
        return SymbolSpec(**config.model_dump(), market=self.market)


class AggTrade(NamedTuple):
    """One aggregate trade.

    Times are UTC microseconds, `price` and `qty` are the text that is sent.
    """

    symbol: str
    agg_id: int
    price: str
    qty: str
    first_id: int
    last_id: int
    time_us: int
    is_buyer_maker: bool
    flag: int


@dataclass(frozen=True)
class SyntheticMarket:
    """The whole market, by symbol and in global time order.

    Args:
        config: The configuration that it was built from.
        tables: Trades by symbol, in the order of the configuration.
    """

    config: MarketConfig
    tables: Mapping[str, TradeColumns]

    @classmethod
    def build(cls, config: MarketConfig) -> SyntheticMarket:
        """Generate every trade of the configuration."""
        return cls(config, _Generator(config).tables())

    def starting_at(self, start_us: int) -> SyntheticMarket:
        """Return the same market moved to another start."""
        delta = start_us - self.config.start_us
        moved = {name: table.shifted(delta) for name, table in self.tables.items()}
        return SyntheticMarket(self.config.model_copy(update={"start_us": start_us}), moved)

    @cached_property
    def order(self) -> tuple[Int64s, Int64s, Int64s]:
        """Return (trade time, symbol index, row) of every trade, ordered by time, symbol and id."""
        tables = list(self.tables.values())
        times = np.concatenate([t.t_us for t in tables])
        symbol = np.concatenate([np.full(len(t), i, dtype=np.int64) for i, t in enumerate(tables)])
        row = np.concatenate([np.arange(len(t), dtype=np.int64) for t in tables])
        order = np.argsort(times, kind="stable")
        return times[order], symbol[order], row[order]


def trades(config: MarketConfig) -> Iterator[AggTrade]:
    """Yield every trade of the market in global time order."""
    yield from iterate(SyntheticMarket.build(config))


def iterate(market: SyntheticMarket, until_us: int | None = None) -> Iterator[AggTrade]:
    """Yield the trades of a built market in global time order, up to and including `until_us`."""
    times, symbol, _ = market.order
    count = len(times) if until_us is None else int(np.searchsorted(times, until_us, side="right"))
    rows = {i: _rows(table) for i, table in enumerate(market.tables.values())}
    for i in symbol[:count].tolist():
        yield next(rows[i])


def _rows(table: TradeColumns) -> Iterator[AggTrade]:
    spec, special = table.spec, table.special
    columns = (table.ids, table.price, table.qty, table.first, table.last, table.t_us, table.maker, table.flags)
    for row, (a, p, q, f, last, t, m, flag) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        if row in special:
            price, qty = special[row]
        else:
            price, qty = fixed(p, spec.price_decimals), fixed(q, spec.qty_decimals)
        yield AggTrade(spec.symbol, a, price, qty, f, last, t, m, flag)


class _Generator:
    """Generates one market.

    Each symbol has its own random stream, so a new symbol changes no other.
    """

    def __init__(self, config: MarketConfig) -> None:
        self.config = config
        self.specs = config.specs()

    def tables(self) -> dict[str, TradeColumns]:
        counts = self._counts()
        plain = {spec.symbol: self._table(i, spec, counts[i]) for i, spec in enumerate(self.specs)}
        for symbol, picks in self._odd_rows(plain).items():
            plain[symbol] = _with_odd_rows(plain[symbol], picks)
        return plain

    def _counts(self) -> list[int]:
        total = sum(s.weight for s in self.specs)
        counts = [max(4, self.config.events * s.weight // total) for s in self.specs]
        counts[0] += self.config.events - sum(counts)
        return counts

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *path])

    def _table(self, index: int, spec: SymbolSpec, count: int) -> TradeColumns:
        rng = self._rng(1, index)
        is_new = spec.symbol in self.config.listed_us()
        first_id = 0 if is_new else int(rng.integers(2**31, 2**32))
        first_trade = 0 if is_new else int(rng.integers(2**32, 2**33))
        maker = rng.integers(0, 2, count).astype(np.bool_)
        sizes = np.where(rng.integers(0, 10, count) < 7, 1, rng.integers(2, 9, count)).astype(np.int64)
        skipped = (rng.integers(0, 50, count) == 0) if self.config.market == "usdm" else np.zeros(count, dtype=np.bool_)
        last = first_trade + np.cumsum(sizes + skipped) - 1
        return TradeColumns(
            spec=spec,
            ids=first_id + np.arange(count, dtype=np.int64),
            t_us=self._times(rng, spec, count),
            price=_prices(rng, spec, maker),
            qty=_quantities(rng, spec, sizes),
            first=last - sizes + 1,
            last=last,
            maker=maker,
            flags=np.full(count, NORMAL, dtype=np.int8),
        )

    def _times(self, rng: np.random.Generator, spec: SymbolSpec, count: int) -> Int64s:
        """Draw trade times from the rates of slots of 100 ms, with integers only."""
        config = self.config
        slots = np.full(config.length_s * 10, 10, dtype=np.int64)
        for burst in config.bursts:
            slots[int(burst.at_s * 10) : int((burst.at_s + burst.event_s) * 10)] *= burst.factor
        for minute in config.silent_minutes.get(spec.symbol, ()):
            slots[minute * 600 : (minute + 1) * 600] = 0
        listed = config.listed_us().get(spec.symbol, config.start_us)
        slots[: (listed - config.start_us) // (100 * MS)] = 0
        edges = np.cumsum(slots)
        if edges[-1] == 0:
            raise ValueError(f"Expected {spec.symbol} to trade in some minute, was silent in all of them")
        slot = np.searchsorted(edges, rng.integers(0, edges[-1], count), side="right")
        ms = np.sort(slot * 100 + rng.integers(0, 100, count))
        same = rng.integers(0, 100, count) < config.same_time_percent
        same[0] = False
        ms = np.maximum.accumulate(np.where(same, 0, ms))
        return (config.start_us + ms * MS).astype(np.int64)

    def _odd_rows(self, tables: Mapping[str, TradeColumns]) -> dict[str, list[tuple[int, str, int]]]:
        """Choose the rows that are sentinels, out of range, padded with zeros, or huge.

        A symbol's first and last row are never chosen. Huge quantities go to symbols that trade in
        whole coins, if there are any.
        """
        config, columns = self.config, list(tables.values())
        kinds = ["sentinel"] * config.sentinels + ["out_of_range"] * config.out_of_range
        kinds += ["zeros"] * config.trailing_zeros
        starts = np.cumsum([0] + [len(table) for table in columns])
        inner = [np.arange(start + 1, start + len(t) - 1) for start, t in zip(starts, columns, strict=False)]
        chosen = self._rng(2).choice(np.concatenate(inner), size=len(kinds), replace=False)
        whole_coins = [rows for rows, table in zip(inner, columns, strict=True) if table.spec.step_units >= UNIT]
        free = np.setdiff1d(np.concatenate(whole_coins or inner), chosen)
        huge = self._rng(4).choice(free, size=config.huge_quantities, replace=False)
        kinds += ["huge"] * config.huge_quantities
        picks: dict[str, list[tuple[int, str, int]]] = {}
        for nth, (kind, at) in enumerate(zip(kinds, [*chosen.tolist(), *huge.tolist()], strict=True)):
            owner = int(np.searchsorted(starts, at, side="right")) - 1
            picks.setdefault(columns[owner].spec.symbol, []).append((at - int(starts[owner]), kind, nth))
        return picks


def _prices(rng: np.random.Generator, spec: SymbolSpec, maker: Bools) -> Int64s:
    """Draw prices by a random walk in whole ticks, between 0.5 and 1.5 times the typical price.

    Sellers hit the bid, which is one tick lower.
    """
    start = to_units(spec.price) // spec.tick_units
    width = max(1, start // 40_000)
    walk = start + np.cumsum(rng.integers(-width, width + 1, len(maker)))
    # Reflect at both ends instead of clipping, so that a long run never sticks to a bound.
    low, span = start // 2, start
    folded = np.abs((walk - low) % (2 * span) - span)
    ticks = low + span - folded
    return np.asarray((ticks + np.where(maker, 0, 1)) * spec.tick_units, dtype=np.int64)


def _quantities(rng: np.random.Generator, spec: SymbolSpec, sizes: Int64s) -> Int64s:
    """Draw quantities over three orders of magnitude, with at least one step per single trade."""
    steps = spec.lot * rng.integers(1, 400, len(sizes)) // (10 ** rng.integers(1, 4, len(sizes)))
    return np.asarray(np.maximum(steps, sizes) * spec.step_units, dtype=np.int64)


def _with_odd_rows(table: TradeColumns, picks: list[tuple[int, str, int]]) -> TradeColumns:
    price, qty, first, last = (column.copy() for column in (table.price, table.qty, table.first, table.last))
    flags: Flags = table.flags.copy()
    special: dict[int, tuple[str, str]] = {}
    for row, kind, nth in picks:
        if kind == "huge":
            qty[row] = MAX_QTY * UNIT
        elif kind == "sentinel":
            special[row], flags[row] = ("0", "0"), SENTINEL
        else:
            special[row] = _odd_texts(table, row, kind, nth)
            flags[row] = OUT_OF_RANGE if kind == "out_of_range" else NORMAL
    changed = replace(table, price=price, qty=qty, first=first, last=last, flags=flags, special=special)
    return _without_trades(changed) if SENTINEL in flags else changed


def _odd_texts(table: TradeColumns, row: int, kind: str, nth: int) -> tuple[str, str]:
    """Return price and quantity that do not fit decimal(28,8), or that have only zeros too many."""
    price, qty = (fixed(int(column[row]), 8) for column in (table.price, table.qty))
    if kind == "zeros":
        return f"{price}00", f"{qty}0000"
    odd = ((f"{price}{nth % 9 + 1}", qty), (price, f"{qty}0{nth % 9 + 1}"), (price, f"1{nth:020d}.00000000"))
    return odd[nth % 3]


def _without_trades(table: TradeColumns) -> TradeColumns:
    """Give sentinels f -1, l -1 and no single trades, and close the gap in the single trade ids."""
    mask = table.flags == SENTINEL
    removed = np.cumsum(np.where(mask, table.last - table.first + 1, 0))
    first, last = table.first - removed, table.last - removed
    zero: dict[str, Any] = {name: np.where(mask, 0, getattr(table, name)) for name in ("price", "qty")}
    return replace(table, first=np.where(mask, -1, first), last=np.where(mask, -1, last), **zero)
