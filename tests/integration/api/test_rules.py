"""Rules of alerts over HTTP: read from the file, edited in Geode, with the right key only."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from api.principals import KEY_HEADER
from common.clients import alert_entries, geode
from common.settings import Settings
from tests.conftest import Stack
from tests.eventually import eventually
from tests.integration.api.conftest import Api
from tickhouse.alerts.rule_stores import WatchedRules
from tickhouse.alerts.rules import RuleFile, rule_document

pytestmark = pytest.mark.integration
RULE: dict[str, Any] = {
    "id": "api_test", "kind": "price_move", "severity": "warning", "percent": "2.5", "window_minutes": 5,
    "markets": ["spot"], "symbols": ["币安测试USDT"],
}  # fmt: skip


def editor(api: Api) -> httpx.Client:
    headers = {KEY_HEADER: api.settings.api_rules_key.get_secret_value()}
    return httpx.Client(base_url=api.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture
def with_geode(api: Api, stack: Stack) -> Settings:
    """Geode without a rule."""
    settings = stack.up("geode")
    with geode.connected(settings, "editor") as client:
        for name in alert_entries.rules(client):
            alert_entries.remove_rule(client, name)
    eventually(lambda: api.get("/v1/alert-rules").status_code == 200)
    return settings


def test_rules_are_those_of_the_file_until_somebody_edits_them(api: Api, with_geode: Settings) -> None:
    given = {name: rule_document(rule) for name, rule in RuleFile().rules().items()}
    assert {one["id"]: one for one in api.data("/v1/alert-rules")} == given

    with editor(api) as client:
        stored = client.put("/v1/alert-rules/api_test", json=RULE)
        assert stored.status_code == 200, stored.text
        assert stored.json()["percent"] == "2.5"
        assert api.get("/v1/alert-rules/api_test").json() == stored.json()
        assert {*WatchedRules(with_geode).rules()} == {*given, "api_test"}, "the watcher judges by it"
        assert client.delete("/v1/alert-rules/api_test").status_code == 204
        assert client.delete("/v1/alert-rules/api_test").status_code == 404
    assert {*WatchedRules(with_geode).rules()} == {*given}


def test_the_last_rule_cannot_be_removed(api: Api, with_geode: Settings) -> None:
    with editor(api) as client:
        names = [one["id"] for one in api.data("/v1/alert-rules")]
        assert [client.delete(f"/v1/alert-rules/{name}").status_code for name in names] == [
            *([204] * (len(names) - 1)), 409,
        ]  # fmt: skip


@pytest.mark.usefixtures("with_geode")
def test_wrong_rules_and_wrong_keys_change_nothing(api: Api) -> None:
    before = api.data("/v1/alert-rules")
    with editor(api) as client:
        for wrong in ({**RULE, "percent": "-1"}, {**RULE, "kind": "no_such"}, {**RULE, "more": 1}, [], None, "text"):
            assert client.put("/v1/alert-rules/api_test", json=wrong).status_code == 422
        assert client.put("/v1/alert-rules/other", json=RULE).status_code == 409
        assert client.put("/v1/alert-rules/api_test", content=iter([b"x" * 4096] * 20)).status_code == 413
    refused = api.client.put("/v1/alert-rules/api_test", json=RULE)
    assert (refused.status_code, refused.json()["type"]) == (403, "urn:tickhouse:problem:wrong-scope")
    assert api.client.delete("/v1/alert-rules/api_test").status_code == 403
    assert api.data("/v1/alert-rules") == before


def test_the_watcher_starts_while_geode_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    from common.settings import load_settings

    monkeypatch.setenv("GEODE_URL", "http://127.0.0.1:1")
    assert {*WatchedRules(load_settings()).rules()} == {*RuleFile().rules()}
