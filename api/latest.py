"""The latest trade of symbols, from Redis; while Redis is down, the close of the newest candle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, LiteralString

import redis.exceptions
import structlog

from api.stores import Stores
from common.clients.latest_prices import key_of
from common.clients.live_stream import utc_text
from common.event_ids import StreamName
from producer.events import TRADE_STREAMS

# Not `minute_seen`, which may be long.
_FIELDS: Final = ("event_id", "price", "trade_time_us", "minute_average")
_CLOSES: Final[LiteralString] = """
SELECT pair.market, pair.symbol, newest.close::text, newest.stream, newest.close_trade_id
FROM unnest(%(markets)s::text[], %(symbols)s::text[]) AS pair (market, symbol), LATERAL (
    SELECT close, stream, close_trade_id FROM market.candles AS c
    WHERE c.market = pair.market AND c.symbol = pair.symbol ORDER BY open_time DESC LIMIT 1
) AS newest
"""
log = structlog.get_logger("api.latest")
Pair = tuple[str, str]


async def latest_trades(stores: Stores, pairs: Iterable[Pair]) -> dict[Pair, dict[str, Any]]:
    """Return the latest trade of each symbol that has one.

    Raises:
        psycopg.Error: Neither Redis nor PostgreSQL answers.
    """
    wanted = list(pairs)
    try:
        return await _from_redis(stores, wanted)
    except (redis.exceptions.RedisError, OSError) as error:
        log.warning("redis_down", error=repr(error))
        return await _from_candles(stores, wanted)


async def _from_redis(stores: Stores, pairs: list[Pair]) -> dict[Pair, dict[str, Any]]:
    keys = [(pair, StreamName(*pair, stream)) for pair in pairs for stream in TRADE_STREAMS]
    async with stores.redis.pipeline(transaction=False) as pipeline:
        for _, stream in keys:
            pipeline.hmget(key_of(stream), _FIELDS)
        answers = await pipeline.execute()
    trades: dict[Pair, tuple[int, dict[str, Any]]] = {}
    for (pair, _), fields in zip(keys, answers, strict=True):
        if fields[0] is not None:
            event_id, price, time_us, average = (field.decode() for field in fields)
            trade = _trade(pair, price, utc_text(int(time_us)), average, event_id)
            # A symbol that came as single trades and as aggregates has both.
            trades[pair] = max(trades.get(pair, (-1, trade)), (int(time_us), trade), key=lambda one: one[0])
    return {pair: trade for pair, (_, trade) in trades.items()}


async def _from_candles(stores: Stores, pairs: list[Pair]) -> dict[Pair, dict[str, Any]]:
    names = {"markets": [pair[0] for pair in pairs], "symbols": [pair[1] for pair in pairs]}
    rows = await stores.rows(_CLOSES, names)
    return {
        (market, symbol): _trade(
            (market, symbol), close, None, None, f"binance:{StreamName(market, symbol, stream)}:{trade_id}"
        )
        for market, symbol, close, stream, trade_id in rows
    }


def _trade(pair: Pair, price: str, time: str | None, average: str | None, event_id: str) -> dict[str, Any]:
    names = {"market": pair[0], "symbol": pair[1]}
    return names | {"price": price, "trade_time": time, "average_1m": average, "event_id": event_id}
