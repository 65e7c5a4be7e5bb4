"""Shared by the benchmarks of Connect sinks: enriched trades in Kafka, and a timed connector."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import SERVICE_UNAVAILABLE
from io import BytesIO
from struct import pack
from typing import Any, TypeVar

import fastavro
import httpx

from bench.bench_stack import BenchStack, renew_topic, wait_for
from bench.harness import Figures, alternate, at_least, compared, rounded
from common.clients.connect import Worker
from common.settings import Settings
from common.topics import ENRICHED_TRADES
from schemas.loading import topics, without_logical_types
from tickhouse.connectors.files import read
from tickhouse.connectors.plan import make_dead_letter_topics

TOPIC = ENRICHED_TRADES
BOUND = at_least(0.5)
PAIRS = 3
RECORDS = 30_000
BATCH = 500
SYMBOLS = tuple(f"{base}USDT" for base in ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA"))
START_US = 1_754_000_000_000_000
HOUR_US = 3_600_000_000
SCALE = 10**8

EnrichedRow = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class SinkSide:
    """The functions of one store: `has` asks for an event, `floor` writes by the store's client."""

    connector: str
    has: Callable[[EnrichedRow], bool]
    prepare: Callable[[list[EnrichedRow]], Any]
    floor: Callable[[Any], None]


def trades(first: int, count: int) -> list[EnrichedRow]:
    """Return enriched trades with unscaled values, ids from `first` on, symbols in turns."""
    return [trade(number) for number in range(first, first + count)]


def trade(number: int) -> EnrichedRow:
    """Return one enriched trade: decimals as integers of 10^-8 (10^-16), times in µs."""
    symbol, price, qty = SYMBOLS[number % len(SYMBOLS)], 6_168_599_000_000 + number * 1_003, 150_000 + number % 9_973
    time_us = START_US + number * 977
    return {
        "event_id": f"binance:spot:{symbol}:aggTrade:{number}", "exchange": "BINANCE", "market": "spot",
        "stream": "aggTrade", "symbol": symbol, "trade_id": number, "first_trade_id": number, "last_trade_id": number,
        "price": price, "qty": qty, "side": "SELL" if number % 2 else "BUY", "trade_time": time_us,
        "base": symbol[:3], "quote": "USDT", "pair": f"{symbol[:3]}-USDT", "quote_qty": price * qty,
        "is_sentinel": False, "minute": time_us - time_us % 60_000_000, "bucket": time_us - time_us % HOUR_US,
        "source": "SIMULATED",
    }  # fmt: skip


class TradeFeed:
    """Sends enriched trades as the streaming job does: Confluent framing, key by symbol."""

    def __init__(self, settings: Settings) -> None:
        from confluent_kafka import Producer

        answer = httpx.get(f"{settings.schema_registry_url}/subjects/{TOPIC}-value/versions/latest", trust_env=False)
        self._id = int(answer.json()["id"])
        self._schema = fastavro.parse_schema(without_logical_types("enriched_trade"))
        self._producer = Producer(
            {"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5, "partitioner": "murmur2_random"}
        )

    def send(self, one: EnrichedRow) -> None:
        """Send one trade."""
        body = BytesIO()
        fastavro.schemaless_writer(body, self._schema, one | {name: _bytes(one[name]) for name in DECIMALS})
        self._producer.produce(
            TOPIC, pack(">bI", 0, self._id) + body.getvalue(), f"BINANCE:SPOT:{one['symbol']}".encode()
        )
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until Kafka has everything."""
        self._producer.flush(60)


DECIMALS = ("price", "qty", "quote_qty")


def _bytes(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)


@contextmanager
def running(settings: Settings, names: Sequence[str]) -> Iterator[Worker]:
    """Deploy connectors on an empty topic; remove them at the end."""
    files = read()
    topic = topics()[TOPIC]
    renew_topic(settings, TOPIC, topic.partitions, topic.config)
    make_dead_letter_topics(settings, [files[name].dead_letters for name in names])
    with Worker.of(settings) as worker:
        for name in names:
            worker.put(name, files[name].config)
        try:
            yield worker
        finally:
            for name in names:
                worker.delete(name)


def measure(bench: BenchStack, settings: Settings, side: SinkSide, name: str) -> Figures:
    """Return the connector's records per second against those of the store's own client."""
    count, feed = bench.sized(RECORDS, 3_000), TradeFeed(settings)
    first = iter(range(0, 10**9, count))
    with running(settings, [side.connector]) as worker:

        def fill(rows: list[EnrichedRow]) -> None:
            for trade in rows:
                feed.send(trade)
            feed.flush()

        def done(rows: list[EnrichedRow]) -> bool:
            return all(side.has(one) for one in rows[-len(SYMBOLS) :])

        def ours() -> float:
            rows = trades(next(first), count)
            worker.pause(side.connector)
            wait_for(lambda: _is(worker, side.connector, "PAUSED"), "the connector to pause", timeout_s=60)
            fill(rows)
            began = time.perf_counter()
            worker.resume(side.connector)
            wait_for(lambda: done(rows), f"{count} records in the store", timeout_s=300, every_s=0.05)
            return rounded(count / (time.perf_counter() - began))

        def floor() -> float:
            prepared = side.prepare(trades(next(first), count))
            began = time.perf_counter()
            side.floor(prepared)
            return rounded(count / (time.perf_counter() - began))

        warm_up = trades(next(first), count)
        fill(warm_up)
        wait_for(lambda: done(warm_up), "the first records", timeout_s=300)
        pairs = alternate(bench.sized(PAIRS, 1), ours, floor, name=name)
    return compared(
        pairs,
        "records/s",
        how=f"alternate runs of {count} new enriched trades each, {len(SYMBOLS)} symbols on 3 partitions; ours: from "
        "the resumption of the paused connector (2 tasks, all as deployed) until the last event of "
        f"each symbol is in the store; floor: the store's Python client, finished values in batches of {BATCH}",
    )


def once_started(ask: Callable[[], T], otherwise: T) -> T:
    """Return Elasticsearch's answer, or `otherwise` while the new index has no shard yet.

    Raises:
        ApiError: It refuses for another reason.
    """
    from elasticsearch import ApiError

    try:
        return ask()
    except ApiError as error:
        if error.status_code != SERVICE_UNAVAILABLE:
            raise
        return otherwise


def _is(worker: Worker, name: str, state: str) -> bool:
    status = worker.statuses()[name]
    return {status["connector"]["state"], *(task["state"] for task in status["tasks"])} == {state}


def batches(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Yield rows in batches of the size that the connectors use."""
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
