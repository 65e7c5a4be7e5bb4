"""The hub's memory, ids of the stream, subscriptions, and frames."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.live_hub import START, EventId, LiveHub, event_of
from api.live_response import Subscription, lost_frame
from api.metrics import ApiMetrics

IDS = st.builds(EventId, st.integers(0, 10**13), st.integers(0, 10**6))


@given(IDS, IDS)
def test_ids_are_ordered_as_redis_orders_them(left: EventId, right: EventId) -> None:
    assert EventId.parse(str(left)) == left
    assert (left < right) == ((left.ms, left.number) < (right.ms, right.number))


@given(st.text(max_size=30))
def test_any_text_is_an_id_or_none(text: str) -> None:
    found = EventId.parse(text)
    assert found is None or found.ms >= 0


def event(number: int, **fields: str) -> Any:
    values = {"kind": "trade", "market": "spot", "symbol": "BTCUSDT", "data": "{}", **fields}
    return event_of(f"{number}-0".encode(), {name.encode(): value.encode() for name, value in values.items()})


def hub(most: int) -> LiveHub:
    return LiveHub(Redis(port=1), ApiMetrics(), most)


@given(st.integers(1, 60), st.integers(1, 40), st.lists(st.integers(1, 9), max_size=12))
def test_a_client_in_memory_gets_each_event_once(count: int, most: int, steps: list[int]) -> None:
    async def follow() -> None:
        served = hub(most)
        served._append([event(n) for n in range(1, count + 1)])
        position = served._floor
        expected = [event(n) for n in range(position.ms + 1, count + 1)]
        found, at = [], count
        for step in [*steps, 0]:
            batch = await served.after(position)
            found += batch.events
            position = batch.position
            if step and step <= most:
                new = [event(at + n) for n in range(1, step + 1)]
                served._append(new)
                expected, at = expected + new, at + step
        found += (await served.after(position)).events
        assert [one.id for one in found] == [one.id for one in expected]

    asyncio.run(follow())


def test_waiting_ends_with_an_event_or_with_the_hub() -> None:
    async def follow() -> None:
        served = hub(10)
        waiting = asyncio.create_task(served.wait(START, 60))
        await asyncio.sleep(0)
        assert not waiting.done()
        served._append([event(1)])
        await asyncio.wait_for(waiting, 30)
        waiting = asyncio.create_task(served.wait(served.newest, 60))
        await asyncio.sleep(0)
        served.close()
        await asyncio.wait_for(waiting, 30)
        await asyncio.wait_for(served.wait(START, 60), 30)

    asyncio.run(follow())


def test_subscriptions() -> None:
    trade = event(1)
    assert Subscription().wants(trade)
    assert Subscription(frozenset({"trade"}), frozenset({"spot"}), frozenset({"BTCUSDT"})).wants(trade)
    assert not Subscription(kinds=frozenset({"alert"})).wants(trade)
    assert not Subscription(markets=frozenset({"usdm"})).wants(trade)
    assert not Subscription(symbols=frozenset({"ETHUSDT"})).wants(trade)
    about_a_store = event(2, kind="alert", market="", symbol="")
    assert Subscription(symbols=frozenset({"ETHUSDT"})).wants(about_a_store)


def test_frames_are_events_of_the_standard() -> None:
    frame = event(5, data='{"price":"1"}').frame
    assert frame == b'id: 5-0\nevent: trade\ndata: {"price":"1"}\n\n'
    name, data = lost_frame(EventId(1, 0), EventId(2, 3)).decode().strip().split("\n")
    assert (name, json.loads(data.removeprefix("data: "))) == ("event: lost", {"from": "1-0", "to": "2-3"})


def test_a_foreign_entry_is_passed_over() -> None:
    foreign = event_of(b"7-1", {b"something": b"else"})
    assert (foreign.id, foreign.frame) == (EventId(7, 1), b"")
