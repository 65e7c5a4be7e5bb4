"""Rows of symbols, from exchangeInfo and from the lake, and how their listing changed.

All functions are pure. An asset is known by its name, a pair by `BASE-QUOTE`, a symbol by
`<market>:<SYMBOL>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import msgspec

from common.symbols import is_symbol

# The status of a symbol that exchangeInfo has and then no longer has.
GONE = "NOT_LISTED"
# The status of a symbol that only the lake knows.
UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class SymbolRow:
    """One symbol of one market.

    Attributes:
        market: spot, usdm or coinm.
        symbol: The exchange's own.
        base: Base asset.
        quote: Quote asset.
        status: As exchangeInfo says (`TRADING`, `BREAK`, …), `NOT_LISTED`, or empty if unknown.
        onboard_ms: When the exchange listed it; only futures say so.
    """

    market: str
    symbol: str
    base: str
    quote: str
    status: str = UNKNOWN
    onboard_ms: int | None = None

    @property
    def symbol_id(self) -> str:
        """Return the key of the symbol in the graph."""
        return f"{self.market}:{self.symbol}"

    def row(self) -> dict[str, Any]:
        """Return the parameters of the statements that write it."""
        return {"symbol_id": self.symbol_id, "pair": f"{self.base}-{self.quote}", **asdict(self)}


class _ListedSymbol(msgspec.Struct):
    symbol: str
    baseAsset: str
    quoteAsset: str
    status: str = ""
    contractStatus: str = ""  # the name on COIN-M
    onboardDate: int | None = None


def listed_symbols(market: str, entries: Iterable[msgspec.Raw | bytes]) -> list[SymbolRow]:
    """Return the symbols of exchangeInfo, sorted; an entry that does not decode is skipped.

    Args:
        market: spot, usdm or coinm.
        entries: The elements of its list `symbols`, as JSON.
    """
    found = []
    for entry in entries:
        try:
            one = msgspec.json.decode(entry, type=_ListedSymbol)
        except msgspec.DecodeError:
            continue
        if is_symbol(one.symbol) and one.baseAsset and one.quoteAsset:
            status = one.status or one.contractStatus
            found.append(SymbolRow(market, one.symbol, one.baseAsset, one.quoteAsset, status, one.onboardDate))
    return _sorted(found)


def traded_symbols(movers: Iterable[Mapping[str, Any]]) -> list[SymbolRow]:
    """Return the symbols of `gold/top_movers`, sorted.

    The lake knows the quote asset of each symbol, and the base asset is what stands before it. A
    symbol whose quote asset is unknown to the lake is left out.
    """
    found = {(row["market"], row["symbol"]): row["quote"] for row in movers if row["quote"]}
    return _sorted(
        SymbolRow(market, symbol, symbol.partition("_")[0].removesuffix(quote), quote)
        for (market, symbol), quote in found.items()
    )


def merged(listed: Iterable[SymbolRow], traded: Iterable[SymbolRow]) -> list[SymbolRow]:
    """Return each symbol once, sorted; where both know it, exchangeInfo is right."""
    return _sorted(({one.symbol_id: one for one in traded} | {one.symbol_id: one for one in listed}).values())


def with_gone(known: Iterable[SymbolRow], listed: Iterable[SymbolRow], answered: Iterable[str]) -> list[SymbolRow]:
    """Return the known symbols that the exchange no longer lists, with status `NOT_LISTED`.

    Args:
        known: Symbols of the graph.
        listed: What exchangeInfo has now.
        answered: The markets whose exchangeInfo was read; the others stay as they are.
    """
    names, markets = {one.symbol_id for one in listed}, set(answered)
    gone = [one for one in known if one.market in markets and one.symbol_id not in names]
    return _sorted(replace(one, status=GONE) for one in gone if one.status != UNKNOWN)


def changed_rows(known: Iterable[SymbolRow], current: Iterable[SymbolRow], seen_at: str) -> list[dict[str, Any]]:
    """Return a row for each symbol that is new or different, with the change of its status.

    `listings` of a row holds one entry when the status changed, and is empty otherwise. A symbol
    without a status says nothing about it.

    Args:
        known: Symbols of the graph.
        current: Symbols as they are now.
        seen_at: When they were read, ISO 8601 in UTC.
    """
    before = {one.symbol_id: one for one in known}
    changed = [one for one in _sorted(current) if before.get(one.symbol_id) != one]
    return [one.row() | {"listings": _listings(before.get(one.symbol_id), one, seen_at)} for one in changed]


def _listings(before: SymbolRow | None, now: SymbolRow, seen_at: str) -> list[dict[str, str]]:
    if now.status in (UNKNOWN, before.status if before else UNKNOWN):
        return []
    return [{"listing_id": f"{now.symbol_id}:{seen_at}", "status": now.status, "seen_at": seen_at}]


def _sorted(symbols: Iterable[SymbolRow]) -> list[SymbolRow]:
    return sorted(symbols, key=lambda one: one.symbol_id)
