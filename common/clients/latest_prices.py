"""The latest trade of each stream, as Redis holds it."""

from __future__ import annotations

from typing import Final, cast

import redis

from common.errors import StoreUnavailable
from common.event_ids import StreamName

PREFIX: Final = "tickhouse:last:"


def key_of(stream: StreamName) -> str:
    """Return the Redis key of a stream's hash."""
    return f"{PREFIX}{stream}"


def latest_trade(dsn: str, stream: StreamName) -> dict[str, str]:
    """Return the fields of a stream's latest trade; empty when Redis has none.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    try:
        with redis.Redis.from_url(dsn, decode_responses=True, socket_timeout=10, socket_connect_timeout=5) as client:
            return cast("dict[str, str]", client.hgetall(key_of(stream)))
    except redis.RedisError as error:
        raise StoreUnavailable(
            f"Redis cannot be read: {error}.", safe="Nothing was changed.", next_command="tickhouse status"
        ) from error
