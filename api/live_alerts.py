"""Put alerts into the live stream as they are recorded.

The watcher records alerts in PostgreSQL, with ascending numbers. Each is added to the stream once,
however many processes follow the table and however often they start: one script compares the number
with the last one that was added, adds the event, and stores the number.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, LiteralString

import psycopg
import psycopg_pool
import redis.exceptions
import structlog

from api.stores import Stores
from common.clients.live_stream import ALERT, KEY, MOST_ENTRIES, entry

LOOK_EVERY_S: Final = 1.0
PAUSE_S: Final = 10.0
# Number of the last alert in the stream.
LAST_KEY: Final = "tickhouse:live:last_alert"
_NEWER: Final[LiteralString] = """
SELECT number, market, symbol, document FROM alerts.alerts
WHERE number > %(after)s AND NOT is_historic ORDER BY number LIMIT 100
"""
_NEWEST: Final[LiteralString] = "SELECT coalesce(max(number), 0) FROM alerts.alerts"
_ADD: Final = """
local last = redis.call('GET', KEYS[2])
if last and tonumber(ARGV[1]) <= tonumber(last) then return 0 end
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
log = structlog.get_logger("api.live_alerts")


async def follow_alerts(stores: Stores) -> None:
    """Add alerts to the stream until the task is cancelled; an outage of a store is waited out."""
    while True:
        try:
            await asyncio.sleep(LOOK_EVERY_S)
            await add_new(stores)
        except psycopg.errors.UndefinedTable:  # a database without alerts
            await asyncio.sleep(PAUSE_S)
        except (psycopg.Error, psycopg_pool.PoolTimeout, redis.exceptions.RedisError, OSError) as error:
            log.warning("waiting", error=repr(error))
            await asyncio.sleep(PAUSE_S)


async def add_new(stores: Stores) -> int:
    """Add the alerts that are newer than the last one in the stream; return how many.

    Raises:
        psycopg.Error: PostgreSQL does not answer, or has no table of alerts.
        redis.exceptions.RedisError: Redis does not answer.
    """
    client: Any = stores.live_redis  # the stubs of redis-py mix sync and async answers
    last = await client.get(LAST_KEY)
    if last is None:  # a first start shows no old alerts
        newest = (await stores.rows(_NEWEST, {}))[0][0]
        await client.set(LAST_KEY, newest, nx=True)
        return 0
    added = 0
    for number, market, symbol, document in await stores.rows(_NEWER, {"after": int(last)}):
        fields = entry(ALERT, market or "", symbol or "", document)
        flat = [part for field in fields.items() for part in field]
        added += await client.eval(_ADD, 2, KEY, LAST_KEY, number, MOST_ENTRIES, *flat)
    return added
