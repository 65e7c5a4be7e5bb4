from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tickhouse.connectors import watch
from tickhouse.connectors.files import Connector, read
from tickhouse.connectors.watch import SUBJECTS, Look, has_failed, require_fresh, stuck_between
from tickhouse.errors import StoreUnavailable
from tickhouse.settings import Settings

SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own argument
MINUTE_US = 60_000_000
ONE = {"mongodb-trades": Connector("mongodb-trades", {"topics": "t"})}


def looks(monkeypatch: pytest.MonkeyPatch, *store_us: int | None) -> list[float]:
    """Have the store end at these times, look after look, and the topic at ten minutes; return the pauses taken."""
    answers, pauses = list(store_us), list[float]()
    monkeypatch.setattr(watch, "look", lambda _s, _c: [Look("mongodb-trades", 10 * MINUTE_US, answers.pop(0))])
    monkeypatch.setattr(watch, "PAUSE_S", 7.0)
    return pauses


def test_every_connector_of_ours_is_watched() -> None:
    assert set(SUBJECTS) == set(read())


def test_a_store_that_keeps_up_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = looks(monkeypatch, 10 * MINUTE_US - 1)
    (one,) = require_fresh(SETTINGS, ONE, 60.0, pauses.append)
    assert (one.behind_s, pauses) == (1e-6, [])


def test_a_store_that_catches_up_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = looks(monkeypatch, MINUTE_US, 2 * MINUTE_US)
    require_fresh(SETTINGS, ONE, 60.0, pauses.append)
    assert pauses == [7.0]


@pytest.mark.parametrize(("store_us", "text"), [(MINUTE_US, "ends 540 s before its topic"), (None, "holds no event")])
def test_a_store_that_stands_still_fails_loudly(
    monkeypatch: pytest.MonkeyPatch, store_us: int | None, text: str
) -> None:
    looks(monkeypatch, store_us, store_us)
    with pytest.raises(StoreUnavailable, match=text) as failure:
        require_fresh(SETTINGS, ONE, 60.0, lambda _: None)
    assert failure.value.next_command == "tickhouse connectors describe mongodb-trades"


def test_an_empty_topic_asks_nothing_of_its_store() -> None:
    assert Look("x", None, None).behind_s == 0


@given(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10))
def test_only_what_is_behind_and_did_not_move_is_stuck(topic: int, before: int, after: int) -> None:
    looked = [Look("x", topic * 10**6, at * 10**6) for at in (before, after)]
    assert bool(stuck_between(looked[:1], looked[1:], 3.0)) == (topic - after > 3 and before == after)


def test_a_failed_task_is_a_failed_connector() -> None:
    assert has_failed({"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}, {"state": "FAILED"}]})
    assert not has_failed({"connector": {"state": "PAUSED"}, "tasks": []})
