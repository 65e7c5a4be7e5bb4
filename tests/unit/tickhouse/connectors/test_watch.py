from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import StoreUnavailable
from common.settings import Settings
from tickhouse.connectors import watch
from tickhouse.connectors.files import Connector, read
from tickhouse.connectors.watch import SOURCES, Freshness, has_failed, require_fresh, stuck_stores

SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own argument
MINUTE_US = 60_000_000
ONE = {"mongodb-trades": Connector("mongodb-trades", {"topics": "t"})}


def set_store_times(monkeypatch: pytest.MonkeyPatch, *store_us: int | None) -> list[float]:
    """Let the store end at these times, one per comparison, and the topic at ten minutes.

    Returns:
        The list to which each pause is added.
    """
    answers, pauses = list(store_us), list[float]()
    monkeypatch.setattr(
        watch, "newest_events", lambda _s, _c: [Freshness("mongodb-trades", 10 * MINUTE_US, answers.pop(0))]
    )
    monkeypatch.setattr(watch, "PAUSE_S", 7.0)
    return pauses


def test_every_connector_with_a_file_is_watched() -> None:
    assert set(SOURCES) == set(read())


def test_a_store_that_keeps_up_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = set_store_times(monkeypatch, 10 * MINUTE_US - 1)
    (one,) = require_fresh(SETTINGS, ONE, 60.0, pauses.append)
    assert (one.behind_s, pauses) == (1e-6, [])


def test_a_store_that_catches_up_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = set_store_times(monkeypatch, MINUTE_US, 2 * MINUTE_US)
    require_fresh(SETTINGS, ONE, 60.0, pauses.append)
    assert pauses == [7.0]


@pytest.mark.parametrize(("store_us", "text"), [(MINUTE_US, "ends 540 s before its topic"), (None, "holds no event")])
def test_a_store_that_does_not_advance_is_an_error(
    monkeypatch: pytest.MonkeyPatch, store_us: int | None, text: str
) -> None:
    set_store_times(monkeypatch, store_us, store_us)
    with pytest.raises(StoreUnavailable, match=text) as failure:
        require_fresh(SETTINGS, ONE, 60.0, lambda _: None)
    assert failure.value.next_command == "tickhouse connectors describe mongodb-trades"


def test_with_an_empty_topic_no_store_is_late() -> None:
    assert Freshness("x", None, None).behind_s == 0


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
def test_only_a_late_store_that_did_not_advance_is_stuck(topic: int, before: int, after: int) -> None:
    comparisons = [Freshness("x", topic * 10**6, at * 10**6) for at in (before, after)]
    assert bool(stuck_stores(comparisons[:1], comparisons[1:], 3.0)) == (topic - after > 3 and before == after)


def test_a_failed_task_is_a_failed_connector() -> None:
    assert has_failed({"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}, {"state": "FAILED"}]})
    assert not has_failed({"connector": {"state": "PAUSED"}, "tasks": []})
