"""Send candles that changed to the live stream in Redis, for charts.

Delivery guarantee: none. The candles are in PostgreSQL and in `crypto.candles` before; whoever
missed one reads it there. So while Redis is down the query goes on without it, and a repeated batch
sends the same whole bars again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import redis
import structlog

from common.clients.live_stream import CANDLE, add, entry

# Of a batch of old trades, only the end is worth a chart's while: it would push the live trades
# out of the stream.
BARS_PER_STREAM = 2
# Redis is asked again this long after it failed.
PAUSE_S = 5.0
_MINUTE = timedelta(minutes=1)
log = structlog.get_logger("spark.streaming.live_candles")


class LiveCandles:
    """Sends bars to the live stream."""

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        self._paused_until = 0.0

    def send(self, bars: Iterable[Mapping[str, Any]]) -> None:
        """Send the newest bars of each stream; an error of Redis is logged."""
        entries = [candle_entry(bar, datetime.now(UTC)) for bar in newest(bars)]
        if not entries or time.monotonic() < self._paused_until:
            return
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                for fields in entries:
                    add(pipeline, fields)
                pipeline.execute()
        except redis.RedisError as error:
            self._paused_until = time.monotonic() + PAUSE_S
            log.warning("live_candles_not_sent", bars=len(entries), cause=str(error))


def newest(bars: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the newest bars of each stream, oldest first (pure)."""
    by_stream: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for bar in sorted(bars, key=lambda bar: bar["open_time"]):
        by_stream.setdefault((bar["market"], bar["symbol"], bar["stream"]), []).append(bar)
    return [bar for of_stream in by_stream.values() for bar in of_stream[-BARS_PER_STREAM:]]


def candle_entry(bar: Mapping[str, Any], now: datetime) -> dict[str, str]:
    """Return the entry of a bar of `market.candles_1m` (pure)."""
    names = ("open_time", "open", "high", "low", "close", "volume", "quote_volume", "vwap", "trades")
    values = {name: bar[name] for name in (*names, "taker_buy_volume")}
    is_closed = bar["open_time"] + _MINUTE <= now
    return entry(CANDLE, bar["market"], bar["symbol"], {"interval": "1m", **values, "is_closed": is_closed})
