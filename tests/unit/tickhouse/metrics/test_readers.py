from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from common.errors import StoreUnavailable
from tests.eventually import eventually
from tickhouse.metrics.figures import Figure
from tickhouse.metrics.readers import LONGEST_PAUSE_S, MOST_READ_S, SHORTEST_PAUSE_S, Reading, StoreReader, StoreReaders

FIGURE = Figure("topic_records", 3, ("crypto.trades",))


@pytest.fixture
def hanging() -> Iterator[threading.Event]:
    """An event on which a read waits: a store that does not answer."""
    event = threading.Event()
    yield event
    event.set()


def up(found: list[Figure]) -> dict[str, float]:
    return {one.labels[0]: one.value for one in found if one.name == "store_up"}


@pytest.mark.parametrize(("took", "pause"), [(0.01, SHORTEST_PAUSE_S), (2.0, 80.0), (100.0, LONGEST_PAUSE_S)])
def test_a_slow_store_is_asked_less_often(took: float, pause: float) -> None:
    assert Reading(0, took).pause_s == pause


def test_a_reading_is_fresh_until_the_next_one_is_overdue() -> None:
    reading = Reading(100, 0.1)

    assert reading.is_fresh(100 + SHORTEST_PAUSE_S + MOST_READ_S)
    assert not reading.is_fresh(101 + SHORTEST_PAUSE_S + MOST_READ_S)


def test_a_store_that_hangs_holds_nobody_up_and_counts_as_down(hanging: threading.Event) -> None:
    def hang() -> list[Figure]:
        hanging.wait()
        return [FIGURE]

    both = StoreReaders(lambda: {"kafka": hang, "redis": lambda: [FIGURE]}, {})
    both.refresh()
    eventually(lambda: FIGURE in both.collect())

    assert up(both.collect()) == {"redis": 1}  # the first read of the other may still be under way
    (reader,) = (one for name, one in both._readers.items() if name == "kafka")
    later = [*reader.figures(reader._started_s + MOST_READ_S + 1)]
    assert up(later) == {"kafka": 0}
    both.stop()


def test_figures_of_a_store_that_hangs_later_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = StoreReader("redis", lambda: [FIGURE])
    last = eventually(lambda: reader._last)

    assert FIGURE in [*reader.figures(last.at_s)]
    late = [*reader.figures(last.at_s + SHORTEST_PAUSE_S + MOST_READ_S + 1)]
    assert (FIGURE in late, up(late)) == (False, {"redis": 0})
    reader.stop()


@pytest.mark.parametrize("error", [StoreUnavailable("It is down."), RuntimeError("a fault of the client")])
def test_a_failed_read_counts_as_down(error: Exception) -> None:
    def fail() -> list[Figure]:
        raise error

    reader = StoreReader("redis", fail)
    last = eventually(lambda: reader._last)

    assert str(error).rstrip(".") in last.error
    assert up([*reader.figures(last.at_s)]) == {"redis": 0}
    reader.stop()


def test_stores_come_and_go() -> None:
    enabled = {"redis": lambda: [FIGURE]}
    both = StoreReaders(lambda: enabled, {"disk": lambda: [Figure("disk_free_bytes", 7)]})
    both.refresh()
    eventually(lambda: up(both.collect()) == {"redis": 1})

    enabled.clear()
    both.refresh()

    assert eventually(lambda: both.collect() == [Figure("disk_free_bytes", 7)])
    both.stop()


@pytest.mark.parametrize("took", [0.01, 0.3, 2.0, 7.4])
def test_a_read_takes_at_most_a_fortieth_of_the_time(took: float) -> None:
    pause = Reading(0.0, took).pause_s

    assert took / (took + pause) < 1 / 40
