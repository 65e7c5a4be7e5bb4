"""A clock, a REST API of aggTrades and its client, all inside the process."""

from __future__ import annotations

import httpx

from producer.exchange.rest import RestClient


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now_s, self.slept = 1_000_000.0, []

    def __call__(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


class Exchange:
    """Serves aggTrades of its ids as REST does, after the answers of `script`."""

    def __init__(self, ids=(), script=()):
        self.ids, self.script, self.asked = sorted(ids), list(script), []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = dict(request.url.params)
        self.asked.append(query)
        if self.script:
            return self.script.pop(0)
        start, limit = int(query.get("fromId", self.ids[-1])), int(query["limit"])
        return httpx.Response(200, json=[rest_row(number) for number in self.ids if number >= start][:limit])


def rest_row(number):
    return {"a": number, "p": "1.5", "q": "2", "f": number, "l": number, "T": 1_723_161_255_343, "m": True, "M": True}


def client_for(exchange, clock=None):
    clock = clock or Clock()
    http = httpx.AsyncClient(transport=httpx.MockTransport(exchange))
    return RestClient(http, "http://exchange.test", "spot", clock=clock, sleep=clock.sleep)
