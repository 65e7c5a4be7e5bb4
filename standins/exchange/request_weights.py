"""Request weights as Binance counts them.

Requests over the limit get 429, clients that continue anyway get 418. Both have `Retry-After`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from standins.exchange.config import RestRules


class WeightDecision(NamedTuple):
    """The decision on a request: 200, 429 or 418, the weight used so far, seconds to wait."""

    status: int
    used: int
    retry_after_s: int


@dataclass
class _ClientWeight:
    window: int = -1
    used: int = 0
    refused: int = 0
    banned_until_s: float = 0.0


@dataclass
class _ForcedStatus:
    status: int
    requests: int
    retry_after_s: int


@dataclass
class WeightLimiter:
    """Counts the weight of each client address in fixed time windows.

    Args:
        rules: The limits.
        clock: Monotonic seconds.
    """

    rules: RestRules
    clock: Callable[[], float]
    clients: dict[str, _ClientWeight] = field(default_factory=dict)
    forced: list[_ForcedStatus] = field(default_factory=list)

    def force(self, status: int, requests: int, retry_after_s: int) -> None:
        """Give the next requests a status, regardless of their weight."""
        self.forced.append(_ForcedStatus(status, requests, retry_after_s))

    def charge(self, address: str, weight: int, *, is_probe: bool = False) -> WeightDecision:
        """Count one request and decide on it; a refused request costs no weight.

        A readiness probe (`/ping`) never gets a forced status, which is meant for clients.
        """
        client, now_s = self.clients.setdefault(address, _ClientWeight()), self.clock()
        window = int(now_s // self.rules.window_s)
        if client.window != window:
            client.window, client.used, client.refused = window, 0, 0
        if now_s < client.banned_until_s:
            return WeightDecision(418, client.used, _whole_seconds(client.banned_until_s - now_s))
        if self.forced and not is_probe:
            return self._forced(client)
        if client.used + weight <= self.rules.weight_per_window:
            client.used += weight
            return WeightDecision(200, client.used, 0)
        return self._over(client, now_s, (window + 1) * self.rules.window_s)

    def _over(self, client: _ClientWeight, now_s: float, window_ends_s: float) -> WeightDecision:
        client.refused += 1
        if client.refused <= self.rules.ban_after:
            return WeightDecision(429, client.used, _whole_seconds(window_ends_s - now_s))
        client.banned_until_s = now_s + self.rules.ban_s
        return WeightDecision(418, client.used, self.rules.ban_s)

    def _forced(self, client: _ClientWeight) -> WeightDecision:
        first = self.forced[0]
        first.requests -= 1
        if first.requests <= 0:
            self.forced.pop(0)
        return WeightDecision(first.status, client.used, first.retry_after_s)


def _whole_seconds(seconds: float) -> int:
    return max(1, int(seconds) + (seconds > int(seconds)))
