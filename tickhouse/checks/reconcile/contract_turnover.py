"""Compute the quote quantity of a trade without code of the pipeline.

Only the table of contract sizes is shared with it.

On COIN-M a quantity counts contracts of a fixed number of US dollars, and the turnover is in the
base coin: contracts x size / price, rounded half up at the 16th decimal per event
(docs/adr/0018-contracts-are-not-coins.md).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml

from common.settings import REPO
from tickhouse.checks.reconcile.model import CheckedTrade

COIN_M = "coinm"
_TABLE = REPO / "schemas" / "contract_sizes.yaml"
QUOTE_SCALE = 10**16


@cache
def size_table() -> tuple[dict[str, int], int]:
    """Return US dollars per contract by pair, and the default for every other pair."""
    document: dict[str, Any] = yaml.safe_load(_TABLE.read_text())
    return document["pairs"], document["default"]


def dollars_per_contract(symbol: str) -> int:
    """Return the contract size of a COIN-M symbol by the pair before its underscore."""
    sizes, default = size_table()
    return sizes.get(symbol.partition("_")[0], default)


def quote_quantity(trade: CheckedTrade) -> int:
    """Return a trade's quote quantity in 10^-16.

    It is price x quantity, or the base coin of its contracts.
    """
    if trade.key.market != COIN_M:
        return trade.price * trade.qty
    if trade.is_sentinel:
        return 0
    dollars = trade.qty * dollars_per_contract(trade.key.symbol)
    coins, rest = divmod(dollars * QUOTE_SCALE, trade.price)
    return coins + (2 * rest >= trade.price)
