"""Polls probe at once, sleep between probes, and end by result, deadline or stall."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeVar

import pytest

from common.errors import ConfigurationError, ServiceNotReady, StoreUnavailable, TransientError
from common.polling import poll_until, poll_while_moving

T = TypeVar("T")


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Script:
    """A probe that returns or raises the given answers in order."""

    def __init__(self, answers: Iterable[object]) -> None:
        self._answers = iter(answers)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


def until(probe: Script, timeout_s: float, clock: Clock) -> object:
    return poll_until(probe, timeout_s, every_s=1.0, clock=clock.read, sleep=clock.sleep)


def test_a_result_that_is_there_costs_no_sleep(clock: Clock) -> None:
    assert until(Script(["ready"]), 10, clock) == "ready"
    assert clock.now_s == 0


def test_the_first_true_result_is_returned(clock: Clock) -> None:
    assert until(Script([None, 0, 7, 8]), 10, clock) == 7
    assert clock.now_s == 2


def test_after_the_time_limit_the_last_result_is_returned(clock: Clock) -> None:
    probe = Script([0] * 100)
    assert until(probe, 3, clock) == 0
    assert (probe.calls, clock.now_s) == (4, 3)


def test_no_time_means_one_probe(clock: Clock) -> None:
    probe = Script([False, True])
    assert until(probe, 0, clock) is False
    assert probe.calls == 1


def test_without_limit_only_the_result_ends_it(clock: Clock) -> None:
    assert until(Script([*[False] * 10_000, True]), math.inf, clock) is True


def test_an_error_of_the_probe_ends_the_poll(clock: Clock) -> None:
    with pytest.raises(StoreUnavailable):
        until(Script([False, StoreUnavailable("down"), True]), 10, clock)


def stalled(problem: TransientError | None) -> Exception:
    return ServiceNotReady(f"No progress; last: {problem.message if problem else 'no error'}")


def while_moving(answers: Iterable[object], clock: Clock) -> object:
    probe = Script(answers)

    def probe_pair() -> tuple[object, object]:
        result, progress = probe()  # type: ignore[misc]
        return result, progress

    return poll_while_moving(probe_pair, 10, on_stall=stalled, every_s=1.0, clock=clock.read, sleep=clock.sleep)


def test_progress_moves_the_deadline(clock: Clock) -> None:
    answers = [(None, step // 10) for step in range(2_000)]
    assert while_moving([*answers, ("done", None)], clock) == "done"
    assert clock.now_s == 2_000


def test_a_stall_raises_the_error_of_the_caller(clock: Clock) -> None:
    with pytest.raises(ServiceNotReady, match="last: no error"):
        while_moving([(None, 1)] * 100, clock)
    assert clock.now_s == 10


def test_a_failed_probe_is_repeated(clock: Clock) -> None:
    down = StoreUnavailable("down")
    assert while_moving([(None, 1), *[down] * 9, (None, 2), *[down] * 9, ("done", 3)], clock) == "done"


def test_a_stall_of_failed_probes_names_the_last_failure(clock: Clock) -> None:
    with pytest.raises(ServiceNotReady, match="last: down") as caught:
        while_moving([StoreUnavailable("down")] * 100, clock)
    assert isinstance(caught.value.__cause__, StoreUnavailable)


def test_a_terminal_error_ends_the_poll(clock: Clock) -> None:
    with pytest.raises(ConfigurationError):
        while_moving([ConfigurationError("wrong")], clock)
