"""Hook of Redis: readiness."""

from __future__ import annotations

from contextlib import closing

from stack.engine.context import ServiceContext

PROBE_S = 3.0


def is_ready(context: ServiceContext) -> bool:
    """Return whether Redis responds to PING; while it loads its file, its port is already open."""
    import redis

    with closing(redis.Redis.from_url(context.settings.redis_dsn(), socket_timeout=PROBE_S)) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
