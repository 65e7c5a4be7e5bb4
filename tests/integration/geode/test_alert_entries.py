"""Rules and states of alerts in a real Geode."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from common.clients import alert_entries
from common.clients.geode import RULES, STATES, Geode
from common.errors import ConfigurationError
from common.settings import Settings
from tests.conftest import Stack

pytestmark = pytest.mark.integration

JUMP: dict[str, Any] = {
    **{"id": "price_jump", "kind": "price_move", "severity": "warning", "percent": "5", "window_minutes": 5},
    **{"cooldown_minutes": 15, "is_enabled": True, "markets": ["spot"], "symbols": []},
}
KEY = "price_jump/spot:BTCUSDT/live"


@pytest.fixture
def settings(stack: Stack) -> Settings:
    found = stack.up("geode")
    with Geode.of(found, "admin") as admin:
        for region in (RULES, STATES):
            admin.delete(region, admin.keys(region))
    return found


@pytest.fixture
def editor(settings: Settings) -> Iterator[Geode]:
    with Geode.of(settings, "editor") as client:
        yield client


def test_a_rule_that_the_api_edits_is_read_by_the_watcher(settings: Settings, editor: Geode) -> None:
    alert_entries.put_rule(editor, JUMP)
    alert_entries.put_rule(editor, JUMP | {"percent": "7.5", "is_enabled": False})

    with Geode.of(settings, "writer") as watcher:
        assert alert_entries.rules(watcher) == {"price_jump": JUMP | {"percent": "7.5", "is_enabled": False}}
        with pytest.raises(ConfigurationError, match="not authorized"):
            alert_entries.put_rule(watcher, JUMP)
    assert alert_entries.remove_rule(editor, "price_jump")
    assert not alert_entries.remove_rule(editor, "price_jump")
    assert alert_entries.rules(editor) == {}


def test_the_second_of_two_edits_of_one_version_is_refused(editor: Geode) -> None:
    assert alert_entries.change_rule(editor, None, JUMP)
    assert alert_entries.change_rule(editor, JUMP, JUMP | {"percent": "6"})
    assert not alert_entries.change_rule(editor, JUMP, JUMP | {"percent": "9"})
    assert alert_entries.rules(editor)["price_jump"]["percent"] == "6"


def test_missing_rules_are_added_and_edited_ones_stay(editor: Geode) -> None:
    alert_entries.put_rule(editor, JUMP | {"percent": "6"})

    assert alert_entries.add_missing_rules(editor, [JUMP, JUMP | {"id": "price_jump_small"}]) == ["price_jump_small"]
    assert {name: rule["percent"] for name, rule in alert_entries.rules(editor).items()} == {
        "price_jump": "6",
        "price_jump_small": "5",
    }


def test_of_several_processes_one_rings(settings: Settings) -> None:
    calm = {"is_ringing": False, "raised_us": None, "since_us": None}
    with Geode.of(settings, "writer") as watcher:
        alert_entries.save_states(watcher, {KEY: calm})

    def ring(number: int) -> bool:
        with Geode.of(settings, "writer") as own:
            before = alert_entries.states(own)[KEY]
            return before == calm and alert_entries.change_state(own, KEY, calm, calm | {"raised_us": number})

    with ThreadPoolExecutor(4) as pool:
        rang = list(pool.map(ring, range(1_723_161_240_000_000, 1_723_161_240_000_008)))

    assert rang.count(True) == 1
    with Geode.of(settings, "reader") as reader:
        assert alert_entries.states(reader)[KEY]["raised_us"] == 1_723_161_240_000_000 + rang.index(True)
