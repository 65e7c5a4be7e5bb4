"""What the client sends; the server's side is in tests/integration/geode."""

from __future__ import annotations

import json
from urllib.parse import parse_qs

import httpx
import pytest

from common.clients.geode import Geode
from common.errors import ConfigurationError, StoreUnavailable

LOGIN = ("tickhouse_writer", "secret")


class Region:
    """Answers as one region; remembers the length of each request's address."""

    def __init__(self) -> None:
        self.entries: dict[str, object] = {}
        self.lengths: list[int] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.lengths.append(len(request.url.raw_path))
        keys = parse_qs(request.url.query.decode())["keys"][0].split(",")
        if request.method == "PUT":
            body = json.loads(request.content)
            self.entries |= dict(zip(keys, body if len(keys) > 1 else [body], strict=True))
            return httpx.Response(200)
        return httpx.Response(200, json={"minutes": [self.entries.get(key) for key in keys]})


def client(answer: object) -> Geode:
    return Geode("http://geode", LOGIN, transport=httpx.MockTransport(answer))  # type: ignore[arg-type]


def test_many_keys_are_sent_in_addresses_of_limited_length() -> None:
    region = Region()
    entries: dict[str, dict[str, object]] = {
        f"spot:币安人生USDT|aggTrade:{number}": {"n": str(number)} for number in range(400)
    }

    with client(region) as geode:
        geode.put_all("minutes", entries)
        found = geode.get_all("minutes", [*entries, "spot:X|y"])

    assert region.entries == entries == found
    assert len(region.lengths) > 4
    assert max(region.lengths) < 8_000


@pytest.mark.parametrize("key", ["", "a,b", "a%2Fb", "a+b", "a/b", "a\\b"])
def test_a_key_that_the_api_would_change_is_refused(key: str) -> None:
    with client(Region()) as geode, pytest.raises(ConfigurationError):
        geode.put("minutes", key, {"n": "1"})


@pytest.mark.parametrize("status", [401, 500, 503])
def test_a_server_that_cannot_answer_is_unavailable(status: int) -> None:
    geode = client(lambda _: httpx.Response(status, json={"cause": "low memory"}))

    with geode, pytest.raises(StoreUnavailable, match="low memory"):
        geode.get("minutes", "a")


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refused_request_is_an_error_of_the_caller(status: int) -> None:
    geode = client(lambda _: httpx.Response(status, json={"cause": "not authorized"}))

    with geode, pytest.raises(ConfigurationError, match="not authorized"):
        geode.count("minutes")


def test_a_lost_connection_is_unavailable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with client(answer) as geode, pytest.raises(StoreUnavailable, match="refused"):
        geode.keys("minutes")


def test_an_answer_without_json_is_quoted() -> None:
    geode = client(lambda _: httpx.Response(502, text="Bad Gateway"))

    with geode, pytest.raises(StoreUnavailable, match="502 Bad Gateway"):
        geode.values("minutes")
