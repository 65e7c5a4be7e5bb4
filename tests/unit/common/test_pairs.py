from __future__ import annotations

import pytest

from common.pairs import split_pair


@pytest.mark.parametrize(
    ("symbol", "pair"),
    [
        ("BTCUSDT", ("BTC", "USDT")),
        ("BTCUSD_PERP", ("BTC", "USD")),
        ("ETHBTC", ("ETH", "BTC")),
        ("BTCFDUSD", ("BTC", "FDUSD")),
        ("币安人生USDT", ("币安人生", "USDT")),
        ("USDT", ("USDT", "")),
        ("NOPAIR", ("NOPAIR", "")),
    ],
)
def test_pairs(symbol: str, pair: tuple[str, str]) -> None:
    assert split_pair(symbol) == pair
