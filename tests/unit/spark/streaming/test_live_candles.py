from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from spark.streaming.live_candles import LiveCandles, candle_entry, newest


def bar(minute: int, symbol: str = "BTCUSDT") -> dict[str, Any]:
    amounts = dict.fromkeys(
        ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"), Decimal("1E+2")
    )
    names = {"market": "spot", "symbol": symbol, "stream": "aggTrade"}
    time = datetime(2024, 3, 1, 0, minute, tzinfo=UTC)
    return {**names, **amounts, "open_time": time, "vwap": None, "trades": 3, "checksum": 1}


def test_of_old_trades_only_the_end_is_sent() -> None:
    found = newest([bar(5), bar(1), bar(3), bar(2, "ETHUSDT")])
    assert [(one["symbol"], one["open_time"].minute) for one in found] == [
        ("BTCUSDT", 3),
        ("BTCUSDT", 5),
        ("ETHUSDT", 2),
    ]


def test_a_candle_as_clients_get_it() -> None:
    fields = candle_entry(bar(1), datetime(2024, 3, 1, 0, 2, tzinfo=UTC))
    data = json.loads(fields["data"])
    assert (fields["kind"], data["interval"], data["open_time"]) == ("candle", "1m", "2024-03-01T00:01:00Z")
    assert (data["open"], data["vwap"], data["trades"], data["is_closed"]) == ("100", None, 3, True)
    assert not json.loads(candle_entry(bar(1), datetime(2024, 3, 1, 0, 1, 59, tzinfo=UTC))["data"])["is_closed"]


def test_the_query_goes_on_without_redis() -> None:
    live = LiveCandles("redis://127.0.0.1:1/0")
    live.send([bar(1)])
    paused_until = live._paused_until
    live.send([bar(2)])
    assert live._paused_until == paused_until > 0, "it is not asked again at once"
