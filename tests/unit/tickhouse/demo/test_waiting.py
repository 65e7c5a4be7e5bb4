"""Waits end when the awaited is there or when nothing moves, never at a fixed deadline."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.errors import ConfigurationError, ServiceNotReady
from tickhouse.demo.waiting import wait_while_moving


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def read(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def wait(seen: Iterator[tuple[bool, object] | Exception], stalled_s: float = 10.0) -> Clock:
    clock = Clock()

    def look() -> tuple[bool, object]:
        found = next(seen)
        if isinstance(found, Exception):
            raise found
        return found

    wait_while_moving(look, stalled_s, "it", "tickhouse status", clock=clock.read, sleep=clock.sleep)
    return clock


def test_a_wait_continues_while_there_is_progress() -> None:
    clock = wait(iter([*((False, number // 10) for number in range(2_000)), (True, None)]))
    assert clock.now_s == 1_000


def test_a_wait_ends_without_progress() -> None:
    with pytest.raises(ServiceNotReady, match="Waited for it; there was no progress for 10 s"):
        wait(iter([(False, 1)] * 100))


def test_a_poll_that_fails_is_repeated() -> None:
    failed = ServiceNotReady("The exchange did not answer: timed out.")
    clock = wait(iter([(False, 1), *[failed] * 15, (False, 2), *[failed] * 15, (True, 3)]))
    assert clock.now_s > 15


def test_the_error_names_the_last_failed_poll() -> None:
    with pytest.raises(ServiceNotReady, match="did not answer: timed out"):
        wait(iter([ServiceNotReady("The exchange did not answer: timed out.")] * 100))


def test_an_error_that_waiting_cannot_help_ends_the_wait() -> None:
    with pytest.raises(ConfigurationError):
        wait(iter([ConfigurationError("wrong")]))
