"""Trades of three symbols, one of them Chinese.

They include a sentinel, prices with all decimals, microseconds, and a change of hour and of day.
"""

from __future__ import annotations

from tests.unit.tickhouse.checks.reconcile.samples import START_US, trade
from tickhouse.checks.reconcile.model import CheckedStream

BTC, ETH = CheckedStream("spot", "BTCUSDT", "aggTrade"), CheckedStream("usdm", "ETHUSDT", "aggTrade")
CHINESE = CheckedStream("spot", "\u5e01\u5b89\u4eba\u751fUSDT", "aggTrade")
OFFERED = [
    trade(
        5_000_000_000 + number, key=key, first_id=number * 3, last_id=number * 3 + number % 3, qty=150001 + number,
        price=0 if (key, number) == (BTC, 7) else 6_168_599_000_001 + number * 1_000_003,
        side="SELL" if number % 2 else "BUY", time_us=START_US + number * 60_001_013,
    )
    for key in (BTC, ETH, CHINESE)
    for number in range(20)
]  # fmt: skip
# A price of ten digits before the point and all eight decimals after it: no float holds it.
OFFERED.append(trade(5_000_000_020, key=BTC, price=9_876_543_210_12345678, qty=1_00000001, time_us=START_US + 987_654))
AT = 12
