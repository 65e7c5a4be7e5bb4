"""The guard of Connect's REST API refuses unauthorized requests.

These have no login, come under another host name, or send a secret to another place.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from common.settings import Settings
from tests.integration.sinks.conftest import Sinks
from tickhouse.connectors.files import read

pytestmark = pytest.mark.integration

REFUSED, FORBIDDEN = 401, 403
SECRET = "${secrets:sinks.properties:elasticsearch.password}"


def ask(settings: Settings, method: str, path: str, *, with_login: bool = True, **request: Any) -> httpx.Response:
    url, *login = settings.connect_login()
    auth = (login[0], login[1]) if with_login else None
    return httpx.request(method, url + path, auth=auth, trust_env=False, timeout=30, **request)


def declared(name: str, **changes: str) -> dict[str, str]:
    return {"name": name, **read()[name].config, **changes}


@pytest.mark.parametrize("path", ["/", "/connectors", "/connector-plugins", "/admin/loggers", "/connectors/x/config"])
def test_requests_without_a_login_are_refused(sinks: Sinks, path: str) -> None:
    answer = ask(sinks.settings, "GET", path, with_login=False)

    assert answer.status_code == REFUSED
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_wrong_password_is_refused(sinks: Sinks) -> None:
    url, user, _ = sinks.settings.connect_login()

    assert httpx.get(f"{url}/connectors", auth=(user, "wrong"), trust_env=False).status_code == REFUSED


@pytest.mark.parametrize("header", [{"Host": "attacker.example.org"}, {"Origin": "http://attacker.example.org"}])
def test_another_host_or_origin_is_refused_even_with_the_login(sinks: Sinks, header: dict[str, str]) -> None:
    assert ask(sinks.settings, "GET", "/connectors", headers=header).status_code == FORBIDDEN


def test_validation_shows_no_secret(sinks: Sinks) -> None:
    password = sinks.settings.elasticsearch_login("writer")[2]
    path = "/connector-plugins/tickhouse.connect.elasticsearch.ElasticsearchSinkConnector/config/validate"
    stolen = declared("elasticsearch-trades") | {"index.prefix": SECRET}

    spied = ask(sinks.settings, "PUT", path, json=stolen)
    honest = ask(sinks.settings, "PUT", path, json=declared("elasticsearch-trades"))

    assert spied.status_code == FORBIDDEN
    assert "index.prefix" in spied.json()["message"]
    assert honest.status_code == httpx.codes.OK
    assert password not in spied.text + honest.text


@pytest.mark.parametrize(
    "config",
    [
        {"name": "spy", **read()["elasticsearch-trades"].config},
        declared("elasticsearch-trades", **{"connection.url": "http://127.0.0.1:9"}),
        declared("elasticsearch-trades", **{"topics": SECRET}),
    ],
    ids=["another name", "another server", "another field"],
)
def test_no_connector_sends_a_secret_to_another_place(sinks: Sinks, config: dict[str, str]) -> None:
    made = ask(sinks.settings, "POST", "/connectors", json={"name": config["name"], "config": config})
    changed = ask(sinks.settings, "PUT", f"/connectors/{config['name']}/config", json=config)

    assert (made.status_code, changed.status_code) == (FORBIDDEN, FORBIDDEN)
    assert set(ask(sinks.settings, "GET", "/connectors").json()) == set(read())


def test_a_patch_moves_no_connector_to_another_server(sinks: Sinks) -> None:
    change = json.dumps({"connection.url": "http://127.0.0.1:9"})

    answer = ask(
        sinks.settings, "PATCH", "/connectors/elasticsearch-trades/config",
        content=change, headers={"Content-Type": "application/json"},
    )  # fmt: skip

    assert answer.status_code == FORBIDDEN


def test_no_connector_changes_its_kafka_client(sinks: Sinks) -> None:
    config = declared("elasticsearch-trades", **{"consumer.override.bootstrap.servers": "127.0.0.1:9"})

    answer = ask(sinks.settings, "PUT", "/connectors/elasticsearch-trades/config", json=config)

    assert answer.status_code == httpx.codes.BAD_REQUEST
    assert "'None' policy" in answer.text


def test_a_large_body_is_refused(sinks: Sinks) -> None:
    body = b'{"name": "' + b"x" * (1 << 21) + b'"}'

    answer = ask(sinks.settings, "POST", "/connectors", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE
