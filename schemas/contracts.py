"""What a quantity is worth.

A quantity counts coins on spot and USD-M, and contracts of a fixed number of US dollars on COIN-M.

"Volume" and "quote volume" mean the same here as in Binance's klines
(docs/adr/0018-contracts-are-not-coins.md). On COIN-M a volume counts contracts, and a quote volume
is in the **base coin**:

                 quantity, volume   quote quantity, quote volume        VWAP
    spot, usdm   base asset         price x quantity, exact             quote volume / volume
    coinm        contracts          contracts x size / price, rounded   volume x size / quote volume

The quote quantity is rounded once per event, half up, at the 16th decimal. So sums do not depend on
how events are grouped into batches, and are equal in every store.

All amounts are scaled integers: prices and quantities by 10^8, quote quantities by 10^16.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

COIN_M: Final = "coinm"
# A quote quantity must fit decimal(38,16).
END_OF_QUOTE: Final = 10**38
# Limit of a COIN-M price, scaled by 10^8: see `quote_quantity`.
END_OF_PRICE: Final = 10**22
_QUOTE_SCALE: Final = 10**16
_STEP: Final = Decimal("1e-16")
# 38 digits times a contract size, divided by 38 digits: with 120 digits the result is rounded once.
_EXACT: Final = Context(prec=120)
_FILE: Final = Path(__file__).resolve().parent / "contract_sizes.yaml"


@dataclass(frozen=True)
class ContractSizes:
    """US dollars per contract: by pair for some, and the default for all others."""

    version: int
    pairs: dict[str, int]
    default: int

    def of(self, symbol: str) -> int:
        """Return the contract size of a symbol.

        BTCUSD_PERP and BTCUSD_240628 have the size of pair BTCUSD.
        """
        return self.pairs.get(pair_of(symbol), self.default)


def pair_of(symbol: str) -> str:
    """Return the pair of a COIN-M symbol: the part before the underscore."""
    return symbol.partition("_")[0]


@cache
def contract_sizes() -> ContractSizes:
    """Return the table in `contract_sizes.yaml`."""
    document: dict[str, Any] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return ContractSizes(document["version"], document["pairs"], document["default"])


@lru_cache(maxsize=4096)
def contract_size(symbol: str) -> int:
    """Return the US dollars per contract of a COIN-M symbol."""
    return contract_sizes().of(symbol)


def size_of(market: str, symbol: str) -> int | None:
    """Return the US dollars per contract, None on markets whose quantities are coins."""
    return contract_size(symbol) if market == COIN_M else None


def base_coin(contracts: int, size: int, price: int) -> int:
    """Return contracts x size / price in 10^-16 of the base coin, rounded half up.

    It is 0 for a sentinel trade: one with a price or quantity of 0 or less, which the exchange
    marks as void.

    Args:
        contracts: Number of contracts, scaled by 10^8.
        size: US dollars per contract.
        price: US dollars per coin, scaled by 10^8.
    """
    if contracts <= 0 or price <= 0:
        return 0
    return (2 * contracts * size * _QUOTE_SCALE + price) // (2 * price)


def quote_quantity(market: str, symbol: str, price: int, quantity: int) -> int | None:
    """Return the quote quantity of a trade in 10^-16, None when it does not fit decimal(38,16).

    On COIN-M it is also None in two cases. When it rounds to 0, the trade would have a volume but
    no value. At a price of 10^14 US dollars or more, Spark's division could be wrong by one
    (spark/transforms.py).

    Args:
        market: spot, usdm or coinm.
        symbol: The exchange's own.
        price: Scaled by 10^8.
        quantity: Scaled by 10^8.
    """
    if market != COIN_M:
        product = price * quantity
        return product if -END_OF_QUOTE < product < END_OF_QUOTE else None
    if price <= 0 or quantity <= 0:
        return 0
    coins = base_coin(quantity, contract_size(symbol), price)
    return coins if price < END_OF_PRICE and 0 < coins < END_OF_QUOTE else None


def vwap(volume: Decimal | None, quote_volume: Decimal | None, size: int | None) -> Decimal | None:
    """Return the volume-weighted average price, rounded half up to 16 decimals.

    It is None without a volume.

    On COIN-M it is the harmonic mean of the prices, weighted by contracts: traded US dollars
    divided by traded coins.

    Args:
        volume: Base asset, or contracts.
        quote_volume: Quote asset, or base coin.
        size: US dollars per contract; None where quantities are coins.
    """
    if not volume or not quote_volume:
        return None
    dollars = quote_volume if size is None else _EXACT.multiply(volume, Decimal(size))
    coins = volume if size is None else quote_volume
    return _EXACT.divide(dollars, coins).quantize(_STEP, ROUND_HALF_UP, _EXACT)


def disagreement(symbol: str, exchange_size: int) -> str:
    """Return what to do when the exchange has another contract size; empty when equal."""
    size = contract_size(symbol)
    if exchange_size == size:
        return ""
    return (
        f"{symbol} has {exchange_size} US dollars per contract at the exchange and {size} in "
        f"schemas/contract_sizes.yaml (version {contract_sizes().version}): "
        f"add `{pair_of(symbol)}: {exchange_size}` to its pairs."
    )
