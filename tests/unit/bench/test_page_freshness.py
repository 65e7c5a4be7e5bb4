"""When a trade counts as shown on the live page."""

from __future__ import annotations

import math

import numpy as np

from bench.page_freshness import latencies

SENT = np.array([1_000_000, 2_000_000, 3_000_000, 4_000_000])  # ids 10 to 13
EVENT = "binance:spot:BTCUSDT:aggTrade:"


def test_a_trade_is_shown_by_the_first_change_at_or_after_it() -> None:
    shown = [(f"{EVENT}11", 2_500), (f"{EVENT}10", 2_600), (f"{EVENT}13", 4_250)]
    assert latencies(shown, SENT, 10, (0, 10_000_000)) == [1.5, 0.5, 1.25, 0.25]


def test_only_trades_of_the_window_count_and_one_never_shown_is_infinitely_late() -> None:
    shown = [(f"{EVENT}12", 3_125)]
    assert latencies(shown, SENT, 10, (2_000_000, 5_000_000)) == [1.125, 0.125, math.inf]
