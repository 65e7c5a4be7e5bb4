"""The live stream in Redis: what the stream writes and the read API passes on to its clients.

A Redis Stream, capped at `MOST_ENTRIES`; at 1,000 events/s that is 100 seconds. Each entry has the
fields `kind`, `market` and `symbol`, by which readers choose, and `data`, a JSON document. Prices
and quantities are text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

KEY: Final = "tickhouse:live"
# About 35 MB. Redis trims whole nodes of 100 entries, so that the stream may be a little longer.
MOST_ENTRIES: Final = 100_000
TRADE: Final = "trade"
CANDLE: Final = "candle"
ALERT: Final = "alert"
KINDS: Final = (TRADE, CANDLE, ALERT)


def entry(kind: str, market: str, symbol: str, document: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields of an entry (pure)."""
    data = {"market": market, "symbol": symbol, **document}
    return {
        "kind": kind,
        "market": market,
        "symbol": symbol,
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=_text),
    }


def add(pipeline: Any, fields: Mapping[str, str]) -> None:
    """Add an entry with a pipeline or a client of redis-py."""
    pipeline.xadd(KEY, dict(fields), maxlen=MOST_ENTRIES, approximate=True)


def utc_text(time_us: int) -> str:
    """Return microseconds since 1970 as ISO 8601 in UTC, with microseconds if any (pure)."""
    seconds, rest = divmod(time_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest, tzinfo=None)
    return f"{moment.isoformat()}Z"


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).replace(tzinfo=None).isoformat()}Z"
    raise TypeError(f"Expected a value of JSON, was {type(value)}.")
