"""What the API does when Prometheus is off, refuses a query, or answers something else."""

from __future__ import annotations

import asyncio
import http.server
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest

from api.problems import ApiProblem
from api.prometheus import MOST_SERIES, MetricSeries, PrometheusClient, QueryRefused
from tests.ports import free_port

T = TypeVar("T")


class Answering(http.server.ThreadingHTTPServer):
    """Answers every request with one status and body."""

    status = 200
    body = b"{}"
    paths: list[str]


@pytest.fixture
def server() -> Iterator[Answering]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.paths.append(self.path)
            self.send_response(made.status)
            self.send_header("Content-Length", str(len(made.body)))
            self.end_headers()
            self.wfile.write(made.body)

        def log_message(self, *_: object) -> None:
            pass

    with Answering(("127.0.0.1", 0), Handler) as made:
        made.paths = []
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def ask(url: str, question: Callable[[PrometheusClient], Awaitable[T]]) -> T:
    async def run() -> T:
        client = PrometheusClient(url)
        try:
            return await question(client)
        finally:
            await client.close()

    return asyncio.run(run())


def newest(server: Answering) -> list[MetricSeries]:
    return ask(f"http://127.0.0.1:{server.server_port}", lambda client: client.newest("up", 1.0))


def vector(*values: str) -> bytes:
    result: list[Any] = [{"metric": {"n": str(at)}, "value": [1.5, value]} for at, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


def test_off_is_said_with_the_command() -> None:
    with pytest.raises(ApiProblem) as raised:
        ask(f"http://127.0.0.1:{free_port()}", lambda client: client.newest("up", 1.0))
    assert raised.value.kind == "store-off"
    assert raised.value.next_step == "tickhouse up --profile observe"


def test_a_refused_query_is_no_outage(server: Answering) -> None:
    server.status, server.body = 400, b'{"status":"error","errorType":"bad_data","error":"parse error"}'
    with pytest.raises(QueryRefused, match="parse error"):
        newest(server)


def test_an_answer_that_is_not_json_is_refused(server: Answering) -> None:
    server.status, server.body = 502, b"<html>"
    with pytest.raises(QueryRefused, match="status 502"):
        newest(server)


def test_alerts_that_are_refused_are_an_outage(server: Answering) -> None:
    server.status, server.body = 502, b"<html>"
    with pytest.raises(ApiProblem) as raised:
        ask(f"http://127.0.0.1:{server.server_port}", lambda client: client.alerts())
    assert (raised.value.status_code, raised.value.kind) == (503, "store-down")


def test_what_is_not_a_number_is_no_value(server: Answering) -> None:
    server.body = vector("1e3", "NaN", "+Inf", "-Inf", "0")
    assert [one.points[0] for one in newest(server)] == [
        (1.5, 1000.0),
        (1.5, None),
        (1.5, None),
        (1.5, None),
        (1.5, 0.0),
    ]


def test_series_are_bounded(server: Answering) -> None:
    server.body = vector(*(["1"] * (MOST_SERIES + 5)))
    assert len(newest(server)) == MOST_SERIES


def test_every_query_has_a_limit_of_time(server: Answering) -> None:
    server.body = vector()
    newest(server)
    assert server.paths == ["/api/v1/query?query=up&time=1.0&timeout=5s"]
