"""Wrong requests get a problem document with a cause and a next step, never a failure."""

from __future__ import annotations

import httpx
import pytest

from api.models import ProblemDocument
from tests.integration.api.conftest import Api

pytestmark = pytest.mark.integration
CANDLES = "/v1/candles?market=spot&symbol=APIUSDT"
WRONG = {
    f"{CANDLES}&limit=0": 422,
    f"{CANDLES}&limit=999999999999999999999999999999999999": 422,
    f"{CANDLES}&limit=-1": 422,
    f"{CANDLES}&limit=many": 422,
    f"{CANDLES}&interval=7m": 422,
    f"{CANDLES}&from=yesterday": 422,
    f"{CANDLES}&from=2024-02-30": 422,
    f"{CANDLES}&from=1e400": 422,
    f"{CANDLES}&to=2024-08-08T25:00:00Z": 422,
    f"{CANDLES}&cursor=abc": 422,
    f"{CANDLES}&cursor=-5": 422,
    f"{CANDLES}&form=2024-08-08": 422,
    f"{CANDLES}&ref=": 422,
    f"{CANDLES}&ref=no-such-branch": 404,
    f"{CANDLES}&ref=%00": 404,
    f"{CANDLES}&ref=main%2F..%2F..": 404,
    "/v1/candles?market=spot": 422,
    "/v1/candles?market=spot&symbol=APIUSDC": 404,
    "/v1/candles?market=spot&symbol=%00": 404,
    "/v1/candles?market=spot&symbol=A%00B": 404,
    "/v1/candles?market=spot&symbol=%ff%fe": 404,
    "/v1/candles?market=spot&symbol=%F0%9F%92%A9": 404,
    "/v1/candles?market=stocks&symbol=APIUSDT": 404,
    "/v1/candles?market=spot&symbol=" + "A" * 51: 422,
    "/v1/latest?market=%00": 404,
    "/v1/latest?market=spot&symbol=%27%20OR%201=1": 404,
    "/v1/movers?window=1y": 422,
    "/v1/events/binance:spot:APIUSDT:aggTrade:1e9": 422,
    "/v1/events/%00": 422,
    "/v1/graph/no_such_query": 404,
    "/v1/graph/triangles?hour=%00": 422,
    "/v1/graph/connecting_assets": 422,
    "/v1/graph/triangles?least=2": 422,
    "/v1/graph/triangles?market=stocks": 422,
    "/v1/lake/commits?ref=no-such-branch": 404,
    "/v1/lake/commits?cursor=" + "0" * 64: 404,
    "/v1/live?kinds=nothing": 404,
    "/v1/live?symbol=NOSUCHUSDT": 404,
    "/v1/nothing": 404,
    "/v1/status?x=1": 422,
    "/assets/../__main__.py": 404,
}


@pytest.mark.parametrize("path", WRONG)
def test_wrong_requests_say_what_is_wrong(api: Api, path: str) -> None:
    answer = api.client.get(path)

    assert answer.status_code == WRONG[path], answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = ProblemDocument.model_validate(answer.json())
    assert problem.status == answer.status_code
    assert problem.detail


def test_a_wrong_name_gets_the_nearest_ones(api: Api) -> None:
    detail = api.get("/v1/candles", market="spot", symbol="APIUSDC").json()["detail"]
    assert "The nearest: APIUSDT" in detail
    detail = api.get("/v1/candles", market="coinm", symbol="APIUSDT").json()["detail"]
    assert "Market spot has it." in detail
    detail = api.get("/v1/latest", market="spt").json()["detail"]
    assert "The nearest: spot" in detail


def test_other_methods_are_named(api: Api) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = api.client.request(method, "/v1/symbols")
        assert answer.status_code == 405
        assert ProblemDocument.model_validate(answer.json()).status == 405
        assert answer.headers["Allow"] == "GET"


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /v1/symbols HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999\r\n\r\n",
        b"GET /v1/symbols?search=" + b"a" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/symbols HTTP/1.1\r\nHost: [\r\n\r\n",
        b"GET /v1/symbols HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: \xff\xfe\r\n\r\n",
        b"GET /v1/symbols HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: \xff=\xfe; ;;==\r\n\r\n",
        b"GET /v1/symbols HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://[\r\n\r\n",
    ],
)
def test_broken_headers_are_refused_and_the_server_goes_on(api: Api, raw: bytes) -> None:
    import socket

    address = httpx.URL(api.url)
    with socket.create_connection((address.host, address.port or 80), timeout=30) as connection:
        connection.sendall(raw)
        status = connection.recv(65536).split(b" ", 2)[1]
    assert status in (b"401", b"403", b"413", b"414", b"421"), status
    assert api.get("/v1/symbols").status_code == 200
