"""Request weights as Binance counts them: 429 over the limit, 418 for those who go on, `Retry-After` with both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from stack.exchange.config import RestRules


class Verdict(NamedTuple):
    """What a request gets: 200, 429 or 418; the weight used in this window; seconds to wait."""

    status: int
    used: int
    retry_after_s: int


@dataclass
class _Client:
    window: int = -1
    used: int = 0
    refused: int = 0
    banned_until_s: float = 0.0


@dataclass
class _Forced:
    status: int
    requests: int
    retry_after_s: int


@dataclass
class WeightLimiter:
    """Counts weight by client address in fixed windows of the clock.

    Args:
        rules: The limits.
        clock: Monotonic seconds.
    """

    rules: RestRules
    clock: Callable[[], float]
    clients: dict[str, _Client] = field(default_factory=dict)
    forced: list[_Forced] = field(default_factory=list)

    def force(self, status: int, requests: int, retry_after_s: int) -> None:
        """Answer the next requests with a status, whatever their weight."""
        self.forced.append(_Forced(status, requests, retry_after_s))

    def charge(self, address: str, weight: int, *, is_probe: bool = False) -> Verdict:
        """Count one request and say what it gets; a refused request costs no weight.

        A readiness probe (`/ping`) takes nothing of a forced burst, which is meant for clients.
        """
        client, now_s = self.clients.setdefault(address, _Client()), self.clock()
        window = int(now_s // self.rules.window_s)
        if client.window != window:
            client.window, client.used, client.refused = window, 0, 0
        if now_s < client.banned_until_s:
            return Verdict(418, client.used, _whole_seconds(client.banned_until_s - now_s))
        if self.forced and not is_probe:
            return self._forced(client)
        if client.used + weight <= self.rules.weight_per_window:
            client.used += weight
            return Verdict(200, client.used, 0)
        return self._over(client, now_s, (window + 1) * self.rules.window_s)

    def _over(self, client: _Client, now_s: float, window_ends_s: float) -> Verdict:
        client.refused += 1
        if client.refused <= self.rules.ban_after:
            return Verdict(429, client.used, _whole_seconds(window_ends_s - now_s))
        client.banned_until_s = now_s + self.rules.ban_s
        return Verdict(418, client.used, self.rules.ban_s)

    def _forced(self, client: _Client) -> Verdict:
        first = self.forced[0]
        first.requests -= 1
        if first.requests <= 0:
            self.forced.pop(0)
        return Verdict(first.status, client.used, first.retry_after_s)


def _whole_seconds(seconds: float) -> int:
    return max(1, int(seconds) + (seconds > int(seconds)))
