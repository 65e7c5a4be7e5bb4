"""The states of alert rules, as the watcher copies them to a real Geode."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from common.clients import alert_entries
from common.clients.geode import STATES, Geode
from common.settings import Settings
from tests.conftest import Stack
from tickhouse.alerts.shared_states import SharedStates
from tickhouse.alerts.state import RuleState, key, read_state

pytestmark = pytest.mark.integration

JUMP, GAP = key("price_jump", "spot:BTCUSDT"), key("gap_open", "spot:BTCUSDT:aggTrade")
RINGING = RuleState(is_ringing=True, raised_us=1_723_161_240_000_000)


@pytest.fixture
def settings(stack: Stack) -> Settings:
    found = stack.up("geode")
    with Geode.of(found, "admin") as admin:
        admin.delete(STATES, admin.keys(STATES))
    return found


def shared(settings: Settings) -> dict[str, RuleState]:
    with Geode.of(settings, "reader") as reader:
        return {name: read_state(document) for name, document in alert_entries.states(reader).items()}


def test_changed_states_are_read_by_other_processes(settings: Settings) -> None:
    states = SharedStates(settings)

    states.save({JUMP: RINGING, GAP: RuleState(since_us=5)})
    states.save({JUMP: RuleState(raised_us=RINGING.raised_us)})

    assert shared(settings) == {JUMP: RuleState(raised_us=RINGING.raised_us), GAP: RuleState(since_us=5)}


def test_states_that_were_not_copied_follow_with_the_next(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    states = SharedStates(settings)
    away = settings.model_copy(update={"geode_url": SecretStr("http://127.0.0.1:9")})

    with monkeypatch.context() as gone:
        gone.setattr(states, "_settings", away)
        states.save({JUMP: RINGING})
    states.save({})

    assert shared(settings) == {JUMP: RINGING}
