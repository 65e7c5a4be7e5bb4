from __future__ import annotations

from standins.exchange.config import RestRules
from standins.exchange.request_weights import WeightDecision, WeightLimiter


class WindowClock:
    def __init__(self) -> None:
        self.now_s = 120.0

    def __call__(self) -> float:
        return self.now_s


def limiter(clock: WindowClock) -> WeightLimiter:
    return WeightLimiter(RestRules(weight_per_window=10, window_s=60, ban_after=2, ban_s=30), clock)


def test_weight_adds_up_by_client_and_starts_again_with_the_window() -> None:
    clock = WindowClock()
    weights = limiter(clock)
    assert [weights.charge("a", 4).used for _ in range(2)] == [4, 8]
    assert weights.charge("b", 4) == WeightDecision(200, 4, 0)
    clock.now_s = 180.0
    assert weights.charge("a", 4) == WeightDecision(200, 4, 0)


def test_over_the_limit_is_429_until_the_window_ends_then_418_for_clients_that_continue() -> None:
    clock = WindowClock()
    weights = limiter(clock)
    weights.charge("a", 10)
    clock.now_s = 130.5
    assert weights.charge("a", 1) == WeightDecision(429, 10, 50)
    assert weights.charge("a", 1) == WeightDecision(429, 10, 50)
    assert weights.charge("a", 1) == WeightDecision(418, 10, 30)
    clock.now_s = 150.0
    assert weights.charge("a", 1) == WeightDecision(418, 10, 11)
    assert weights.charge("b", 1).status == 200
    clock.now_s = 180.0
    assert weights.charge("a", 1) == WeightDecision(200, 1, 0)


def test_a_forced_status_applies_to_exactly_that_many_requests() -> None:
    weights = limiter(WindowClock())
    weights.force(429, 2, 7)
    weights.force(418, 1, 9)
    assert weights.charge("probe", 1, is_probe=True).status == 200
    answers = [weights.charge("a", 1) for _ in range(4)]
    assert answers == [
        WeightDecision(429, 0, 7),
        WeightDecision(429, 0, 7),
        WeightDecision(418, 0, 9),
        WeightDecision(200, 1, 0),
    ]
