"""Small markets that the tests of the look-alike share."""

from __future__ import annotations

from functools import cache

from stack.exchange.market import Listing, Market, MarketConfig

SMALL = MarketConfig(
    seed=7,
    length_s=300,
    events=6_000,
    symbols=("BTCUSDT", "ETHBTC", "PEPEUSDT", "BTCIDR", "XRPETH"),
    silent_minutes={"XRPETH": (1, 2)},
    bursts=(),
    listings=(Listing(at_fraction=0.5),),
    sentinels=6,
    out_of_range=6,
    trailing_zeros=4,
    huge_quantities=2,
)


@cache
def small() -> Market:
    return Market.build(SMALL)
