"""How many requests one caller may make: a bucket of tokens per caller."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass

MOST_CALLERS = 10_000


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_s: float


class RateLimits:
    """Counts requests; a caller may make a second's worth of requests at once.

    Args:
        per_s: Requests per second and caller.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, caller: str, now_s: float, cost: float = 1.0) -> float:
        """Take tokens; return 0 when there were enough, else the seconds until there are."""
        bucket = self._buckets.get(caller)
        if bucket is None:
            bucket = self._buckets[caller] = _Bucket(self._per_s, now_s)
            if len(self._buckets) > MOST_CALLERS:
                self._buckets.popitem(last=False)  # the one that has been silent for the longest time
        else:
            self._buckets.move_to_end(caller)
        bucket.tokens = min(self._per_s, bucket.tokens + (now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        cost = min(cost, self._per_s)  # otherwise it would never be possible
        if bucket.tokens >= cost:
            bucket.tokens -= cost
            return 0.0
        return (cost - bucket.tokens) / self._per_s


def retry_after(wait_s: float) -> str:
    """Return the value of `Retry-After`, which has whole seconds."""
    return str(max(1, math.ceil(wait_s)))
