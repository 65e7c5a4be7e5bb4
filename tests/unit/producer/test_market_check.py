"""The producer asks the exchange for its kind of market, and marks synthetic records."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from producer import market_check
from producer.market_check import ATTEMPTS, exchange_kind
from tests.unit.producer.fakes import ORIGIN, FakeOutbox, agg, intake_on, lines


def ask(answer):
    asked, waited = [], []

    def handle(request):
        asked.append(str(request.url))
        return answer(len(asked))

    async def sleep(seconds):
        waited.append(seconds)

    async def run():
        async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as http:
            return await exchange_kind(http, "http://exchange/", "usdm", sleep)

    return asyncio.run(run()), asked, waited


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (200, {"X-Tickhouse-Market": "SIMULATED"}, "simulated"),
        (418, {"X-Tickhouse-Market": "SIMULATED"}, "simulated"),
        (200, {}, "real"),
        (451, {}, "real"),
        (200, {"X-Tickhouse-Market": "anything"}, "real"),
    ],
)
def test_any_answer_shows_the_kind(status, headers, kind):
    result, asked, _ = ask(lambda _: httpx.Response(status, headers=headers, text="<html>"))
    assert (result, asked) == (kind, ["http://exchange/fapi/v1/ping"])


def fail(_):
    raise httpx.ConnectError("refused")


def test_an_exchange_that_does_not_answer_is_asked_again():
    result, asked, waited = ask(fail)
    assert (result, len(asked), len(waited)) == (None, ATTEMPTS, ATTEMPTS)
    late = ask(lambda number: fail(number) if number < 3 else httpx.Response(200))
    assert late[0] == "real"


def test_every_record_of_a_synthetic_market_is_marked():
    outbox = FakeOutbox()
    intake = intake_on(outbox)
    intake.is_simulated = True
    ticker = (
        b'{"stream":"btcusdt@ticker","data":{"e":"24hrTicker","E":1723161255343,"s":"BTCUSDT","p":"1","P":"1","w":"1",'
        b'"x":"1","c":"2","Q":"1","b":"1","B":"1","a":"2","A":"1","o":"1","h":"2","l":"1","v":"5","q":"9","O":1,'
        b'"C":2,"F":1,"L":2,"n":2}}'
    )
    intake.feed(lines(agg(1), agg(2, price="x"), ticker, b"garbage"), ORIGIN)
    assert [record["source"] for record in [*outbox.trades(), *outbox.ticks()]] == ["SIMULATED"] * 2
    assert [headers["source"] for _, _, headers in outbox.letters()] == ["SIMULATED"] * 2


class Reader:
    """A topic whose partitions hold the given sources."""

    def __init__(self, *parts):
        self.parts = parts

    def bounds(self, _topic):
        return {number: (0, len(part)) for number, part in enumerate(self.parts)}

    def read(self, _topic, start):
        for number, part in enumerate(self.parts):
            yield from part[start[number] :]


class Record:
    def __init__(self, value):
        self.value = lambda: value


def trade(source):
    outbox = FakeOutbox()
    intake = intake_on(outbox)
    intake.is_simulated = source == "SIMULATED"
    intake.feed(lines(agg(1)), ORIGIN)
    return Record(outbox.records[0][2])


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (([], []), None),
        (([], [trade("WEBSOCKET")]), "real"),
        (([trade("WEBSOCKET"), trade("SIMULATED")], []), "simulated"),
        (([Record(b"junk")], [trade("SIMULATED")]), "simulated"),
        (([Record(None)],), None),
    ],
)
def test_the_newest_trade_in_kafka_shows_the_kind(parts, kind):
    assert market_check._kind_in_kafka(Reader(*parts)) == kind
