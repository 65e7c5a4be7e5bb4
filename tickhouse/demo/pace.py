"""The pace of the demo's market: the wanted one, and a slower one while consumers lag (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# Lag of a consumer in records. Spark and the sinks read a few thousand per batch, so a lag of about
# 10,000 is normal for a market that plays 3,000 trades/s. Without a limit, a slow sink fell 150,000
# behind.
LOW_LAG: Final = 20_000
HIGH_LAG: Final = 40_000
STOP_LAG: Final = 80_000
# The slowest pace above 0, as a share of the fastest.
LEAST_SHARE: Final = 1 / 16
FASTER: Final = 1.5


def next_pace(pace: float, lag: int, most: float) -> float:
    """Return the pace for the next second.

    Args:
        pace: The current pace in seconds of event time per second; 0 is a pause.
        lag: Lag of the slowest consumer in records.
        most: The fastest allowed pace.
    """
    least = most * LEAST_SHARE
    if lag >= STOP_LAG:
        return 0.0
    if lag >= HIGH_LAG:
        return max(least, pace / 2) if pace else 0.0
    if lag <= LOW_LAG:
        return min(most, max(pace * FASTER, least))
    return pace


def slowest(lags: Mapping[str, int], waiting: Mapping[str, int]) -> int:
    """Return the greatest lag of a consumer.

    Args:
        lags: Lag in records of each consumer that has committed an offset.
        waiting: Records in the topic of each consumer that must take part. One that has committed
            nothing yet lags by all of them.
    """
    return max([*lags.values(), *(count for name, count in waiting.items() if name not in lags)], default=0)
