"""A small market that the tests of the local exchange share."""

from __future__ import annotations

from functools import cache

from standins.exchange.synthetic_market import Listing, MarketConfig, SyntheticMarket

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
def small() -> SyntheticMarket:
    return SyntheticMarket.build(SMALL)
