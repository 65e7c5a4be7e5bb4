"""Gaps are filled from REST, and ids that REST does not serve become unfillable."""

from __future__ import annotations

import asyncio
import json

import httpx

from producer.recovery.gap_filling import GapFiller
from tests.unit.producer.fake_rest import Clock, Exchange, client_for, rest_row
from tests.unit.producer.fakes import ORIGIN, FakeOutbox, agg, intake_on, lines


def fill(exchange, *ids):
    """Feed frames with `ids`, fill the gaps between them, and return (outbox, intake)."""
    outbox = FakeOutbox()
    intake = intake_on(outbox)

    async def exclusive(work):
        work()

    async def run():
        filler = GapFiller(client_for(exchange), intake, exclusive, Clock().sleep)
        intake.feed(lines(*map(agg, ids)), ORIGIN)
        for gap in intake.gaps.take_new():
            filler.add(gap)
        task = asyncio.create_task(filler.run())
        while filler.pending:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(run())
    return outbox, intake


def states(intake):
    return sorted((gap.first_id, gap.last_id, gap.state, gap.filled_ids) for gap in intake.gaps.take_changed())


def test_a_gap_is_filled_page_by_page():
    exchange = Exchange(range(1, 3000))
    outbox, intake = fill(exchange, 1, 2500)
    assert sorted(outbox.ids()) == [*range(1, 2501)]
    assert states(intake) == [(2, 2499, "filled", 2498)]
    assert [query["fromId"] for query in exchange.asked] == ["2", "1002", "2002"]
    assert {record["source"] for record in outbox.trades()} == {"WEBSOCKET", "REST"}


def test_ids_that_rest_no_longer_serves_are_unfillable():
    outbox, intake = fill(Exchange(range(50, 200)), 10, 100)
    assert sorted(outbox.ids()) == [10, *range(50, 101)]
    assert states(intake) == [(11, 49, "unfillable", 0), (50, 99, "filled", 50)]


def test_ids_left_out_between_neighbours_are_unfillable():
    outbox, intake = fill(Exchange([*range(1, 20), *range(25, 60)]), 1, 50)
    assert sorted(outbox.ids()) == [*range(1, 20), *range(25, 51)]
    assert [(first, last, state) for first, last, state, _ in states(intake)] == [
        (2, 19, "filled"), (20, 24, "unfillable"), (25, 49, "filled"),
    ]  # fmt: skip


def test_the_gap_of_a_delisted_symbol_is_unfillable():
    refusal = httpx.Response(400, json={"code": -1121, "msg": "Invalid symbol."})
    _, intake = fill(Exchange(range(5), [refusal]), 1, 9)
    [gap] = intake.gaps.take_changed()
    assert (gap.state, gap.reason) == ("unfillable", "refused: -1121")


def test_an_empty_page_is_asked_for_again():
    outbox, _ = fill(Exchange(range(1, 10), [httpx.Response(200, json=[])] * 3), 1, 9)
    assert sorted(outbox.ids()) == [*range(1, 10)]


def test_ids_that_the_stream_brought_meanwhile_are_not_sent_again():
    outbox = FakeOutbox()
    exchange = Exchange(range(1, 30))
    intake = intake_on(outbox)

    async def exclusive(work):
        intake.feed(lines(agg(12), agg(13)), ORIGIN)  # arrives between the request and its answer
        work()

    async def run():
        filler = GapFiller(client_for(exchange), intake, exclusive, Clock().sleep)
        intake.feed(lines(agg(10)), ORIGIN)
        await filler.check_tail(intake.ledger("BTCUSDT", "aggTrade"))
        for gap in intake.gaps.take_new():
            await filler.fill(gap)

    asyncio.run(run())
    assert sorted(set(outbox.ids())) == sorted(outbox.ids())
    assert intake.totals()["duplicates"] <= 2  # the stream of this test repeats ids, REST does not
    assert intake.gaps.open_gaps() == []


def test_an_invalid_row_of_rest_becomes_a_dead_letter():
    rows = [rest_row(2), {**rest_row(3), "p": "x"}, rest_row(4)]
    outbox, intake = fill(Exchange(range(5), [httpx.Response(200, content=json.dumps(rows))]), 1, 5)
    assert sorted(outbox.ids()) == [1, 2, 4, 5]
    [(key, _, headers)] = outbox.letters()
    assert (key, headers["reason"], headers["source"]) == (
        "binance:spot:BTCUSDT:aggTrade:3", "bad_number", "REST",
    )  # fmt: skip
    assert states(intake) == [(2, 4, "filled", 3)]
