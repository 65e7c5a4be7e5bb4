"""Keys, sessions, hosts, origins, rates, and the headers of every answer."""

from __future__ import annotations

import httpx
import psycopg
import pytest
import redis
import redis.exceptions

from api.guard import SECURITY_HEADERS
from api.principals import COOKIE_PREFIX, KEY_HEADER, Principals
from tests.integration.api.conftest import Api, own_process

pytestmark = pytest.mark.integration


def anonymous(api: Api, path: str, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(f"{api.url}{path}", headers=names, trust_env=False, timeout=60)


def test_data_needs_a_key_or_a_session(api: Api) -> None:
    assert anonymous(api, "/v1/symbols").status_code == 401
    assert anonymous(api, "/v1/symbols", X_API_Key="wrong").status_code == 401
    assert anonymous(api, "/v1/symbols", X_API_Key="").status_code == 401
    assert anonymous(api, "/healthz").text == "ok\n"
    assert b"tickhouse_api_requests_total" in anonymous(api, "/metrics").content
    assert anonymous(api, "/openapi.json").status_code == 200


def test_the_page_gets_a_session_that_may_only_read(api: Api) -> None:
    port = httpx.URL(api.url).port or 80
    cookie = Principals(api.settings).new_cookie(port)
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.partition(";")[0]

    assert anonymous(api, "/v1/symbols", Cookie=session).status_code == 200
    changed = session[:-1] + ("0" if session[-1] != "0" else "1")
    assert anonymous(api, "/v1/symbols", Cookie=changed).status_code == 401
    other_port = session.replace(f"{COOKIE_PREFIX}{port}", f"{COOKIE_PREFIX}{port + 1}")
    assert anonymous(api, "/v1/symbols", Cookie=other_port).status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80"])
def test_a_name_that_was_rebound_to_this_machine_is_refused(api: Api, host: str) -> None:
    key = api.settings.api_read_key.get_secret_value()
    answer = anonymous(api, "/v1/symbols", X_API_Key=key, Host=host)
    assert answer.status_code == 421
    assert anonymous(api, "/healthz", Host=host).status_code == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_another_site_is_refused(api: Api, origin: str) -> None:
    key = api.settings.api_read_key.get_secret_value()
    assert anonymous(api, "/v1/symbols", X_API_Key=key, Origin=origin).status_code == 403
    assert anonymous(api, "/v1/symbols", X_API_Key=key, Origin=api.url).status_code == 200
    cross = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"}
    assert anonymous(api, "/v1/symbols", X_API_Key=key, **cross).status_code == 403


def test_every_answer_has_the_security_headers(api: Api) -> None:
    for path in ("/healthz", "/v1/symbols", "/nothing", "/openapi.json"):
        headers = anonymous(api, path).headers
        assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert "Access-Control-Allow-Origin" not in headers


def test_the_api_may_not_write_what_the_stream_writes(api: Api) -> None:
    with redis.Redis.from_url(api.settings.redis_api_dsn(), decode_responses=True) as client:
        for forbidden in (
            lambda: client.hset("tickhouse:last:spot:APIUSDT:aggTrade", "price", "1"),
            lambda: client.delete("tickhouse:live"),
            lambda: client.get("another:key"),
            client.flushall,
            lambda: client.config_get("*"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                forbidden()
    with psycopg.connect(api.settings.database_dsn("api"), autocommit=True) as connection:
        for statement in (
            "DELETE FROM market.candles_1m",
            "SELECT seen FROM market.trade_ranges",
            "SELECT * FROM audit.redrives",
            "CREATE TABLE market.mine (id int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_too_many_requests_of_one_caller_and_not_of_another(api: Api) -> None:
    with own_process(API_REQUESTS_PER_S="5") as (limited, _):
        statuses = [limited.get("/v1/graph").status_code for _ in range(12)]
        assert statuses[0] == 200
        assert 429 in statuses
        refused = next(answer for answer in iter(lambda: limited.get("/v1/graph"), None) if answer.status_code == 429)
        assert int(refused.headers["Retry-After"]) >= 1
        other = limited.settings.api_rules_key.get_secret_value()
        assert anonymous(limited, "/v1/graph", **{KEY_HEADER.replace("-", "_"): other}).status_code == 200
